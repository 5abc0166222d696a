/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules of a network, a line each, the first that matches a new connection
 * decides, what no rule matches passes:
 *
 *     allow|deny in|out [tcp|udp|icmp|any] [from SET] [to SET] [port N[-M]] [on NAME]
 *
 * "out" is judged where a frame comes from a port, "in" where it goes to one; SET is
 * "any", addresses and prefixes with commas, or @NAME of a member or group of
 * members; "on NAME" limits a rule to such ports.
 */
#ifndef NET_SWITCH_ACL_H
#define NET_SWITCH_ACL_H

#include "net/switch/switch.h"

enum { ACL_RULES = 256, ACL_SET = 16 };

struct acl_prefix { struct addr a; unsigned bits; };
struct acl_set { bool any; char name[SW_NAME]; unsigned n; struct acl_prefix prefix[ACL_SET]; };
struct acl_rule {
	bool allow, in;
	uint8_t proto;                      /* 0: any; 1 also means ICMPv6 */
	bool has_port;
	uint16_t port, port_last;
	struct acl_set from, to;
	char on[SW_NAME];
	uint64_t hits;
};
struct acl { unsigned n; struct acl_rule rule[ACL_RULES]; };

bool acl_parse(const char *text, struct acl_rule *r, struct error *err);
/* The rule that decides, or -1: none, so it passes. */
int acl_judge(const struct acl *a, bool in, const struct sw_port *from, const struct sw_port *to, const struct frame *f);

#endif
