/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme console: join a running machine's serial console. abyme logs: what it said. */
#include "cli/name.h"
#include "cli/terminal.h"
#include "cli/table.h"
#include "instance/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

int verb_console(int argc, char **argv)
{
	struct error err = { 0 };
	int status, signal = 0;
	struct instance *i = cli_instance(NULL, NULL, argc, argv, &status);
	if (!i)
		return status;
	auto_close int fd = instance_connect(i, "console.sock", &err);
	if (fd < 0) {
		status = cli_fail(&err);
	} else {
		enum terminal_end end = terminal_join(fd, -1, &signal);
		if (end == TERMINAL_KILL && !instance_kill(i, &err))
			status = cli_fail(&err);
		if (end == TERMINAL_DETACHED)
			fprintf(stderr, "abyme: detached\n");
	}
	instance_close(i);
	return signal ? 128 + signal : status;
}

/* ---- logs ---- */

struct logs_options { bool follow, monitor; };
#define TARGET struct logs_options
static const struct cli_option logs_options[] = {
	FLAG("--follow", follow, "go on until the machine ends"),
	FLAG("--monitor", monitor, "the monitor's own log, not the console's"),
	{ NULL }
};

static bool copy_new(int fd)
{
	char buf[65536];
	for (ssize_t n; (n = read(fd, buf, sizeof(buf))) > 0; )
		if (!fd_write_full(STDOUT_FILENO, buf, (size_t)n))
			return false;
	return true;
}

static void follow(const struct instance *i, int fd)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	while (copy_new(fd) && instance_keeper(i))
		nanosleep(&pause, NULL);
	copy_new(fd);
}

int verb_logs(int argc, char **argv)
{
	struct logs_options o = { 0 };
	struct error err = { 0 };
	int status;
	struct instance *i = cli_instance(logs_options, &o, argc, argv, &status);
	if (!i)
		return status;
	auto_close int fd = openat(i->dir, o.monitor ? "log" : "console.log", O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		error_set(&err, errno == ENOENT ? 0 : errno, "instance '%s' has no log yet", i->name);
		status = cli_fail(&err);
	} else if (o.follow) {
		follow(i, fd);
	} else {
		copy_new(fd);
	}
	instance_close(i);
	return status;
}
