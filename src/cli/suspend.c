/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme suspend: a running machine into a file. abyme resume: on from there. */
#include "cli/table.h"
#include "cli/newfile.h"
#include "cli/run.h"
#include "instance/client.h"
#include "machine/machine.h"
#include "machine/state_file.h"

#include <errno.h>
#include <fcntl.h>

enum { END_SECONDS = 30 };

static bool suspend(struct instance *i, const char *file, struct error *err)
{
	bool ok = call_into_file(i, "suspend", NULL, file, 0600, "state file", err);
	if (ok)
		instance_wait_stopped(i, END_SECONDS);
	return ok;
}

int verb_suspend(int argc, char **argv) { return cli_with_instance(argc, argv, suspend); }

/* ---- resume ---- */

struct resume_options { char *name, *engine, *jail, *serial; bool rm, detach, unchecked; };
#define TARGET struct resume_options
static const struct cli_option resume_options[] = {
	TEXT("--name", "NAME", name, "name of the instance (default: the one it had)"),
	TEXT("--engine", "auto|kvm|jit|interp", engine, "what runs the guest's instructions"),
	TEXT("--jail", "auto|require|none", jail, "how much of the jail must be there"),
	TEXT("--serial", "stdio|file:PATH|unix:PATH|none", serial, "where the serial console goes"),
	FLAG("--rm", rm, "remove the instance when it ends"),
	FLAG("--unchecked", unchecked, "do not read the memory in the file first to find damage"),
	FLAG("--detach", detach, "do not stay in the foreground"),
	{ NULL }
};

static void override(char **field, char **value)
{
	if (*value) {
		free(*field);
		*field = move_ptr(*value);
	}
}

static struct definition *saved_definition(int fd, const char *file, struct resume_options *o, struct error *err)
{
	auto_free char *text = machine_state_definition(fd, err);
	struct definition *d = text ? definition_parse(text, strlen(text), file, err) : NULL;
	char why[160];
	if (!d)
		return NULL;
	free(d->engine);
	d->engine = xstrdup("auto");
	override(&d->engine, &o->engine);
	override(&d->jail, &o->jail);
	override(&d->serial, &o->serial);
	override(&d->name, &o->name);
	if (definition_resolve(d, why, err))
		return d;
	definition_free(d);
	return NULL;
}

/* The stopped instance of that name, or a new one. */
static struct instance *find_or_create(const struct definition *d, struct error *err)
{
	struct instance *i = d->name ? instance_open(d->name, NULL) : NULL;
	return i ? i : instance_create(d->name, d, err);
}

static int resume(const char *file, struct resume_options *o)
{
	struct error err = { 0 };
	struct keeper_options k = { .foreground = !o->detach, .remove = o->rm };
	k.state_fd = open(file, O_RDONLY | O_CLOEXEC);
	if (k.state_fd < 0) {
		error_set(&err, errno, "cannot open state file '%s'", file);
		return cli_fail(&err);
	}
	struct definition *d = machine_state_check(k.state_fd, !o->unchecked, &err) ?
			       saved_definition(k.state_fd, file, o, &err) : NULL;
	struct instance *i = d ? find_or_create(d, &err) : NULL;
	int status = i ? run_instance(i, d, &k) : cli_fail(&err);
	instance_close(i);
	definition_free(d);
	close(k.state_fd);
	return status;
}

int verb_resume(int argc, char **argv)
{
	struct resume_options o = { 0 };
	const struct cli_group groups[] = { { resume_options, &o }, { NULL } };
	const char *file = NULL;
	int status = cli_parse(groups, argc, argv, &file, 1, 1);
	if (status < 0)
		status = resume(file, &o);
	char *const text[] = { o.name, o.engine, o.jail, o.serial };
	for (unsigned n = 0; n < ARRAY_SIZE(text); n++)
		free(text[n]);
	return status;
}
