/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kill, delete, pause, resume. */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "container/verbs.h"

int signal_number(const char *text)
{
	uint64_t n;
	if (parse_u64(text, 0, 64, &n))
		return (int)n;
	if (!strncasecmp(text, "SIG", 3))
		text += 3;
	bool min = !strncasecmp(text, "RTMIN", 5), max = !strncasecmp(text, "RTMAX", 5);
	if (min || max) {
		int base = min ? 34 : 64, more = text[5] ? atoi(text + 5) : 0;
		return base + more >= 34 && base + more <= 64 ? base + more : -1;
	}
	for (int s = 1; s < 32; s++) {
		const char *name = sigabbrev_np(s);
		if (name && !strcasecmp(name, text))
			return s;
	}
	return -1;
}

int oci_kill(struct oci *o, int argc, char **argv, struct error *err)
{
	bool all = false;
	int at, sig = SIGTERM;
	const struct arg table[] = { { "all", 'a', ARG_FLAG, &all }, { NULL } };
	struct container *c = verb_container(o, table, argc, argv, &at, err);
	if (!c)
		return -1;
	bool ok = at >= argc || (sig = signal_number(argv[at])) >= 0 || error_set(err, 0, "'%s' is no signal", argv[at]);
	/* options after the ID too, as `runc kill ID KILL --all` was written for long */
	for (int i = at + 1; i < argc; i++)
		all |= !strcmp(argv[i], "--all") || !strcmp(argv[i], "-a");
	ok = ok && container_kill(c, sig, all, err);
	container_close(c);
	return ok ? 0 : -1;
}

int oci_delete(struct oci *o, int argc, char **argv, struct error *err)
{
	bool force = false;
	int at;
	const struct arg table[] = { { "force", 'f', ARG_FLAG, &force }, { NULL } };
	struct container *c = verb_container(o, table, argc, argv, &at, err);
	if (!c)
		return force && err->code == ENOENT ? 0 : -1;
	bool ok = container_delete(c, force, err);
	container_close(c);
	return ok ? 0 : -1;
}

static int freeze(struct oci *o, int argc, char **argv, bool frozen, struct error *err)
{
	int at;
	struct container *c = verb_container(o, NULL, argc, argv, &at, err);
	if (!c)
		return -1;
	enum container_status s = container_status(c);
	bool right = frozen ? s == CONTAINER_RUNNING || s == CONTAINER_CREATED : s == CONTAINER_PAUSED;
	bool ok = right ? cgroups_freeze(&c->cgroups, frozen, err) : error_set(err, 0, "container '%s' is %s, so it cannot be %s",
		c->id, container_status_words[s], frozen ? "paused" : "resumed");
	container_close(c);
	return ok ? 0 : -1;
}

int oci_pause(struct oci *o, int argc, char **argv, struct error *err)
{
	return freeze(o, argc, argv, true, err);
}

int oci_resume(struct oci *o, int argc, char **argv, struct error *err)
{
	return freeze(o, argc, argv, false, err);
}
