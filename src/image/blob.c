/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Content on its way in: see blob.h. */
#include "image/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

bool blob_begin(struct blob *b, const struct image_store *s, struct error *err)
{
	*b = (struct blob){ .store = s, .fd = -1 };
	image_tmp_name(b->name);
	b->fd = openat(s->tmp, b->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (b->fd < 0)
		return error_set(err, errno, "cannot write into the image store");
	sha256_begin(&b->sum);
	return true;
}

bool blob_add(struct blob *b, const void *data, size_t n, struct error *err)
{
	if (!fd_write_full(b->fd, data, n))
		return error_set(err, errno, "cannot write into the image store");
	sha256_add(&b->sum, data, n);
	b->size += n;
	return true;
}

void blob_close(struct blob *b)
{
	if (b->sum.context)
		sha256_end(&b->sum, b->hex);
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}

int blob_reopen(const struct blob *b)
{
	return openat(b->store->tmp, b->name, O_RDONLY | O_CLOEXEC);
}

bool blob_keep(struct blob *b, const char *want, struct error *err)
{
	blob_close(b);
	if (want && strcmp(want, b->hex))
		return error_set(err, 0, "content has the digest sha256:%s, where sha256:%s was promised: it was damaged or "
				 "tampered with", b->hex, want);
	auto_close int fd = blob_reopen(b);
	if (fd < 0 || fsync(fd) || renameat(b->store->tmp, b->name, b->store->blobs, b->hex))
		return error_set(err, errno, "cannot write into the image store");
	b->name[0] = 0;
	return true;
}

void blob_drop(struct blob *b)
{
	if (b->sum.context)
		sha256_end(&b->sum, NULL);
	if (b->store && b->fd >= 0)
		close(b->fd);
	if (b->store && b->name[0])
		unlinkat(b->store->tmp, b->name, 0);
	*b = (struct blob){ .fd = -1 };
}

bool blob_put(const struct image_store *s, const void *data, size_t n, char hex[DIGEST_HEX + 1], struct error *err)
{
	struct blob b;
	bool ok = blob_begin(&b, s, err) && blob_add(&b, data, n, err) && blob_keep(&b, NULL, err);
	if (ok)
		memcpy(hex, b.hex, sizeof(b.hex));
	blob_drop(&b);
	return ok;
}
