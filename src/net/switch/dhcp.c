/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DHCP, both kinds, and router advertisements: see dhcp.h. */
#include "net/switch/dhcp.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { FIXED = 236, COOKIE = 4, DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };
enum { OPT_MASK = 1, OPT_ROUTER = 3, OPT_DNS = 6, OPT_HOST = 12, OPT_DOMAIN = 15, OPT_MTU = 26, OPT_WANTED = 50,
       OPT_LEASE = 51, OPT_TYPE = 53, OPT_SERVER = 54, OPT_BOOT_FILE = 67, OPT_END = 255 };
enum { AT_SERVER = 20, AT_FILE = 108, FILE_SIZE = 128 };
static const uint8_t cookie[COOKIE] = { 99, 130, 83, 99 };

/* An option's data of at least `size` bytes, or NULL. */
static const uint8_t *option(const uint8_t *q, size_t n, uint8_t code, size_t size)
{
	for (size_t at = FIXED + COOKIE; at < n && q[at] != OPT_END; ) {
		if (!q[at]) {
			at++;
			continue;
		}
		if (at + 2 > n || at + 2 + q[at + 1] > n)
			return NULL;
		if (q[at] == code)
			return q[at + 1] >= size ? q + at + 2 : NULL;
		at += 2u + q[at + 1];
	}
	return NULL;
}

static uint8_t *put(uint8_t *p, uint8_t code, const void *data, size_t n)
{
	*p++ = code;
	*p++ = (uint8_t)n;
	memcpy(p, data, n);
	return p + n;
}

static uint8_t *put32(uint8_t *p, uint8_t code, uint32_t v)
{
	uint8_t b[4];
	be32_put(b, v);
	return put(p, code, b, 4);
}

static uint8_t *put_configuration(const struct dhcp_lease *l, uint8_t *p)
{
	uint8_t mtu[2];
	be16_put(mtu, (uint16_t)l->mtu);
	p = put32(p, OPT_MASK, l->mask);
	if (l->gateway)
		p = put32(p, OPT_ROUTER, l->gateway);
	p = put32(p, OPT_DNS, l->server);
	p = put(p, OPT_HOST, l->name, MIN(strlen(l->name), (size_t)63));
	p = put(p, OPT_DOMAIN, l->domain, MIN(strlen(l->domain), (size_t)63));
	return put(p, OPT_MTU, mtu, 2);
}

/* What to boot from: a URL as it is, for firmware that reads one; of tftp://A.B.C.D/FILE,
 * what older firmware wants (RFC 2131 2, RFC 2132 9.5). */
static uint8_t *put_boot(const struct dhcp_lease *l, uint8_t *out, uint8_t *p)
{
	static const char tftp[] = "tftp://";
	const char *file = l->boot ? l->boot : "";
	char host[16];
	struct in_addr a;
	size_t n = strlen(tftp), m = strcspn(file + MIN(strlen(file), n), "/");
	if (!strncmp(file, tftp, n) && m < sizeof(host) && file[n + m]) {
		snprintf(host, sizeof(host), "%.*s", (int)m, file + n);
		if (inet_pton(AF_INET, host, &a) == 1) {
			memcpy(out + AT_SERVER, &a, 4);
			file += n + m + 1;
		}
	}
	size_t len = MIN(strlen(file), (size_t)FILE_SIZE - 1);
	memcpy(out + AT_FILE, file, len);
	return len ? put(p, OPT_BOOT_FILE, file, len) : p;
}

/* RFC 2131 4.3.2: what the client wants, and whether it may have it. */
static uint8_t verdict(const struct dhcp_lease *l, const uint8_t *q, size_t n, uint8_t type)
{
	const uint8_t *server = option(q, n, OPT_SERVER, 4), *wanted = option(q, n, OPT_WANTED, 4);
	if (type == DISCOVER)
		return OFFER;
	if (type == INFORM)
		return ACK;
	if (type != REQUEST || (server && be32_get(server) != l->server))
		return 0;
	uint32_t ip = wanted ? be32_get(wanted) : be32_get(q + 12);
	return ip == l->ip ? ACK : NAK;
}

size_t dhcp_answer(const struct dhcp_lease *l, const uint8_t *q, size_t n, uint8_t out[DHCP_MAX], bool *broadcast)
{
	if (n < FIXED + COOKIE || q[0] != 1 || q[1] != 1 || q[2] != 6 || memcmp(q + FIXED, cookie, COOKIE) ||
	    memcmp(q + 28, l->mac, 6))
		return 0;
	const uint8_t *type = option(q, n, OPT_TYPE, 1);
	uint8_t answer = type ? verdict(l, q, n, *type) : 0;
	if (!answer)
		return 0;
	memset(out, 0, DHCP_MAX);
	memcpy(out, q, 12);                    /* htype, hlen, xid, flags */
	out[0] = 2;
	out[3] = 0;
	memcpy(out + 12, q + 12, 4);
	if (answer != NAK && *type != INFORM)
		be32_put(out + 16, l->ip);
	be32_put(out + AT_SERVER, l->server);
	memcpy(out + 28, q + 28, 16);
	memcpy(out + FIXED, cookie, COOKIE);
	*broadcast = q[10] & 0x80 || answer == NAK;
	uint8_t *p = put(out + FIXED + COOKIE, OPT_TYPE, &answer, 1);
	p = put32(p, OPT_SERVER, l->server);
	if (answer != NAK && *type != INFORM)
		p = put32(p, OPT_LEASE, DHCP_LEASE_SECONDS);
	if (answer != NAK)
		p = put_boot(l, out, put_configuration(l, p));
	*p++ = OPT_END;
	return MAX((size_t)(p - out), (size_t)300);      /* BOOTP's least size */
}

