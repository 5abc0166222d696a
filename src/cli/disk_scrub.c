/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme disk scrub: is every byte still readable?  Of a running machine, a snapshot is
 * read, which goes again at the end.
 */
#include "cli/disk.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "disk/copy.h"
#include "instance/snapshot.h"
#include "instance/store.h"

#define TARGET struct scrub_options
struct scrub_options { char *rate, *from, *instance; };
#include "cli/table.h"

static const struct cli_option scrub_options[] = {
	TEXT("--rate", "SIZE", rate, "how much to read a second (default: as fast as it goes)"),
	TEXT("--from", "OFFSET", from, "go on where an earlier scrub was stopped"),
	TEXT("--instance", "NAME", instance, "FILE is a disk of this instance, which may run"),
	{ NULL }
};

static volatile sig_atomic_t stopped;
static void on_signal(int signal) { stopped = 1; }
static bool stop(struct image_scrub *s) { return stopped; }
static void reading(uint64_t done, uint64_t total) { disk_tool_progress("reading", done, total); }

static void found(struct image_scrub *s, uint64_t at, uint64_t len)
{
	printf("%" PRIu64 " bytes at %" PRIu64 " cannot be read\n", len, at);
}

/* Structure first: what it leads to is read then. */
static bool structure(struct image *i, bool running, bool *bad, struct error *err)
{
	for (; i && !running; i = i->backing) {
		struct image_check check = { 0 };
		if (!strcmp(i->ops->format, "qcow2") && !qcow2_check(i, false, &check, err))
			return false;
		if (check.corruptions)
			printf("%s: %" PRIu64 " corruptions: see abyme disk check\n", i->path, check.corruptions);
		*bad |= check.corruptions != 0;
	}
	return true;
}

static int scrub(struct image *i, const struct scrub_options *o, bool running)
{
	struct image_scrub s = { .image = i, .stop = stop, .progress = reading, .found = found };
	struct error err;
	bool bad = false;
	if ((o->rate && (!parse_size(o->rate, &s.rate) || !s.rate)) || (o->from && !parse_size(o->from, &s.at))) {
		error_set(&err, 0, "'%s' is not a size: write 10M", o->rate && !s.rate ? o->rate : o->from);
		return cli_usage(&err);
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	if (!structure(i, running, &bad, &err))
		return cli_fail(&err);
	bool early = image_scrub(&s);
	printf("%" PRIu64 " bytes read, %" PRIu64 " of them in vain\n", s.read, s.bad);
	if (early)
		printf("stopped: --from %" PRIu64 " goes on\n", s.at);
	return early || bad || s.bad ? STATUS_FAILED : 0;
}

static int scrub_running(const char *path, const struct scrub_options *o, struct error *err)
{
	struct instance *n = instance_open(o->instance, err);
	auto_free char *name = xasprintf("scrub-%d", (int)getpid());
	if (!n)
		return cli_fail(err);
	int status = STATUS_FAILED;
	struct image_open open = { .path = path, .fd = -1, .format = "qcow2", .readonly = true, .no_lock = true };
	if (!snapshot_disks_create(n, name, NULL, err)) {
		instance_close(n);
		return cli_fail(err);
	}
	struct image *i = image_open(&open, err);
	if (i && qcow2_snapshot_show(i, name, err))
		status = scrub(i, o, true);
	else
		cli_fail(err);
	image_close(i);
	if (!snapshot_disks_delete(n, name, err))
		status = cli_fail(err);
	instance_close(n);
	return status;
}

int disk_scrub(int argc, char **argv)
{
	struct scrub_options o = { 0 };
	const char *words[1];
	struct error err;
	int status = cli_parse((struct cli_group[]){ { scrub_options, &o }, { NULL } }, argc, argv, words, 1, 1);
	if (status >= 0)
		return status;
	if (o.instance)
		return scrub_running(words[0], &o, &err);
	struct image *i = disk_tool_open(words[0], NULL, true, &err);
	if (!i)
		return cli_fail(&err);
	status = scrub(i, &o, false);
	image_close(i);
	return status;
}
