/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tar stream into a tree: copy.h. */
#include "container/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "container/root_path.h"
#include "container/tar.h"

/* Where the entries go. */
struct target {
	struct unpack unpack;
	char directory[PATH_MAX];     /* below unpack.root */
	char name[NAME_MAX + 1];      /* for the first part of each path; "": it goes */
	bool rename;
};

/* "a/b/" is "a/" and "b". */
static bool split(const char *path, struct target *t, struct error *err)
{
	size_t n;
	const char *last = path_last(path, &n);
	size_t before = (size_t)(last - path);
	if (!n || n > NAME_MAX || before >= PATH_MAX || !strncmp(last, "..", n))
		return error_set(err, 0, "'%s' does not name a file", path);
	snprintf(t->directory, sizeof(t->directory), "%.*s", (int)before, path);
	snprintf(t->name, sizeof(t->name), "%.*s", (int)n, last);
	return true;
}

/* What is not there yet gets this name in a directory that is. */
static bool aim_at_nothing(struct target *t, const struct copy *c, bool directory, struct error *err)
{
	size_t n = strlen(c->path);
	if (!directory && n && c->path[n - 1] == '/')
		return error_set(err, ENOENT, "cannot copy a file into '%s'", c->path);
	return split(c->path, t, err);
}

static bool open_target(struct target *t, const struct copy *c, struct error *err)
{
	auto_close int dir = root_open(c->root, t->directory, O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return error_set(err, errno, "cannot copy to '%s'", c->path);
	t->unpack.root = c->confined ? move_fd(&dir) : fcntl(c->root, F_DUPFD_CLOEXEC, 3);
	if (c->confined)
		t->directory[0] = 0;
	return t->unpack.root >= 0 || error_set(err, errno, "cannot copy to '%s'", c->path);
}

/* *file: the one that takes the content of the one that comes. */
static bool aim(struct target *t, const struct copy *c, bool directory, int *file, struct error *err)
{
	struct stat st;
	auto_close int fd = root_open(c->root, c->path, O_PATH);
	*t = (struct target){ .unpack = { .root = -1, .privileged = c->owners && !geteuid() }, .rename = c->name };
	if (fd < 0 && (errno != ENOENT || !c->name))
		return error_set(err, errno, "cannot copy to '%s'", c->path);
	if (fd < 0)
		return aim_at_nothing(t, c, directory, err) && open_target(t, c, err);
	if (fstat(fd, &st))
		return error_set(err, errno, "cannot look at '%s'", c->path);
	if (S_ISDIR(st.st_mode)) {
		snprintf(t->directory, sizeof(t->directory), "%s", c->path);
		snprintf(t->name, sizeof(t->name), "%s", c->name ? c->name : "");
		return open_target(t, c, err);
	}
	if (directory || !c->name)
		return error_set(err, 0, "'%s' is no directory", c->path);
	*file = S_ISREG(st.st_mode) ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
	return *file >= 0 || error_set(err, 0, "'%s' is no file", c->path);
}

/* An existing file keeps its owner and permissions, and may be a mount of its own. */
static bool overwrite(struct tar_in *in, int file, const struct copy *c, struct error *err)
{
	struct unpack_entry e;
	uint64_t size;
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	auto_close int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "cannot write '%s'", c->path);
	if (!tar_read(in, fd, err))
		return false;
	int more = tar_next(in, &e, &size, err);
	return more > 0 ? error_set(err, 0, "more came than one file") : !more;
}

/* The path of an entry where it goes; *itself: it is the directory that was there. */
static bool rename_path(const struct target *t, const char *from, char to[PATH_MAX], bool *itself, struct error *err)
{
	char clean[PATH_MAX];
	if (!unpack_clean_path(from, clean))
		return error_set(err, 0, "the path '%.100s' leads outside", from);
	const char *rest = clean;
	if (t->rename) {
		rest += strcspn(rest, "/");
		rest += *rest == '/';
	}
	*itself = !*rest && !*t->name;
	return snprintf(to, PATH_MAX, "%s/%s/%s", t->directory, t->name, rest) < PATH_MAX || error_set(err, ENAMETOOLONG, "'%.100s'", from);
}

static bool one(struct target *t, struct tar_in *in, struct unpack_entry *e, bool owners, struct error *err)
{
	char path[PATH_MAX], target[PATH_MAX];
	bool itself, none;
	auto_close int fd = -1;
	if (!rename_path(t, e->path, path, &itself, err) || (e->hardlink && !rename_path(t, e->target, target, &none, err)))
		return false;
	if (itself)
		return S_ISDIR(e->mode) || error_set(err, 0, "the archive's root is no directory");
	e->path = path;
	if (e->hardlink)
		e->target = target;
	if (!owners)
		e->mode &= ~(uint32_t)(S_ISUID | S_ISGID);
	if (!unpack_entry(&t->unpack, e, &fd, err))
		return false;
	return fd < 0 || ((S_ISDIR(e->mode) || tar_read(in, fd, err)) && unpack_finish(&t->unpack, e, fd, err));
}

bool copy_in(const struct copy *c, int from, struct error *err)
{
	struct tar_in in = { .fd = from };
	struct target t = { .unpack = { .root = -1 } };
	struct unpack_entry e = { 0 };
	uint64_t size;
	auto_close int file = -1;
	int more = tar_next(&in, &e, &size, err);
	bool ok = more >= 0 && aim(&t, c, more && S_ISDIR(e.mode), &file, err);
	if (ok && file >= 0) {
		ok = !more || (S_ISREG(e.mode) && !e.hardlink ? overwrite(&in, file, c, err) :
			       error_set(err, 0, "'%s' is a file, and no file comes", c->path));
		more = 0;
	}
	for (; ok && more > 0; more = ok ? tar_next(&in, &e, &size, err) : -1)
		ok = one(&t, &in, &e, c->owners, err);
	if (t.unpack.root >= 0) {
		unpack_end(&t.unpack);
		close(t.unpack.root);
	}
	tar_close(&in);
	return ok && !more;
}
