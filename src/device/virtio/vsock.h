/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of virtio-vsock: the device (vsock.c) speaks packets with the guest, a
 * connection (vsock_conn.c) joins one pair of ports to one host socket.  All of
 * it on the I/O loop thread.
 */
#ifndef DEVICE_VIRTIO_VSOCK_H
#define DEVICE_VIRTIO_VSOCK_H

#include "base/loop.h"
#include "device/virtio/virtio.h"

/* virtio 1.2 5.10.6 */
enum { VSOCK_REQUEST = 1, VSOCK_RESPONSE, VSOCK_RST, VSOCK_SHUTDOWN, VSOCK_RW, VSOCK_CREDIT_UPDATE,
       VSOCK_CREDIT_REQUEST };
enum { VSOCK_STREAM = 1, VSOCK_NO_RECEIVE = 1, VSOCK_NO_SEND = 2, VSOCK_HEADER = 44, VSOCK_HOST = 2 };
enum { VSOCK_BUFFER = 256 * 1024, VSOCK_CONNS = 128 };

struct vsock_packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

enum vsock_state { CONN_GREETING, CONN_REQUESTED, CONN_DIALING, CONN_OPEN, CONN_DEAD };

struct vsock_conn {
	struct virtio_vsock *dev;
	struct vsock_conn *next;
	uint32_t host_port, guest_port;
	enum vsock_state state;
	int fd;                           /* -1 while dialing */
	struct loop_fd *watch;
	char line[32];                    /* "CONNECT PORT\n" so far */
	unsigned line_len;
	unsigned say;                     /* control packets to send: bits of VSOCK_* */
	bool readable;                    /* the socket has more, or is at its end */
	bool host_done;                   /* it was: nothing more will come from it */
	unsigned shutdown;                /* what the guest has shut: VSOCK_NO_* */
	unsigned shutdown_flags;          /* of the SHUTDOWN to say */
	/* credit, modulo 2^32: virtio 1.2 5.10.6.3 */
	uint32_t fwd_cnt, told_fwd_cnt;   /* bytes of the guest's given to the socket; as last told */
	uint32_t sent, peer_alloc, peer_fwd_cnt;
	uint8_t *buffer;                  /* from the guest, not taken by the socket yet */
	uint32_t start, fill;
};

struct virtio_vsock {
	struct virtio_device v;
	uint64_t cid;
	int listen_fd, dial_fd;
	struct loop_fd *listen_watch, *dial_watch;
	uint32_t next_port;
	unsigned nconns;
	struct vsock_conn *conns;
	/* refusals of packets that belong to no connection */
	struct { uint32_t host_port, guest_port; } refuse[64];
	unsigned nrefuse;
	bool tell_reset;                  /* an event for the driver: all connections are gone */
	bool settling;                    /* it has that event and may not have read it: no calls yet */
	bool stalled;                     /* something waits for receive buffers */
	struct virtq_chain chain;
};

struct vsock_conn *vsock_find(struct virtio_vsock *s, uint32_t host_port, uint32_t guest_port);
/* The host has called; the guest has called (false: nobody listens there). */
void vsock_accept(struct virtio_vsock *s);
bool vsock_connect(struct virtio_vsock *s, const struct vsock_packet *p);
/* What the keeper has to say about calls of the guest's. */
void vsock_dialed(struct virtio_vsock *s);
/* Ask the keeper for a socket; false: it cannot be asked now. */
bool vsock_dial(struct virtio_vsock *s, const struct vsock_conn *c);
void vsock_conn_open(struct vsock_conn *c, int fd);
void vsock_conn_reset(struct vsock_conn *c);
/* A packet for c whose payload is in the chain's out part. */
void vsock_conn_packet(struct vsock_conn *c, const struct vsock_packet *p, struct virtq_chain *chain);
/* Read at most what credit and the chain's in part allow: bytes, 0 = nothing now. */
uint32_t vsock_conn_read(struct vsock_conn *c, struct virtq_chain *chain);
bool vsock_conn_has_data(const struct vsock_conn *c);
void vsock_conn_free(struct vsock_conn *c);
void vsock_conn_watch(struct vsock_conn *c);

/* vsock.c: send what connections have to say, as far as there are buffers. */
void vsock_flush(struct virtio_vsock *s);

#endif
