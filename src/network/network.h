/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Networks on disk: $STATE/networks/NAME/ ($STATE as in base/place.h).
 *
 *     network.yaml   the definition (replaced atomically)
 *     leases.json    which instance has which address; they stay
 *     lock           a POSIX lock on it is held by the running keeper
 *     keeper.sock    the keeper's socket (network/client.h)
 *     log            what keeper and switch have to say
 */
#ifndef NETWORK_NETWORK_H
#define NETWORK_NETWORK_H

#include <sys/types.h>
#include "base/error.h"
#include "base/util.h"

enum { NETWORK_VERSION = 1, NETWORK_MAX_RULES = 256, NETWORK_MAX_PEERS = 64, NETWORK_MTU_MIN = 1280 };

#define NETWORK_KINDS(X) \
	X(nat, "to the outside through this host's addresses, without privilege") \
	X(internal, "its members only") \
	X(host_only, "its members and this host, through a TAP interface") \
	X(bridged, "as if plugged into a network of this host") \
	X(vxlan, "its members on several hosts, by RFC 7348")
enum network_kind {
#define X(name, text) NETWORK_##name,
	NETWORK_KINDS(X)
#undef X
};

struct network_definition {
	unsigned version;
	char *kind;
	char *subnet;             /* "10.80.3.0/24", "none"; resolved when created */
	char *subnet6;            /* "fd12:.../64", NULL: no IPv6 */
	char *interface;          /* host-only: the TAP's name; bridged: the host's interface */
	char *uplink;             /* bridged: packet|macvtap */
	char *boot_file;          /* URL that DHCP tells firmware, NULL: none */
	char *domain;             /* of names, default "abyme" */
	char *jail;               /* auto|require|none */
	unsigned mtu, poll;       /* poll: microseconds the switch spins, 0: never */
	bool vlan_aware, isolate, host_loopback, no_guard;
	unsigned vni, vxlan_port;
	char **peers; unsigned npeers;   /* vxlan: addresses; a multicast group is one */
	char **rules; unsigned nrules;
};
void network_definition_free(struct network_definition *d);
struct network_definition *network_definition_parse(const char *text, size_t size, const char *what, struct error *err);
char *network_definition_yaml(const struct network_definition *d, struct error *err);
struct json_t *network_definition_json(const struct network_definition *d);
/* Defaults and checks; picks a subnet where that is left open. */
bool network_definition_resolve(struct network_definition *d, const char *name, struct error *err);
bool network_kind_parse(const char *text, enum network_kind *kind, struct error *err);
enum network_kind network_kind(const struct network_definition *d);

/* "rate=10M,burst=1M,group=db,isolated", as a member of a network may be limited. */
struct network_limits {
	char *rate, *rate_up, *rate_down, *burst;   /* bytes a second, bytes; up: what it sends */
	char *group;                      /* a name for rules: @db */
	bool isolated;                    /* from members that are isolated, too */
};
bool network_limits_ok(const struct network_limits *l, struct error *err);

struct network { char *name; int dir; };
bool network_name_ok(const char *name, struct error *err);
struct network *network_create(const char *name, const struct network_definition *d, struct error *err);
struct network *network_open(const char *name, struct error *err);
bool network_exists(const char *name);
void network_close(struct network *n);
struct network_definition *network_definition(const struct network *n, struct error *err);
bool network_set_definition(const struct network *n, const struct network_definition *d, struct error *err);
bool network_remove(struct network *n, struct error *err);
bool network_each(bool (*fn)(const char *name, void *opaque), void *opaque, struct error *err);
bool network_write(const struct network *n, const char *file, const char *text, struct error *err);
char *network_read(const struct network *n, const char *file);
bool network_lock(const struct network *n, struct error *err);
pid_t network_keeper_pid(const struct network *n);
int network_listen(const struct network *n, struct error *err);
/* A connected socket, -1 with err->code ECONNREFUSED if nobody listens. */
int network_dial(const struct network *n, struct error *err);

#endif
