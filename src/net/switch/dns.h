/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of members: a DNS responder (RFC 1035) for what is on the network.
 * Everything else is somebody else's to answer, or refused.
 */
#ifndef NET_SWITCH_DNS_H
#define NET_SWITCH_DNS_H

#include "net/switch/frame.h"

enum { DNS_MAX = 512, DNS_NAME = 256, DNS_TTL = 30 };
enum dns_verdict { DNS_ANSWER, DNS_FOREIGN, DNS_IGNORE };

struct dns_host { bool has_ip, has_ip6; uint32_t ip; struct addr ip6; };
struct dns_zone {
	const char *domain;
	bool forwards;            /* foreign names are answered elsewhere */
	void *opaque;
	/* A member by its name, without the domain, any case. */
	bool (*find)(void *opaque, const char *name, struct dns_host *h);
	/* The name of a member's address, or NULL. */
	const char *(*reverse)(void *opaque, const struct addr *a);
};
/* One question in, its answer in out. */
enum dns_verdict dns_answer(const struct dns_zone *z, const uint8_t *q, size_t n, uint8_t out[DNS_MAX], size_t *len);

#endif
