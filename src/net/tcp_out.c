/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a member is sent: segments that its port, or the switch, cuts to size; their
 * checksum is left to do.  After a loss all goes again from the first byte that is
 * missing: nothing is reordered on the way, so one repeated acknowledgement is no
 * accident, and a frame is lost as a whole.
 */
#include "net/tcp_conn.h"

enum { ETH_HLEN = 14, IP4_HLEN = 20, IP6_HLEN = 40, TCP_HLEN = 20, SYN_OPTIONS = 8, CSUM_OFFSET = 16, TTL = 64, DF = 0x4000,
       VNET_HDRLEN = 2, VNET_SIZE = 4 };
enum { WORTH = 32 << 10, TURN = 4, DUPS = 2, CWND_LEAST = 16 << 10, TRIES = 15 };
#define RETRANSMIT_NS 250000000ull
#define RETRANSMIT_MOST_NS 60000000000ull

void tcp_set_timer(struct tcp *t, struct tcp_conn *c, uint64_t delay_ns)
{
	c->timer_ns = t->now_ns + delay_ns;
	t->next_timer_ns = t->next_timer_ns ? MIN(t->next_timer_ns, c->timer_ns) : c->timer_ns;
}

static uint64_t patience(const struct tcp_conn *c)
{
	return MIN(RETRANSMIT_NS << c->backoff, RETRANSMIT_MOST_NS);
}

/* ---- one frame ---- */

struct piece { uint8_t flags; uint32_t seq; size_t options, payload; };

static size_t put_ip(const struct tcp_conn *c, uint8_t *ip, size_t len)
{
	bool v4 = addr_is_v4(&c->far);
	memset(ip, 0, v4 ? IP4_HLEN : IP6_HLEN);
	if (v4) {
		ip[0] = 0x45;
		be16_put(ip + 2, (uint16_t)(IP4_HLEN + len));
		be16_put(ip + 6, DF);
		ip[8] = TTL;
		ip[9] = IP_TCP;
		memcpy(ip + 12, c->far.b + 12, 4);
		memcpy(ip + 16, c->member.b + 12, 4);
		be16_put(ip + 10, inet_sum(ip, IP4_HLEN, 0));
		return IP4_HLEN;
	}
	ip[0] = 0x60;
	be16_put(ip + 4, (uint16_t)len);
	ip[6] = IP_TCP;
	ip[7] = TTL;
	memcpy(ip + 8, c->far.b, 16);
	memcpy(ip + 24, c->member.b, 16);
	return IP6_HLEN;
}

static uint32_t window(struct tcp_conn *c, bool syn)
{
	unsigned scale = syn ? 0 : c->rcv_scale;
	return MIN(tcp_buffer_room(&c->in), 0xffffu << scale) >> scale << scale;
}

static void put_tcp(struct tcp_conn *c, uint8_t *p, const struct piece *g)
{
	bool syn = g->flags & TCP_SYN;
	uint32_t wnd = window(c, syn);
	be16_put(p, c->far_port);
	be16_put(p + 2, c->member_port);
	be32_put(p + 4, g->seq);
	be32_put(p + 8, c->rcv_nxt);
	p[12] = (uint8_t)((TCP_HLEN + g->options) / 4 << 4);
	p[13] = g->flags;
	be16_put(p + 14, (uint16_t)(wnd >> (syn ? 0 : c->rcv_scale)));
	be16_put(p + 16, (uint16_t)~inet_sum(p, 0, inet_pseudo(&c->far, &c->member, IP_TCP, TCP_HLEN + g->options + g->payload)));
	be16_put(p + 18, 0);
	c->rcv_edge = c->rcv_nxt + wnd;
	c->ack_now = false;
}

