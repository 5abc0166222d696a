/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net (virtio 1.2 5.1): a network port whose frames go through two
 * queues.  Receiving merges buffers; a frame that finds no room stays with its
 * sender until the driver adds buffers.  Checksum and TCP segmentation are
 * offered where the peer port does them; a peer that may hand out unfinished
 * frames is told which of them the driver takes.
 */
#include "device/virtio/virtio.h"

#include "machine/machine.h"
#include "net/port.h"

enum { F_CSUM = 0, F_GUEST_CSUM = 1, F_MAC = 5, F_GUEST_TSO4 = 7, F_GUEST_TSO6 = 8, F_HOST_TSO4 = 11, F_HOST_TSO6 = 12, F_HOST_ECN = 13,
       F_MRG_RXBUF = 15, F_STATUS = 16 };
enum { GSO_TCPV4 = 1, GSO_TCPV6 = 4 };
enum { RX, TX, QUEUE = 256, MAX_MERGE = 48, TX_BATCH = 256, CONFIG_SIZE = 8 };

struct virtio_net {
	struct virtio_device v;
	struct virtio_ops ops;
	struct net_port port;
	uint8_t mac[6];
	bool starved;                     /* a frame waits for receive buffers */
	struct virtq_chain tx, rx[MAX_MERGE];
};

/* Take chains for `len` bytes; how many, 0 if they are not there. */
static unsigned take_buffers(struct virtio_net *n, size_t len)
{
	struct virtqueue *vq = &n->v.vq[RX];
	unsigned most = virtio_has(&n->v, F_MRG_RXBUF) ? MAX_MERGE : 1, k = 0;
	size_t have = 0;
	while (have < len && k < most && virtq_pop(vq, &n->rx[k]) > 0)
		have += n->rx[k++].in_len;
	if (have >= len && n->rx[0].in_len >= NET_HDR)
		return k;
	bool hopeless = k == most && n->v.live;     /* this driver's buffers will never do */
	while (k)
		virtq_unpop(vq, &n->rx[--k]);
	n->starved = !hopeless;
	return 0;
}

static void deliver(struct virtio_net *n, unsigned chains, const uint8_t *frame, size_t len)
{
	struct virtqueue *vq = &n->v.vq[RX];
	uint8_t count[2];
	le16_put(count, (uint16_t)chains);
	for (unsigned i = 0, at = 0; i < chains; i++) {
		struct virtq_chain *c = &n->rx[i];
		size_t piece = buf_to_iov(c->in, c->nin, 0, frame + at, len - at);
		if (!i)
			buf_to_iov(c->in, c->nin, NET_HDR - 2, count, 2);   /* num_buffers */
		at += (unsigned)piece;
		virtq_push(vq, c, (uint32_t)piece);
	}
	virtq_signal(vq);
}

/* virtio 1.2 5.1.6.4.1: no segmentation that was not negotiated. */
static bool driver_takes(const struct virtio_net *n, const uint8_t *hdr)
{
	uint8_t type = hdr[1] & 0x7f;
	return (type == GSO_TCPV4 && virtio_has(&n->v, F_GUEST_TSO4)) ||
	       (type == GSO_TCPV6 && virtio_has(&n->v, F_GUEST_TSO6));
}

static void net_ready(struct virtio_device *v)
{
	struct virtio_net *n = container_of(v, struct virtio_net, v);
	net_port_caps(&n->port, (virtio_has(v, F_GUEST_CSUM) ? NET_CAP_CSUM : 0u) |
		      (virtio_has(v, F_GUEST_TSO4) ? NET_CAP_TSO4 : 0u) |
		      (virtio_has(v, F_GUEST_TSO6) ? NET_CAP_TSO6 : 0u));
}

static bool net_receive(struct net_port *p, const struct iovec *iov, unsigned niov, size_t len)
{
	struct virtio_net *n = container_of(p, struct virtio_net, port);
	uint8_t flat[NET_FRAME_MAX];
	if (n->v.drained)
		return false;
	if (!n->v.live || len > sizeof(flat)) {
		p->dropped++;
		return true;
	}
	n->starved = false;
	unsigned chains = take_buffers(n, len);
	if (!chains) {
		p->dropped += !n->starved;
		return !n->starved;
	}
	iov_to_buf(iov, niov, 0, flat, len);
	if (!virtio_has(&n->v, F_GUEST_CSUM))
		flat[0] = 0;
	if (!driver_takes(n, flat))
		flat[1] = 0;
	deliver(n, chains, flat, len);
	return true;
}

