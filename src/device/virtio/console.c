/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-console (virtio 1.2 5.3), one port, over a stream descriptor.  What
 * the other side does not take waits in the guest's own buffers.
 */
#include "device/virtio/virtio.h"

#include <errno.h>
#include <fcntl.h>

#include "machine/machine.h"

enum { RX, TX, QUEUE = 64, CONFIG_SIZE = 12 };

struct virtio_console {
	struct virtio_device v;
	int fd;
	struct loop_fd *watch;            /* NULL: a file, always ready to be written */
	bool want_read, blocked, closed;
	struct virtq_chain tx, rx;
	bool tx_held;                     /* tx is partly written */
	uint32_t tx_done;
};

static void watch(struct virtio_console *c)
{
	bool on = c->v.live && !c->v.drained && !c->closed;
	loop_fd_events(c->watch, !on ? 0 : (c->want_read ? LOOP_READ : 0) |
		       (c->blocked ? LOOP_WRITE : 0));
}

/* 1 written, 0 the stream is full, -1 nobody listens any more. */
static int write_chain(struct virtio_console *c)
{
	while (c->tx.nout) {
		ssize_t r = writev(c->fd, c->tx.out, (int)c->tx.nout);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == EAGAIN ? 0 : -1;
		c->tx_done += (uint32_t)r;
		c->tx.nout = iov_trim_front(&c->tx.out, c->tx.nout, (size_t)r);
	}
	return 1;
}

static void transmit(struct virtio_console *c)
{
	struct virtqueue *vq = &c->v.vq[TX];
	unsigned n;
	for (n = 0; n < QUEUE && (c->tx_held || virtq_pop(vq, &c->tx) > 0); n++) {
		c->tx_held = true;
		c->blocked = write_chain(c) == 0;
		if (c->blocked)
			break;
		c->tx_held = false;
		c->tx_done = 0;
		virtq_push(vq, &c->tx, 0);
	}
	virtq_signal(vq);
	if (n == QUEUE)
		virtio_kick(&c->v, TX);
	watch(c);
}

static void receive(struct virtio_console *c)
{
	struct virtqueue *vq = &c->v.vq[RX];
	c->want_read = virtq_pop(vq, &c->rx) > 0;
	if (!c->want_read)
		return;                   /* until the driver adds buffers */
	if (!c->rx.nin) {
		virtq_drop(vq, &c->rx);
		virtio_broken(&c->v, "a receive buffer cannot be written");
		return;
	}
	ssize_t r = readv(c->fd, c->rx.in, (int)c->rx.nin);
	if (r <= 0) {
		c->closed = !r || (errno != EAGAIN && errno != EINTR);
		virtq_unpop(vq, &c->rx);
		return;
	}
	virtq_push(vq, &c->rx, (uint32_t)r);
	virtq_signal(vq);
}

static void stream_ready(void *opaque, int events)
{
	struct virtio_console *c = opaque;
	if (events & LOOP_WRITE)
		transmit(c);
	if (events & LOOP_READ)
		receive(c);
	watch(c);
}

static void console_notify(struct virtio_device *v, unsigned q)
{
	struct virtio_console *c = container_of(v, struct virtio_console, v);
	if (q == TX && !c->blocked)
		transmit(c);
	if (q == RX)
		c->want_read = true;
	watch(c);
}

static void console_reset(struct virtio_device *v)
{
	struct virtio_console *c = container_of(v, struct virtio_console, v);
	if (c->tx_held)
		virtq_drop(&v->vq[TX], &c->tx);
	c->tx_held = c->blocked = c->want_read = false;
	c->tx_done = 0;
	watch(c);
}

/* What is half written goes back whole, with a note of how far it got. */
static void console_drain(struct virtio_device *v)
{
	struct virtio_console *c = container_of(v, struct virtio_console, v);
	if (c->tx_held)
		virtq_unpop(&v->vq[TX], &c->tx);
	watch(c);
}

static void console_undrain(struct virtio_device *v)
{
	struct virtio_console *c = container_of(v, struct virtio_console, v);
	uint32_t done = c->tx_done;
	c->blocked = false;
	if (c->tx_held && (c->tx_held = virtq_pop(&v->vq[TX], &c->tx) > 0))
		c->tx.nout = iov_trim_front(&c->tx.out, c->tx.nout, done);
	watch(c);
}

static void console_loaded(struct virtio_device *v)
{
	console_undrain(v);
}

static bool console_xfer(struct virtio_device *v, struct state *s, uint32_t version)
{
	struct virtio_console *c = container_of(v, struct virtio_console, v);
	xfer_bool(s, &c->tx_held);
	xfer_u32(s, &c->tx_done);
	return state_ok(s);
}

static void console_config(struct virtio_device *v, unsigned off, void *buf, unsigned n)
{
	static const uint8_t none[CONFIG_SIZE];   /* no feature gives it a meaning */
	memcpy(buf, none + off, n);
}

static void console_destroy(struct virtio_device *v)
{
	struct virtio_console *c = container_of(v, struct virtio_console, v);
	loop_fd_del(c->watch);
	close(c->fd);
	free(c);
}

static const struct virtio_ops console_ops = {
	.name = "virtio-console", .device_id = 3, .class_rev = 0x07800001, .version = 1,
	.queues = 2, .queue_size = QUEUE, .config_size = CONFIG_SIZE, .config_read = console_config,
	.notify = console_notify, .reset = console_reset, .xfer = console_xfer,
	.loaded = console_loaded, .drain = console_drain, .undrain = console_undrain,
	.destroy = console_destroy,
};

bool virtio_console_create(struct machine *m, int fd, struct error *err)
{
	struct virtio_console *c = xnew(struct virtio_console);
	char id[32];
	c->fd = fd;
	virtio_id(m, &console_ops, id);
	if (!virtio_init(m, &c->v, &console_ops, id, err)) {
		free(c);
		return false;
	}
	int flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	c->watch = loop_fd_add(m->loop, fd, 0, stream_ready, c);
	return true;
}
