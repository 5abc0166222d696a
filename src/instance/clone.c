/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clones: see clone.h. */
#include "instance/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "disk/copy.h"
#include "disk/resume.h"
#include "machine/config.h"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static char *beside(const char *path, const char *name)
{
	return xasprintf("%.*s%s", (int)(base_name(path) - path), path, name);
}

/* "web-0.qcow2": the n-th disk of the clone. */
static char *clone_path(const char *original, const char *name, unsigned n, const char *format)
{
	auto_free char *file = xasprintf("%s-%u.%s", name, n, strcmp(format, "raw") ? "qcow2" : "img");
	return beside(original, file);
}

static bool make_overlay(const char *path, uint64_t size, const char *base, const char *base_format, struct error *err)
{
	struct qcow2_create c = { .size = size, .cluster_bits = 16, .version = 3, .backing = base,
				  .backing_format = base_format };
	struct image *i = image_make(path, "qcow2", &c, err);
	image_close(i);
	return i != NULL;
}

/* A free name for what becomes read-only: disk.qcow2 -> disk.qcow2.base-1. The link is made. */
static char *link_base(const char *path, struct error *err)
{
	for (unsigned n = 1; n < 10000; n++) {
		char *base = xasprintf("%s.base-%u", path, n);
		if (!link(path, base))
			return base;
		int e = errno;
		free(base);
		if (e != EEXIST)
			return error_null(err, e, "cannot give disk '%s' a second name", path);
	}
	return error_null(err, 0, "disk '%s' has too many bases", path);
}

/* The file that holds `path` now becomes the base; `path` itself a new overlay on it: the
 * exchange is one rename. */
static char *become_overlay(const char *path, const struct image *i, struct error *err)
{
	auto_free char *fresh = xasprintf("%s.new", path);
	char *base = link_base(path, err);
	if (!base)
		return NULL;
	unlink(fresh);
	if (make_overlay(fresh, i->size, base_name(base), "qcow2", err)) {
		if (!rename(fresh, path)) {
			chmod(base, 0400);
			return base;
		}
		error_set(err, errno, "cannot exchange disk '%s'", path);
		unlink(fresh);
	}
	unlink(base);
	free(base);
	return NULL;
}

static bool has_snapshots(struct image *i)
{
	struct image_snapshot *list;
	unsigned n;
	bool any = !qcow2_snapshot_list(i, &list, &n, NULL) || n;
	image_snapshots_free(list, n);
	return any;
}

/* How many files there would be below an overlay on it. */
static unsigned depth_of(const struct image *i)
{
	unsigned n = 0;
	for (; i; i = i->backing)
		n++;
	return n;
}

/* What both stand on: the backing file, if there is nothing above it yet. */
static char *find_base(const char *path, struct image *i, const char **format, struct error *err)
{
	*format = "qcow2";
	if (i->backing && qcow2_is_empty(i) && i->size == i->backing->size && !strchr(i->backing_name, '/') &&
	    !has_snapshots(i)) {
		*format = i->backing->ops->format;
		return beside(path, i->backing_name);
	}
	if (depth_of(i) > CONFIG_MAX_BACKING)
		return error_null(err, 0, "disk '%s' stands on %u files, as many as a machine may have: add --full", path,
				  depth_of(i) - 1);
	if (i->data)
		return error_null(err, 0, "disk '%s' keeps its data in another file, on which no clone can stand: add --full", path);
	if (has_snapshots(i))
		return error_null(err, 0, "disk '%s' has snapshots, which a linked clone would take from it: delete them, or "
				  "add --full", path);
	return become_overlay(path, i, err);
}

static bool link_disk(struct def_disk *d, const char *to, struct error *err)
{
	struct image_open o = { .path = d->file, .fd = -1, .format = d->format };
	if (strcmp(d->format, "qcow2"))
		return error_set(err, 0, "disk '%s' is %s: a linked clone needs qcow2; convert it, or add --full", d->file,
				 d->format);
	struct image *i = image_open(&o, err);         /* for writing: nobody else does */
	const char *format;
	auto_free char *base = i ? find_base(d->file, i, &format, err) : NULL;
	bool ok = base && make_overlay(to, i->size, base_name(base), format, err);
	image_close(i);
	return ok;
}

