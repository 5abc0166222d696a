/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where things are kept: $STATE is ABYME_STATE, $XDG_STATE_HOME/abyme,
 * ~/.local/state/abyme, or /var/lib/abyme for root.
 */
#ifndef BASE_PLACE_H
#define BASE_PLACE_H

#include "base/error.h"

/* The directory $STATE/NAME, made if missing; -1 on failure. */
int place_open(const char *name, struct error *err);

#endif
