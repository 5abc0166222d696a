/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of definitions that are about the program of an image: see options.h. */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#define TARGET struct definition
#include "cli/table.h"

enum { LIST_MOST = 1024 };

#define LIST_OPTION(function, member) \
	static bool function(void *target, const char *value, struct error *err) \
	{ \
		struct definition *d = target; \
		if (d->n##member == LIST_MOST) \
			return error_set(err, 0, "at most %d of one option", LIST_MOST); \
		definition_append(&d->member, &d->n##member, value); \
		return true; \
	}
LIST_OPTION(append_env, env)
LIST_OPTION(append_volume, volumes)
LIST_OPTION(add_tmpfs, tmpfs)
LIST_OPTION(add_cap, cap_add)
LIST_OPTION(drop_cap, cap_drop)
LIST_OPTION(add_device, devices)

/* NAME alone means the caller's own value. */
static bool add_env(void *target, const char *value, struct error *err)
{
	const char *own = strchr(value, '=') ? NULL : getenv(value);
	if (strchr(value, '='))
		return append_env(target, value, err);
	auto_free char *entry = own ? xasprintf("%s=%s", value, own) : NULL;
	return !entry || append_env(target, entry, err);
}

/* A line each, as in a shell but without quotes; # begins a comment. */
static bool add_env_file(void *target, const char *value, struct error *err)
{
	char line[4096];
	FILE *f = fopen(value, "re");
	bool ok = f != NULL || error_set(err, errno, "cannot open '%s'", value);
	while (ok && fgets(line, sizeof(line), f)) {
		char *p = line;
		line[strcspn(line, "\r\n")] = 0;
		while (isspace((unsigned char)*p))
			p++;
		if (*p && *p != '#')
			ok = add_env(target, p, err);
	}
	if (f)
		fclose(f);
	return ok;
}

/* A host's path is made absolute: a definition outlives the working directory. */
static bool add_volume(void *target, const char *value, struct error *err)
{
	char cwd[PATH_MAX];
	if (value[0] != '.' || !getcwd(cwd, sizeof(cwd)))
		return append_volume(target, value, err);
	auto_free char *full = xasprintf("%s/%s", cwd, value);
	return append_volume(target, full, err);
}

static bool set_cpus(void *target, const char *value, struct error *err)
{
	char *end;
	double v = strtod(value, &end);
	if (*end || end == value || !(v > 0.001 && v < 4096))
		return error_set(err, 0, "--cpus takes a number of CPUs, as in 2 or 0.5, not '%s'", value);
	((struct definition *)target)->cpus = v;
	return true;
}

static bool set_both(void *target, const char *value, struct error *err)
{
	struct definition *d = target;
	return d->tty = d->interactive = true;
}

const struct cli_option program_options[] = {
	CALL("--cpus", "N", set_cpus, "CPUs it may use, as in 2 or 0.5 (a machine gets as many vCPUs)"),
	TEXT("--isolation", "container|microvm|vm|auto", isolation, "the wall around an image's program"),
	CALL("--env", "NAME[=VALUE]", add_env, "a variable of the program (repeatable)"),
	CALL("-e", "NAME[=VALUE]", add_env, "the same"),
	CALL("--env-file", "FILE", add_env_file, "variables, one a line (repeatable)"),
	TEXT("--workdir", "DIR", workdir, "the program's working directory"),
	TEXT("-w", "DIR", workdir, "the same"),
	TEXT("--user", "USER[:GROUP]", user, "who the program is, by name or number"),
	TEXT("-u", "USER[:GROUP]", user, "the same"),
	TEXT("--hostname", "NAME", hostname, "host name inside (default: the instance's)"),
	CALL("--volume", "HOST:/INSIDE[:ro]", add_volume, "a directory or file of the host, or a named volume (repeatable)"),
	CALL("-v", "HOST:/INSIDE[:ro]", add_volume, "the same"),
	CALL("--tmpfs", "/INSIDE[:OPTION,...]", add_tmpfs, "memory as a file system (repeatable)"),
	FLAG("--read-only", read_only, "nothing of the image can be changed"),
	FLAG("--tty", tty, "the program has a terminal"),
	FLAG("-t", tty, "the same"),
	FLAG("--interactive", interactive, "the program reads our standard input"),
	FLAG("-i", interactive, "the same"),
	{ "-it", NULL, "both of these", OPTION_CALL, 0, set_both },
	{ "-ti", NULL, "both of these", OPTION_CALL, 0, set_both },
	TEXT("--restart", "no|always|unless-stopped|on-failure[:N]", restart, "when the program is started again"),
	TEXT("--stop-signal", "SIGNAL", stop_signal, "what abyme stop sends (default TERM)"),
	NUMBER("--pids", "N", pids, "processes it may have"),
	TEXT("--cpuset", "LIST", cpuset, "CPUs that it may run on: 0-1,3"),
	TEXT("--io", "SIZE", io, "bytes a second from and to the disk, each"),
	CALL("--cap-add", "CAPABILITY", add_cap, "a right more than the usual ones, or all (repeatable)"),
	CALL("--cap-drop", "CAPABILITY", drop_cap, "a right less, or all (repeatable)"),
	CALL("--device", "/dev/X[:/dev/Y[:rwm]]", add_device, "a device of the host (repeatable)"),
	FLAG("--init", init, "a first process that passes signals on and takes in orphans"),
	FLAG("--privileged", privileged, "all rights and devices: no wall"),
	{ NULL }
};
