/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-ovf: the formats of machine import and export.  abyme calls it, so that only
 * this program links libxml2; what is in the files never meets a process of a guest.
 *   abyme-ovf read FILE DIR          unpacks, checks, writes DIR/machine.json
 *   abyme-ovf write FILE DIR FAMILY  packs DIR's disks by DIR/machine.json
 */
#include <stdio.h>

#include "ovf/ovf.h"

static bool do_read(const char *file, const char *dir, struct error *err)
{
	char *from = NULL;
	json_t *m = ova_read(file, dir, &from, err);
	auto_free char *path = xasprintf("%s/machine.json", dir);
	if (m)
		json_object_set_new(m, "from", json_string(from));
	bool ok = m && (!json_dump_file(m, path, JSON_INDENT(2)) || error_set(err, 0, "cannot write '%s'", path));
	json_decref(m);
	free(from);
	return ok;
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
		ok = do_read(argv[2], argv[3], &err);
	else if (argc == 5 && !strcmp(argv[1], "write"))
		ok = do_write(argv[2], argv[3], argv[4], &err);
	else
		error_set(&err, 0, "abyme-ovf is called by abyme: see abyme-machine(1)");
	if (!ok)
		fprintf(stderr, "abyme: %s\n", err.text);
	return !ok;
}
