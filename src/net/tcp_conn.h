/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of tcp.h. */
#ifndef NET_TCP_CONN_H
#define NET_TCP_CONN_H

#include "net/tcp.h"

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_PSH = 8, TCP_ACK = 16 };
/* READ: what is read at once, and sent at most: a packet is not longer. */
enum { TCP_BUFFER = 256 << 10, TCP_READ = 65480, TCP_SCALE = 3, TCP_BUCKETS = 1024 };

/* A queue of bytes; its memory comes when it is used and goes when it is idle. */
struct tcp_buffer { uint8_t *data; uint32_t head, len; };
static inline uint32_t tcp_buffer_room(const struct tcp_buffer *b) { return TCP_BUFFER - b->len; }
void tcp_buffer_put(struct tcp_buffer *b, const uint8_t *p, uint32_t n);
/* The pieces (one or two) of n bytes from `offset` on, where data is (or, behind its
 * end, can be). */
unsigned tcp_buffer_pieces(struct tcp_buffer *b, uint32_t offset, uint32_t n, struct iovec v[2]);
void tcp_buffer_drop(struct tcp_buffer *b, uint32_t n);

enum tcp_state {
	TCP_DIALING,         /* the socket is being connected */
	TCP_OPENING,         /* SYN, ACK was sent */
	TCP_OPEN,
	TCP_LINGER,          /* all is said; the last answer may have to be repeated */
};
struct tcp_conn {
	struct tcp_conn *next;               /* of its bucket */
	struct tcp_conn *work_next;
	bool working;                        /* in the list of those with something to do */
	struct addr member, far;
	uint16_t member_port, far_port;
	uint8_t member_mac[6], own_mac[6];
	enum tcp_state state;
	int fd;
	bool readable, hung_up, writable;    /* as epoll said (edge-triggered) */
	bool failed, gone;                   /* the socket has; it is out of the table */

	/* from the member to the socket */
	struct tcp_buffer in;                /* what the socket did not take yet */
	uint32_t irs, rcv_nxt, rcv_edge;     /* edge: of the window that it knows */
	bool fin_in, shut;                   /* it has ended; the socket knows */
	bool ack_now;

	/* from the socket to the member */
	struct tcp_buffer out;               /* from snd_una on */
	uint32_t iss, snd_una, snd_nxt, snd_max, snd_wnd;
	uint32_t cwnd, ssthresh, recover;
	uint16_t mss;
	uint8_t snd_scale, rcv_scale;
	unsigned dups, backoff;
	bool recovering;                     /* until `recover` is acknowledged */
	bool eof, fin_acked;                 /* a FIN follows `out`; it was acknowledged */
	uint64_t timer_ns, used_ns;          /* timer: 0: none */
};
/* The socket has more, and there is room that is worth a call. */
static inline bool tcp_may_read(const struct tcp_conn *c)
{
	return c->readable && !c->eof && tcp_buffer_room(&c->out) >= TCP_READ;
}

struct tcp {
	struct tcp_options o;
	int epoll;
	uint64_t secret, now_ns, next_timer_ns, next_tick_ns;
	struct tcp_conn *bucket[TCP_BUCKETS];
	struct tcp_conn *work, **work_end;
	unsigned n;
	bool blocked;                        /* there was no room */
};

struct tcp_segment {
	uint32_t seq, ack;
	uint16_t window, mss;
	uint8_t flags, scale;
	bool scaled;
	struct iovec data[2];
	uint32_t len;                        /* of data */
};
/* False: not a whole TCP segment; data stays the frame's. */
bool tcp_parse(struct frame *f, struct tcp_segment *s);

static inline bool tcp_before(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }
void tcp_queue(struct tcp *t, struct tcp_conn *c);

/* tcp_out.c. False: no room, nothing is sent. */
bool tcp_send_syn(struct tcp *t, struct tcp_conn *c);
bool tcp_send_ack(struct tcp *t, struct tcp_conn *c);
void tcp_send_reset(struct tcp *t, struct tcp_conn *c);
/* What the windows let go, at most a turn of it. True: more can go. */
bool tcp_send_data(struct tcp *t, struct tcp_conn *c);
/* An acknowledgement came, or one that says nothing new. */
void tcp_acked(struct tcp *t, struct tcp_conn *c, uint32_t ack);
void tcp_ack_repeated(struct tcp *t, struct tcp_conn *c);
/* The timer went off. False: too often. */
bool tcp_retransmit(struct tcp *t, struct tcp_conn *c);
void tcp_set_timer(struct tcp *t, struct tcp_conn *c, uint64_t delay_ns);

#endif
