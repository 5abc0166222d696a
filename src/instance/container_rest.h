/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A container or micro-VM that does not run, for as long as its files are wanted. */
#ifndef INSTANCE_CONTAINER_REST_H
#define INSTANCE_CONTAINER_REST_H

#include "instance/store.h"

/* A socket as exec.sock of a running one gives (session/shim.h), from a child that holds the
 * instance's lock until the other end is closed and it has cleaned up; -1. *pid: to be waited for. */
int container_rest(struct instance *i, const struct definition *d, pid_t *pid, struct error *err);

#endif
