/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme machine import, export (install: machine_install.c): whole machines as other programs write and read them (OVA, OVF). */
#include "cli/foreign.h"
#include "cli/helper.h"
#include "cli/machine.h"
#include "cli/run.h"
#include "instance/store.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>

#include "base/place.h"
#include "disk/copy.h"

#define TARGET struct machine_options
struct machine_options { char *name, *output, *family; };
#include "cli/table.h"

static void progress(uint64_t done, uint64_t total) { disk_tool_progress("copying", done, total); }

static void remove_directory(const char *dir)
{
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		place_empty(fd);
	rmdir(dir);
}

static json_t *load_json(const char *dir, struct error *err)
{
	auto_free char *path = xasprintf("%s/machine.json", dir);
	json_t *o = json_load_file(path, 0, NULL);
	return o ? o : error_null(err, 0, "cannot read '%s'", path);
}

/* ---- import ---- */

/* Of what they call it: letters, digits, and '-' for all else. */
static char *name_from(const char *theirs)
{
	char *name = xstrdup(*theirs && isalnum((unsigned char)*theirs) ? theirs : "imported"), *p = name;
	for (; *p && p - name < 60; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
			*p = '-';
	*p = 0;
	return name;
}

static bool copy_disk(const char *from, const char *to, struct error *err)
{
	if (foreign_source(from))
		return foreign_convert(from, "vhdx", to, "qcow2", err);
	struct image *i = disk_tool_open(from, NULL, true, err);
	struct qcow2_create c = { .size = i ? ALIGN_UP(i->size, 512) : 0, .cluster_bits = 16, .version = 3 };
	struct image *copy = i ? image_make(to, "qcow2", &c, err) : NULL;
	int r = copy ? image_copy(&(struct image_copy){ .from = i, .to = copy, .progress = progress }) : 0;
	image_close(copy);
	image_close(i);
	if (r)
		unlink(to);
	return copy && (!r || error_set(err, -r, "cannot copy disk '%s' to '%s'", from, to));
}

static bool empty_disk(const char *to, uint64_t size, struct error *err)
{
	struct qcow2_create c = { .size = ALIGN_UP(size, 512), .cluster_bits = 16, .version = 3 };
	struct image *i = size && size < INT64_MAX / 2 ? image_make(to, "qcow2", &c, err) :
			  error_null(err, 0, "a disk without contents has an impossible size");
	image_close(i);
	return i != NULL;
}

static bool import_disk(json_t *disk, const char *from, const char *to, struct definition *d, struct error *err)
{
	const char *file = json_string_value(json_object_get(disk, "file"));
	const char *bus = json_string_value(json_object_get(disk, "bus"));
	auto_free char *path = file ? xasprintf("%s/%s", from, file) : NULL;
	if (file && (strchr(file, '/') || !strcmp(file, "..")))
		return error_set(err, 0, "the file name '%s' of a disk names a directory, too", file);
	if (!(path ? copy_disk(path, to, err) : empty_disk(to, (uint64_t)json_integer_value(json_object_get(disk, "capacity")), err)))
		return false;
	d->disks = xrealloc(d->disks, (d->ndisks + 1) * sizeof(*d->disks));
	d->disks[d->ndisks++] = (struct def_disk){ .file = xstrdup(to), .format = xstrdup("qcow2"), .bus = xstrdup(bus ? bus : "ahci") };
	return true;
}

static bool import_all(json_t *m, const char *from, const char *name, const char *output, struct definition *d, struct error *err)
{
	json_t *disk, *nic;
	size_t n;
	const char *firmware = json_string_value(json_object_get(m, "firmware"));
	d->version = DEFINITION_VERSION;
	d->name = xstrdup(name);
	d->vcpus = (unsigned)json_integer_value(json_object_get(m, "vcpus"));
	d->memory = xasprintf("%lldM", (long long)json_integer_value(json_object_get(m, "memory_mib")));
	d->firmware = xstrdup(firmware ? firmware : "bios");
	json_array_foreach(json_object_get(m, "nics"), n, nic) {
		auto_free char *text = xasprintf("%s,model=%s", n ? "none" : "user", json_string_value(nic));
		if (!definition_add_net(d, text, err))
			return false;
	}
	json_array_foreach(json_object_get(m, "disks"), n, disk) {
		auto_free char *to = xasprintf("%s/%s-%zu.qcow2", output, name, n);
		if (!import_disk(disk, from, to, d, err))
			return false;
	}
	return true;
}

static bool import_json(json_t *m, const char *from, const struct machine_options *o, const char *output, struct error *err)
{
	const char *theirs = json_string_value(json_object_get(m, "name"));
	auto_free char *name = o->name ? xstrdup(o->name) : name_from(theirs ? theirs : "");
	struct instance *there = instance_name_ok(name, err) ? instance_open(name, NULL) : NULL;
	bool free_name = !there;
	instance_close(there);
	if (!free_name)
		return error_set(err, 0, "instance '%s' exists already: choose another name with --name", name);
	if (!instance_name_ok(name, err))
		return false;
	struct definition *d = xnew(struct definition);
	bool ok = import_all(m, from, name, output, d, err);
	struct definition *full = ok ? definition_to_store(d, err) : NULL;
	struct instance *i = full ? instance_create(name, full, err) : NULL;
	for (unsigned k = 0; !i && k < d->ndisks; k++)
		unlink(d->disks[k].file);
	if (i)
		printf("%s\n", name);
	instance_close(i);
	definition_free(full);
	definition_free(d);
	return i != NULL;
}

/* Beside a descriptor, or where an archive was unpacked. */
static char *place_of_disks(const char *file, const char *dir)
{
	return has_suffix(file, ".ovf") ? path_directory(file) : xstrdup(dir);
}

static int import(int argc, char **argv)
{
	static const struct cli_option options[] = {
		TEXT("--name", "NAME", name, "of the new instance (default: what the file says)"),
		TEXT("--output", "DIR", output, "where the disks go (default: here)"), { NULL } };
	struct machine_options o = { 0 };
	const char *words[1];
	struct error err = { 0 };
	int status = cli_parse((struct cli_group[]){ { options, &o }, { NULL } }, argc, argv, words, 1, 1);
	if (status >= 0)
		return status;
	auto_free char *output = realpath(o.output ? o.output : ".", NULL);
	auto_free char *dir = output ? xasprintf("%s/.import-XXXXXX", output) : NULL;
	if (!dir || !mkdtemp(dir)) {
		error_set(&err, errno, "cannot use the directory '%s'", o.output ? o.output : ".");
		return cli_fail(&err);
	}
	char *const helper[] = { (char *)"abyme-ovf", (char *)"read", (char *)words[0], dir, NULL };
	status = cli_helper(helper);
	json_t *m = status ? NULL : load_json(dir, &err);
	auto_free char *from = place_of_disks(words[0], dir);
	if (!status && (!m || !import_json(m, from, &o, output, &err)))
		status = cli_fail(&err);
	json_decref(m);
	remove_directory(dir);
	return status;
}

/* ---- export ---- */

static bool export_disk(const struct def_disk *d, const char *dir, const char *name, json_t *disks, struct error *err)
{
	auto_free char *file = xasprintf("%s-disk%zu.vmdk", name, json_array_size(disks) + 1);
	auto_free char *to = xasprintf("%s/%s", dir, file);
	struct image *i = disk_tool_open(d->file, d->format, true, err);
	json_int_t size = i ? (json_int_t)i->size : 0;
	image_close(i);
	if (!i || !foreign_convert(d->file, d->format ? d->format : "raw", to, "vmdk-stream", err))
		return false;
	json_array_append_new(disks, json_pack("{s:s, s:s, s:I}", "file", file, "bus", d->bus ? d->bus : "ahci", "capacity", size));
	return true;
}

static json_t *export_all(const struct instance *i, const struct definition *d, const char *dir, struct error *err)
{
	json_t *disks = json_array(), *nics = json_array();
	bool ok = !d->kernel || error_set(err, 0, "'%s' starts a kernel of this host, which no other program would have", i->name);
	for (unsigned k = 0; ok && k < d->ndisks; k++)
		if (!d->disks[k].cdrom)
			ok = export_disk(&d->disks[k], dir, i->name, disks, err);
	for (unsigned k = 0; k < d->nnets; k++)
		json_array_append_new(nics, json_string(d->nets[k].model ? d->nets[k].model : "virtio"));
	json_t *m = json_pack("{s:s, s:i, s:I, s:s, s:o, s:o}", "name", i->name, "vcpus", (int)MAX(d->vcpus, 1u), "memory_mib",
			      (json_int_t)(definition_memory(d) / MiB), "firmware",
			      d->firmware && !strcmp(d->firmware, "uefi") ? "uefi" : "bios", "disks", disks, "nics", nics);
	if (ok)
		return m;
	json_decref(m);
	return NULL;
}

static int export_to(const struct instance *i, const char *file, const char *family, struct error *err)
{
	auto_free char *dir = xasprintf("%s.XXXXXX", file), *path = NULL;
	struct definition *d = instance_definition(i, err);
	int status = STATUS_FAILED;
	if (!d || !mkdtemp(dir)) {
		definition_free(d);
		return d ? error_set(err, errno, "cannot write beside '%s'", file), cli_fail(err) : cli_fail(err);
	}
	json_t *m = export_all(i, d, dir, err);
	path = xasprintf("%s/machine.json", dir);
	if (m && !json_dump_file(m, path, 0)) {
		char *const helper[] = { (char *)"abyme-ovf", (char *)"write", (char *)file, dir, (char *)family, NULL };
		status = cli_helper(helper);
	} else {
		cli_fail(err);
	}
	json_decref(m);
	definition_free(d);
	remove_directory(dir);
	return status;
}

static int export(int argc, char **argv)
{
	static const struct cli_option options[] = {
		TEXT("--family", "vmware|virtualbox", family, "the hardware it is said to be (default vmware, which both take)"),
		{ NULL } };
	struct machine_options o = { 0 };
	const char *words[2];
	struct error err = { 0 };
	int status = cli_parse((struct cli_group[]){ { options, &o }, { NULL } }, argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	const char *family = o.family ? o.family : "vmware";
	if (strcmp(family, "vmware") && strcmp(family, "virtualbox"))
		return error_set(&err, 0, "family '%s' is not known: use vmware or virtualbox", family), cli_usage(&err);
	if (!access(words[1], F_OK))
		return error_set(&err, 0, "'%s' is there already: it is not overwritten", words[1]), cli_fail(&err);
	struct instance *i = instance_open(words[0], &err);
	if (i && instance_keeper(i))
		status = (error_set(&err, 0, "'%s' is running: stop it, then it can be exported", i->name), cli_fail(&err));
	else
		status = i ? export_to(i, words[1], family, &err) : cli_fail(&err);
	instance_close(i);
	return status;
}

static const struct verb machine_verbs[] = {
	{ "import", "[--name NAME] [--output DIR] FILE.ova|FILE.ovf", "an instance like the machine in it", import },
	{ "export", "[--family vmware|virtualbox] NAME FILE.ova", "a stopped instance for other programs", export },
	{ "install", "[OPTION...] debian", "an instance with a system installed by its own installer", machine_install },
	{ NULL }
};

int verb_machine(int argc, char **argv) { return cli_noun(machine_verbs, argc, argv); }
