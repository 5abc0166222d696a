/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port of the switch on an interface of the host, through a packet socket:
 * members look as if they were plugged into that interface's network.  The
 * kernel takes VLAN tags off and tells of them apart; they are put back here.
 */
#include "net/switch/link.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { KERNEL_HDR = 10 };        /* struct virtio_net_hdr as packet(7) has it */

struct packet_link {
	struct link link;
	uint8_t hdr[NET_HDR];
	uint8_t in[TAG + NET_FRAME_MAX];
};

static struct packet_link *packet_of(struct sw_port *p)
{
	return container_of((struct link *)p->link, struct packet_link, link);
}

static bool packet_put(struct sw_port *p, const struct frame *f, bool tagged)
{
	uint8_t vnet[NET_HDR], head[TAG + FRAME_HEAD];
	struct frame first = *f;
	first.rest_len = 0;
	frame_vnet(f, tagged, vnet);
	vnet[VNET_FLAGS] &= VNET_NEEDS_CSUM;
	size_t n = frame_write(&first, tagged, head);
	struct iovec v[3] = { { vnet, KERNEL_HDR }, { head, n }, { (void *)f->rest, f->rest_len } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = f->rest_len ? 3 : 2 };
	return sendmsg(packet_of(p)->link.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno == ENETDOWN;
}

static void packet_flush(struct sw_port *p) { }

static const struct sw_link_ops ops = { .put = packet_put, .flush = packet_flush };

/* packet(7): PACKET_AUXDATA. */
static size_t restore_tag(struct packet_link *k, struct msghdr *m, size_t len)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct tpacket_auxdata a;
		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA || c->cmsg_len < CMSG_LEN(sizeof(a)))
			continue;
		memcpy(&a, CMSG_DATA(c), sizeof(a));
		if (!(a.tp_status & TP_STATUS_VLAN_VALID) || len < 12)
			continue;
		memmove(k->in + 12 + TAG, k->in + 12, len - 12);
		be16_put(k->in + 12, a.tp_status & TP_STATUS_VLAN_TPID_VALID ? a.tp_vlan_tpid : ETH_VLAN);
		be16_put(k->in + 14, a.tp_vlan_tci);
		if (k->hdr[VNET_FLAGS] & VNET_NEEDS_CSUM)
			le16_put(k->hdr + VNET_START, (uint16_t)(le16_get(k->hdr + VNET_START) + TAG));
		return len + TAG;
	}
	return len;
}

static unsigned packet_poll(struct link *l, unsigned budget)
{
	struct packet_link *k = container_of(l, struct packet_link, link);
	for (unsigned i = 0; i < budget; i++) {
		union { char b[CMSG_SPACE(sizeof(struct tpacket_auxdata))]; struct cmsghdr align; } room;
		struct sockaddr_ll from = { 0 };
		struct iovec v[2] = { { k->hdr, KERNEL_HDR }, { k->in, NET_FRAME_MAX } };
		struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = v, .msg_iovlen = 2,
				    .msg_control = room.b, .msg_controllen = sizeof(room) };
		struct frame f;
		ssize_t n = recvmsg(l->fd, &m, MSG_DONTWAIT);
		l->gone |= n < 0 && errno != EAGAIN && errno != EINTR && errno != ENETDOWN;
		if (n < 0)
			return i;
		if (n <= KERNEL_HDR || from.sll_pkttype == PACKET_OUTGOING)
			continue;
		size_t len = restore_tag(k, &m, (size_t)n - KERNEL_HDR);
		if (frame_begin(&f, k->hdr, k->in, len))
			sw_input(l->port, &f);
		else
			sw_count_drop(l->port, SW_DROP_malformed);
	}
	return budget;
}

static void packet_free(struct link *l)
{
	struct packet_link *k = container_of(l, struct packet_link, link);
	close(l->fd);
	free(k);
}

static const struct link_ops link_ops = { .poll = packet_poll, .free = packet_free };

struct link *link_packet(struct sw *s, const struct link_request *r, struct error *err)
{
	struct packet_link *k = xnew(struct packet_link);
	if (link_begin(&k->link, s, r, &link_ops, &ops, err))
		return &k->link;
	free(k);
	return NULL;
}
