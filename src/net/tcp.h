/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP of a network's members to the outside, by the host's sockets (RFC 9293): each
 * connection that a member opens is answered here and led on through a socket.
 * What crosses is bytes, not segments: both sides have windows of their own, and a
 * member gets segments as large as its port takes, to be cut where it must be.
 * Reno's congestion window (RFC 5681) is all that the way to a member needs: it
 * never reorders, and loses only what some queue was too full for.
 *
 * Members are hostile: a segment is judged by what was copied out of it, buffers are
 * bounded, and no member can have more than its part of the connections.
 */
#ifndef NET_TCP_H
#define NET_TCP_H

#include "net/switch/frame.h"

enum { TCP_CONNECTIONS = 4096, TCP_PER_MEMBER = TCP_CONNECTIONS / 4 };

struct tcp_options {
	/* Room for a frame with its virtio_net_hdr, NULL: none now; and its being sent. */
	uint8_t *(*room)(void *opaque, size_t len);
	void (*emit)(void *opaque, size_t len);
	/* A socket on its way to there; -1: libslirp shall say why not. */
	int (*dial)(void *opaque, const struct addr *to, uint16_t port);
	void *opaque;
	unsigned mtu;
	uint32_t network, mask;           /* what lies in there is not outside */
	bool ipv6;
	uint8_t prefix6[8];
};
struct tcp;
struct tcp *tcp_new(const struct tcp_options *o, struct error *err);
void tcp_free(struct tcp *t);

/* A member's frame. False: it is not for us. Answers come with the next tcp_work(). */
bool tcp_input(struct tcp *t, struct frame *f, uint64_t now_ns);
/* When tcp_fd() is readable: sockets have something to say. */
int tcp_fd(const struct tcp *t);
void tcp_events(struct tcp *t);
/* What input, events and timers left to do: after each batch. True: there is more, and
 * room for it. */
bool tcp_work(struct tcp *t, uint64_t now_ns);
/* When timers have something to do, in milliseconds; -1: never. */
int tcp_timeout_ms(const struct tcp *t, uint64_t now_ns);
unsigned tcp_count(const struct tcp *t);
/* The dial of use: a socket of the host. */
int tcp_dial(void *opaque, const struct addr *to, uint16_t port);

#endif
