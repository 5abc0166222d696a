/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Space taken before it is written: the tables of a qcow2 image alone, the blocks of
 * the host's file system, or zeros written to them.  Of new disks without backing file.
 */
#include "disk/copy.h"

#include <errno.h>
#include <fcntl.h>

#include "disk/qcow2.h"

enum { ZEROS = 1 << 20 };

static const char *const words[] = {
#define X(name, word) [PREALLOCATE_##name] = word,
	PREALLOCATE(X)
#undef X
};

bool preallocate_parse(const char *word, enum preallocate *out, struct error *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i], word)) {
			*out = (enum preallocate)i;
			return true;
		}
	return error_set(err, 0, "preallocation '%s' is not known: use off, metadata, falloc or full", word);
}

/* Every cluster has its place: in runs, as the allocator gives them. */
static int fill_tables(struct qcow2 *q)
{
	uint64_t clusters = (q->image->size + q->cluster_size - 1) >> q->cluster_bits, host, got;
	int r;
	pthread_mutex_lock(&q->lock);
	r = mark_dirty(q);
	for (uint64_t c = 0; c < clusters && !r; ) {
		uint64_t left = q->l2_entries - c % q->l2_entries;
		r = clusters_alloc(q, MIN(left, clusters - c), &host, &got);
		for (uint64_t k = 0; k < got && !r; k++, c++)
			r = entry_set(q, c << q->cluster_bits, (host + (k << q->cluster_bits)) | L2_COPIED);
	}
	pthread_mutex_unlock(&q->lock);
	return r ? r : qcow2_flush(q->image);
}

/* `size` bytes of the file; with zeros in all that the guest reads. */
static int take_blocks(struct image *i, uint64_t size, bool write)
{
	int fd = image_file_descriptor(i->file), r = posix_fallocate(fd, 0, (off_t)size);
	auto_free uint8_t *zeros = write && !r ? xcalloc(1, ZEROS) : NULL;
	r = -r;
	for (uint64_t at = 0; zeros && at < i->size && !r; at += ZEROS)
		r = image_write(i, zeros, MIN(i->size - at, (uint64_t)ZEROS), at);
	return r ? r : i->ops->flush(i);
}

bool image_preallocate(struct image *i, enum preallocate how, struct error *err)
{
	bool qcow2 = i->ops == &image_qcow2;
	if (how == PREALLOCATE_OFF)
		return true;
	if (how == PREALLOCATE_METADATA && !qcow2)
		return error_set(err, 0, "a raw disk has no metadata: use --preallocation falloc or full");
	if (i->data_name)
		return error_set(err, 0, "a disk with a data file cannot be preallocated: preallocate that file");
	if (i->backing_name)
		return error_set(err, 0, "a disk with a backing file cannot be preallocated: it would hide what is below");
	int r = qcow2 ? fill_tables(i->format) : 0;
	struct qcow2 *q = qcow2 ? i->format : NULL;
	uint64_t size = q ? MAX(q->virgin, q->file->ops->size(q->file)) : i->size;
	if (!r && how == PREALLOCATE_METADATA)
		r = i->file->ops->truncate(i->file, size);
	if (!r && how != PREALLOCATE_METADATA)
		r = take_blocks(i, size, how == PREALLOCATE_FULL);
	return !r || error_set(err, -r, "cannot take the space for disk '%s'", i->path);
}
