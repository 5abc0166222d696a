/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Other media, limits and snapshots of a running machine's disks.  A snapshot is prepared, and
 * comes to the disk, while the guest runs; its vCPUs stand still only for the moment that
 * all disks have in common.
 */
#include "machine/control_disks.h"


#include "device/media.h"
#include "disk/disk.h"
#include "machine/machine.h"
#include "machine/trouble.h"

static bool is_written(const struct machine *m, unsigned i)
{
	const struct disk_config *d = &m->config->disk[i];
	return !d->readonly && !d->cdrom && (!d->bus || strcmp(d->bus, "floppy"));
}

static const char *name_of(json_t *args, struct error *err)
{
	const char *name = json_string_value(json_object_get(args, "name"));
	return name ? name : error_null(err, 0, "the argument 'name' is missing");
}

/* *done: how many have done it, others before it included. */
static bool all_disks(struct machine *m, enum disk_snapshot what, const char *name, unsigned *done, struct error *err)
{
	for (*done = 0; *done < m->config->ndisks; ++*done)
		if (is_written(m, *done) && !disk_snapshot(m->disks[*done], what, name, err))
			return false;
	return true;
}

static void some_disks(struct machine *m, unsigned from, unsigned to, enum disk_snapshot what, const char *name)
{
	for (; from < to; from++)
		if (is_written(m, from))
			disk_snapshot(m->disks[from], what, name, NULL);
}

/* On no disk, if it fails on one. */
static bool create(struct machine *m, const char *name, uint64_t *stopped_ns, struct error *err)
{
	unsigned n = m->config->ndisks, done;
	if (!all_disks(m, DISK_SNAPSHOT_PREPARE, name, &done, err)) {
		some_disks(m, 0, done, DISK_SNAPSHOT_CANCEL, name);
		return false;
	}
	uint64_t from = monotonic_ns();
	vcpus_quiesce(m);
	bool ok = all_disks(m, DISK_SNAPSHOT_TAKE, name, &done, err);
	vcpus_release(m);
	*stopped_ns = monotonic_ns() - from;
	if (!ok) {
		some_disks(m, 0, done, DISK_SNAPSHOT_CANCEL, name);
	} else if (!(ok = all_disks(m, DISK_SNAPSHOT_KEEP, name, &done, err))) {
		some_disks(m, 0, done, DISK_SNAPSHOT_DELETE, name);
	} else {
		return true;
	}
	some_disks(m, done + 1, n, DISK_SNAPSHOT_CANCEL, name);
	return false;
}

json_t *control_snapshot_create(struct machine *m, json_t *args, struct error *err)
{
	const char *name = name_of(args, err);
	uint64_t stopped;
	return name && create(m, name, &stopped, err) ? json_pack("{s:I}", "stopped_ns", (json_int_t)stopped) : NULL;
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

static bool limit(json_t *args, const char *name, uint64_t *out, struct error *err)
{
	json_t *v = json_object_get(args, name);
	*out = (uint64_t)json_integer_value(v);
	return !v || (json_is_integer(v) && json_integer_value(v) >= 0) ||
	       error_set(err, 0, "the argument '%s' must be a whole number, 0 for none", name);
}

static bool limits_of(json_t *o, struct disk_limits *l, struct error *err)
{
	return limit(o, "iops", &l->iops, err) && limit(o, "iops_burst", &l->iops_burst, err) &&
	       limit(o, "bps", &l->bps, err) && limit(o, "bps_burst", &l->bps_burst, err);
}

json_t *control_disk_limits(struct machine *m, json_t *args, struct error *err)
{
	struct disk_limits l[CONFIG_MAX_DISKS];
	json_t *disks = json_object_get(args, "disks"), *o;
	size_t i;
	json_array_foreach(disks, i, o)
		if (i < m->config->ndisks && !limits_of(o, &l[i], err))
			return NULL;
	for (i = 0; i < json_array_size(disks) && i < m->config->ndisks; i++)
		if (m->disks[i])
			disk_set_limits(m->disks[i], &l[i]);
	return json_object();
}

static struct disk *open_medium(struct machine *m, unsigned index, int fd, struct error *err)
{
	/* an io_uring cannot be made within the jail */
	struct disk_options o = { .path = "the medium", .fd = fd, .format = "raw", .no_uring = true,
				  .readonly = m->config->disk[index].readonly };
	struct disk *d = disk_open(&o, m->loop, err);
	if (!d)
		close(fd);
	return d;
}

json_t *control_change(struct machine *m, json_t *args, int fd, struct error *err)
{
	json_int_t index = json_integer_value(json_object_get(args, "disk"));
	const char *text = json_string_value(json_object_get(args, "definition"));
	if (index < 0 || index >= m->config->ndisks) {
		if (fd >= 0)
			close(fd);
		return error_null(err, 0, "the machine has no disk %d", (int)index);
	}
	struct disk *d = fd >= 0 ? open_medium(m, (unsigned)index, fd, err) : NULL;
	if (fd >= 0 && !d)
		return NULL;
	if (!media_change(m, (unsigned)index, d, json_is_true(json_object_get(args, "force")), err)) {
		if (d)
			disk_close(d);
		return NULL;
	}
	trouble_watch_disk(m, (unsigned)index);
	if (text) {
		free(m->definition);
		m->definition = xstrdup(text);
	}
	return json_object();
}
