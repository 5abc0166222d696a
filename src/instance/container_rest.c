/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See container_rest.h.  The root and the mounts are made as the keeper makes them, in a mount
 * namespace that ends with the child.
 */
#include "instance/container_rest.h"
#include "instance/container_keeper.h"
#include "jail/spawn.h"
#include "session/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

static NORETURN void rest(struct instance *i, const struct definition *d, int sock)
{
	struct error err = { 0 };
	struct container_keeper *k = xnew(struct container_keeper);
	const int keep[] = { sock, i->dir };
	*k = (struct container_keeper){ .wall = &wall_container, .instance = i, .definition = d };
	signal(SIGINT, SIG_IGN);       /* who asked goes, and the socket tells: nothing is to stay behind */
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (int fd = 0; fd < 2; fd++)
		keeper_to_null(fd);
	jail_close_fds(keep, ARRAY_SIZE(keep));
	umask(022);
	bool locked = instance_lock(i, &err);
	if (locked && container_bundle(k, &err))
		shim_rest(sock, &k->shim);
	else
		frame_send(sock, FRAME_FAILED, err.text, strlen(err.text));
	if (locked && !fchdir(i->dir)) {
		umount2("rootfs", MNT_DETACH);
		unlinkat(i->dir, "config.json", 0);
	}
	_exit(0);
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
