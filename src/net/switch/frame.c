/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames in a switch: see frame.h. */
#include "net/switch/frame.h"

enum { ETH_HLEN = 14, IP6_HLEN = 40, MAX_EXT = 6 };

static bool vnet_sound(const uint8_t *vnet, size_t len)
{
	uint8_t type = vnet[VNET_GSO] & (uint8_t)~VNET_ECN;
	size_t start = le16_get(vnet + VNET_START), offset = le16_get(vnet + VNET_OFFSET);
	if (vnet[VNET_FLAGS] & VNET_NEEDS_CSUM && (start < ETH_HLEN || start + offset + 2 > len))
		return false;
	return !type || ((type == VNET_TCPV4 || type == VNET_TCPV6) && vnet[VNET_FLAGS] & VNET_NEEDS_CSUM);
}

/* IEEE 802.1Q 9.6; a priority tag (VID 0) counts as none. */
static void strip_tag(struct frame *f)
{
	uint16_t tci = be16_get(f->head + ETH_HLEN);
	f->pcp = (uint8_t)(tci >> 13);
	f->vid = tci & 0xfff;
	f->tagged = f->vid != 0;
	memmove(f->head + 12, f->head + 12 + TAG, f->head_len - 12 - TAG);
	f->head_len -= TAG;
	if (f->vnet[VNET_FLAGS] & VNET_NEEDS_CSUM)
		le16_put(f->vnet + VNET_START, (uint16_t)(le16_get(f->vnet + VNET_START) - TAG));
}

bool frame_begin(struct frame *f, const uint8_t *vnet, const uint8_t *data, size_t len)
{
	if (len < FRAME_MIN || len > NET_FRAME_MAX)
		return false;
	memcpy(f->vnet, vnet, NET_HDR);
	memset(f->vnet + 10, 0, 2);
	f->vid = 0;
	f->pcp = 0;
	f->tagged = f->parsed = false;
	f->head_len = (uint32_t)MIN(len, (size_t)FRAME_HEAD);
	f->rest_len = (uint32_t)(len - f->head_len);
	f->rest = data + f->head_len;
	memcpy(f->head, data, f->head_len);
	if (unlikely(f->vnet[0] | f->vnet[1]) && !vnet_sound(f->vnet, len))
		return false;
	if (likely(frame_type(f) != ETH_VLAN))
		return true;
	if (f->head_len < FRAME_MIN + TAG ||
	    (f->vnet[VNET_FLAGS] & VNET_NEEDS_CSUM && le16_get(f->vnet + VNET_START) < FRAME_MIN + TAG))
		return false;
	strip_tag(f);
	return true;
}

/* ---- addresses and ports ---- */

struct addr addr_v4(uint32_t v4)
{
	struct addr a = { { [10] = 0xff, [11] = 0xff } };
	be32_put(a.b + 12, v4);
	return a;
}

static void parse_ports(struct frame *f)
{
	const uint8_t *p = f->head + f->l4;
	size_t left = f->head_len - f->l4;
	f->has_l4 = false;
	if (f->fragment)
		return;
	if ((f->proto == IP_TCP && left >= 20) || (f->proto == IP_UDP && left >= 8)) {
		f->sport = be16_get(p);
		f->dport = be16_get(p + 2);
		f->has_l4 = true;
	} else if ((f->proto == IP_ICMP || f->proto == IP_ICMP6) && left >= 8) {
		f->sport = be16_get(p);
		f->dport = be16_get(p + 4);
		f->has_l4 = true;
	}
}

static bool parse_v4(struct frame *f)
{
	const uint8_t *p = f->head + ETH_HLEN;
	size_t left = f->head_len - ETH_HLEN;
	if (left < 20 || p[0] >> 4 != 4 || (p[0] & 15) < 5 || (p[0] & 15) * 4u > left)
		return false;
	f->src = addr_v4(be32_get(p + 12));
	f->dst = addr_v4(be32_get(p + 16));
	f->proto = p[9];
	f->fragment = be16_get(p + 6) & 0x1fff;      /* a first fragment has its ports */
	f->l4 = (uint16_t)(ETH_HLEN + (p[0] & 15) * 4u);
	return true;
}

