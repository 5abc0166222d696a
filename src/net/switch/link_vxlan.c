/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port of the switch that is a VXLAN tunnel.  Frames leave finished; packets
 * are taken and sent in batches, a system call for many.
 */
#include "net/switch/link.h"
#include "net/switch/vxlan.h"

#include <errno.h>
#include <jansson.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "net/message.h"

enum { BATCH = 32, PACKET = VXLAN_HEADER + TAG + 9216 };

struct vxlan_link {
	struct link link;
	unsigned queued, target;
	bool flood;
	struct mmsghdr out[BATCH], in[BATCH];
	struct iovec out_iov[BATCH], in_iov[BATCH];
	struct sockaddr_in out_addr[BATCH], in_addr[BATCH];
	uint8_t out_data[BATCH][PACKET], in_data[BATCH][PACKET];
	struct vxlan vxlan;
};

static struct vxlan_link *vxlan_of(struct sw_port *p)
{
	return container_of((struct link *)p->link, struct vxlan_link, link);
}

static uint32_t seconds(const struct sw_port *p)
{
	return (uint32_t)(p->sw->now_ns / 1000000000);
}

/* What the kernel does not take now is lost, as on any wire. */
static void send_queue(struct vxlan_link *k)
{
	unsigned done = 0;
	while (done < k->queued) {
		int n = sendmmsg(k->link.fd, k->out + done, k->queued - done, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		done += n > 0 ? (unsigned)n : 1;      /* an address that cannot be reached */
	}
	k->queued = 0;
}

static void queue(struct vxlan_link *k, unsigned peer, const uint8_t *packet, size_t len)
{
	if (k->queued == BATCH)
		send_queue(k);
	unsigned i = k->queued++;
	if (packet != k->out_data[i])
		memcpy(k->out_data[i], packet, len);
	k->out_iov[i] = (struct iovec){ k->out_data[i], len };
	k->out_addr[i] = k->vxlan.peer[peer];
	k->out[i].msg_hdr = (struct msghdr){ .msg_name = &k->out_addr[i], .msg_namelen = sizeof(k->out_addr[i]),
					     .msg_iov = &k->out_iov[i], .msg_iovlen = 1 };
}

static uint8_t *finish_room(void *opaque, size_t most)
{
	struct vxlan_link *k = opaque;
	if (most + VXLAN_HEADER > PACKET)
		return NULL;
	if (k->queued == BATCH)
		send_queue(k);
	vxlan_header(&k->vxlan, k->out_data[k->queued]);
	return k->out_data[k->queued] + VXLAN_HEADER;
}

static void finish_emit(void *opaque, size_t len)
{
	struct vxlan_link *k = opaque;
	uint8_t copy[PACKET];
	const uint8_t *packet = k->out_data[k->queued];
	size_t n = VXLAN_HEADER + len;
	if (!k->flood) {
		queue(k, k->target, packet, n);
		return;
	}
	memcpy(copy, packet, n);
	for (unsigned i = 0; i < k->vxlan.nfixed; i++)
		queue(k, i, copy, n);
}

static bool vxlan_put(struct sw_port *p, const struct frame *f, bool tagged)
{
	struct vxlan_link *k = vxlan_of(p);
	int peer = vxlan_find(&k->vxlan, frame_dst(f), seconds(p));
	k->flood = peer < 0;
	k->target = peer < 0 ? 0 : (unsigned)peer;
	return sw_finish(p->sw, f, tagged, finish_room, finish_emit, k);
}

static void vxlan_flush(struct sw_port *p)
{
	send_queue(vxlan_of(p));
}

static const struct sw_link_ops ops = { .put = vxlan_put, .flush = vxlan_flush };

static unsigned vxlan_poll(struct link *l, unsigned budget)
{
	struct vxlan_link *k = container_of(l, struct vxlan_link, link);
	static const uint8_t vnet[NET_HDR] = { 0 };
	for (unsigned i = 0; i < BATCH; i++) {
		k->in_iov[i] = (struct iovec){ k->in_data[i], PACKET };
		k->in[i].msg_hdr = (struct msghdr){ .msg_name = &k->in_addr[i], .msg_namelen = sizeof(k->in_addr[i]),
						    .msg_iov = &k->in_iov[i], .msg_iovlen = 1 };
	}
	int n = recvmmsg(l->fd, k->in, MIN(budget, (unsigned)BATCH), MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		struct frame f;
		size_t len;
		const uint8_t *b = vxlan_open(&k->vxlan, &k->in_addr[i], k->in_data[i], k->in[i].msg_len,
					      seconds(l->port), &len);
		if (b && frame_begin(&f, vnet, b, len))
			sw_input(l->port, &f);
		else
			sw_count_drop(l->port, SW_DROP_malformed);
	}
	return n == BATCH ? budget : 0;
}

static void vxlan_free(struct link *l)
{
	struct vxlan_link *k = container_of(l, struct vxlan_link, link);
	close(l->fd);
	free(k);
}

static const struct link_ops link_ops = { .poll = vxlan_poll, .free = vxlan_free };

static bool read_peers(struct vxlan *v, const json_t *more, struct error *err)
{
	size_t i;
	json_t *peer;
	json_array_foreach(json_object_get(more, "peers"), i, peer)
		if (!vxlan_add_peer(v, json_string_value(peer)))
			return error_set(err, 0, "VXLAN peer '%s' is not an IPv4 address", json_string_value(peer));
	return true;
}

struct link *link_vxlan(struct sw *s, const struct link_request *r, struct error *err)
{
	struct vxlan_link *k = xnew(struct vxlan_link);
	uint64_t secret = 0;
	ssize_t got UNUSED = getrandom(&secret, sizeof(secret), 0);
	vxlan_init(&k->vxlan, (uint32_t)message_number(r->more, "vni", 0), (uint16_t)message_number(r->more, "port", 4789), secret);
	if (read_peers(&k->vxlan, r->more, err) && link_begin(&k->link, s, r, &link_ops, &ops, err))
		return &k->link;
	free(k);
	return NULL;
}
