/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instance directories: see store.h.  All access goes through a directory
 * descriptor, so a path that moves or is too long for a socket does no harm.
 */
#include "instance/store.h"
#include "base/place.h"
#include "image/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { MAX_FILE = 1 << 20 };

int store_open(struct error *err)
{
	return place_open("instances", err);
}

static struct instance *instance_of(const char *name, int dir)
{
	struct instance *i = xnew(struct instance);
	i->name = xstrdup(name);
	i->dir = dir;
	return i;
}

void instance_close(struct instance *i)
{
	if (!i)
		return;
	close(i->dir);
	free(i->name);
	free(i);
}

struct instance *instance_open(const char *name, struct error *err)
{
	if (!instance_name_ok(name, err))
		return NULL;
	auto_close int store = store_open(err);
	if (store < 0)
		return NULL;
	int dir = openat(store, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_null(err, errno == ENOENT ? 0 : errno,
				  "there is no instance '%s': abyme ls shows what there is", name);
	return instance_of(name, dir);
}

/* ---- files ---- */

bool instance_write(const struct instance *i, const char *file, const char *text, struct error *err)
{
	return place_write(i->dir, file, text) ||
		error_set(err, errno, "cannot write '%s' of instance '%s'", file, i->name);
}

char *instance_read(const struct instance *i, const char *file)
{
	return place_read(i->dir, file, MAX_FILE);
}

struct definition *instance_definition(const struct instance *i, struct error *err)
{
	auto_free char *text = instance_read(i, "definition.yaml");
	if (!text)
		return error_null(err, 0, "instance '%s' has no readable definition.yaml", i->name);
	auto_free char *what = xasprintf("%s/definition.yaml", i->name);
	return definition_parse(text, strlen(text), what, err);
}

bool instance_set_definition(const struct instance *i, const struct definition *d, struct error *err)
{
	auto_free char *text = definition_to_yaml(d, err);
	return text && instance_write(i, "definition.yaml", text, err);
}

/* ---- create, remove, list ---- */

static char *fresh_name(const struct definition *d)
{
	uint8_t b[4] = { 0 };
	ssize_t n UNUSED = getrandom(b, sizeof(b), 0);
	return xasprintf("%s-%02x%02x%02x%02x", d->image ? "run" : "vm", b[0], b[1], b[2], b[3]);
}

struct filling { const char *name; const struct definition *d; struct error *err; };

static bool fill(int dir, void *opaque)
{
	const struct filling *f = opaque;
	struct instance fresh = { (char *)f->name, dir };
	return instance_set_definition(&fresh, f->d, f->err);
}

struct instance *instance_create(const char *name, const struct definition *d, struct error *err)
{
	auto_free char *chosen = name ? xstrdup(name) : fresh_name(d);
	if (!instance_name_ok(chosen, err))
		return NULL;
	auto_close int store = store_open(err);
	if (store < 0)
		return NULL;
	int dir = place_make(store, chosen, fill, &(struct filling){ chosen, d, err });
	if (dir >= 0)
		return instance_of(chosen, dir);
	if (errno == EEXIST)
		error_set(err, 0, "instance '%s' exists already: choose another --name, or abyme rm %s", chosen, chosen);
	else if (errno)
		error_set(err, errno, "cannot create instance '%s'", chosen);
	return NULL;
}

bool instance_remove(struct instance *i, struct error *err)
{
	pid_t pid = instance_keeper(i);
	if (pid && pid != getpid())
		return error_set(err, 0, "instance '%s' is running: abyme stop %s first", i->name, i->name);
	auto_close int store = store_open(err);
	if (store < 0)
		return false;
	auto_free char *text = instance_read(i, "definition.yaml");
	if (!place_remove(store, i->name, i->dir))
		return error_set(err, errno, "cannot remove instance '%s'", i->name);
	if (text && strstr(text, "image-digest:"))
		image_unuse(i->name);
	return true;
}

bool instance_each(bool (*fn)(const char *name, void *opaque), void *opaque, struct error *err)
{
	auto_close int store = store_open(err);
	int all = store < 0 ? 0 : place_each(store, fn, opaque);
	return all < 0 ? error_set(err, errno, "cannot list the instances") : all;
}

/* ---- lock ---- */

bool instance_lock(struct instance *i, struct error *err)
{
	if (place_lock(i->dir))
		return true;
	if (errno == EACCES || errno == EAGAIN)
		return error_set(err, 0, "instance '%s' is running already", i->name);
	return error_set(err, errno, "cannot lock instance '%s'", i->name);
}

pid_t instance_keeper(const struct instance *i) { return place_holder(i->dir); }