/* The copy has its last name only when those of all disks are complete. */
static char *part_of(const char *path) { return xasprintf("%s.part", path); }

static bool copy_from(struct image *from, const char *format, const char *to, const struct clone_how *how, bool *keep,
		      struct error *err)
{
	struct qcow2_create new = { .size = from->size, .cluster_bits = 16, .version = 3 };
	struct image_copy c = { .from = from, .rate = how->rate, .stop = how->stop, .progress = how->progress };
	int failed;
	auto_free char *part = part_of(to), *disks = resume_identity(from);
	auto_free char *job = xasprintf("clone to %s%s", format, disks);
	if (!access(to, F_OK))
		return resume_is_whole(part, job, from->size) ||
		       error_set(err, 0, "'%s' is there already: it is not overwritten", to);
	if (resume_copy(&c, part, format, &new, job, how->going_on, &failed, err))
		return true;
	*keep &= !failed;
	return failed && error_set(err, -failed, "cannot copy disk '%s'", from->path);
}

static bool copy_disk(const struct def_disk *d, const char *to, const struct clone_how *how, bool *keep,
		      struct error *err)
{
	struct image_open o = { .path = d->file, .fd = -1, .format = d->format, .readonly = true };
	struct image *from = image_open(&o, err);
	bool ok = from && copy_from(from, d->format, to, how, keep, err);
	image_close(from);
	return ok;
}

static bool is_shared(const struct def_disk *d) { return d->readonly || d->cdrom; }

/* Is it one of the clone's own? */
static bool is_made(const struct def_disk *d, const char *name)
{
	auto_free char *begin = xasprintf("%s-", name);
	return !is_shared(d) && !strncmp(base_name(d->file), begin, strlen(begin));
}

void clone_undo(const struct definition *d, const char *name)
{
	for (unsigned n = 0; n < d->ndisks; n++) {
		if (!is_made(&d->disks[n], name))
			continue;
		auto_free char *part = part_of(d->disks[n].file);
		unlink(d->disks[n].file);
		unlink(part);
		resume_forget(part);
	}
}

void clone_done(const struct definition *d, const char *name)
{
	for (unsigned n = 0; n < d->ndisks; n++) {
		auto_free char *part = part_of(d->disks[n].file);
		if (is_made(&d->disks[n], name))
			resume_forget(part);
	}
}

static bool name_copies(const struct definition *d, const char *name, struct error *err)
{
	for (unsigned n = 0; n < d->ndisks; n++) {
		const char *to = d->disks[n].file;
		auto_free char *part = part_of(to);
		if (is_made(&d->disks[n], name) && rename(part, to) && (errno != ENOENT || access(to, F_OK)))
			return error_set(err, errno, "cannot give disk '%s' its name", to);
	}
	return true;
}

static bool all_disks(struct definition *d, const char *name, const struct clone_how *how, bool *keep,
		      struct error *err)
{
	for (unsigned n = 0; n < d->ndisks; n++) {
		struct def_disk *disk = &d->disks[n];
		if (is_shared(disk))
			continue;
		if (!disk->format)
			disk->format = xstrdup("raw");
		char *to = clone_path(disk->file, name, n, disk->format);
		if (!(how->full ? copy_disk(disk, to, how, keep, err) : link_disk(disk, to, err))) {
			free(to);
			d->ndisks = n;                /* those before it were made */
			return false;
		}
		free(disk->file);
		free(move_ptr(disk->data_file));      /* a copy has all in one */
		disk->file = to;
	}
	return !how->full || name_copies(d, name, err);
}

bool clone_disks(const struct instance *i, struct definition *d, const char *name, const struct clone_how *how,
		 struct error *err)
{
	bool keep = how->full;                /* what another clone may be at, or this one goes on with */
	if (instance_keeper(i))
		return error_set(err, 0, "'%s' is running: stop it, then it can be cloned", i->name);
	if (all_disks(d, name, how, &keep, err))
		return true;
	if (!keep)
		clone_undo(d, name);
	return false;
}
