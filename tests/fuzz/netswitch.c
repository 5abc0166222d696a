/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames from members, through guard, rules, services and forwarding.  Input: a
 * byte for the port, virtio_net_hdr, u16 length, frame; again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/fuzz.h"
#include "net/switch/policy.h"

static struct sw *sw;
static struct policy *policy;
static struct sw_port *port[4];

static bool take(struct sw_port *p, const struct frame *f, bool tagged)
{
	static uint8_t out[TAG + NET_FRAME_MAX];
	if (frame_write(f, tagged, out) > sizeof(out))
		abort();
	return true;
}
static uint8_t *piece_room(void *opaque, size_t most)
{
	static uint8_t piece[TAG + NET_FRAME_MAX];
	return most <= sizeof(piece) ? piece : NULL;
}
static void piece_emit(void *opaque, size_t len)
{
	if (len > TAG + NET_FRAME_MAX)
		abort();
}
static bool finish(struct sw_port *p, const struct frame *f, bool tagged)
{
	return frame_fits(f, 0) ? take(p, f, tagged) : sw_finish(p->sw, f, tagged, piece_room, piece_emit, NULL);
}
static void flush(struct sw_port *p) { }
static const struct sw_link_ops plain = { take, flush }, finished = { finish, flush };

static void build(void)
{
	static const char *const rules[] = { "allow in tcp to @m1 port 80", "deny out udp from 10.0.0.0/8 port 1-100",
					     "deny in icmp from fd00::/8" };
	struct acl *a = xnew(struct acl);
	sw = sw_new(1, 1500);
	sw->vlan_aware = true;
	policy = policy_new(sw, 2);
	policy->services = (struct services){ .on = true, .on6 = true, .nat = true, .base = 0x0a000000, .mask = 0xffffff00,
		.ip = 0x0a000002, .gateway = 0x0a000001, .mac = { 2, 0xab }, .prefix6 = { 0xfd }, .ip6 = { { 0xfd, [15] = 2 } },
		.domain = "abyme" };
	for (unsigned i = 0; i < 3; i++)
		if (!acl_parse(rules[i], &a->rule[a->n++], NULL))
			abort();
	policy_set_rules(policy, a);
	for (unsigned i = 0; i < 4; i++) {
		struct sw_port_config c = { .vid = 1, .guard = i < 2, .uplink = i == 3, .trunk = i == 3, .mac = { 2, [5] = (uint8_t)i },
			.has_ip = i < 2, .ip = 0x0a00000a + i, .has_ip6 = i < 2, .ip6 = { { 0xfd, [15] = (uint8_t)(10 + i) } } };
		snprintf(c.name, sizeof(c.name), "m%u", i);
		c.vlans[0] = 6;
		port[i] = sw_port_add(sw, &c, i & 1 ? &finished : &plain, NULL);
	}
}

static size_t put(uint8_t *p, unsigned from, const void *frame, size_t n)
{
	memset(p, 0, 15);
	p[0] = (uint8_t)from;
	le16_put(p + 13, (uint16_t)n);
	memcpy(p + 15, frame, n);
	return 15 + n;
}

static size_t udp(uint8_t *p, uint32_t dst, unsigned dport, const void *payload, size_t n)
{
	uint8_t b[600] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0, 8, 0, 0x45 };
	be16_put(b + 16, (uint16_t)(28 + n));
	b[23] = IP_UDP;
	be32_put(b + 26, dport == 67 ? 0 : 0x0a00000a);
	be32_put(b + 30, dst);
	be16_put(b + 34, dport == 67 ? 68 : 5000);
	be16_put(b + 36, (uint16_t)dport);
	be16_put(b + 38, (uint16_t)(8 + n));
	memcpy(b + 42, payload, n);
	return put(p, 0, b, MAX(42 + n, (size_t)60));
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	uint8_t dhcp[300] = { 1, 1, 6 }, six[120] = { 0x33, 0x33, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0x86, 0xdd, 0x60 },
		big[3000] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 8, 0, 0x45 };
	static const uint8_t dns[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\2m1\5abyme\0\0\1\0\1";
	size_t len;
	switch (n) {
	case 0:
		memcpy(dhcp + 28, "\2\0\0\0\0\0", 6);
		memcpy(dhcp + 236, "\x63\x82\x53\x63\x35\1\1\xff", 8);
		return udp(buf, 0xffffffff, 67, dhcp, sizeof(dhcp));
	case 1:
		return udp(buf, 0x0a000002, 53, dns, sizeof(dns) - 1);
	case 2:
		be16_put(six + 18, 66);
		six[20] = IP_UDP;
		six[22] = 0xfe;
		six[23] = 0x80;
		be16_put(six + 54, 546);
		be16_put(six + 56, 547);
		be16_put(six + 58, 66);
		memcpy(six + 62, "\1\0\0\7\0\1\0\4abcd\0\3\0\x0c\0\0\0\1\0\0\0\0\0\0\0\0", 28);
		return put(buf, 0, six, sizeof(six));
	case 3:
		be16_put(six + 18, 24);
		six[20] = IP_ICMP6;
		six[54] = 135;
		six[62] = 0xfd;
		six[77] = 2;
		return put(buf, 0, six, sizeof(six));
	case 4:
		big[23] = IP_TCP;
		be32_put(big + 26, 0x0a00000a);
		be32_put(big + 30, 0x0a00000b);
		be16_put(big + 36, 80);
		big[46] = 0x50;
		len = put(buf, 0, big, sizeof(big));
		buf[1] = VNET_NEEDS_CSUM;
		buf[2] = VNET_TCPV4;
		le16_put(buf + 5, 1000);
		le16_put(buf + 7, 34);
		le16_put(buf + 9, 16);
		return len;
	case 5:
		memcpy(big + 12, "\x81\0\0\2\x08\x06\0\1\x08\0\6\4\0\1", 14);
		return put(buf, 3, big, 64);
	default:
		return 0;
	}
}

void fuzz_one(const uint8_t *data, size_t size)
{
	if (!sw)
		build();
	for (size_t at = 0; at + 15 <= size; ) {
		size_t n = MIN((size_t)le16_get(data + at + 13), size - at - 15);
		struct frame f;
		sw->now_ns += 1000000;
		uint8_t *exact = malloc(n ? n : 1);      /* so that a byte too far is seen */
		memcpy(exact, data + at + 15, n);
		if (frame_begin(&f, data + at + 1, exact, n))
			sw_input(port[data[at] % 4], &f);
		free(exact);
		sw_flush(sw);
		at += 15 + n;
	}
	sw_tick(sw);
	policy_tick(policy);
}
