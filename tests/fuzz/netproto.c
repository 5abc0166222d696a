/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Payloads alone: DHCP, DHCPv6, DNS, VXLAN, and the text of rules. First byte: which. */
#include <stdlib.h>

#include "lib/fuzz.h"
#include "net/switch/acl.h"
#include "net/switch/dhcp.h"
#include "net/switch/dns.h"
#include "net/switch/vxlan.h"

static bool find(void *opaque, const char *name, struct dns_host *h)
{
	*h = (struct dns_host){ true, true, 0x0a000001, { { 0xfd } } };
	return strlen(name) < 64;
}
static const char *reverse(void *opaque, const struct addr *a) { return "a-rather-long-name.1"; }

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	static const char dns[] = "\2\x12\x34\1\0\0\1\0\0\0\0\0\0\2m1\5abyme\0\0\1\0\1",
		ptr[] = "\2\x12\x34\1\0\0\1\0\0\0\0\0\0\2\x31\x30\1\x30\1\x30\2\x31\x30\7in-addr\4arpa\0\0\x0c\0\1",
		six[] = "\1\3\0\0\7\0\1\0\4abcd\0\2\0\x0a\0\3\0\1\2\xab\0\0\0\0\0\3\0\x0c\0\0\0\1\0\0\0\0\0\0\0\0",
		rule[] = "\4deny out tcp from 10.0.0.0/8,fd00::/8 to @web port 80-90 on m1";
	switch (n) {
	case 0:
		memset(buf, 0, 301);
		memcpy(buf + 1, "\1\1\6", 3);
		memcpy(buf + 29, "\2\0\0\0\0\0", 6);
		memcpy(buf + 237, "\x63\x82\x53\x63\x35\1\3\x32\4\x0a\0\0\x0a\xff", 14);
		return 301;
	case 1: memcpy(buf, six, sizeof(six) - 1); return sizeof(six) - 1;
	case 2: memcpy(buf, dns, sizeof(dns) - 1); return sizeof(dns) - 1;
	case 3: memcpy(buf, ptr, sizeof(ptr) - 1); return sizeof(ptr) - 1;
	case 4: memcpy(buf, rule, sizeof(rule) - 1); return sizeof(rule) - 1;
	case 5:
		memset(buf, 0, 80);
		buf[0] = 3;
		buf[1] = 8;
		buf[7] = 77;
		return 80;
	default: return 0;
	}
}

static void protocols(unsigned which, const uint8_t *q, size_t n)
{
	static struct vxlan *v;
	struct dhcp_lease l = { .mac = { 2 }, .server_mac = { 2, 0xab }, .ip = 0x0a00000a, .mask = 0xffffff00, .server = 0x0a000002,
				.has_ip6 = true, .mtu = 1500, .name = "web", .domain = "abyme" };
	struct dns_zone z = { "abyme", false, NULL, find, reverse };
	struct sockaddr_in from = { 0 };
	uint8_t out[DHCP_MAX];      /* the larger of both */
	size_t len = 0;
	bool broadcast;
	if (!v) {
		v = xnew(struct vxlan);
		vxlan_init(v, 77, 4789, 1);
		v->open = true;
	}
	if (which == 0 && dhcp_answer(&l, q, n, out, &broadcast) > DHCP_MAX)
		abort();
	if (which == 1 && dhcp6_answer(&l, q, n, out) > DHCP_MAX)
		abort();
	if (which == 2 && dns_answer(&z, q, n, out, &len) == DNS_ANSWER && len > DNS_MAX)
		abort();
	from.sin_addr.s_addr = n ? q[n - 1] : 0;
	if (which == 3 && vxlan_open(v, &from, q, n, 1, &len) && len > n)
		abort();
}

void fuzz_one(const uint8_t *data, size_t size)
{
	if (!size)
		return;
	uint8_t *exact = malloc(size);
	memcpy(exact, data + 1, size - 1);
	exact[size - 1] = 0;
	if (data[0] % 5 == 4) {
		struct acl_rule r;
		acl_parse((const char *)exact, &r, NULL);
	} else {
		protocols(data[0] % 5, exact, size - 1);
	}
	free(exact);
}
