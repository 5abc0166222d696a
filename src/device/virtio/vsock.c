/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-vsock, host side (virtio 1.2 5.10), stream sockets.  What connections
 * have to say is a bit set each, so that no queue grows with what a guest does;
 * packets are made when a receive buffer is there.  Connections do not survive
 * a load: the driver is told so by an event.
 */
#include "device/virtio/vsock.h"

#include <stdio.h>

#include "machine/machine.h"

enum { RX, TX, EVENT, QUEUES, QUEUE = 128, BATCH = 128, CONFIG_SIZE = 8 };

static struct virtio_vsock *from(struct virtio_device *v) { return container_of(v, struct virtio_vsock, v); }

static void packet_get(const struct virtq_chain *c, struct vsock_packet *p)
{
	uint8_t h[VSOCK_HEADER];
	iov_to_buf(c->out, c->nout, 0, h, sizeof(h));
	*p = (struct vsock_packet){
		.src_cid = le64_get(h), .dst_cid = le64_get(h + 8), .src_port = le32_get(h + 16),
		.dst_port = le32_get(h + 20), .len = le32_get(h + 24), .type = le16_get(h + 28),
		.op = le16_get(h + 30), .flags = le32_get(h + 32), .buf_alloc = le32_get(h + 36),
		.fwd_cnt = le32_get(h + 40),
	};
}

/* A header into the chain, which goes back with `len` bytes of payload. */
static void packet_put(struct virtio_vsock *s, uint32_t host_port, uint32_t guest_port, unsigned op,
		       uint32_t flags, uint32_t fwd_cnt, uint32_t len)
{
	uint8_t h[VSOCK_HEADER];
	le64_put(h, VSOCK_HOST);
	le64_put(h + 8, s->cid);
	le32_put(h + 16, host_port);
	le32_put(h + 20, guest_port);
	le32_put(h + 24, len);
	le16_put(h + 28, VSOCK_STREAM);
	le16_put(h + 30, (uint16_t)op);
	le32_put(h + 32, flags);
	le32_put(h + 36, VSOCK_BUFFER);
	le32_put(h + 40, fwd_cnt);
	buf_to_iov(s->chain.in, s->chain.nin, 0, h, sizeof(h));
	virtq_push(&s->v.vq[RX], &s->chain, VSOCK_HEADER + len);
}

static bool take_buffer(struct virtio_vsock *s)
{
	struct virtqueue *vq = &s->v.vq[RX];
	if (s->v.drained || virtq_pop(vq, &s->chain) <= 0) {
		s->stalled = true;
		return false;
	}
	if (s->chain.in_len >= VSOCK_HEADER)
		return true;
	virtq_drop(vq, &s->chain);
	virtio_broken(&s->v, "a receive buffer is smaller than a packet's header");
	return false;
}

static void conn_put(struct vsock_conn *c, unsigned op, uint32_t flags, uint32_t len)
{
	c->told_fwd_cnt = c->fwd_cnt;
	packet_put(c->dev, c->host_port, c->guest_port, op, flags, c->fwd_cnt, len);
}

/* One packet of c's, if it has one; false: no buffers. Frees c after a RST. */
static bool conn_speak(struct vsock_conn *c, bool *more)
{
	struct virtio_vsock *s = c->dev;
	*more = c->say || vsock_conn_has_data(c);
	if (!*more)
		return true;
	if (!take_buffer(s))
		return false;
	if (c->say) {
		unsigned op = (unsigned)__builtin_ctz(c->say);
		c->say &= c->say - 1;
		conn_put(c, op, op == VSOCK_SHUTDOWN ? c->shutdown_flags : 0, 0);
		if (op == VSOCK_RST) {
			vsock_conn_free(c);
			*more = false;
		}
		return true;
	}
	uint32_t n = vsock_conn_read(c, &s->chain);
	if (n)
		conn_put(c, VSOCK_RW, 0, n);
	else
		virtq_unpop(&s->v.vq[RX], &s->chain);
	return true;
}

static bool refuse_all(struct virtio_vsock *s)
{
	while (s->nrefuse) {
		if (!take_buffer(s))
			return false;
		s->nrefuse--;
		packet_put(s, s->refuse[s->nrefuse].host_port, s->refuse[s->nrefuse].guest_port, VSOCK_RST, 0, 0, 0);
	}
	return true;
}

/* In turn, a packet each, until nobody has anything or buffers are out. */
void vsock_flush(struct virtio_vsock *s)
{
	s->stalled = false;
	bool any = refuse_all(s);
	for (unsigned n = 0; any && !s->stalled; n++) {
		any = false;
		for (struct vsock_conn *c = s->conns, *next; c && !s->stalled; c = next) {
			bool more;
			next = c->next;
			conn_speak(c, &more);
			any |= more;
		}
		if (n == BATCH && any && !s->stalled) {   /* let others have the loop */
			s->stalled = true;
			virtio_kick(&s->v, RX);
		}
	}
	virtq_signal(&s->v.vq[RX]);
}

static void refuse(struct virtio_vsock *s, const struct vsock_packet *p)
{
	if (p->op == VSOCK_RST || s->nrefuse == ARRAY_SIZE(s->refuse))
		return;
	s->refuse[s->nrefuse].host_port = p->dst_port;
	s->refuse[s->nrefuse++].guest_port = p->src_port;
	vsock_flush(s);
}

