/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A frame on its way through a switch.  Its first bytes are copied out of
 * memory that its sender can change, judged there, and sent on from there; the
 * rest is copied once, from the sender's ring into the receiver's.  Inside the
 * switch frames carry no VLAN tag: it is taken off (and noted) on the way in and
 * put on where a port wants it.
 */
#ifndef NET_SWITCH_FRAME_H
#define NET_SWITCH_FRAME_H

#include "net/port.h"

enum { FRAME_HEAD = 160, FRAME_MIN = 14, TAG = 4, VLANS = 4096, VLAN_DEFAULT = 1 };
enum { ETH_IPV4 = 0x0800, ETH_ARP = 0x0806, ETH_VLAN = 0x8100, ETH_QINQ = 0x88a8, ETH_IPV6 = 0x86dd };
enum { IP_ICMP = 1, IP_IGMP = 2, IP_TCP = 6, IP_UDP = 17, IP_ICMP6 = 58 };
/* virtio_net_hdr (virtio 1.2 5.1.6) */
enum { VNET_FLAGS = 0, VNET_GSO = 1, VNET_START = 6, VNET_OFFSET = 8, VNET_NEEDS_CSUM = 1,
       VNET_DATA_VALID = 2, VNET_TCPV4 = 1, VNET_TCPV6 = 4, VNET_ECN = 0x80 };

struct addr { uint8_t b[16]; };          /* IPv4 as ::ffff:a.b.c.d */

struct frame {
	uint8_t vnet[NET_HDR];
	uint16_t vid;                    /* VLAN, and whether there was a tag */
	uint8_t pcp;
	bool tagged;
	uint32_t head_len, rest_len;     /* without tag and vnet */
	const uint8_t *rest;             /* sender's memory: may change */
	/* set by frame_parse_ip(), from head alone */
	bool parsed, is_ip, fragment, has_l4;
	uint8_t proto;
	uint16_t ip, l4;                 /* offsets */
	uint16_t sport, dport;           /* TCP, UDP; ICMP: type and code in sport, id in dport */
	struct addr src, dst;
	uint8_t head[FRAME_HEAD];
};

static inline uint16_t be16_get(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t be32_get(const uint8_t *p) { return (uint32_t)be16_get(p) << 16 | be16_get(p + 2); }
static inline void be16_put(uint8_t *p, uint16_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static inline void be32_put(uint8_t *p, uint32_t v) { be16_put(p, (uint16_t)(v >> 16)); be16_put(p + 2, (uint16_t)v); }
static inline uint64_t mac_key(const uint8_t *m) { return (uint64_t)be16_get(m) << 32 | be32_get(m + 2); }

static inline const uint8_t *frame_dst(const struct frame *f) { return f->head; }
static inline const uint8_t *frame_src(const struct frame *f) { return f->head + 6; }
static inline uint16_t frame_type(const struct frame *f) { return be16_get(f->head + 12); }
static inline size_t frame_len(const struct frame *f) { return f->head_len + f->rest_len; }
static inline bool frame_group(const struct frame *f) { return f->head[0] & 1; }

/* Take apart what a port gave: virtio_net_hdr, then the frame.  False: too
 * short, or a header that promises what is not there. */
bool frame_begin(struct frame *f, const uint8_t *vnet, const uint8_t *data, size_t len);
/* Find IP and its ports; f->proto says what there is. */
void frame_parse_ip(struct frame *f);
/* Its bytes for the wire, at most frame_len() + TAG. */
size_t frame_write(const struct frame *f, bool tagged, uint8_t *out);
/* The header that goes with that (offsets move with the tag). */
void frame_vnet(const struct frame *f, bool tagged, uint8_t vnet[NET_HDR]);
/* Can it go to who takes `caps` (NET_CAP_*) as it is? */
bool frame_fits(const struct frame *f, unsigned caps);

struct addr addr_v4(uint32_t a);
static inline bool addr_is_v4(const struct addr *a)
{ return !memcmp(a->b, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12); }
static inline uint32_t addr_to_v4(const struct addr *a) { return be32_get(a->b + 12); }

/* RFC 1071; `start` for the pseudo header's sum. */
uint16_t inet_sum(const uint8_t *p, size_t n, uint64_t start);
uint64_t inet_pseudo(const struct addr *src, const struct addr *dst, uint8_t proto, size_t len);

#endif