static void put_vnet(const struct tcp_conn *c, uint8_t *vnet, size_t l4, const struct piece *g)
{
	memset(vnet, 0, NET_HDR);
	vnet[VNET_FLAGS] = VNET_NEEDS_CSUM;
	le16_put(vnet + VNET_START, (uint16_t)l4);
	le16_put(vnet + VNET_OFFSET, CSUM_OFFSET);
	if (g->payload <= c->mss)
		return;
	vnet[VNET_GSO] = addr_is_v4(&c->far) ? VNET_TCPV4 : VNET_TCPV6;
	le16_put(vnet + VNET_HDRLEN, (uint16_t)(l4 + TCP_HLEN));
	le16_put(vnet + VNET_SIZE, c->mss);
}

/* Its headers; where options and payload go, NULL: no room. */
static uint8_t *begin(struct tcp *t, struct tcp_conn *c, const struct piece *g)
{
	size_t tcp = TCP_HLEN + g->options + g->payload, l4 = ETH_HLEN + (addr_is_v4(&c->far) ? IP4_HLEN : IP6_HLEN);
	uint8_t *p = t->o.room(t->o.opaque, NET_HDR + l4 + tcp);
	if (!p) {
		t->blocked = true;
		return NULL;
	}
	put_vnet(c, p, l4, g);
	p += NET_HDR;
	memcpy(p, c->member_mac, 6);
	memcpy(p + 6, c->own_mac, 6);
	be16_put(p + 12, addr_is_v4(&c->far) ? ETH_IPV4 : ETH_IPV6);
	put_ip(c, p + ETH_HLEN, tcp);
	put_tcp(c, p + l4, g);
	return p + l4 + TCP_HLEN;
}

static void end(struct tcp *t, const struct tcp_conn *c, const struct piece *g)
{
	t->o.emit(t->o.opaque, NET_HDR + ETH_HLEN + (addr_is_v4(&c->far) ? IP4_HLEN : IP6_HLEN) + TCP_HLEN + g->options + g->payload);
}

static bool send_bare(struct tcp *t, struct tcp_conn *c, uint8_t flags, uint32_t seq)
{
	struct piece g = { flags, seq, 0, 0 };
	if (!begin(t, c, &g))
		return false;
	end(t, c, &g);
	return true;
}

bool tcp_send_syn(struct tcp *t, struct tcp_conn *c)
{
	struct piece g = { TCP_SYN | TCP_ACK, c->iss, c->rcv_scale ? SYN_OPTIONS : SYN_OPTIONS / 2, 0 };
	tcp_set_timer(t, c, patience(c));
	uint8_t *p = begin(t, c, &g);
	if (!p)
		return false;
	p[0] = 2;
	p[1] = 4;
	be16_put(p + 2, (uint16_t)(t->o.mtu - TCP_HLEN - (addr_is_v4(&c->far) ? IP4_HLEN : IP6_HLEN)));
	if (c->rcv_scale)
		memcpy(p + 4, (const uint8_t[]){ 1, 3, 3, TCP_SCALE }, 4);
	end(t, c, &g);
	return true;
}

bool tcp_send_ack(struct tcp *t, struct tcp_conn *c)
{
	return send_bare(t, c, TCP_ACK, c->snd_max);
}

void tcp_send_reset(struct tcp *t, struct tcp_conn *c)
{
	send_bare(t, c, TCP_RST | TCP_ACK, c->snd_max);
}

/* ---- data ---- */

static uint32_t sendable(const struct tcp_conn *c, uint32_t sent)
{
	uint32_t most = c->mss >= TCP_READ ? TCP_READ : TCP_READ / c->mss * c->mss, wnd = MIN(c->snd_wnd, c->cwnd);
	if (sent >= c->out.len || wnd <= sent)
		return 0;
	uint32_t left = MIN(c->out.len - sent, wnd - sent);
	return MIN(left, most);
}

/* A small piece waits for the next acknowledgement, if the window's end cut it short,
 * and for the socket, if that has more. */
static bool waits(const struct tcp_conn *c, uint32_t sent, uint32_t n)
{
	return n < WORTH && (n < c->out.len - sent ? sent : tcp_may_read(c));
}

