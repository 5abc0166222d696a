/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unix sockets inside instance directories: addressed through the directory's
 * descriptor, as a socket address holds only 107 bytes.
 */
#include "instance/store.h"
#include "base/socket.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

int instance_listen(const struct instance *i, const char *file, struct error *err)
{
	int fd = unix_listen_at(i->dir, file, SOCK_STREAM | SOCK_NONBLOCK, 8);
	return fd >= 0 ? fd : error_minus(err, errno, "cannot listen on '%s' of instance '%s'", file, i->name);
}

/* Does not wait: a full queue of a server's is an error, too. */
int instance_dial(const struct instance *i, const char *file, struct error *err)
{
	int fd = unix_connect_at(i->dir, file, SOCK_STREAM | SOCK_NONBLOCK);
	return fd >= 0 ? fd : error_minus(err, errno, "cannot connect to '%s' of instance '%s'", file, i->name);
}

int instance_connect(const struct instance *i, const char *file, struct error *err)
{
	int fd = unix_connect_at(i->dir, file, SOCK_STREAM);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED)
		return error_minus(err, 0, "instance '%s' is not running: abyme start %s", i->name, i->name);
	return error_minus(err, errno, "cannot connect to '%s' of instance '%s'", file, i->name);
}
