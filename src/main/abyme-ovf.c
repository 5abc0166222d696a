/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-ovf: the formats of machine import and export.  abyme calls it, so that only
 * this program links libxml2; what is in the files never meets a process of a guest.
 *   abyme-ovf read FILE DIR          unpacks, checks, writes DIR/machine.json: in a jail
 *   abyme-ovf write FILE DIR FAMILY  packs DIR's disks by DIR/machine.json
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "jail/jail.h"
#include "ovf/ovf.h"

static bool do_read(const char *file, const char *dir, const char *what, struct error *err)
{
	json_t *m = ova_read(file, dir, what, err);
	auto_free char *path = xasprintf("%s/machine.json", dir);
	bool ok = m && (!json_dump_file(m, path, JSON_INDENT(2)) || error_set(err, 0, "cannot write what '%s' describes", what));
	json_decref(m);
	return ok;
}

/* The flags that it was mounted with may not go. */
static void only_read(const char *path)
{
	struct statvfs v;
	if (!statvfs(path, &v))
		mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | (v.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC)), NULL);
}

/* What the parsers see: the archive, or the descriptor's directory, and where to unpack. */
static bool read_inside(struct jail *jail, const char *file, const char *dir, struct error *err)
{
	const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
	bool alone = !has_suffix(file, ".ovf");
	auto_free char *beside = path_directory(file);
	auto_free char *from = realpath(alone ? file : beside, NULL), *to = realpath(dir, NULL);
	auto_free char *inside = alone ? xstrdup("/in.ova") : xasprintf("/in/%s", name);
	const char *const binds[][2] = { { from, alone ? inside : "/in" }, { to, "/out" }, { NULL } };
	if (!from || !to)
		return error_set(err, errno, "cannot read '%s'", from ? dir : file);
	if (!jail_root(jail, binds, err))
		return false;
	bool walls = jail->granted & JAIL_ROOT;
	if (walls)
		only_read(binds[0][1]);
	return jail_seal(jail, err) && do_read(walls ? inside : file, walls ? "/out" : dir, file, err);
}

/* The child has said why it failed. */
static bool read_jailed(const char *file, const char *dir, struct error *err)
{
	struct jail jail = { .mode = JAIL_AUTO, .role = JAIL_OVF };
	pid_t pid = jail_fork(&jail, err);
	if (!pid) {
		bool ok = read_inside(&jail, file, dir, err);
		if (!ok)
			fprintf(stderr, "abyme: %s\n", err->text);
		_exit(!ok);
	}
	int status = pid > 0 ? wait_child(pid) : 0;
	if (pid > 0 && !WIFEXITED(status))
		return error_set(err, 0, "the reader of '%s' died", file);
	return pid > 0 && !WEXITSTATUS(status);
}

static bool do_write(const char *file, const char *dir, const char *family, struct error *err)
{
	auto_free char *path = xasprintf("%s/machine.json", dir);
	json_t *m = json_load_file(path, 0, NULL);
	bool ok = m ? ova_write(file, dir, m, !strcmp(family, "virtualbox"), err) : error_set(err, 0, "cannot read '%s'", path);
	json_decref(m);
	return ok;
}

int main(int argc, char **argv)
{
	struct error err = { 0 };
	bool ok = false;
	if (argc == 4 && !strcmp(argv[1], "read"))
		ok = read_jailed(argv[2], argv[3], &err);
	else if (argc == 5 && !strcmp(argv[1], "write"))
		ok = do_write(argv[2], argv[3], argv[4], &err);
	else
		error_set(&err, 0, "abyme-ovf is called by abyme: see abyme-machine(1)");
	if (!ok && err.text[0])
		fprintf(stderr, "abyme: %s\n", err.text);
	return !ok;
}
