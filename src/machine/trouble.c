/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks that the host cannot serve (no space, most often): the guest stands still
 * until they can go on.  A pause that someone else asked for is left alone.
 */
#include "machine/trouble.h"

#include <stdio.h>

#include "base/log.h"
#include "disk/disk.h"
#include "machine/machine.h"

bool trouble_describe(const struct machine *m, char *text, size_t size)
{
	for (unsigned i = 0; i < m->config->ndisks; i++)
		if (m->trouble[i].error) {
			snprintf(text, size, "disk '%s': %s", m->config->disk[i].path, strerror(m->trouble[i].error));
			return true;
		}
	return false;
}

static void look(void *opaque)
{
	struct machine *m = opaque;
	char text[400];
	bool any = trouble_describe(m, text, sizeof(text));
	if (any && !m->paused && !m->end) {
		log_warn("%s: the machine is paused until the disk can go on", text);
		machine_pause(m);
		m->waits_for_disk = true;
	} else if (!any && m->waits_for_disk) {
		log_info("the disk can go on, and so does the machine");
		m->waits_for_disk = false;
		machine_unpause(m);
	}
}

/* A device's locks may be held: the rest is for later. */
static void stuck(void *opaque, int error)
{
	struct disk_trouble *t = opaque;
	t->error = error;
	loop_post(t->machine->loop, look, t->machine);
}

void trouble_watch_disk(struct machine *m, unsigned i)
{
	if (!m->disks[i])
		return;
	disk_set_on_error(m->disks[i], m->config->disk[i].on_error, stuck, &m->trouble[i]);
	disk_set_limits(m->disks[i], &m->config->disk[i].limits);
}

void trouble_watch(struct machine *m)
{
	for (unsigned i = 0; i < m->config->ndisks; i++) {
		m->trouble[i].machine = m;
		trouble_watch_disk(m, i);
	}
}

void trouble_unpause(struct machine *m)
{
	m->waits_for_disk = false;
	machine_unpause(m);
	for (unsigned i = 0; i < m->config->ndisks; i++)
		if (m->disks[i])
			disk_retry(m->disks[i]);
}

bool trouble_settle(struct machine *m, struct error *err)
{
	for (unsigned i = 0; i < m->config->ndisks; i++) {
		int r = m->disks[i] ? disk_settle(m->disks[i]) : 0;
		if (r)
			return error_set(err, -r, "disk '%s' waits for the host: it has to go on before the machine can be "
					 "saved", m->config->disk[i].path);
	}
	return true;
}
