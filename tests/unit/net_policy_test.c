/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules and connections, the guard, DHCP and DNS: what the switch says and lets through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <strings.h>

#include "net/switch/dhcp.h"
#include "net/switch/dns.h"
#include "net/switch/policy.h"
#include "net/switch/vxlan.h"

static unsigned got[3];
static uint8_t last[2048];
static size_t last_len;
static bool record(struct sw_port *p, const struct frame *f, bool tagged)
{
	got[p->index]++;
	last_len = frame_write(f, tagged, last);
	return true;
}
static void no_flush(struct sw_port *p) { }
static const struct sw_link_ops ops = { .put = record, .flush = no_flush };

struct lab { struct sw *sw; struct policy *policy; struct sw_port *port[3]; };

static int setup(void **state)
{
	struct lab *l = xnew(struct lab);
	l->sw = sw_new(1, 1500);
	l->sw->now_ns = 100000000000ull;
	l->policy = policy_new(l->sw, 99);
	l->policy->services = (struct services){ .on = true, .base = 0x0a000000, .mask = 0xffffff00, .ip = 0x0a000002,
						 .mac = { 2, 0xab }, .domain = "abyme" };
	for (unsigned i = 0; i < 3; i++) {
		struct sw_port_config c = { .vid = 1, .guard = true, .mac = { 2, 0, 0, 0, 0, (uint8_t)i },
					    .has_ip = true, .ip = 0x0a00000a + i };
		snprintf(c.name, sizeof(c.name), "m%u", i);
		snprintf(c.group, sizeof(c.group), "%s", i == 1 ? "web" : "");
		l->port[i] = sw_port_add(l->sw, &c, &ops, NULL);
	}
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	struct lab *l = *state;
	policy_free(l->policy);
	sw_free(l->sw);
	free(l);
	return 0;
}

static void rules(struct lab *l, const char *const *text)
{
	struct acl *a = xnew(struct acl);
	for (; *text; text++)
		assert_true(acl_parse(*text, &a->rule[a->n++], NULL));
	policy_set_rules(l->policy, a);
}
#define RULES(l, ...) rules(l, (const char *const[]){ __VA_ARGS__, NULL })

/* A TCP or UDP frame from one member to another; whether it arrived. */
static bool packet(struct lab *l, unsigned from, unsigned to, uint8_t proto, unsigned sport, unsigned dport)
{
	uint8_t b[64] = { 0 }, vnet[NET_HDR] = { 0 };
	struct frame f;
	memcpy(b, l->port[to]->c.mac, 6);
	memcpy(b + 6, l->port[from]->c.mac, 6);
	be16_put(b + 12, ETH_IPV4);
	b[14] = 0x45;
	b[23] = proto;
	be32_put(b + 26, l->port[from]->c.ip);
	be32_put(b + 30, l->port[to]->c.ip);
	be16_put(b + 34, (uint16_t)sport);
	be16_put(b + 36, (uint16_t)dport);
	b[46] = 0x50;
	assert_true(frame_begin(&f, vnet, b, 60));
	memset(got, 0, sizeof(got));
	sw_input(l->port[from], &f);
	return got[to] == 1;
}

static void first_match_decides(void **state)
{
	struct lab *l = *state;
	for (unsigned i = 0; i < 3; i++)       /* so that nothing floods */
		packet(l, i, (i + 1) % 3, IP_ICMP, 0, 0);
	RULES(l, "allow in tcp from any to @web port 80", "deny in to @web", "deny out udp port 5000-6000 on m0");
	assert_true(packet(l, 0, 1, IP_TCP, 1000, 80));
	assert_false(packet(l, 0, 1, IP_TCP, 1000, 81));
	assert_int_equal(l->port[0]->drops[SW_DROP_rule], 1);
	assert_false(packet(l, 0, 1, IP_UDP, 1000, 80));
	assert_true(packet(l, 0, 2, IP_TCP, 1000, 81));
	assert_false(packet(l, 0, 2, IP_UDP, 1000, 5500));
	assert_true(packet(l, 1, 2, IP_UDP, 1000, 5500));
	assert_int_equal(l->policy->acl->rule[0].hits, 1);
	assert_int_equal(l->policy->acl->rule[1].hits, 2);
}

static void answers_come_back(void **state)
{
	struct lab *l = *state;
	RULES(l, "deny in to @m0");
	assert_false(packet(l, 1, 0, IP_TCP, 80, 1000));
	assert_true(packet(l, 0, 1, IP_TCP, 1000, 80));
	assert_true(packet(l, 1, 0, IP_TCP, 80, 1000));
	assert_false(packet(l, 1, 0, IP_TCP, 80, 1001));
	assert_false(packet(l, 2, 0, IP_TCP, 80, 1000));
	l->sw->now_ns += 7300ull * 1000000000;
	policy_tick(l->policy);
	assert_false(packet(l, 1, 0, IP_TCP, 80, 1000));
}

