/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/helper.h"
#include "jail/spawn.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* Signals of the terminal reach it, too: it decides what they mean. */
int cli_helper(char *const argv[])
{
	struct error err = { 0 };
	auto_close int program = helper_open(argv[0], &err);
	if (program < 0)
		return cli_fail(&err);
	auto_free char *path = xasprintf("/proc/self/fd/%d", program);
	signal(SIGINT, SIG_IGN);
	pid_t pid = fork();
	if (!pid) {
		signal(SIGINT, SIG_DFL);
		signal(SIGPIPE, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		execv(path, argv);
		_exit(127);
	}
	int status = wait_child(pid);
	signal(SIGINT, SIG_DFL);
	if (pid > 0)
		return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	error_set(&err, errno, "cannot start '%s'", argv[0]);
	return cli_fail(&err);
}
