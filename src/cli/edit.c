/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme edit: the definition in an editor; abyme set: by options.  What is
 * not valid is refused and nothing changes.  It holds from the next start on.
 */
#include "cli/name.h"
#include "cli/options.h"
#include "cli/run.h"
#include "instance/client.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/wait.h>

#include "disk/disk.h"
#include "instance/client.h"

enum { CALL_SECONDS = 30 };

static bool replace(const struct instance *i, const struct definition *d, struct error *err)
{
	struct definition *full = definition_to_store(d, err);
	bool ok = full && instance_set_definition(i, full, err);
	definition_free(full);
	return ok;
}

/* Limits hold at once. */
static bool limit_running(const struct instance *i, const struct definition *d, struct error *err)
{
	json_t *disks = json_array();
	bool ok = true;
	for (unsigned k = 0; ok && k < d->ndisks; k++) {
		struct disk_limits l;
		ok = definition_disk_limits(&d->disks[k], &l, err);
		json_array_append_new(disks, json_pack("{s:I, s:I, s:I, s:I}", "iops", (json_int_t)l.iops, "iops_burst",
						       (json_int_t)l.iops_burst, "bps", (json_int_t)l.bps, "bps_burst",
						       (json_int_t)l.bps_burst));
	}
	json_t *args = json_pack("{s:o}", "disks", disks);
	json_t *o = ok && instance_keeper(i) ? control_call_with(i, "disk-limits", args, -1, CALL_SECONDS, err) : json_object();
	json_decref(args);
	json_decref(o);
	return ok && o;
}

static bool note_running(const struct instance *i)
{
	if (instance_keeper(i))
		fprintf(stderr, "abyme: '%s' is running; limits of disks hold at once, all else from its next start on\n", i->name);
	return true;
}

/* ---- edit ---- */

static bool run_editor(const char *path, struct error *err)
{
	const char *editor = getenv("VISUAL");
	editor = editor && *editor ? editor : getenv("EDITOR");
	editor = editor && *editor ? editor : "vi";
	auto_free char *script = xasprintf("%s \"$1\"", editor);
	fflush(stdout);
	pid_t pid = fork();
	int status = -1;
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", script, "sh", path, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return error_set(err, errno, "cannot run the editor '%s'", editor);
	return !status || error_set(err, 0, "the editor '%s' failed; nothing is changed", editor);
}

static bool edit(const struct instance *i, struct error *err)
{
	char path[] = "/tmp/abyme-edit-XXXXXX.yaml";
	auto_free char *text = instance_read(i, "definition.yaml");
	auto_close int fd = mkstemps(path, 5);
	if (!text || fd < 0 || !fd_write_full(fd, text, strlen(text)))
		return error_set(err, errno, "cannot make a copy of the definition to edit");
	struct definition *d = run_editor(path, err) ? definition_load(path, err) : NULL;
	bool ok = d && replace(i, d, err);
	definition_free(d);
	unlink(path);
	return ok;
}

int verb_edit(int argc, char **argv)
{
	struct error err = { 0 };
	int status;
	struct instance *i = cli_instance(NULL, NULL, argc, argv, &status);
	if (!i)
		return status;
	if (edit(i, &err))
		note_running(i);
	else
		status = cli_fail(&err);
	instance_close(i);
	return status;
}

/* ---- set ---- */

/* The name comes first, as the options change what it has. */
static int change(int argc, char **argv, bool (*told)(const struct instance *))
{
	struct error err = { 0 };
	const char *name = NULL;
	if (argc < 2 || argv[1][0] == '-') {
		const struct cli_group help[] = { { definition_options, NULL }, { program_options, NULL }, { NULL } };
		if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], CLI_COMPLETE)))
			return cli_parse(help, argc, argv, &name, 0, 0);
		error_set(&err, 0, "abyme %s needs a NAME first: abyme %s NAME OPTIONS", argv[0], argv[0]);
		return cli_usage(&err);
	}
	struct instance *i = instance_open(argv[1], &err);
	struct definition *d = i ? instance_definition(i, &err) : NULL;
	int status = d ? -1 : cli_fail(&err);
	const struct cli_group groups[] = { { definition_options, d }, { program_options, d }, { NULL } };
	argv[1] = argv[0];
	if (d)
		status = cli_parse(groups, argc - 1, argv + 1, &name, 0, 0);
	if (status < 0 && replace(i, d, &err)) {
		status = !told(i) ? STATUS_FAILED : !d->ndisks || limit_running(i, d, &err) ? 0 : cli_fail(&err);
	} else if (status < 0) {
		status = cli_usage(&err);
	}
	definition_free(d);
	instance_close(i);
	return status;
}

int verb_set(int argc, char **argv) { return change(argc, argv, note_running); }

/* ---- update ---- */

static bool tell_running(const struct instance *i)
{
	struct error err = { 0 };
	return !instance_keeper(i) || control_do(i, "update", &err) || (cli_fail(&err), false);
}

int verb_update(int argc, char **argv) { return change(argc, argv, tell_running); }
