/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots of instances: see snapshot.h. The disks change first, the record last. */
#include "instance/snapshot.h"

#include <jansson.h>
#include <time.h>

#include "disk/image.h"
#include "instance/client.h"

static const char RECORD[] = "snapshots.json";

/* --- the disks -------------------------------------------------------------- */

typedef bool image_change(struct image *i, const char *name, struct error *err);

static struct image *open_disk(const struct def_disk *d, struct error *err)
{
	struct image_open o = { .path = d->file, .fd = -1, .format = d->format ? d->format : "raw" };
	return image_open(&o, err);
}

/* Each writable disk of a stopped instance; *done: how many of them were changed. */
static bool change_disks(const struct definition *d, unsigned most, const char *name, image_change *change,
			 unsigned *done, struct error *err)
{
	*done = 0;
	for (unsigned n = 0; n < d->ndisks && *done < most; n++) {
		if (d->disks[n].readonly || d->disks[n].cdrom)
			continue;
		struct image *i = open_disk(&d->disks[n], err);
		bool ok = i && change(i, name, err);
		image_close(i);
		if (!ok)
			return false;
		++*done;
	}
	return *done || most != UINT32_MAX || error_set(err, 0, "the instance has no disk that is written");
}

static bool on_machine(struct instance *i, const char *command, const char *name, uint64_t *stopped_ns,
		       struct error *err)
{
	json_t *args = json_pack("{s:s}", "name", name);
	json_t *o = control_call_with(i, command, args, -1, 0, err);
	if (o && stopped_ns)
		*stopped_ns = (uint64_t)json_integer_value(json_object_get(o, "stopped_ns"));
	json_decref(args);
	json_decref(o);
	return o != NULL;
}

bool snapshot_disks_create(struct instance *i, const char *name, uint64_t *stopped_ns, struct error *err)
{
	unsigned done, undone;
	if (instance_keeper(i))
		return on_machine(i, "snapshot-create", name, stopped_ns, err);
	struct definition *d = instance_definition(i, err);
	bool ok = d && change_disks(d, UINT32_MAX, name, qcow2_snapshot_create, &done, err);
	if (d && !ok && done)
		change_disks(d, done, name, qcow2_snapshot_delete, &undone, NULL);
	definition_free(d);
	return ok;
}

/* Gone already counts as deleted: an earlier attempt may have been cut short. */
static bool delete_if_there(struct image *i, const char *name, struct error *err)
{
	struct image_snapshot *list;
	unsigned n;
	bool there = false;
	if (!qcow2_snapshot_list(i, &list, &n, err))
		return false;
	for (unsigned k = 0; k < n; k++)
		there |= !strcmp(list[k].name, name);
	image_snapshots_free(list, n);
	return !there || qcow2_snapshot_delete(i, name, err);
}

bool snapshot_disks_delete(struct instance *i, const char *name, struct error *err)
{
	unsigned done;
	if (instance_keeper(i))
		return on_machine(i, "snapshot-delete", name, NULL, err);
	struct definition *d = instance_definition(i, err);
	bool ok = d && change_disks(d, UINT32_MAX, name, delete_if_there, &done, err);
	definition_free(d);
	return ok;
}

/* --- the record ------------------------------------------------------------- */

struct json_t *snapshot_tree(const struct instance *i)
{
	auto_free char *text = instance_read(i, RECORD);
	json_t *o = text ? json_loads(text, 0, NULL) : NULL;
	if (json_is_array(json_object_get(o, "snapshots")))
		return o;
	json_decref(o);
	return json_pack("{s:n, s:[]}", "current", "snapshots");
}

static bool store_tree(const struct instance *i, json_t *tree, struct error *err)
{
	auto_free char *text = json_dumps(tree, JSON_INDENT(2));
	json_decref(tree);
	return instance_write(i, RECORD, text, err);
}

/* The index of the record, or its length. */
static size_t find(json_t *tree, const char *name)
{
	json_t *all = json_object_get(tree, "snapshots"), *o;
	size_t n;
	json_array_foreach(all, n, o) {
		const char *s = json_string_value(json_object_get(o, "name"));
		if (s && !strcmp(s, name))
			break;
	}
	return n;
}

static bool known(json_t *tree, const char *name)
{
	return find(tree, name) < json_array_size(json_object_get(tree, "snapshots"));
}

bool snapshot_create(struct instance *i, const char *name, struct error *err)
{
	if (!instance_name_ok(name, err))
		return false;
	if (!snapshot_disks_create(i, name, NULL, err))
		return false;
	json_t *tree = snapshot_tree(i), *parent = json_object_get(tree, "current");
	if (known(tree, name))
		json_array_remove(json_object_get(tree, "snapshots"), find(tree, name));
	json_array_append_new(json_object_get(tree, "snapshots"),
			      json_pack("{s:s, s:O, s:I}", "name", name, "parent", parent ? parent : json_null(), "time",
					(json_int_t)time(NULL)));
	json_object_set_new(tree, "current", json_string(name));
	return store_tree(i, tree, err);
}

bool snapshot_restore(struct instance *i, const char *name, struct error *err)
{
	unsigned done;
	if (instance_keeper(i))
		return error_set(err, 0, "'%s' is running: stop it, then its disks can be restored", i->name);
	struct definition *d = instance_definition(i, err);
	bool ok = d && change_disks(d, UINT32_MAX, name, qcow2_snapshot_apply, &done, err);
	definition_free(d);
	if (!ok)
		return false;
	json_t *tree = snapshot_tree(i);
	json_object_set_new(tree, "current", json_string(name));
	return store_tree(i, tree, err);
}

bool snapshot_delete(struct instance *i, const char *name, struct error *err)
{
	json_t *tree = snapshot_tree(i), *all = json_object_get(tree, "snapshots"), *o;
	size_t at = find(tree, name), n;
	if (at == json_array_size(all)) {
		json_decref(tree);
		return error_set(err, 0, "'%s' has no snapshot '%s': abyme snapshot list %s shows what there is", i->name,
				 name, i->name);
	}
	if (!snapshot_disks_delete(i, name, err)) {
		json_decref(tree);
		return false;
	}
	json_t *parent = json_incref(json_object_get(json_array_get(all, at), "parent"));
	json_array_remove(all, at);
	json_array_foreach(all, n, o) {
		const char *p = json_string_value(json_object_get(o, "parent"));
		if (p && !strcmp(p, name))
			json_object_set(o, "parent", parent);
	}
	const char *current = json_string_value(json_object_get(tree, "current"));
	if (current && !strcmp(current, name))
		json_object_set(tree, "current", parent);
	json_decref(parent);
	return store_tree(i, tree, err);
}
