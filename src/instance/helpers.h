/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Helper processes of a machine, one a role: the user network, one 9p server a
 * share, the debugger's server (jail/spawn.h).  When one dies, its device fails
 * and nothing else.
 */
#ifndef INSTANCE_HELPERS_H
#define INSTANCE_HELPERS_H

#include "instance/nets.h"
#include "instance/open.h"
#include "jail/spawn.h"

enum { MAX_HELPERS = CONFIG_MAX_NETS + CONFIG_MAX_SHARES + 3 };
struct helper { pid_t pid; const char *program; };
struct helpers { struct helper list[MAX_HELPERS]; unsigned count; struct net_ties ties; };

/* Fills in the net and share descriptors of o->config; joins networks as
 * `name`. Published ports are bound when this returns. */
bool helpers_start(struct helpers *h, struct opened *o, const struct definition *d, const char *name,
		   enum jail_mode jail, struct error *err);
void helpers_kill(struct helpers *h);

#endif
