/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying a disk: see copy.h. In grains of a cluster, so that each is written once. */
#include "disk/copy.h"

#include <errno.h>
#include <fcntl.h>

#include "disk/format.h"
#include "disk/resume.h"

enum { GRAIN = 65536, CHUNK = 16 * GRAIN };
enum { NOTE_NS = 500000000 };

static bool all_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* buf has room to fill the last grain up. */
static int copy_data(const struct image_copy *c, uint8_t *buf, uint64_t offset, size_t n)
{
	int r = image_read(c->from, buf, n, offset);
	for (size_t at = 0, piece; at < n && !r; at += piece) {
		piece = MIN(n - at, (size_t)GRAIN);
		if (all_zero(buf + at, piece)) {
			r = c->since ? c->to->ops->zero(c->to, offset + at, piece, true) : 0;
		} else if (c->compress) {
			memset(buf + at + piece, 0, GRAIN - piece);
			r = qcow2_write_compressed(c->to, buf + at, offset + at);
		} else {
			r = image_write(c->to, buf + at, piece, offset + at);
		}
	}
	if (c->rate)
		copy_keep_rate(n, c->rate);
	return r;
}

/* What is at `at`, *n bytes at most, and whether it has to be copied. */
static int look(const struct image_copy *c, uint64_t at, uint64_t *n, enum image_kind *kind, bool *changed)
{
	*changed = true;
	int r = c->since ? qcow2_changed(c->since, c->from, at, n, changed) : 0;
	return r || !*changed ? r : image_map(c->from, at, n, kind, NULL);
}

/* From a grain's beginning: what may be skipped is skipped in whole grains; the rest of
 * one, and data, is copied to the end of its last grain. */
static int copy_run(const struct image_copy *c, uint8_t *buf, uint64_t at, uint64_t size, uint64_t *n)
{
	enum image_kind kind = IMAGE_DATA;
	bool changed;
	int r = look(c, at, n, &kind, &changed);
	if (r)
		return r;
	uint64_t whole = at + *n == size ? *n : ALIGN_DOWN(*n, (uint64_t)GRAIN);
	if ((changed && kind == IMAGE_DATA) || !whole) {
		uint64_t grains = ALIGN_UP(*n < CHUNK ? *n : CHUNK, (uint64_t)GRAIN);
		*n = MIN(grains, size - at);
		return copy_data(c, buf, at, *n);
	}
	*n = whole;
	return changed && c->since ? c->to->ops->zero(c->to, at, whole, true) : 0;
}

/* What has been copied so far comes to the disk, and into the log. */
static int note(const struct image_copy *c, uint64_t at)
{
	int r = c->to->ops->flush(c->to);
	return r || !c->resumable || resume_note(c->to->path, at) ? r : -errno;
}

int image_copy(const struct image_copy *c)
{
	auto_free uint8_t *buf = xmalloc(CHUNK + GRAIN);
	uint64_t size = MIN(c->from->size, c->to->size), noted = monotonic_ns(), n;
	int r = 0;
	for (uint64_t at = c->at; at < size && !r; at += n) {
		if (c->stop && c->stop())
			return (r = note(c, at)) ? r : -EINTR;
		if (c->resumable && monotonic_ns() - noted > NOTE_NS) {
			r = note(c, at);
			noted = monotonic_ns();
		}
		n = size - at;
		r = r ? r : copy_run(c, buf, at, size, &n);
		if (c->progress)
			c->progress(at + n, size);
	}
	return r ? r : note(c, size);
}

struct image *image_make(const char *path, const char *format, const struct qcow2_create *c, struct error *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_null(err, errno, "cannot create disk '%s'", path);
	if (!disk_lock(fd, path, false, err)) {
		close(fd);
		return NULL;
	}
	struct image_file *f = image_file_fd(fd);
	bool raw = !strcmp(format, "raw");
	int r = raw ? f->ops->truncate(f, c->size) : 0;
	if (r)
		error_set(err, -r, "cannot give disk '%s' its size", path);
	struct image *i = r || (!raw && !qcow2_create(f, c, err)) ? NULL : image_on(f, format, path, false, err);
	if (!i) {
		f->ops->close(f);
		unlink(path);
	}
	return i;
}