/* RFC 8200 4: extension headers, as far as the copied head shows them. */
static bool parse_v6(struct frame *f)
{
	const uint8_t *p = f->head + ETH_HLEN;
	size_t left = f->head_len - ETH_HLEN, at = IP6_HLEN;
	if (left < IP6_HLEN || p[0] >> 4 != 6)
		return false;
	memcpy(f->src.b, p + 8, 16);
	memcpy(f->dst.b, p + 24, 16);
	f->proto = p[6];
	f->fragment = false;
	for (unsigned i = 0; i < MAX_EXT; i++) {
		bool options = f->proto == 0 || f->proto == 43 || f->proto == 60;
		if ((!options && f->proto != 44) || at + 8 > left)
			break;
		if (f->proto == 44 && be16_get(p + at + 2) & 0xfff8)
			f->fragment = true;
		f->proto = p[at];
		at += options ? (size_t)(p[at + 1] + 1) * 8 : 8;
	}
	if (at > left) {
		at = left;
		f->fragment = true;      /* its ports are out of sight */
	}
	f->l4 = (uint16_t)(ETH_HLEN + at);
	return true;
}

void frame_parse_ip(struct frame *f)
{
	uint16_t type = frame_type(f);
	if (f->parsed)
		return;
	f->parsed = true;
	f->has_l4 = f->fragment = f->is_ip = false;
	f->proto = 0;
	f->sport = f->dport = 0;
	f->ip = ETH_HLEN;
	f->is_ip = (type == ETH_IPV4 && parse_v4(f)) || (type == ETH_IPV6 && parse_v6(f));
	if (f->is_ip)
		parse_ports(f);
	else
		f->l4 = (uint16_t)f->head_len;
}

/* ---- out ---- */

size_t frame_write(const struct frame *f, bool tagged, uint8_t *out)
{
	uint8_t *p = out;
	if (tagged) {
		memcpy(p, f->head, 12);
		be16_put(p + 12, ETH_VLAN);
		be16_put(p + 14, (uint16_t)(f->pcp << 13 | f->vid));
		memcpy(p + 16, f->head + 12, f->head_len - 12);
		p += f->head_len + TAG;
	} else {
		memcpy(p, f->head, f->head_len);
		p += f->head_len;
	}
	memcpy(p, f->rest, f->rest_len);
	return (size_t)(p + f->rest_len - out);
}

void frame_vnet(const struct frame *f, bool tagged, uint8_t vnet[NET_HDR])
{
	memcpy(vnet, f->vnet, NET_HDR);
	if (tagged && vnet[VNET_FLAGS] & VNET_NEEDS_CSUM)
		le16_put(vnet + VNET_START, (uint16_t)(le16_get(vnet + VNET_START) + TAG));
}

bool frame_fits(const struct frame *f, unsigned caps)
{
	uint8_t type = f->vnet[VNET_GSO] & (uint8_t)~VNET_ECN;
	if (likely(!(f->vnet[VNET_FLAGS] & VNET_NEEDS_CSUM)))
		return true;
	if (!(caps & NET_CAP_CSUM))
		return false;
	return !type || (type == VNET_TCPV4 && caps & NET_CAP_TSO4) || (type == VNET_TCPV6 && caps & NET_CAP_TSO6);
}

/* ---- checksums ---- */

/* RFC 1071 2(B): words are added as they lie, eight bytes at once; only the sum is put
 * in order. */
static uint64_t raw_sum(const uint8_t *p, size_t n)
{
	uint64_t s = 0, w;
	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&w, p, 8);
		s += (w & 0xffffffff) + (w >> 32);
	}
	w = 0;
	memcpy(&w, p, n);
	s += (w & 0xffffffff) + (w >> 32);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return be16toh((uint16_t)s);
}

uint16_t inet_sum(const uint8_t *p, size_t n, uint64_t s)
{
	s += raw_sum(p, n);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

uint64_t inet_pseudo(const struct addr *src, const struct addr *dst, uint8_t proto, size_t len)
{
	unsigned from = addr_is_v4(dst) ? 12 : 0;
	uint64_t s = proto + len;
	for (unsigned i = from; i < 16; i += 2)
		s += (uint64_t)be16_get(src->b + i) + be16_get(dst->b + i);
	return s;
}
