/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a container: what the verbs of abyme-oci call. */
#ifndef CONTAINER_LIFECYCLE_H
#define CONTAINER_LIFECYCLE_H

#include "container/launch.h"

void launch_init(struct launch *l);
void launch_free(struct launch *l);     /* the container's record stays */

/* From a bundle to a process that waits for `start`. On error nothing is left. */
bool container_create(struct launch *l, const char *root, const char *id, const char *bundle, struct error *err);
bool container_start(struct container *c, struct error *err);
/* Stop what still runs (only if `force`), then everything of it goes. */
bool container_delete(struct container *c, bool force, struct error *err);
/* A signal to its first process, or to all. */
bool container_kill(struct container *c, int sig, bool all, struct error *err);
/* A further process. l->process is set; its PID; -1. */
pid_t container_exec(struct launch *l, struct error *err);

/* A terminal that the runtime serves itself: terminal_receive() gets it later. */
bool launch_own_console(struct launch *l, int *receive, struct error *err);
bool write_pid_file(const char *path, pid_t pid, struct error *err);

/* Run from a copy of ourselves that nobody can write to: seal.c. Returns if that
 * is so already, or cannot be had (then `err` says why). */
bool seal_self(char **argv, struct error *err);

#endif
