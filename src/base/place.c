/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state directory: see place.h. */
#include "base/place.h"
#include "base/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

char *place_state(struct error *err)
{
	const char *own = getenv("ABYME_STATE"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	if (own && *own)
		return xstrdup(own);
	if (geteuid() == 0 && !(xdg && *xdg))
		return xstrdup("/var/lib/abyme");
	if (xdg && *xdg)
		return xasprintf("%s/abyme", xdg);
	if (home && *home)
		return xasprintf("%s/.local/state/abyme", home);
	return error_null(err, 0, "HOME is not set: set ABYME_STATE to a directory for what Abyme keeps");
}

static bool make_directories(char *path, struct error *err)
{
	for (char *p = path + 1; ; p++) {
		if (*p && *p != '/')
			continue;
		char c = *p;
		*p = 0;
		if (mkdir(path, 0700) && errno != EEXIST)
			return error_set(err, errno, "cannot create '%s' (ABYME_STATE chooses another place)", path);
		*p = c;
		if (!c)
			return true;
	}
}

int place_open(const char *name, struct error *err)
{
	auto_free char *state = place_state(err);
	if (!state)
		return -1;
	auto_free char *path = xasprintf("%s/%s", state, name);
	if (!make_directories(path, err))
		return -1;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : error_minus(err, errno, "cannot open '%s'", path);
}

bool place_write(int dir, const char *file, const char *text)
{
	auto_free char *tmp = xasprintf(".%s.%d", file, (int)getpid());
	auto_close int fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0 && fd_write_full(fd, text, strlen(text)) && !fsync(fd) && !renameat(dir, tmp, dir, file))
		return true;
	int e = errno;
	unlinkat(dir, tmp, 0);
	errno = e;
	return false;
}

char *place_read(int dir, const char *file, size_t most)
{
	auto_close int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) || (uint64_t)st.st_size > most)
		return NULL;
	char *text = xcalloc(1, (size_t)st.st_size + 1);
	if (fd_read_full(fd, text, (size_t)st.st_size))
		return text;
	free(text);
	return NULL;
}

/* Deeper than this a directory is moved up first, so that no depth needs more descriptors. */
enum { EMPTY_DEPTH = 32 };

static void empty_below(int top, int dir, unsigned depth, unsigned *moved)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d)); ) {
		char up[48];
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !unlinkat(dir, e->d_name, 0))
			continue;
		snprintf(up, sizeof(up), ".deep-%d-%u", (int)getpid(), *moved);
		if (depth == EMPTY_DEPTH && !renameat(dir, e->d_name, top, up)) {
			++*moved;
			continue;
		}
		auto_close int below = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below >= 0)
			empty_below(top, below, depth + 1, moved);
		unlinkat(dir, e->d_name, AT_REMOVEDIR);
	}
	closedir(d);
}

void place_empty(int dir)
{
	unsigned before, moved = 0;
	do {
		before = moved;
		empty_below(dir, dir, 0, &moved);
	} while (moved != before);      /* what was moved up meanwhile */
}

int place_make(int store, const char *name, bool (*fill)(int dir, void *opaque), void *opaque)
{
	auto_free char *tmp = xasprintf(".new-%s-%d", name, (int)getpid());
	if (mkdirat(store, tmp, 0700))
		return -1;
	int why;
	auto_close int dir = openat(store, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		why = errno;
	} else if (!fill(dir, opaque)) {
		why = 0;
	} else if (renameat(store, tmp, store, name)) {
		why = errno == ENOTEMPTY ? EEXIST : errno;
	} else {
		return move_fd(&dir);
	}
	if (dir >= 0)
		place_empty(dir);
	unlinkat(store, tmp, AT_REMOVEDIR);
	errno = why;
	return -1;
}

bool place_remove(int store, const char *name, int dir)
{
	auto_free char *tmp = xasprintf(".old-%s-%d", name, (int)getpid());
	if (renameat(store, name, store, tmp))
		return false;
	int left = -1;
	for (int turn = 0; left && turn < 3; turn++) {     /* who had it open may still write into it */
		place_empty(dir);
		left = unlinkat(store, tmp, AT_REMOVEDIR);
	}
	return !left;
}

static int visible(const struct dirent *e) { return e->d_name[0] != '.'; }

int place_each(int store, bool (*fn)(const char *name, void *opaque), void *opaque)
{
	struct dirent **list;
	int n = scandirat(store, ".", &list, visible, alphasort);
	if (n < 0)
		return -1;
	bool ok = true;
	for (int i = 0; i < n; i++) {
		ok = ok && fn(list[i]->d_name, opaque);
		free(list[i]);
	}
	free(list);
	return ok;
}

bool place_lock(int dir)
{
	int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	if (fd >= 0 && !fcntl(fd, F_SETLK, &l))
		return true;       /* the descriptor stays open for the keeper's life */
	int e = errno;
	if (fd >= 0)
		close(fd);
	errno = e;
	return false;
}

pid_t place_holder(int dir)
{
	auto_close int fd = openat(dir, "lock", O_RDWR | O_CLOEXEC);
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	if (fd < 0 || fcntl(fd, F_GETLK, &l) || l.l_type == F_UNLCK)
		return 0;
	return l.l_pid;
}
