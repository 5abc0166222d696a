/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots of a running machine's disks.  What can be flushed is flushed while the
 * guest runs; then its vCPUs stand still for as long as the snapshots of all its
 * disks take.
 */
#include "machine/control_disks.h"

#include <time.h>

#include "disk/disk.h"
#include "machine/machine.h"

static bool is_written(const struct machine *m, unsigned i)
{
	return !m->config->disk[i].readonly && !m->config->disk[i].cdrom;
}

static const char *name_of(json_t *args, struct error *err)
{
	const char *name = json_string_value(json_object_get(args, "name"));
	return name ? name : error_null(err, 0, "the argument 'name' is missing");
}

static bool all_disks(struct machine *m, unsigned n, enum disk_snapshot what, const char *name, unsigned *done,
		      struct error *err)
{
	for (*done = 0; *done < n; ++*done)
		if (is_written(m, *done) && !disk_snapshot(m->disks[*done], what, name, err))
			return false;
	return true;
}

json_t *control_snapshot_create(struct machine *m, json_t *args, struct error *err)
{
	const char *name = name_of(args, err);
	struct timespec from, to;
	unsigned done;
	if (!name || !all_disks(m, m->config->ndisks, DISK_SNAPSHOT_FLUSH, name, &done, err))
		return NULL;
	clock_gettime(CLOCK_MONOTONIC, &from);
	vcpus_quiesce(m);
	bool ok = all_disks(m, m->config->ndisks, DISK_SNAPSHOT_CREATE, name, &done, err);
	vcpus_release(m);
	clock_gettime(CLOCK_MONOTONIC, &to);
	unsigned undone;
	if (!ok && !all_disks(m, done, DISK_SNAPSHOT_DELETE, name, &undone, NULL))
		return NULL;
	json_int_t ns = (json_int_t)(to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec;
	return ok ? json_pack("{s:I}", "stopped_ns", ns) : NULL;
}

json_t *control_snapshot_delete(struct machine *m, json_t *args, struct error *err)
{
	const char *name = name_of(args, err);
	bool any = false;
	for (unsigned i = 0; name && i < m->config->ndisks; i++)
		if (is_written(m, i))
			any |= disk_snapshot(m->disks[i], DISK_SNAPSHOT_DELETE, name, err);
	return any ? json_object() : NULL;
}
