/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks that the host cannot serve: the machine waits for them. Loop's thread. */
#ifndef MACHINE_TROUBLE_H
#define MACHINE_TROUBLE_H

#include "base/error.h"
#include <stddef.h>

struct machine;
/* What config says holds from now on: answers to errors, limits. */
void trouble_watch(struct machine *m);
/* The same for one whose medium has been changed. */
void trouble_watch_disk(struct machine *m, unsigned i);
/* What is the matter, if anything is. */
bool trouble_describe(const struct machine *m, char *text, size_t size);
/* The user says so: try again. */
void trouble_unpause(struct machine *m);
/* Wait for all requests; false: some wait for the host. */
bool trouble_settle(struct machine *m, struct error *err);

#endif
