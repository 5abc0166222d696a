/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme clone: another instance like this one, with an identity of its own. */
#include "cli/disk.h"
#include "cli/run.h"
#include "instance/clone.h"

#include <fcntl.h>

struct clone_options { bool full; char *rate; };
static const struct cli_option clone_options[] = {
	{ "--full", NULL, "copy the disks instead of sharing what they have now", OPTION_FLAG,
	  offsetof(struct clone_options, full), NULL },
	{ "--rate", "SIZE", "with --full: how much to copy a second (default: as fast as it goes)", OPTION_STRING,
	  offsetof(struct clone_options, rate), NULL },
	{ NULL }
};

/* What must differ: machine id and network addresses are made anew from nothing. */
static void forget_identity(struct definition *d, const char *name)
{
	free(d->name);
	d->name = xstrdup(name);
	free(move_ptr(d->uuid));
	for (unsigned n = 0; n < d->nnets; n++)
		free(move_ptr(d->nets[n].mac));
}

/* The firmware's variables, boot entries among them. */
static bool copy_variables(const struct instance *from, const struct instance *to, struct error *err)
{
	enum { MOST = 1 << 20 };
	auto_close int in = openat(from->dir, "nvram", O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return true;
	auto_close int out = openat(to->dir, "nvram", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	auto_free char *buf = xmalloc(MOST);
	ssize_t n = pread(in, buf, MOST, 0);
	if (out >= 0 && n >= 0 && fd_write_full(out, buf, (size_t)n))
		return true;
	return error_set(err, 0, "cannot copy the firmware's variables of '%s'", from->name);
}

static void progress(uint64_t done, uint64_t total) { disk_tool_progress("copying", done, total); }

static bool clone(const struct instance *from, const char *name, const struct clone_how *how, struct error *err)
{
	if (!instance_name_ok(name, err))
		return false;
	struct instance *there = instance_open(name, NULL);
	instance_close(there);
	if (there)
		return error_set(err, 0, "instance '%s' exists already: choose another name, or abyme rm %s", name, name);
	struct definition *d = instance_definition(from, err);
	if (!d || !clone_disks(from, d, name, how, err)) {
		definition_free(d);
		return false;
	}
	forget_identity(d, name);
	struct definition *stored = definition_to_store(d, err);
	struct instance *new = stored ? instance_create(name, stored, err) : NULL;
	bool ok = new && copy_variables(from, new, err);
	if (new && !ok)
		instance_remove(new, NULL);
	if (ok)
		clone_done(d, name);
	else
		clone_undo(d, name);
	instance_close(new);
	definition_free(stored);
	definition_free(d);
	return ok;
}

int verb_clone(int argc, char **argv)
{
	struct clone_options o = { 0 };
	struct error err;
	const char *words[2];
	int status = cli_parse((struct cli_group[]){ { clone_options, &o }, { NULL } }, argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	struct clone_how how = { .full = o.full, .stop = disk_tool_stopped, .going_on = disk_tool_going_on, .progress = progress };
	if (!disk_tool_rate(o.rate, &how.rate, &err))
		return cli_fail(&err);
	if (o.full)
		disk_tool_stop_by_signal();
	struct instance *from = instance_open(words[0], &err);
	bool ok = from && clone(from, words[1], &how, &err);
	instance_close(from);
	return ok ? 0 : cli_fail(&err);
}
