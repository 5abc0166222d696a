/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Capabilities by name, and putting a process's five sets in place. */
#ifndef CONTAINER_CAPS_H
#define CONTAINER_CAPS_H

#include "container/spec.h"

/* "CAP_CHOWN" (also "chown") to its number; -1: unknown. */
int caps_number(const char *name);
const char *caps_name(int number);     /* NULL past the last */
int caps_last(void);                   /* the running kernel's last */
/* Names to bits. runtime-spec 1.1: what is unknown is warned of, and left out. */
void caps_parse(const struct strings *names, uint64_t *bits);

/* Before the change of user: drop from the bounding set what is not in it. */
bool caps_drop_bounding(const struct spec_caps *c, struct error *err);
/* After it (PR_SET_KEEPCAPS was set): permitted, effective, inheritable, ambient. */
bool caps_set(const struct spec_caps *c, struct error *err);

#endif
