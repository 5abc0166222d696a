/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unix sockets inside instance directories: addressed through the directory's
 * descriptor, as a socket address holds only 107 bytes.
 */
#include "instance/store.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

static bool address_of(const struct instance *i, const char *file, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d/%s", i->dir, file) <
		(int)sizeof(a->sun_path);
}

int instance_listen(const struct instance *i, const char *file, struct error *err)
{
	struct sockaddr_un a;
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlinkat(i->dir, file, 0);
	if (fd < 0 || !address_of(i, file, &a) || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 8))
		return error_minus(err, errno, "cannot listen on '%s' of instance '%s'", file, i->name);
	return move_fd(&fd);
}

/* Does not wait: a full queue of a server's is an error, too. */
int instance_dial(const struct instance *i, const char *file, struct error *err)
{
	struct sockaddr_un a;
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && address_of(i, file, &a) && !connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return move_fd(&fd);
	return error_minus(err, errno, "cannot connect to '%s' of instance '%s'", file, i->name);
}

int instance_connect(const struct instance *i, const char *file, struct error *err)
{
	struct sockaddr_un a;
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && address_of(i, file, &a) && !connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return move_fd(&fd);
	if (errno == ENOENT || errno == ECONNREFUSED)
		return error_minus(err, 0, "instance '%s' is not running: abyme start %s", i->name, i->name);
	return error_minus(err, errno, "cannot connect to '%s' of instance '%s'", file, i->name);
}
