/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logs of copies: see resume.h. Only appended to, so that no kill leaves one half-written. */
#include "disk/resume.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "disk/format.h"

static char *log_of(const char *path) { return xasprintf("%s.copied", path); }

char *resume_identity_of(int fd, const char *format)
{
	struct stat st = { 0 };
	fstat(fd, &st);
	return xasprintf(" %s:%" PRIx64 ":%" PRIx64 ":%" PRIu64 ":%" PRId64 ".%09ld", format, (uint64_t)st.st_dev,
			 (uint64_t)st.st_ino, (uint64_t)st.st_size, (int64_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

char *resume_identity(const struct image *i)
{
	char *all = xstrdup("");
	for (; i; i = i->backing) {
		struct image_file *files[2] = { i->file, i->data };
		for (unsigned k = 0; k < 2 && files[k]; k++) {
			auto_free char *one = resume_identity_of(image_file_descriptor(files[k]), i->ops->format);
			char *longer = xasprintf("%s%s", all, one);
			free(all);
			all = longer;
		}
	}
	return all;
}

/* The last whole line that is a number; false: the log is of another job, or there is none. */
static bool log_load(const char *path, const char *job, uint64_t *at)
{
	auto_free char *name = log_of(path), *line = NULL;
	FILE *f = fopen(name, "re");
	size_t room = 0, n = strlen(job);
	ssize_t len = f ? getline(&line, &room, f) : -1;
	bool ours = len == (ssize_t)n + 1 && !memcmp(line, job, n) && line[n] == '\n';
	*at = 0;
	while (ours && (len = getline(&line, &room, f)) > 0 && line[len - 1] == '\n') {
		uint64_t v;
		line[len - 1] = 0;
		if (!parse_u64(line, *at, INT64_MAX, &v))
			break;
		*at = v;
	}
	if (f)
		fclose(f);
	return ours;
}

bool resume_is_whole(const char *path, const char *job, uint64_t size)
{
	uint64_t at;
	return log_load(path, job, &at) && at == size;
}

static bool append(const char *path, const char *text)
{
	auto_free char *name = log_of(path);
	auto_close int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	return fd >= 0 && fd_write_full(fd, text, strlen(text)) && !fdatasync(fd);
}

bool resume_note(const char *path, uint64_t at)
{
	char line[24];
	snprintf(line, sizeof(line), "%" PRIu64 "\n", at);
	return append(path, line);
}

void resume_forget(const char *path)
{
	auto_free char *name = log_of(path);
	unlink(name);
}

/* Something that is not ours to go on with; nor is it another's who is at it now. */
static bool remove_old(const char *path, struct error *err)
{
	auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || error_set(err, errno, "cannot replace '%s', which an earlier copy has left", path);
	if (!disk_lock(fd, path, false, err))
		return false;
	unlink(path);
	disk_unlock(fd);
	return true;
}

int resume_log(const char *path, const char *job, uint64_t *at, struct error *err)
{
	auto_free char *name = log_of(path), *line = xasprintf("%s\n", job);
	auto_close int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_minus(err, errno, "cannot write beside '%s'", path);
	if (!disk_lock(fd, path, false, err))
		return -1;
	if (log_load(path, job, at) && *at && !access(path, F_OK))
		return move_fd(&fd);
	*at = 0;
	if (ftruncate(fd, 0) || !append(path, line))
		return error_minus(err, errno, "cannot write '%s'", name);
	return move_fd(&fd);
}

struct image *resume_image(const char *path, const char *format, const struct qcow2_create *c, const char *job,
			   uint64_t *at, struct error *err)
{
	struct image_open o = { .path = path, .fd = -1, .format = format, .no_backing = true };
	if (log_load(path, job, at) && *at && !access(path, F_OK)) {
		struct image *i = image_open(&o, err);
		if (!i || (i->size == c->size && *at <= i->size))
			return i;
		image_close(i);
	}
	*at = 0;
	if (!remove_old(path, err))
		return NULL;
	resume_forget(path);
	struct image *i = image_make(path, format, c, err);
	auto_free char *line = xasprintf("%s\n", job);
	if (i && !append(path, line)) {
		error_set(err, errno, "cannot write beside '%s'", path);
		image_close(i);
		unlink(path);
		return NULL;
	}
	return i;
}

bool resume_copy(struct image_copy *c, const char *path, const char *format, const struct qcow2_create *create, const char *job,
		 void (*going_on)(uint64_t at, uint64_t size), int *failed, struct error *err)
{
	*failed = 0;
	c->resumable = true;
	c->to = resume_image(path, format, create, job, &c->at, err);
	if (!c->to)
		return false;
	if (c->at)
		going_on(c->at, c->from->size);
	int r = image_copy(c);
	image_close(c->to);
	if (r == -EINTR)
		return error_set(err, 0, "stopped: the same command goes on where it was");
	if (!r)
		return true;
	resume_forget(path);
	unlink(path);
	*failed = r;
	return false;
}