static bool send_piece(struct tcp *t, struct tcp_conn *c, uint32_t sent, uint32_t n, bool fin)
{
	bool last = sent + n == c->out.len;
	struct piece g = { (uint8_t)(TCP_ACK | (last && n ? TCP_PSH : 0) | (fin ? TCP_FIN : 0)), c->snd_nxt, 0, n };
	struct iovec v[2];
	uint8_t *p = begin(t, c, &g);
	if (!p)
		return false;
	if (n) {
		tcp_buffer_pieces(&c->out, sent, n, v);
		memcpy(p, v[0].iov_base, v[0].iov_len);
		memcpy(p + v[0].iov_len, v[1].iov_base, v[1].iov_len);
	}
	end(t, c, &g);
	c->snd_nxt += n + fin;
	if (tcp_before(c->snd_max, c->snd_nxt))
		c->snd_max = c->snd_nxt;
	return true;
}

bool tcp_send_data(struct tcp *t, struct tcp_conn *c)
{
	unsigned i;
	for (i = 0; i < TURN; i++) {
		uint32_t sent = c->snd_nxt - c->snd_una, n = sendable(c, sent);
		bool fin = c->eof && !c->fin_acked && sent + n == c->out.len;
		if ((!n && !fin) || waits(c, sent, n))
			break;
		if (!send_piece(t, c, sent, n, fin))
			return false;
	}
	if (!c->timer_ns && (c->out.len || c->snd_max != c->snd_una))      /* or a window that is shut */
		tcp_set_timer(t, c, patience(c));
	return i == TURN;
}

/* ---- acknowledgements ---- */

static void go_back(struct tcp_conn *c)
{
	uint32_t least = MAX((uint32_t)CWND_LEAST, 2u * c->mss);
	c->ssthresh = MAX((c->snd_max - c->snd_una) / 2, least);
	c->recover = c->snd_max;
	c->recovering = true;
	c->snd_nxt = c->snd_una;
}

static void grow(struct tcp_conn *c, uint32_t n)
{
	uint32_t more = c->cwnd < c->ssthresh ? n : (uint32_t)((uint64_t)c->mss * n / c->cwnd + 1);
	c->cwnd = MIN(c->cwnd + more, (uint32_t)TCP_BUFFER);
}

void tcp_acked(struct tcp *t, struct tcp_conn *c, uint32_t ack)
{
	uint32_t n = ack - c->snd_una, bytes = MIN(n, c->out.len);
	tcp_buffer_drop(&c->out, bytes);
	c->fin_acked |= n > bytes;
	c->snd_una = ack;
	if (tcp_before(c->snd_nxt, ack))
		c->snd_nxt = ack;
	c->dups = c->backoff = 0;
	if (c->recovering && !tcp_before(ack, c->recover))
		c->recovering = false;
	else if (!c->recovering)
		grow(c, bytes);
	c->timer_ns = 0;
	if (c->snd_max != ack)
		tcp_set_timer(t, c, patience(c));
}

void tcp_ack_repeated(struct tcp *t, struct tcp_conn *c)
{
	if (++c->dups != DUPS || c->recovering)
		return;
	go_back(c);
	c->cwnd = c->ssthresh;
}

bool tcp_retransmit(struct tcp *t, struct tcp_conn *c)
{
	c->timer_ns = 0;
	if (++c->backoff > TRIES)
		return false;
	if (c->state == TCP_OPENING) {
		tcp_send_syn(t, c);
		return true;
	}
	if (c->snd_max != c->snd_una) {
		go_back(c);
		c->cwnd = MAX((uint32_t)CWND_LEAST, 2u * c->mss);
	}
	if (!sendable(c, 0) && !(c->eof && !c->fin_acked))
		send_bare(t, c, TCP_ACK, c->snd_una - 1);      /* asks for its window, or whether it lives */
	tcp_set_timer(t, c, patience(c));
	return true;
}