static void transmit(struct virtio_net *n)
{
	struct virtqueue *vq = &n->v.vq[TX];
	struct virtq_chain *c = &n->tx;
	unsigned i;
	for (i = 0; i < TX_BATCH && virtq_pop(vq, c) > 0; i++) {
		if (c->out_len < NET_HDR || c->out_len > NET_FRAME_MAX)
			n->port.dropped++;
		else if (!net_port_send(&n->port, c->out, c->nout, c->out_len)) {
			virtq_unpop(vq, c);       /* again when there is room */
			break;
		}
		virtq_push(vq, c, 0);
	}
	virtq_signal(vq);
	if (i == TX_BATCH)
		virtio_kick(&n->v, TX);
}

static void net_notify(struct virtio_device *v, unsigned q)
{
	struct virtio_net *n = container_of(v, struct virtio_net, v);
	if (q == TX) {
		transmit(n);
	} else if (n->starved) {
		n->starved = false;
		net_port_room(&n->port);
	}
}

static void net_room(struct net_port *p)
{
	struct virtio_net *n = container_of(p, struct virtio_net, port);
	if (n->v.live && !n->v.drained)
		transmit(n);
}

static void net_link(struct net_port *p)
{
	virtio_config_changed(&container_of(p, struct virtio_net, port)->v);
}

static void net_unplug(struct net_port *p) { }
static const struct net_port_ops net_port_ops = {
	.receive = net_receive, .room = net_room, .link = net_link, .destroy = net_unplug,
};

static void net_config(struct virtio_device *v, unsigned off, void *buf, unsigned len)
{
	struct virtio_net *n = container_of(v, struct virtio_net, v);
	uint8_t c[CONFIG_SIZE] = { 0 };
	memcpy(c, n->mac, 6);
	c[6] = n->port.peer && n->port.peer->link_up;
	memcpy(buf, c + off, len);
}

static void net_undrain(struct virtio_device *v)
{
	net_port_room(&container_of(v, struct virtio_net, v)->port);
}

static bool net_xfer(struct virtio_device *v, struct state *s, uint32_t version)
{
	xfer_bytes(s, container_of(v, struct virtio_net, v)->mac, 6);
	return state_ok(s);
}

static void net_destroy(struct virtio_device *v)
{
	struct virtio_net *n = container_of(v, struct virtio_net, v);
	struct net_port *peer = n->port.peer;
	net_port_destroy(&n->port);
	net_port_destroy(peer);
	free(n);
}

static const struct virtio_ops net_ops = {
	.name = "virtio-net", .device_id = 1, .class_rev = 0x02000001, .version = 1,
	.features = BIT(F_MAC) | BIT(F_STATUS) | BIT(F_MRG_RXBUF) | BIT(F_GUEST_CSUM),
	.queues = 2, .queue_size = QUEUE, .config_size = CONFIG_SIZE, .config_read = net_config,
	.ready = net_ready, .loaded = net_ready, .notify = net_notify, .xfer = net_xfer, .undrain = net_undrain, .destroy = net_destroy,
};

bool virtio_net_create(struct machine *m, struct net_port *peer, const uint8_t mac[6],
		       struct error *err)
{
	struct virtio_net *n = xnew(struct virtio_net);
	char id[32];
	n->ops = net_ops;
	if (peer && peer->offload)
		n->ops.features |= BIT(F_CSUM) | BIT(F_HOST_TSO4) | BIT(F_HOST_TSO6) | BIT(F_HOST_ECN);
	if (peer && peer->gives_offload)
		n->ops.features |= BIT(F_GUEST_TSO4) | BIT(F_GUEST_TSO6);
	memcpy(n->mac, mac, 6);
	virtio_id(m, &n->ops, id);
	if (!virtio_init(m, &n->v, &n->ops, id, err)) {
		free(n);
		return false;
	}
	n->port.ops = &net_port_ops;
	n->port.link_up = true;
	if (peer)
		net_port_connect(&n->port, peer);
	return true;
}
