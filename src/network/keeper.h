/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper of a network: one small unprivileged process that gives out ports,
 * addresses and names, and starts the switch, again when it dies.  It holds the
 * memory of every port, so a new switch goes on where the old one stopped.  It
 * starts with the first port and ends a moment after the last.
 */
#ifndef NETWORK_KEEPER_H
#define NETWORK_KEEPER_H

#include <jansson.h>
#include "base/loop.h"
#include "net/message.h"
#include "network/network.h"
#include "network/subnet.h"

/* Start it in a process of its own; returns when it serves. */
bool network_keeper_start(const struct network *n, struct error *err);

/* ---- between the files of the keeper ---- */

enum { PORT_FDS = 3 };
struct keeper_client { struct network_keeper *keeper; int fd; struct loop_fd *watch; struct keeper_client *next; int capture; /* -1: none */ };
struct keeper_port {
	struct keeper_port *next;
	struct keeper_client *owner;      /* NULL: the network's own (uplinks) */
	uint32_t id;
	const char *type;                 /* ring|tap|packet|vxlan */
	json_t *config;                   /* as the switch gets it */
	int fd[PORT_FDS];
	unsigned nfds;
	bool in_switch;
};
struct network_keeper {
	const struct network *network;
	struct network_definition *definition;
	enum network_kind kind;
	struct subnet subnet;
	bool has_subnet, has_subnet6;
	uint8_t prefix6[16];
	struct loop *loop;
	int listen, signals, timer, report;
	struct keeper_client *clients;
	struct keeper_port *ports;
	unsigned nports;                  /* of clients */
	uint32_t next_id;
	json_t *leases;
	pid_t switch_pid, nat_pid;
	int switch_sock, nat_sock;
	struct loop_fd *switch_watch;
	uint64_t switch_started_ns;
	unsigned switch_starts;
	bool held;                        /* stays without ports */
	bool ending;
};
void keeper_wake(struct network_keeper *k, unsigned ms);      /* keeper_timer then */

/* keeper_switch.c */
bool keeper_switch_start(struct network_keeper *k, struct error *err);
void keeper_switch_died(struct network_keeper *k);
/* The answer (a new reference), NULL on failure; a switch that is stuck is killed. */
json_t *keeper_switch_call(struct network_keeper *k, json_t *body, const int *fds, unsigned nfds, struct error *err);
bool keeper_switch_add(struct network_keeper *k, struct keeper_port *p, struct error *err);
bool keeper_switch_configure(struct network_keeper *k, struct error *err);

/* keeper_ports.c */
json_t *keeper_attach(struct network_keeper *k, struct keeper_client *c, struct message *m, int fds[PORT_FDS],
		      unsigned *nfds, struct error *err);
struct keeper_port *keeper_port_new(struct network_keeper *k, const char *type, json_t *config, const int *fds,
				    unsigned nfds);
void keeper_port_remove(struct network_keeper *k, struct keeper_port *p);
void keeper_detach(struct network_keeper *k, struct keeper_client *c);
json_t *keeper_list_ports(struct network_keeper *k);

/* uplink.c: what leads out of a network, by its kind. */
bool uplink_start(struct network_keeper *k, struct error *err);
/* Published ports of a member. */
bool uplink_publish(struct network_keeper *k, const json_t *config, struct error *err);
void uplink_unpublish(struct network_keeper *k, const json_t *config);
void uplink_died(struct network_keeper *k, pid_t pid);
/* The keeper ends: take away what would stay. */
void uplink_end(const struct network_keeper *k);

#endif
