/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper's place between a program and those who look at it: frames (session/frame.h)
 * from the shim go to the log and to every client, frames of clients to the shim. On the
 * keeper's loop.  The primary client is never lost: the program waits for it; others that
 * do not read are dropped.
 */
#ifndef INSTANCE_HUB_H
#define INSTANCE_HUB_H

#include "base/loop.h"

struct hub;
/* Told once for each program: it runs, it could not be started (text), it has ended. */
struct hub_events {
	void (*running)(void *opaque, uint32_t pid);
	void (*failed)(void *opaque, const char *text);
	void (*ended)(void *opaque, int status);
	void (*lost)(void *opaque);   /* the shim's end without a word */
	void *opaque;
};

/* log_fd may be -1. */
struct hub *hub_new(struct loop *l, int log_fd, const struct hub_events *e);
void hub_free(struct hub *h);
/* Another program: its shim's socket (owned). */
void hub_source(struct hub *h, int fd);
bool hub_has_source(const struct hub *h);
void hub_listen(struct hub *h, int fd);           /* clients connect (owned) */
void hub_attach(struct hub *h, int fd, bool primary);
/* Tell all clients the end, and wait until the primary has it. */
void hub_finish(struct hub *h, int status);

#endif
