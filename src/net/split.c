/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checksum and TCP segmentation in software (virtio 1.2 5.1.6.2), at the edge
 * where frames leave for a back end that takes only finished ones.  It costs the
 * host far less than it would cost an emulated guest.  Frame and header come
 * from a guest: every offset is checked here, once.
 */
#include "net/port.h"

#include "base/util.h"

enum { HDR_NEEDS_CSUM = 1, GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_ECN = 0x80 };
enum { ETH_HLEN = 14, IP6_HLEN = 40, TCP_HLEN = 20, PROTO_TCP = 6 };
enum { MSS_MIN = 48 };     /* smaller: a frame would become an army */
enum { TCP_FIN = 1, TCP_PSH = 8, TCP_CWR = 0x80 };

static uint16_t be16_get(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static uint32_t be32_get(const uint8_t *p) { return (uint32_t)be16_get(p) << 16 | be16_get(p + 2); }
static void be16_put(uint8_t *p, uint16_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static void be32_put(uint8_t *p, uint32_t v) { be16_put(p, (uint16_t)(v >> 16)); be16_put(p + 2, (uint16_t)v); }

/* RFC 1071, 32 bits at a time; the sum of big-endian words, not folded. */
static uint64_t sum(const uint8_t *p, size_t n, uint64_t s)
{
	for (; n >= 4; p += 4, n -= 4)
		s += be32_get(p);
	if (n >= 2) {
		s += be16_get(p);
		p += 2;
		n -= 2;
	}
	return n ? s + (uint64_t)(*p << 8) : s;
}

static uint16_t fold(uint64_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

static bool plain_checksum(uint8_t *frame, size_t len, size_t start, size_t offset)
{
	if (start + offset + 2 > len)
		return false;
	uint16_t c = (uint16_t)~fold(sum(frame + start, len - start, 0));
	be16_put(frame + start + offset, c ? c : 0xffff);
	return true;
}

/* Where IP and TCP start, and whether they are what gso_type says. */
static bool find_headers(struct net_split *s, uint8_t type, size_t l4)
{
	const uint8_t *f = s->frame;
	s->ip = ETH_HLEN;
	if (s->len > ETH_HLEN + 4 && be16_get(f + 12) == 0x8100)
		s->ip += 4;
	s->l4 = l4;
	s->ipv6 = type == GSO_TCPV6;
	if (s->l4 < s->ip + (s->ipv6 ? IP6_HLEN : 20) || s->l4 + TCP_HLEN > s->len)
		return false;
	if (f[s->ip] >> 4 != (s->ipv6 ? 6 : 4))
		return false;
	if (!s->ipv6 && (f[s->ip + 9] != PROTO_TCP || s->ip + (f[s->ip] & 15) * 4u != s->l4))
		return false;
	size_t tcp = (f[s->l4 + 12] >> 4) * 4u;
	s->payload = s->l4 + tcp;
	return tcp >= TCP_HLEN && s->payload < s->len;
}

bool net_split_begin(struct net_split *s, const uint8_t hdr[NET_HDR], uint8_t *frame, size_t len)
{
	uint8_t type = hdr[1] & ~GSO_ECN;
	size_t start = le16_get(hdr + 6), offset = le16_get(hdr + 8);
	*s = (struct net_split){ .frame = frame, .len = len };
	if (len < ETH_HLEN || len > NET_FRAME_MAX - NET_HDR)
		return false;
	if (type == GSO_NONE)
		return !(hdr[0] & HDR_NEEDS_CSUM) || plain_checksum(frame, len, start, offset);
	s->gso_size = le16_get(hdr + 4);
	if (s->gso_size < MSS_MIN || !(hdr[0] & HDR_NEEDS_CSUM) || (type != GSO_TCPV4 && type != GSO_TCPV6) ||
	    !find_headers(s, type, start))
		return false;
	s->seq = be32_get(frame + s->l4 + 4);
	return true;
}

static void fix_ip(const struct net_split *s, uint8_t *out, size_t len, unsigned index)
{
	uint8_t *ip = out + s->ip;
	if (s->ipv6) {
		be16_put(ip + 4, (uint16_t)(len - s->ip - IP6_HLEN));
		return;
	}
	be16_put(ip + 2, (uint16_t)(len - s->ip));
	be16_put(ip + 4, (uint16_t)(be16_get(ip + 4) + index));
	be16_put(ip + 10, 0);
	be16_put(ip + 10, (uint16_t)~fold(sum(ip, s->l4 - s->ip, 0)));
}

static void fix_tcp(const struct net_split *s, uint8_t *out, size_t len, bool first, bool last)
{
	uint8_t *tcp = out + s->l4;
	const uint8_t *ip = out + s->ip;
	be32_put(tcp + 4, s->seq + (uint32_t)s->done);
	if (!last)
		tcp[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (!first)
		tcp[13] &= (uint8_t)~TCP_CWR;
	be16_put(tcp + 16, 0);
	uint64_t pseudo = PROTO_TCP + (len - s->l4);
	pseudo = s->ipv6 ? sum(ip + 8, 32, pseudo) : sum(ip + 12, 8, pseudo);
	be16_put(tcp + 16, (uint16_t)~fold(sum(tcp, len - s->l4, pseudo)));
}

size_t net_split_next(struct net_split *s, uint8_t *out)
{
	if (s->done >= s->len - s->payload)
		return 0;
	if (!s->gso_size) {
		memcpy(out, s->frame, s->len);
		s->done = s->len;
		return s->len;
	}
	size_t left = s->len - s->payload - s->done, n = MIN(left, (size_t)s->gso_size);
	memcpy(out, s->frame, s->payload);
	memcpy(out + s->payload, s->frame + s->payload + s->done, n);
	fix_ip(s, out, s->payload + n, (unsigned)(s->done / s->gso_size));
	fix_tcp(s, out, s->payload + n, !s->done, n == left);
	s->done += n;
	return s->payload + n;
}
