/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives whose medium can be changed while the machine runs: CD and floppy
 * drives tell of themselves, by the number of their disk in the definition.
 */
#ifndef DEVICE_MEDIA_H
#define DEVICE_MEDIA_H

#include "base/error.h"

struct machine;
struct disk;

/* Take `disk` (NULL: none) for the medium there is; the drive owns it on success.
 * `force`: although the guest has locked the drive. On the I/O loop's thread, under
 * the board lock, with nothing in flight. */
typedef bool media_change_fn(void *opaque, struct disk *disk, bool force, struct error *err);

void media_register(struct machine *m, unsigned index, media_change_fn *change, void *opaque);
/* I/O loop thread, board lock not held. */
bool media_change(struct machine *m, unsigned index, struct disk *disk, bool force, struct error *err);

#endif