static void prefixes(void **state)
{
	struct lab *l = *state;
	RULES(l, "allow in from 10.0.0.10/32,192.168.0.0/16", "deny in from 10.0.0.0/30", "deny in from 10.0.0.8/30 to 10.0.0.12");
	assert_true(packet(l, 0, 2, IP_UDP, 1, 2));
	assert_false(packet(l, 1, 2, IP_UDP, 1, 2));
	assert_true(packet(l, 2, 1, IP_UDP, 5, 6));
}

static void texts(void **state)
{
	static const char *const bad[] = { "", "allow", "permit in", "allow sideways", "deny in from", "deny in port 80",
		"deny in tcp port 80-20", "deny in from 10.0.0.0/33", "deny in from 10.0.0", "allow in tcp port 99999",
		"allow in bogus x", "deny in from @" };
	struct acl_rule r;
	struct error e;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(acl_parse(bad[i], &r, &e));
		assert_non_null(strstr(e.text, "rule"));
	}
	assert_true(acl_parse("deny out tcp from fd00::/8,10.1.2.3 to any port 20-30 on web", &r, NULL));
	assert_int_equal(r.from.n, 2);
	assert_int_equal(r.from.prefix[1].bits, 128);
}

static void many_connections_age(void **state)
{
	struct lab *l = *state;
	RULES(l, "deny in tcp port 1");
	for (unsigned i = 0; i < 70000; i++) {
		packet(l, 0, 1, IP_UDP, i, 1000 + i / 60000);
		l->sw->now_ns += 5000000;
		if (i % 200 == 0)
			policy_tick(l->policy);
	}
	l->sw->now_ns += 1000ull * 1000000000;
	policy_tick(l->policy);
	assert_true(packet(l, 0, 1, IP_UDP, 7, 7));
}

static void keeps_members_honest(void **state)
{
	struct lab *l = *state;
	assert_true(packet(l, 0, 1, IP_UDP, 1, 2));
	l->port[0]->c.ip++;                    /* as if it used another's address */
	uint32_t own = l->port[0]->c.ip - 1;
	uint8_t b[64] = { 0 }, vnet[NET_HDR] = { 0 };
	struct frame f;
	memcpy(b + 6, l->port[0]->c.mac, 6);
	be16_put(b + 12, ETH_IPV4);
	b[14] = 0x45;
	b[23] = IP_UDP;
	be32_put(b + 26, own);
	assert_true(frame_begin(&f, vnet, b, 60));
	sw_input(l->port[0], &f);
	assert_int_equal(l->port[0]->drops[SW_DROP_spoofed], 1);
	b[11] ^= 1;
	assert_true(frame_begin(&f, vnet, b, 60));
	sw_input(l->port[0], &f);
	assert_int_equal(l->port[0]->drops[SW_DROP_spoofed], 2);
}

/* ---- DHCP ---- */

static struct dhcp_lease lease = { .mac = { 2, 0, 0, 0, 0, 9 }, .server_mac = { 2, 0xab }, .ip = 0x0a000010, .mask = 0xffffff00,
	.server = 0x0a000002, .gateway = 0x0a000001, .mtu = 1500, .name = "web", .domain = "abyme", .has_ip6 = true };

static size_t dhcp(uint8_t type, uint32_t wanted, uint8_t out[DHCP_MAX], bool *broadcast)
{
	uint8_t q[300] = { 1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef };
	memcpy(q + 28, lease.mac, 6);
	memcpy(q + 236, "\x63\x82\x53\x63\x35\x01", 6);
	q[242] = type;
	q[243] = 50;
	q[244] = 4;
	be32_put(q + 245, wanted);
	q[249] = 255;
	return dhcp_answer(&lease, q, sizeof(q), out, broadcast);
}

static void leases_addresses(void **state)
{
	uint8_t out[DHCP_MAX];
	bool broadcast;
	assert_true(dhcp(1, 0, out, &broadcast) >= 300);
	assert_int_equal(out[0], 2);
	assert_memory_equal(out + 4, "\xde\xad\xbe\xef", 4);
	assert_int_equal(be32_get(out + 16), lease.ip);
	assert_int_equal(out[242], 2);
	assert_true(dhcp(3, lease.ip, out, &broadcast));
	assert_int_equal(out[242], 5);
	assert_false(broadcast);
	assert_true(dhcp(3, lease.ip + 1, out, &broadcast));
	assert_int_equal(out[242], 6);
	assert_true(broadcast);
	assert_int_equal(dhcp(7, 0, out, &broadcast), 0);
}

