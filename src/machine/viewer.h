/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's side of a helper that shows its screen (display/viewer.h). */
#ifndef MACHINE_VIEWER_H
#define MACHINE_VIEWER_H

#include "machine/machine.h"

/* Before the machine runs; does nothing where the machine has no viewer. */
bool viewer_start(struct machine *m, struct error *err);

#endif
