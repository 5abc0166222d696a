/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a layer: one libarchive takes off the compression (and every byte goes
 * through the digest), a second one reads the tar from it.
 */
#include "image/unpack.h"
#include "image/sha256.h"
#include "container/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

struct reader {
	struct archive *bytes, *tar;
	struct sha256 sum;
	bool failed;
	char buf[1 << 16];
};

static la_ssize_t take(struct archive *a, void *opaque, const void **data)
{
	struct reader *r = opaque;
	la_ssize_t n = archive_read_data(r->bytes, r->buf, sizeof(r->buf));
	*data = r->buf;
	if (n > 0)
		sha256_add(&r->sum, r->buf, (size_t)n);
	r->failed |= n < 0;
	if (n < 0)
		archive_set_error(a, EIO, "%s", archive_error_string(r->bytes));
	return n < 0 ? -1 : n;
}

static bool broken(struct archive *a, struct error *err)
{
	const char *why = archive_error_string(a);
	return error_set(err, 0, "the layer cannot be read: %s", why ? why : "it is damaged");
}

static bool open_reader(struct reader *r, int fd, struct error *err)
{
	struct archive_entry *e;
	r->bytes = archive_read_new();
	r->tar = archive_read_new();
	sha256_begin(&r->sum);
	archive_read_support_format_raw(r->bytes);
	archive_read_support_format_empty(r->bytes);
	archive_read_support_filter_gzip(r->bytes);
	archive_read_support_filter_zstd(r->bytes);
	archive_read_support_filter_xz(r->bytes);
	archive_read_support_filter_bzip2(r->bytes);
	archive_read_support_format_tar(r->tar);
	archive_read_support_format_empty(r->tar);
	if (archive_read_open_fd(r->bytes, fd, 1 << 17) != ARCHIVE_OK || archive_read_next_header(r->bytes, &e) < ARCHIVE_WARN)
		return broken(r->bytes, err);
	return archive_read_open(r->tar, r, NULL, take, NULL) == ARCHIVE_OK || broken(r->tar, err);
}

static bool copy_data(struct reader *r, int fd, struct error *err)
{
	const void *data;
	size_t n;
	la_int64_t at, end = 0;
	int status;
	while ((status = archive_read_data_block(r->tar, &data, &n, &at)) == ARCHIVE_OK || status == ARCHIVE_WARN) {
		if (at < 0 || !fd_pwrite_full(fd, data, n, (uint64_t)at))
			return error_set(err, errno, "cannot write the layer");
		end = at + (la_int64_t)n;
	}
	if (status != ARCHIVE_EOF)
		return broken(r->tar, err);
	struct stat st;      /* a hole at the end */
	return fstat(fd, &st) || st.st_size >= end || !ftruncate(fd, end) || error_set(err, errno, "cannot write the layer");
}

static bool copy_attributes(struct archive_entry *a, int fd, struct error *err)
{
	const char *name;
	const void *value;
	size_t size;
	archive_entry_xattr_reset(a);
	while (archive_entry_xattr_next(a, &name, &value, &size) == ARCHIVE_OK)
		if (name && !unpack_attribute(fd, name, value, size, err))
			return false;
	return true;
}

static bool entry_of(struct archive_entry *a, struct unpack_entry *e, struct error *err)
{
	const char *hard = archive_entry_hardlink(a);
	la_int64_t uid = archive_entry_uid(a), gid = archive_entry_gid(a);
	*e = (struct unpack_entry){ .path = archive_entry_pathname(a), .target = hard ? hard : archive_entry_symlink(a),
		.hardlink = hard != NULL, .mode = archive_entry_mode(a), .uid = (uint32_t)uid, .gid = (uint32_t)gid,
		.mtime = archive_entry_mtime(a), .mtime_ns = archive_entry_mtime_nsec(a) };
	if (!e->path)
		return error_set(err, 0, "the layer has an entry without a readable name");
	return (uid >= 0 && uid < UINT32_MAX && gid >= 0 && gid < UINT32_MAX) ||
		error_set(err, 0, "'%.100s' has an owner out of range", e->path);
}

static bool one(struct reader *r, struct unpack *u, struct archive_entry *a, struct error *err)
{
	struct unpack_entry e;
	auto_close int fd = -1;
	if (!entry_of(a, &e, err) || !unpack_entry(u, &e, &fd, err))
		return false;
	if (fd < 0)
		return true;
	return (S_ISDIR(e.mode) || copy_data(r, fd, err)) && unpack_finish(u, &e, fd, err) && copy_attributes(a, fd, err);
}

static bool read_all(struct reader *r, struct unpack *u, struct error *err)
{
	struct archive_entry *a;
	bool ok = true;
	int status = ARCHIVE_EOF;
	while (ok && ((status = archive_read_next_header(r->tar, &a)) == ARCHIVE_OK || status == ARCHIVE_WARN))
		ok = one(r, u, a, err);
	unpack_end(u);
	if (ok && status != ARCHIVE_EOF)
		ok = broken(r->tar, err);
	/* padding behind the end belongs to the digest */
	const void *rest;
	while (ok && take(r->tar, r, &rest) > 0)
		;
	return ok && (!r->failed || broken(r->bytes, err));
}

bool unpack_tar(int fd, int root, char hex[DIGEST_HEX + 1], struct error *err)
{
	struct reader *r = xnew(struct reader);
	struct unpack u = { .root = root, .privileged = !geteuid(), .layer = true };
	bool ok = open_reader(r, fd, err) && read_all(r, &u, err);
	sha256_end(&r->sum, hex);
	archive_read_free(r->tar);
	archive_read_free(r->bytes);
	free(r);
	return ok;
}