static void names_a_boot_file(void **state)
{
	static const struct { const char *url, *file; uint32_t server; } cases[] = {
		{ "http://10.0.0.50/start", "http://10.0.0.50/start", 0x0a000002 },
		{ "tftp://10.0.0.50/pxelinux.0", "pxelinux.0", 0x0a000032 },
		{ "tftp://files/pxelinux.0", "tftp://files/pxelinux.0", 0x0a000002 },
		{ "tftp://10.0.0.50", "tftp://10.0.0.50", 0x0a000002 }, { "", "", 0x0a000002 },
	};
	uint8_t out[DHCP_MAX];
	bool broadcast;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		lease.boot = cases[i].url;
		assert_true(dhcp(1, 0, out, &broadcast) >= 300);
		assert_string_equal((char *)out + 108, cases[i].file);
		assert_int_equal(be32_get(out + 20), cases[i].server);
	}
	lease.boot = NULL;
}

/* ---- DNS ---- */

static bool find(void *opaque, const char *name, struct dns_host *h)
{
	*h = (struct dns_host){ .has_ip = true, .ip = 0x0a000010 };
	return !strcasecmp(name, "web");
}
static const char *reverse(void *opaque, const struct addr *a)
{
	return addr_is_v4(a) && addr_to_v4(a) == 0x0a000010 ? "web" : NULL;
}

static enum dns_verdict query(const char *name, unsigned type, bool forwards, uint8_t out[DNS_MAX], size_t *len)
{
	struct dns_zone z = { "abyme", forwards, NULL, find, reverse };
	uint8_t q[300] = { 0x12, 0x34, 1, 0, 0, 1 }, *p = q + 12;
	for (const char *s = name; *s; s += strcspn(s, ".") + (s[strcspn(s, ".")] == '.')) {
		size_t n = strcspn(s, ".");
		*p++ = (uint8_t)n;
		memcpy(p, s, n);
		p += n;
	}
	*p++ = 0;
	be16_put(p, (uint16_t)type);
	be16_put(p + 2, 1);
	return dns_answer(&z, q, (size_t)(p + 4 - q), out, len);
}

static void answers_names(void **state)
{
	uint8_t out[DNS_MAX];
	size_t n;
	assert_int_equal(query("WEB.abyme", 1, true, out, &n), DNS_ANSWER);
	assert_int_equal(be16_get(out + 6), 1);
	assert_int_equal(be32_get(out + n - 4), 0x0a000010);
	assert_int_equal(query("web", 28, true, out, &n), DNS_ANSWER);
	assert_int_equal(be16_get(out + 6), 0);
	assert_int_equal(out[3] & 15, 0);
	assert_int_equal(query("db.abyme", 1, true, out, &n), DNS_ANSWER);
	assert_int_equal(out[3] & 15, 3);
	assert_int_equal(query("example.org", 1, true, out, &n), DNS_FOREIGN);
	assert_int_equal(query("example.org", 1, false, out, &n), DNS_ANSWER);
	assert_int_equal(out[3] & 15, 5);
	assert_int_equal(query("16.0.0.10.in-addr.arpa", 12, true, out, &n), DNS_ANSWER);
	assert_memory_equal(out + n - 11, "\3web\5abyme", 11);
}

/* ---- VXLAN ---- */

static void tunnels_know_their_peers(void **state)
{
	struct vxlan *v = xnew(struct vxlan);
	uint8_t p[100] = { 8, 0, 0, 0, 0, 0, 77, 0 };
	struct sockaddr_in from = { .sin_family = AF_INET };
	size_t n;
	vxlan_init(v, 77, 4789, 1);
	assert_true(vxlan_add_peer(v, "198.51.100.2") && !vxlan_add_peer(v, "no address"));
	from.sin_addr.s_addr = v->peer[0].sin_addr.s_addr;
	memcpy(p + 14, "\2\0\0\0\0\7", 6);
	assert_int_equal(vxlan_find(v, p + 14, 10), -1);
	assert_ptr_equal(vxlan_open(v, &from, p, sizeof(p), 10, &n), p + 8);
	assert_int_equal(n, 92);
	assert_int_equal(vxlan_find(v, p + 14, 10), 0);
	assert_int_equal(vxlan_find(v, p + 14, 10 + VXLAN_AGE_SECONDS + 1), -1);
	from.sin_addr.s_addr ^= 1;
	assert_null(vxlan_open(v, &from, p, sizeof(p), 10, &n));
	from.sin_addr.s_addr ^= 1;
	p[6] = 78;
	assert_null(vxlan_open(v, &from, p, sizeof(p), 10, &n));
	free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(first_match_decides), T(answers_come_back), T(prefixes), T(texts), T(many_connections_age),
		T(keeps_members_honest), T(leases_addresses), T(names_a_boot_file), T(answers_names), T(tunnels_know_their_peers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
