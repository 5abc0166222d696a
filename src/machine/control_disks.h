/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control commands that work on the disks, on a thread of their own. */
#ifndef MACHINE_CONTROL_DISKS_H
#define MACHINE_CONTROL_DISKS_H

#include <jansson.h>
#include "base/error.h"

struct machine;
/* The result (a new reference), or NULL with err. */
typedef json_t *control_work(struct machine *m, json_t *args, struct error *err);

/* {"name"}: of every disk that can be written, at one moment of the guest; all or none. */
control_work control_snapshot_create;
/* {"name"}: from all disks that have it. */
control_work control_snapshot_delete;
/* {"disks": [{"iops", "iops_burst", "bps", "bps_burst"}]}, in the machine's order; on the
 * loop's thread. */
control_work control_disk_limits;

/* At once, on the I/O loop: {"disk", "force"?, "definition"?}: the drive of that disk
 * takes the file of `fd` (-1: nothing) for its medium. Owns fd. */
json_t *control_change(struct machine *m, json_t *args, int fd, struct error *err);

#endif
