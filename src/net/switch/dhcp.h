/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers to members who ask for their addresses: DHCPv4 (RFC 2131, 2132) and
 * DHCPv6 (RFC 8415).  The port, not the message, says who asks; so there is no
 * state.  Messages are hostile; answers are at most DHCP_MAX bytes.
 */
#ifndef NET_SWITCH_DHCP_H
#define NET_SWITCH_DHCP_H

#include "net/switch/frame.h"

enum { DHCP_MAX = 576, DHCP_LEASE_SECONDS = 86400 };

struct dhcp_lease {
	uint8_t mac[6], server_mac[6];
	uint32_t ip, mask, server, gateway;     /* gateway 0: none */
	bool has_ip6;
	struct addr ip6, server6;
	unsigned mtu;
	const char *name, *domain, *boot;       /* boot: a URL, NULL: none */
};

/* Payloads of UDP; 0: no answer. *broadcast: where the answer goes. */
size_t dhcp_answer(const struct dhcp_lease *l, const uint8_t *q, size_t n, uint8_t out[DHCP_MAX], bool *broadcast);
size_t dhcp6_answer(const struct dhcp_lease *l, const uint8_t *q, size_t n, uint8_t out[DHCP_MAX]);
/* The ICMPv6 message of a router advertisement (RFC 4861 4.2, 8106), its
 * checksum still 0. */
size_t router_advertisement(const struct dhcp_lease *l, const uint8_t prefix[16], uint8_t out[DHCP_MAX]);

#endif
