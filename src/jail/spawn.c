/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting a helper program in its jail: see spawn.h.
 */
#include "jail/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

enum { CHANNEL_FD = 3, READY_FD = 4, SERVE_FD = 5, FIRST_FREE = 10 };

int helper_open(const char *program, struct error *err)
{
	static const char *const places[] = { "", "../libexec/abyme/" };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return error_minus(err, errno, "cannot find out where this program is installed");
	self[n] = 0;
	char *slash = strrchr(self, '/');
	for (unsigned i = 0; slash && i < ARRAY_SIZE(places); i++) {
		auto_free char *path = xasprintf("%.*s/%s%s", (int)(slash - self), self, places[i], program);
		int fd = open(path, O_PATH | O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	return error_minus(err, 0, "the helper program '%s' is missing: install it next to abyme or in "
			   "../libexec/abyme", program);
}

/* dup2 in any order is safe only once all sources are above the targets. */
static NORETURN void exec_helper(int program, char *const argv[], const struct jail *jail, int channel,
				 int ready, int serve)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	channel = fcntl(channel, F_DUPFD, FIRST_FREE);
	ready = fcntl(ready, F_DUPFD, FIRST_FREE);
	serve = serve >= 0 ? fcntl(serve, F_DUPFD, FIRST_FREE) : -1;
	program = fcntl(program, F_DUPFD_CLOEXEC, FIRST_FREE);
	dup2(channel, CHANNEL_FD);
	dup2(ready, READY_FD);
	if (serve >= 0)
		dup2(serve, SERVE_FD);
	const int keep[] = { CHANNEL_FD, READY_FD, serve >= 0 ? SERVE_FD : -1, program };
	jail_close_fds(keep, ARRAY_SIZE(keep));
	char granted[32];
	char *const env[] = { (char *)jail_env(jail, granted), NULL };
	fexecve(program, argv, env);
	struct error e;
	error_set(&e, errno, "cannot run the helper '%s'", argv[0]);
	fd_write_full(READY_FD, e.text, strlen(e.text));
	_exit(127);
}

/* One byte 'R', or a sentence and end of file. */
static bool wait_ready(int fd, const char *program, struct error *err)
{
	char text[400];
	size_t n = 0;
	for (ssize_t r; n < sizeof(text) - 1 && (r = read(fd, text + n, sizeof(text) - 1 - n)) != 0; ) {
		if (r < 0 && errno != EINTR)
			break;
		n += r > 0 ? (size_t)r : 0;
		if (text[0] == 'R')
			return true;
	}
	text[n] = 0;
	return error_set(err, 0, "%s%s", n ? text : program, n ? "" : " died while starting");
}

pid_t helper_spawn(const char *program, char *const argv[], struct jail *jail, int channel, int serve,
		   struct error *err)
{
	int ready[2];
	auto_close int exe = helper_open(program, err);
	if (exe < 0)
		return -1;
	if (pipe2(ready, O_CLOEXEC))
		return error_minus(err, errno, "cannot create a pipe");
	pid_t pid = jail_fork(jail, err);
	if (pid == 0)
		exec_helper(exe, argv, jail, channel, ready[1], serve);
	close(ready[1]);
	if (pid > 0 && !wait_ready(ready[0], program, err)) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(ready[0]);
	return pid;
}