/* ---- DHCPv6 ---- */

enum { V6_SOLICIT = 1, V6_ADVERTISE, V6_REQUEST, V6_CONFIRM, V6_RENEW, V6_REBIND, V6_REPLY, V6_RELEASE, V6_INFORM = 11 };
enum { V6_CLIENT = 1, V6_SERVER, V6_IA_NA, V6_ADDRESS = 5, V6_RAPID = 14, V6_DNS = 23, V6_HEADER = 4, DUID = 10, DUID_MAX = 130 };

static const uint8_t *option6(const uint8_t *q, size_t n, uint16_t code, size_t *len)
{
	for (size_t at = V6_HEADER; at + 4 <= n; at += 4u + be16_get(q + at + 2)) {
		*len = be16_get(q + at + 2);
		if (at + 4 + *len > n)
			return NULL;
		if (be16_get(q + at) == code)
			return q + at + 4;
	}
	return NULL;
}

static uint8_t *put6(uint8_t *p, uint16_t code, const void *data, size_t n)
{
	be16_put(p, code);
	be16_put(p + 2, (uint16_t)n);
	memcpy(p + 4, data, n);
	return p + 4 + n;
}

/* RFC 8415 11.4: a DUID from the server's MAC address. */
static void make_duid(const struct dhcp_lease *l, uint8_t d[DUID])
{
	memcpy(d, "\0\3\0\1", 4);
	memcpy(d + 4, l->server_mac, 6);
}

static uint8_t *put_ia(const struct dhcp_lease *l, uint8_t *p, const uint8_t *iaid)
{
	uint8_t ia[12 + 28];
	memcpy(ia, iaid, 4);
	be32_put(ia + 4, DHCP_LEASE_SECONDS / 2);
	be32_put(ia + 8, DHCP_LEASE_SECONDS / 5 * 4);
	be16_put(ia + 12, V6_ADDRESS);
	be16_put(ia + 14, 24);
	memcpy(ia + 16, l->ip6.b, 16);
	be32_put(ia + 32, DHCP_LEASE_SECONDS);
	be32_put(ia + 36, DHCP_LEASE_SECONDS);
	return put6(p, V6_IA_NA, ia, sizeof(ia));
}

static uint8_t answer_type(const uint8_t *q, size_t n)
{
	size_t len;
	switch (q[0]) {
	case V6_SOLICIT: return option6(q, n, V6_RAPID, &len) ? V6_REPLY : V6_ADVERTISE;
	case V6_REQUEST: case V6_CONFIRM: case V6_RENEW: case V6_REBIND: case V6_RELEASE: case V6_INFORM: return V6_REPLY;
	default: return 0;
	}
}

size_t dhcp6_answer(const struct dhcp_lease *l, const uint8_t *q, size_t n, uint8_t out[DHCP_MAX])
{
	uint8_t duid[DUID], *p = out + V6_HEADER;
	size_t client_len, server_len, ia_len, rapid;
	if (n < V6_HEADER || !l->has_ip6 || !answer_type(q, n))
		return 0;
	const uint8_t *client = option6(q, n, V6_CLIENT, &client_len), *server = option6(q, n, V6_SERVER, &server_len),
		      *ia = option6(q, n, V6_IA_NA, &ia_len);
	make_duid(l, duid);
	if ((client && client_len > DUID_MAX) || (!client && q[0] != V6_INFORM) ||
	    (server && (server_len != DUID || memcmp(server, duid, DUID))))
		return 0;
	memcpy(out, q, V6_HEADER);
	out[0] = answer_type(q, n);
	if (client)
		p = put6(p, V6_CLIENT, client, client_len);
	p = put6(p, V6_SERVER, duid, DUID);
	if (q[0] == V6_SOLICIT && option6(q, n, V6_RAPID, &rapid))
		p = put6(p, V6_RAPID, "", 0);
	if (ia && ia_len >= 12 && q[0] != V6_INFORM && q[0] != V6_RELEASE && q[0] != V6_CONFIRM)
		p = put_ia(l, p, ia);
	p = put6(p, V6_DNS, l->server6.b, 16);
	return (size_t)(p - out);
}

/* ---- router advertisements ---- */

size_t router_advertisement(const struct dhcp_lease *l, const uint8_t prefix[16], uint8_t out[DHCP_MAX])
{
	enum { RA = 134, MANAGED = 0xc0, ON_LINK_AUTO = 0xc0, ROUTER_SECONDS = 1800 };
	uint8_t *p = out + 16;
	memset(out, 0, 16 + 32 + 8 + 24);
	out[0] = RA;
	out[4] = 64;
	out[5] = MANAGED;
	be16_put(out + 6, l->gateway ? ROUTER_SECONDS : 0);
	p[0] = 3;                              /* prefix information */
	p[1] = 4;
	p[2] = 64;
	p[3] = ON_LINK_AUTO;
	be32_put(p + 4, DHCP_LEASE_SECONDS);
	be32_put(p + 8, DHCP_LEASE_SECONDS);
	memcpy(p + 16, prefix, 16);
	p += 32;
	p[0] = 5;                              /* MTU */
	p[1] = 1;
	be32_put(p + 4, l->mtu);
	p += 8;
	p[0] = 25;                             /* recursive DNS server (RFC 8106) */
	p[1] = 3;
	be32_put(p + 4, DHCP_LEASE_SECONDS);
	memcpy(p + 8, l->server6.b, 16);
	return (size_t)(p + 24 - out);
}
