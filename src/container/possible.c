/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether containers can be made here at all: tried, by a child. */
#include "container/possible.h"
#include "base/util.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

static bool try_it(void)
{
	return (!geteuid() || !unshare(CLONE_NEWUSER)) &&
		!unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) &&
		!mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
}

bool container_possible(struct error *err)
{
	pid_t pid = fork();
	if (!pid)
		_exit(try_it() ? 0 : errno);
	int status = wait_child(pid);
	if (status < 0 || !WIFEXITED(status))
		return error_set(err, 0, "a process that tries them cannot be started");
	return !status || error_set(err, WEXITSTATUS(status), "this host grants no namespaces");
}