static void handle(struct virtio_vsock *s, struct virtq_chain *chain)
{
	struct vsock_packet p;
	packet_get(chain, &p);
	if (p.src_cid != s->cid || p.dst_cid != VSOCK_HOST || p.len > chain->out_len - VSOCK_HEADER)
		return;
	struct vsock_conn *c = vsock_find(s, p.dst_port, p.src_port);
	if (c && p.type == VSOCK_STREAM)
		vsock_conn_packet(c, &p, chain);
	else if (p.type != VSOCK_STREAM || p.op != VSOCK_REQUEST || !vsock_connect(s, &p))
		refuse(s, &p);
}

static void transmit(struct virtio_vsock *s)
{
	static struct virtq_chain chain;      /* s->chain serves the answers meanwhile */
	struct virtqueue *vq = &s->v.vq[TX];
	unsigned n;
	for (n = 0; n < BATCH && virtq_pop(vq, &chain) > 0; n++) {
		if (chain.out_len < VSOCK_HEADER) {
			virtq_drop(vq, &chain);
			virtio_broken(&s->v, "a packet is shorter than its header");
			return;
		}
		handle(s, &chain);
		virtq_push(vq, &chain, 0);
	}
	virtq_signal(vq);
	if (n == BATCH)
		virtio_kick(&s->v, TX);
}

static void settled(struct virtio_vsock *s)
{
	if (s->settling)
		loop_fd_events(s->listen_watch, LOOP_READ);
	s->settling = false;
}

/* What is called before the driver knows would be reset with all the rest. In all the
 * buffers that there are: it rings only when it refills an empty queue (2.7.10). */
static void tell_reset(struct virtio_vsock *s)
{
	static const uint8_t transport_reset[4];      /* 5.10.6.7: id 0 */
	struct virtqueue *vq = &s->v.vq[EVENT];
	bool told = false;
	while (s->tell_reset && virtq_pop(vq, &s->chain) > 0) {
		virtq_push(vq, &s->chain, (uint32_t)buf_to_iov(s->chain.in, s->chain.nin, 0, transport_reset, 4));
		told = true;
	}
	if (!told)
		return settled(s);        /* buffers are back, so it has read it; or it wants no events */
	s->tell_reset = false;
	virtq_signal(vq);
}

static void vsock_notify(struct virtio_device *v, unsigned q)
{
	struct virtio_vsock *s = from(v);
	if (q == TX)
		transmit(s);
	else if (q == EVENT)
		tell_reset(s);
	else if (s->stalled)
		vsock_flush(s);
}

static void listen_ready(void *opaque, int events)
{
	vsock_accept(opaque);
}

static void dial_ready(void *opaque, int events)
{
	vsock_dialed(opaque);
}

static void vsock_reset(struct virtio_device *v)
{
	struct virtio_vsock *s = from(v);
	while (s->conns)
		vsock_conn_free(s->conns);
	s->nrefuse = 0;
	s->tell_reset = false;
	settled(s);
}

static void vsock_config(struct virtio_device *v, unsigned off, void *buf, unsigned n)
{
	uint8_t c[CONFIG_SIZE];
	le64_put(c, from(v)->cid);
	memcpy(buf, c + off, n);
}

static bool vsock_xfer(struct virtio_device *v, struct state *s, uint32_t version)
{
	xfer_check_u64(s, from(v)->cid, "vsock CID");
	return state_ok(s);
}

static void vsock_loaded(struct virtio_device *v)
{
	struct virtio_vsock *s = from(v);
	s->tell_reset = s->settling = true;
	loop_fd_events(s->listen_watch, 0);
}

static void vsock_destroy(struct virtio_device *v)
{
	struct virtio_vsock *s = from(v);
	vsock_reset(v);
	loop_fd_del(s->listen_watch);
	loop_fd_del(s->dial_watch);
	close(s->listen_fd);
	close(s->dial_fd);
	free(s);
}

static const struct virtio_ops vsock_ops = {
	.name = "virtio-vsock", .device_id = 19, .class_rev = 0x07800001, .version = 1,
	.queues = QUEUES, .queue_size = QUEUE, .config_size = CONFIG_SIZE, .config_read = vsock_config,
	.notify = vsock_notify, .reset = vsock_reset, .xfer = vsock_xfer, .loaded = vsock_loaded,
	.destroy = vsock_destroy,
};

bool virtio_vsock_create(struct machine *m, uint64_t cid, int listen_fd, int dial_fd, struct error *err)
{
	char id[32];
	if (cid < 3 || cid >= UINT32_MAX)
		return error_set(err, 0, "a vsock CID is a number from 3 to %u, not %llu", UINT32_MAX - 1,
				 (unsigned long long)cid);
	struct virtio_vsock *s = xnew(struct virtio_vsock);
	s->cid = cid;
	s->listen_fd = listen_fd;
	s->dial_fd = dial_fd;
	virtio_id(m, &vsock_ops, id);
	if (!virtio_init(m, &s->v, &vsock_ops, id, err)) {
		free(s);
		return false;
	}
	s->listen_watch = loop_fd_add(m->loop, listen_fd, LOOP_READ, listen_ready, s);
	s->dial_watch = loop_fd_add(m->loop, dial_fd, LOOP_READ, dial_ready, s);
	return true;
}
