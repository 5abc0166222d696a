/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of the machine's tablets the guest uses: see mouse.h. */
#include "device/chipset.h"
#include "device/mouse.h"
#include "machine/machine.h"

void tablet_register(struct machine *m, const struct tablet_sink *ops, void *opaque)
{
	m->board_data->tablet.ops = ops;
	m->board_data->tablet.opaque = opaque;
}

bool tablet_move(struct machine *m, unsigned x, unsigned y, int wheel, unsigned buttons)
{
	const struct tablet_sink *ops = m->board_data->tablet.ops;
	void *opaque = m->board_data->tablet.opaque;
	if (!ops || !ops->wanted(opaque))
		return false;
	ops->move(opaque, MIN(x, (unsigned)TABLET_MAX), MIN(y, (unsigned)TABLET_MAX), wheel, buttons);
	return true;
}
