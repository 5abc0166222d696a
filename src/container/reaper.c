/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first process of `--init`: see reaper.h. */
#include "container/reaper.h"
#include "base/util.h"
#include "container/verbs.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

/* A group of its own, in front of the terminal if there is one, so that keys reach it. */
static NORETURN void become(char **argv, const sigset_t *mask)
{
	setpgid(0, 0);
	signal(SIGTTOU, SIG_IGN);
	if (isatty(0))
		tcsetpgrp(0, getpid());
	signal(SIGTTOU, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(argv[0], argv);
	int why = errno;
	dprintf(2, "exec: \"%s\": %s\n", argv[0], why == ENOENT ? "no such file or directory" : strerror(why));
	_exit(why == ENOENT ? 127 : 126);
}

/* True: the program is among those that have ended. */
static bool take_in(pid_t program, int *status)
{
	bool over = false;
	int s;
	for (pid_t pid; (pid = waitpid(-1, &s, WNOHANG)) > 0; )
		if (pid == program) {
			*status = s;
			over = true;
		}
	return over;
}

int reaper_main(char **argv)
{
	sigset_t all, before;
	int status = 0, sig;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (!pid)
		become(argv, &before);
	if (pid < 0) {
		fprintf(stderr, "cannot start '%s': %s\n", argv[0], strerror(errno));
		return 126;
	}
	while (!take_in(pid, &status))
		if (!sigwait(&all, &sig) && sig != SIGCHLD)
			kill(pid, sig);
	return exit_status(status);
}
