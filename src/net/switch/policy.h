/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a network wants besides forwarding: that members keep to their addresses
 * (guard), that they are told them (services), and its rules (acl).  Hung into
 * the switch as its hooks.
 */
#ifndef NET_SWITCH_POLICY_H
#define NET_SWITCH_POLICY_H

#include "net/switch/acl.h"
#include "net/switch/capture.h"

enum { GUARD_PER_PORT = 64, DOMAIN_MAX = 64, BOOT_MAX = 128 };

struct services {
	bool on, on6, nat, host;         /* nat: an uplink answers what we do not; host: .1 is this host */
	uint32_t base, mask, ip;         /* ip: the switch's own */
	uint32_t gateway;                /* 0: none */
	uint8_t prefix6[16];
	struct addr ip6;
	uint8_t mac[6];
	char domain[DOMAIN_MAX];
	char boot[BOOT_MAX];             /* what DHCP tells firmware to boot from */
};

struct conntrack;
struct snoop;
struct json_t;
struct policy {
	struct sw *sw;
	struct services services;
	struct acl *acl;                 /* NULL: no rules, and no connections */
	struct conntrack *connections;
	struct snoop *snoop;
	struct capture *captures;        /* CAPTURES of them, NULL: nobody looks on */
	unsigned bindings[SW_MAX_PORTS]; /* IPv6 addresses that a port has claimed */
	struct fdb owners;               /* of IPv6 addresses, first come first served (RFC 6620) */
};

struct policy *policy_new(struct sw *s, uint64_t secret);
void policy_free(struct policy *p);
void policy_port_gone(struct policy *p, struct sw_port *port);
void policy_tick(struct policy *p);

/* Other rules; connections that they let through go on. NULL: none. Owned. */
void policy_set_rules(struct policy *p, struct acl *a);

/* Somebody looks on, through rings that he reads. */
bool policy_capture(struct policy *p, const struct ring_fds *fds, const char *port, bool drops, unsigned *slot, struct error *err);
void policy_capture_end(struct policy *p, unsigned slot);
/* trace.c: {"steps": [...], "arrives": B} for {"from", "to", "proto", "port"}. */
struct json_t *trace_walk(struct policy *p, const struct json_t *o, struct error *err);

/* guard.c: may this port send this? */
enum sw_drop guard_check(struct policy *p, struct sw_port *from, struct frame *f, bool dry);
/* services.c: true if the frame was for the switch itself. */
bool services_take(struct policy *p, struct sw_port *from, struct frame *f);
/* services.c: the member with that name (without domain), or NULL. */
struct sw_port *services_find(struct policy *p, const char *name);

#endif
