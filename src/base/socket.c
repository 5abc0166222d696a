/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unix sockets: see socket.h. */
#include "base/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/util.h"

static bool address_of(int dir, const char *name, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d/%s", dir, name);
	errno = ENAMETOOLONG;
	return n > 0 && (size_t)n < sizeof(a->sun_path);
}

/* The socket, or -1 with it closed and errno kept. */
static int made(int fd, bool ok)
{
	int e = errno;
	if (!ok)
		close_fd(&fd);
	errno = e;
	return fd;
}

int unix_listen_at(int dir, const char *name, int type, int backlog)
{
	struct sockaddr_un a;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	unlinkat(dir, name, 0);
	return made(fd, fd >= 0 && address_of(dir, name, &a) && !bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, backlog));
}

int unix_connect_at(int dir, const char *name, int type)
{
	struct sockaddr_un a;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	return made(fd, fd >= 0 && address_of(dir, name, &a) && !connect(fd, (struct sockaddr *)&a, sizeof(a)));
}

/* The directory of a path, and what the path names in it. */
static int folder_of(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	auto_free char *folder = xasprintf("%.*s/", slash ? (int)(slash - path) : 1, slash ? path : ".");
	*name = slash ? slash + 1 : path;
	return open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Something else than a socket, or a socket that somebody listens on. */
static bool in_use(int dir, const char *name, int type)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return false;
	auto_close int fd = S_ISSOCK(st.st_mode) ? unix_connect_at(dir, name, type | SOCK_NONBLOCK) : -1;
	return !S_ISSOCK(st.st_mode) || fd >= 0 || errno == EAGAIN;
}

int unix_listen(const char *path, int type, int backlog)
{
	const char *name;
	auto_close int dir = folder_of(path, &name);
	bool used = dir >= 0 && in_use(dir, name, type);
	int fd = dir >= 0 && !used ? unix_listen_at(dir, name, type, backlog) : -1;
	if (used)
		errno = EADDRINUSE;
	return made(fd, fd >= 0);
}

int unix_connect(const char *path, int type)
{
	const char *name;
	auto_close int dir = folder_of(path, &name);
	int fd = dir >= 0 ? unix_connect_at(dir, name, type) : -1;
	return made(fd, fd >= 0);
}
