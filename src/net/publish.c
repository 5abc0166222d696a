/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text form of a published port: see user.h. */
#include "net/user.h"
#include "base/util.h"

#include <arpa/inet.h>
#include <stdio.h>

static bool bad(const char *text, const char *what, struct error *err)
{
	return error_set(err, 0, "published port '%s' %s: write [ADDR:]HOSTPORT:GUESTPORT[/udp], "
			 "as in 8080:80", text, what);
}

bool publish_parse(const char *text, struct publish *p, struct error *err)
{
	char buf[160];
	struct in_addr a;
	uint64_t host, guest;
	memset(p, 0, sizeof(*p));
	if (snprintf(buf, sizeof(buf), "%s", text) >= (int)sizeof(buf))
		return bad("...", "is too long", err);
	char *slash = strchr(buf, '/');
	if (slash) {
		*slash++ = 0;
		p->udp = !strcmp(slash, "udp");
		if (!p->udp && strcmp(slash, "tcp"))
			return bad(text, "has an unknown protocol", err);
	}
	char *colon = strrchr(buf, ':');
	if (!colon)
		return bad(text, "has no guest port", err);
	*colon++ = 0;
	char *port = strrchr(buf, ':');
	snprintf(p->host_addr, sizeof(p->host_addr), "%s", "127.0.0.1");
	if (port) {
		*port++ = 0;
		if (inet_pton(AF_INET, buf, &a) != 1)
			return bad(text, "has a host address that is not IPv4", err);
		inet_ntop(AF_INET, &a, p->host_addr, sizeof(p->host_addr));
	}
	if (!parse_u64(port ? port : buf, 1, 65535, &host) || !parse_u64(colon, 1, 65535, &guest))
		return bad(text, "has a port that is not 1 to 65535", err);
	p->host_port = (unsigned)host;
	p->guest_port = (unsigned)guest;
	return true;
}
