/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See container_rest.h: a keeper for one client, without a program. */
#include "instance/container_rest.h"
#include "instance/keeper_process.h"
#include "instance/program.h"
#include "jail/spawn.h"

#include <errno.h>
#include <sys/socket.h>

static NORETURN void rest(struct instance *i, const struct definition *d, int sock)
{
	static const struct keeper_options options;
	const struct keeper_job job = { .instance = i, .definition = d, .options = &options, .report = -1, .leash = -1, .primary = sock };
	const int keep[] = { sock, i->dir };
	jail_close_fds(keep, ARRAY_SIZE(keep));
	container_keeper_rest(&job);
}

int container_rest(struct instance *i, const struct definition *d, pid_t *pid, struct error *err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return error_minus(err, errno, "cannot create a channel");
	*pid = fork();
	if (!*pid) {
		close(pair[0]);
		rest(i, d, pair[1]);
	}
	close(pair[1]);
	if (*pid > 0)
		return pair[0];
	close(pair[0]);
	return error_minus(err, errno, "cannot start a process");
}
