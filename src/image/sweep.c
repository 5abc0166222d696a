/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dropping what nothing reaches any more: mark from the tags and the instances, then
 * remove blobs, layers and everything in tmp/.  Under the exclusive lock nobody adds.
 */
#include "image/manifest.h"
#include "base/place.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

struct sweep {
	struct image_store *store;
	int instances;
	void *keep;                   /* tree of digests: blobs and layers alike */
	int64_t freed;
	bool broken;                  /* something could not be read: remove nothing */
	struct error *err;
};

static int compare(const void *a, const void *b) { return strcmp(a, b); }

static void mark(struct sweep *w, const char *hex)
{
	if (!tfind(hex, &w->keep, compare))
		tsearch(xstrdup(hex), &w->keep, compare);
}

static bool reach(const char *name, const char *hex, void *opaque)
{
	struct sweep *w = opaque;
	struct oci_image *i = oci_image_load(w->store, hex, w->err);
	mark(w, hex);
	if (!i) {
		w->broken = true;
		return true;
	}
	mark(w, i->manifest.config->hex);
	for (unsigned k = 0; k < i->nlayers; k++) {
		mark(w, i->manifest.layers.v[k].hex);
		mark(w, i->diffs[k]);
	}
	oci_image_free(i);
	return true;
}

/* An instance that is gone uses nothing, whoever removed it. */
static bool reach_use(const char *instance, const char *hex, void *opaque)
{
	struct sweep *w = opaque;
	if (!faccessat(w->instances, instance, F_OK, 0))
		return reach(instance, hex, w);
	unlinkat(w->store->uses, instance, 0);
	return true;
}

static void remove_tree(struct sweep *w, int dir, const char *name)
{
	struct stat st;
	if (!fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
		w->freed += st.st_blocks * 512;
	if (!unlinkat(dir, name, 0))
		return;
	auto_close int below = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (below >= 0)
		place_empty(below);
	unlinkat(dir, name, AT_REMOVEDIR);
}

/* An unpacked layer goes by way of tmp/: nobody ever sees half of it. */
static bool drop_layer(const char *name, void *opaque)
{
	struct sweep *w = opaque;
	char tmp[48];
	image_tmp_name(tmp);
	if (!tfind(name, &w->keep, compare) && !renameat(w->store->layers, name, w->store->tmp, tmp))
		remove_tree(w, w->store->tmp, tmp);
	return true;
}

static bool drop_blob(const char *name, void *opaque)
{
	struct sweep *w = opaque;
	if (!tfind(name, &w->keep, compare))
		remove_tree(w, w->store->blobs, name);
	return true;
}

static bool drop_tmp(const char *name, void *opaque)
{
	struct sweep *w = opaque;
	remove_tree(w, w->store->tmp, name);
	return true;
}

int64_t image_sweep(struct image_store *s, struct error *err)
{
	struct sweep w = { .store = s, .err = err };
	if (flock(s->lock, LOCK_EX | LOCK_NB)) {
		flock(s->lock, LOCK_SH);      /* a failed conversion may lose it: flock(2) */
		return -1;
	}
	auto_close int instances = place_open("instances", err);
	w.instances = instances;
	w.broken = instances < 0;
	image_each(s, reach, &w);
	image_each_use(s, reach_use, &w);
	if (!w.broken) {
		place_each(s->blobs, drop_blob, &w);
		place_each(s->layers, drop_layer, &w);
		place_each(s->tmp, drop_tmp, &w);
	}
	tdestroy(w.keep, free);
	flock(s->lock, LOCK_SH);
	return w.broken ? -1 : w.freed;
}
