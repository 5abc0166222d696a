/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port of the switch that is a TAP interface (with virtio_net_hdr, so frames
 * come and go with their checksums and segments still to do): a container, a
 * namespace, or the host itself.
 */
#include "net/switch/link.h"

#include <errno.h>
#include <sys/uio.h>

struct tap_link {
	struct link link;
	uint8_t in[NET_HDR + TAG + NET_FRAME_MAX];
};

static struct tap_link *tap_of(struct sw_port *p)
{
	return container_of((struct link *)p->link, struct tap_link, link);
}

static bool tap_put(struct sw_port *p, const struct frame *f, bool tagged)
{
	uint8_t head[NET_HDR + TAG + FRAME_HEAD];
	struct frame first = *f;
	first.rest_len = 0;
	frame_vnet(f, tagged, head);
	head[VNET_FLAGS] &= VNET_NEEDS_CSUM | VNET_DATA_VALID;
	size_t n = frame_write(&first, tagged, head + NET_HDR);
	struct iovec v[2] = { { head, NET_HDR + n }, { (void *)f->rest, f->rest_len } };
	return writev(tap_of(p)->link.fd, v, f->rest_len ? 2 : 1) >= 0 || errno == EIO;      /* EIO: the interface is down */
}

static void tap_flush(struct sw_port *p) { }

static const struct sw_link_ops ops = { .put = tap_put, .flush = tap_flush };

static unsigned tap_poll(struct link *l, unsigned budget)
{
	struct tap_link *k = container_of(l, struct tap_link, link);
	struct frame f;
	for (unsigned i = 0; i < budget; i++) {
		ssize_t n = read(l->fd, k->in, sizeof(k->in));
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			l->gone = true;      /* its namespace has ended */
		if (n <= 0)
			return i;
		if (n > NET_HDR && frame_begin(&f, k->in, k->in + NET_HDR, (size_t)n - NET_HDR))
			sw_input(l->port, &f);
		else
			sw_count_drop(l->port, SW_DROP_malformed);
	}
	return budget;
}

static void tap_free(struct link *l)
{
	struct tap_link *k = container_of(l, struct tap_link, link);
	close(l->fd);
	free(k);
}

static const struct link_ops link_ops = { .poll = tap_poll, .free = tap_free };

struct link *link_tap(struct sw *s, const struct link_request *r, struct error *err)
{
	struct tap_link *k = xnew(struct tap_link);
	if (link_begin(&k->link, s, r, &link_ops, &ops, err))
		return &k->link;
	free(k);
	return NULL;
}
