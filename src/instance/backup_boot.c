/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last word on a backup: a machine made of it starts and comes to its login
 * prompt.  It runs under the translator, alone, without any network or directory of
 * the host; it and its disks are gone afterwards.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "instance/backup.h"
#include "instance/client.h"
#include "instance/keeper.h"

enum { STOP_SECONDS = 60 };

static void clear(char **field)
{
	free(*field);
	*field = NULL;
}

/* What would reach out of the machine goes. */
static void isolate(struct definition *d)
{
	for (unsigned k = 0; k < d->nnets; k++) {
		free(d->nets[k].name);
		d->nets[k].name = xstrdup("none");
		clear(&d->nets[k].ip);
		clear(&d->nets[k].trunk);
		d->nets[k].vlan = 0;
	}
	for (unsigned k = 0; k < d->npublish; k++)
		free(d->publish[k]);
	for (unsigned k = 0; k < d->nshares; k++) {
		free(d->shares[k].dir);
		free(d->shares[k].tag);
	}
	d->npublish = d->nshares = d->vsock = 0;
	clear(&d->gdb);
	clear(&d->trace);
	clear(&d->display);
	free(d->serial);
	d->serial = xstrdup("stdio");
	free(d->engine);
	d->engine = xstrdup("jit");
}

/* What it prints is in console.log. */
static bool wait_for_prompt(struct instance *i, const struct backup_boot *b, struct error *err)
{
	const struct timespec pause = { .tv_nsec = 200000000 };
	for (unsigned n = 0; n < b->seconds * 5; n++) {
		bool ended = !instance_keeper(i);         /* before the look, or its last words are missed */
		auto_free char *text = instance_read(i, "console.log");
		if (text && strstr(text, b->expect))
			return true;
		if (ended)
			return error_set(err, 0, "the machine made of the backup ended without saying '%s'", b->expect);
		nanosleep(&pause, NULL);
	}
	return error_set(err, 0, "the machine made of the backup has not said '%s' within %u s", b->expect, b->seconds);
}

static bool run(struct instance *i, const struct backup_boot *b, struct error *err)
{
	struct keeper_link link;
	struct keeper_options k = { .state_fd = -1 };
	char why[160];
	struct definition *d = instance_definition(i, err);
	if (d)
		isolate(d);
	bool ok = d && definition_resolve(d, why, err) && keeper_start(i, d, &k, &link, err);
	if (ok) {
		ok = wait_for_prompt(i, b, err);
		if (instance_keeper(i))
			instance_kill(i, NULL);
		waitpid(link.pid, NULL, 0);
		keeper_link_close(&link);
		instance_wait_stopped(i, STOP_SECONDS);
	}
	definition_free(d);
	return ok;
}

static void remove_disks(const struct instance *i)
{
	struct definition *d = instance_definition(i, NULL);
	for (unsigned k = 0; d && k < d->ndisks; k++)
		if (!d->disks[k].readonly && !d->disks[k].cdrom)
			unlink(d->disks[k].file);
	definition_free(d);
}

bool backup_boot(const char *dir, unsigned number, const struct backup_boot *b, const struct backup_progress *p,
		 struct error *err)
{
	const char *tmp = getenv("TMPDIR");
	auto_free char *to = xasprintf("%s/abyme-verify-XXXXXX", tmp && *tmp ? tmp : "/var/tmp");
	if (!mkdtemp(to))
		return error_set(err, errno, "cannot make a directory in '%s'", tmp && *tmp ? tmp : "/var/tmp");
	const char *name = strrchr(to, '/') + 1 + strlen("abyme-");
	struct instance *i = backup_restore(dir, number, name, to, p, err) ? instance_open(name, err) : NULL;
	bool ok = i && run(i, b, err);
	if (i) {
		remove_disks(i);
		instance_remove(i, NULL);
		instance_close(i);
	}
	rmdir(to);
	return ok;
}
