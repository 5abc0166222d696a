/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segments as a network's member sends them, for tests of net/tcp.h. */
#ifndef TESTS_LIB_TCP_FRAME_H
#define TESTS_LIB_TCP_FRAME_H

#include "net/tcp_conn.h"

struct tcp_words { struct addr src, dst; uint16_t sport, dport; uint32_t seq, ack; uint16_t window, mss; uint8_t flags, scale; };

/* Header and frame into out[NET_HDR + NET_FRAME_MAX], its checksum left to do; its length. A SYN has options. */
static inline size_t tcp_frame(uint8_t *out, const struct tcp_words *w, const uint8_t *data, size_t len)
{
	bool v4 = addr_is_v4(&w->dst), syn = w->flags & TCP_SYN;
	size_t ip = 14, l4 = ip + (v4 ? 20 : 40), head = syn ? 28 : 20;
	uint8_t *p = out + NET_HDR;
	memset(out, 0, NET_HDR + l4 + head);
	out[VNET_FLAGS] = VNET_NEEDS_CSUM;
	le16_put(out + VNET_START, (uint16_t)l4);
	le16_put(out + VNET_OFFSET, 16);
	memcpy(p, "\x02\0\0\0\0\1\x02\0\0\0\0\2", 12);
	be16_put(p + 12, v4 ? ETH_IPV4 : ETH_IPV6);
	p[ip] = v4 ? 0x45 : 0x60;
	be16_put(p + ip + (v4 ? 2 : 4), (uint16_t)((v4 ? 20 : 0) + head + len));
	p[ip + (v4 ? 9 : 6)] = IP_TCP;
	memcpy(p + ip + (v4 ? 12 : 8), w->src.b + (v4 ? 12 : 0), v4 ? 4 : 16);
	memcpy(p + ip + (v4 ? 16 : 24), w->dst.b + (v4 ? 12 : 0), v4 ? 4 : 16);
	p += l4;
	be16_put(p, w->sport);
	be16_put(p + 2, w->dport);
	be32_put(p + 4, w->seq);
	be32_put(p + 8, w->ack);
	p[12] = (uint8_t)(head / 4 << 4);
	p[13] = w->flags;
	be16_put(p + 14, w->window);
	if (syn) {
		const uint8_t options[8] = { 2, 4, (uint8_t)(w->mss >> 8), (uint8_t)w->mss, 1, 3, 3, w->scale };
		memcpy(p + 20, options, 8);
	}
	if (len)
		memcpy(p + head, data, len);
	return NET_HDR + l4 + head + len;
}

#endif
