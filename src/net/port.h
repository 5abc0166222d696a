/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network port: give a frame, take a frame.  Every NIC and every back end is
 * one; two ports are connected as peers.  Frames are Ethernet without FCS, at
 * most NET_FRAME_MAX bytes, preceded by a virtio_net_hdr (12 bytes) that may
 * ask for checksum or segmentation.  On the machine's I/O loop thread.
 */
#ifndef NET_PORT_H
#define NET_PORT_H

#include <sys/uio.h>
#include "base/error.h"
#include "base/loop.h"

enum { NET_FRAME_MAX = 65550, NET_HDR = 12 };
enum { NET_CAP_CSUM = 1, NET_CAP_TSO4 = 2, NET_CAP_TSO6 = 4 };

struct net_port;
struct net_port_ops {
	/* A frame for this port (hdr + frame in iov). False: no room now; the
	 * sender holds it and waits for peer's net_port_room. */
	bool (*receive)(struct net_port *p, const struct iovec *iov, unsigned n, size_t len);
	/* The peer has room again after it refused a frame of ours. */
	void (*room)(struct net_port *p);
	/* The peer's link went up or down; may be NULL. */
	void (*link)(struct net_port *p);
	/* The peer takes these unfinished frames (NET_CAP_*); may be NULL. */
	void (*caps)(struct net_port *p, unsigned caps);
	void (*destroy)(struct net_port *p);
};
struct net_port {
	const struct net_port_ops *ops;
	struct net_port *peer;
	bool link_up;
	bool offload;         /* takes frames whose checksum or segmentation is still to do */
	bool gives_offload;   /* may hand out such frames to a peer that said so by caps */
	uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes, dropped;
};

void net_port_connect(struct net_port *a, struct net_port *b);
/* Hand a frame to p's peer. */
bool net_port_send(struct net_port *p, const struct iovec *iov, unsigned n, size_t len);
void net_port_room(struct net_port *p);       /* tell p's peer that p has room */
void net_port_link(struct net_port *p, bool up);
void net_port_caps(struct net_port *p, unsigned caps);   /* tell p's peer what p takes */
void net_port_destroy(struct net_port *p);

/*
 * Checksum and segmentation done in software, for a back end that cannot: the
 * frames that one frame with a header becomes, one after the other.
 */
struct net_split {
	const uint8_t *frame;         /* borrowed: the frame without its header */
	size_t len, payload, done;    /* bytes of it, where its payload starts, sent so far */
	size_t ip, l4;                /* where those headers start */
	uint16_t gso_size;            /* 0: a single frame */
	bool ipv6;
	uint32_t seq;
};
/* Check what the header asks for (hostile) and do a plain checksum in place;
 * false: drop the frame. */
bool net_split_begin(struct net_split *s, const uint8_t hdr[NET_HDR], uint8_t *frame, size_t len);
/* The next frame into out[NET_FRAME_MAX], its length; 0 after the last. */
size_t net_split_next(struct net_split *s, uint8_t *out);

/* A port whose other side is a process behind a SOCK_SEQPACKET descriptor (the
 * user-network helper): one message a frame, header included. */
struct net_port *net_socket_port(struct loop *l, int fd, struct error *err);
/* A port on a network, served by its switch through rings (net/ring.h); the
 * descriptors become the port's. */
struct ring_fds;
struct net_port *net_ring_port(struct loop *l, const struct ring_fds *fds, struct error *err);

#endif
