/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing media: see media.h. */
#include "device/media.h"

#include "device/chipset.h"
#include "disk/disk.h"
#include "machine/machine.h"

void media_register(struct machine *m, unsigned index, media_change_fn *change, void *opaque)
{
	m->board_data->media[index].change = change;
	m->board_data->media[index].opaque = opaque;
}

/* Drives that work under the board lock drain their disk before they take it. */
bool media_change(struct machine *m, unsigned index, struct disk *disk, bool force, struct error *err)
{
	if (index >= CONFIG_MAX_DISKS || !m->board_data->media[index].change)
		return error_set(err, 0, "the machine has no drive of that number whose medium can be changed");
	int stuck = m->disks[index] ? disk_settle(m->disks[index]) : 0;
	if (stuck)
		return error_set(err, -stuck, "the medium that is in the drive waits for the host");
	board_lock(m);
	bool ok = m->board_data->media[index].change(m->board_data->media[index].opaque, disk, force, err);
	if (ok)
		m->disks[index] = disk;
	board_unlock(m);
	return ok;
}
