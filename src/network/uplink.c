/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What leads out of a network, by its kind: see keeper.h. */
#include "network/keeper.h"

bool uplink_start(struct network_keeper *k, struct error *err)
{
	return k->kind == NETWORK_internal || error_set(err, 0, "networks of kind %s are not there yet", k->definition->kind);
}

void uplink_died(struct network_keeper *k, pid_t pid)
{
}
