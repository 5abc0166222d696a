/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `create --held`: a container that is made before it is known what it will run.  Its
 * first process takes command, environment and host name from the one who connects to its
 * socket `start`: a length (32 bits, little-endian), then texts, each with a letter before
 * it and a NUL behind it (A: a word of the command, E: NAME=VALUE, H: the host name).
 * Everything else is as config.json says.
 */
#ifndef CONTAINER_HELD_H
#define CONTAINER_HELD_H

#include "container/launch.h"

enum { HELD_MOST = 1 << 20 };

/* In the first process. */
bool held_receive(struct launch *l, int from, struct error *err);

/* Start the container of this record; what `start` would say is the error. */
bool held_start(const char *record, const struct strings *args, const struct strings *env, const char *hostname, struct error *err);

#endif
