/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Subnets (see subnet.h).  "In use" is what the host has addresses in or routes
 * other than the default ones: a subnet picked here never takes traffic away
 * from a network that the host reaches.
 */
#include "network/subnet.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/random.h>

bool subnet_parse(const char *text, struct subnet *s, struct error *err)
{
	char buf[32];
	struct in_addr a;
	uint64_t prefix;
	snprintf(buf, sizeof(buf), "%s", text);
	char *slash = strchr(buf, '/');
	if (slash)
		*slash++ = 0;
	if (!slash || inet_pton(AF_INET, buf, &a) != 1 || !parse_u64(slash, 8, 29, &prefix))
		return error_set(err, 0, "subnet '%s' is not one: write 10.80.3.0/24 (from /8 to /29)", text);
	s->prefix = (unsigned)prefix;
	s->mask = ~0u << (32 - prefix);
	s->base = ntohl(a.s_addr);
	if (s->base & ~s->mask)
		return error_set(err, 0, "subnet '%s' has bits set behind its prefix", text);
	return true;
}

static bool route_overlaps(const struct subnet *s, char by[64])
{
	FILE *f = fopen("/proc/net/route", "re");
	char line[256], name[32];
	bool hit = false;
	while (f && !hit && fgets(line, sizeof(line), f)) {
		unsigned dest, mask;
		if (sscanf(line, "%31s %x %*x %*x %*d %*d %*d %x", name, &dest, &mask) != 3 || !mask)
			continue;
		struct subnet r = { ntohl(dest), ntohl(mask), 0 };
		hit = subnet_overlaps(s, &r);
	}
	if (f)
		fclose(f);
	if (hit)
		snprintf(by, 64, "a route through %s", name);
	return hit;
}

bool subnet_in_use(const struct subnet *s, char by[64])
{
	struct ifaddrs *list, *i;
	bool hit = false;
	if (getifaddrs(&list))
		return route_overlaps(s, by);
	for (i = list; i && !hit; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !i->ifa_netmask)
			continue;
		uint32_t mask = ntohl(((struct sockaddr_in *)(void *)i->ifa_netmask)->sin_addr.s_addr);
		struct subnet r = { ntohl(((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr.s_addr) & mask, mask, 0 };
		hit = subnet_overlaps(s, &r);
		if (hit)
			snprintf(by, 64, "interface %.40s", i->ifa_name);
	}
	freeifaddrs(list);
	return hit || route_overlaps(s, by);
}

/* 10.64.0.0 to 10.127.255.0, beginning where the name says; then 172.16/12. */
bool subnet_pick(const char *name, bool (*taken)(const struct subnet *s, void *opaque), void *opaque,
		 struct subnet *s, struct error *err)
{
	enum { IN_10 = 64 * 256, IN_172 = 16 * 256 };
	unsigned h = 2166136261u;
	char by[64];
	for (const char *p = name; *p; p++)
		h = (h ^ (uint8_t)*p) * 16777619u;
	for (unsigned i = 0; i < IN_10 + IN_172; i++) {
		unsigned n = i < IN_10 ? (h + i) % IN_10 : i - IN_10;
		*s = (struct subnet){ (i < IN_10 ? 0x0a400000u : 0xac100000u) + (n << 8), 0xffffff00u, 24 };
		if (!taken(s, opaque) && !subnet_in_use(s, by))
			return true;
	}
	return error_set(err, 0, "every private subnet is in use on this host: give one with --subnet");
}

bool subnet6_parse(const char *text, uint8_t prefix[16], struct error *err)
{
	char buf[64];
	snprintf(buf, sizeof(buf), "%s", text);
	char *slash = strchr(buf, '/');
	if (slash)
		*slash++ = 0;
	if (!slash || strcmp(slash, "64") || inet_pton(AF_INET6, buf, prefix) != 1 || memcmp(prefix + 8, "\0\0\0\0\0\0\0", 8))
		return error_set(err, 0, "IPv6 subnet '%s' is not one: write fd12:3456:789a:1::/64", text);
	return true;
}

char *subnet6_make(void)
{
	uint8_t b[16] = { 0 };
	char text[64];
	ssize_t n UNUSED = getrandom(b, 7, 0);
	b[0] = 0xfd;
	b[6] = 0;
	b[7] = 1;
	inet_ntop(AF_INET6, b, text, sizeof(text));
	return xasprintf("%s/64", text);
}
