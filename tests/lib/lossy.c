/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file that forgets: see lossy.h. */
#include "lib/lossy.h"

#include <errno.h>
#include <stdlib.h>

static struct lossy *lossy(struct image_file *f) { return container_of(f, struct lossy, file); }

static bool faulty(struct lossy *l) { return l->faults_in >= 0 && l->faults_in-- == 0; }

static int l_read(struct image_file *f, const struct iovec *iov, unsigned n, uint64_t offset)
{
	struct lossy *l = lossy(f);
	if (faulty(l))
		return -l->fault;
	for (unsigned i = 0; i < n; offset += iov[i++].iov_len) {
		memset(iov[i].iov_base, 0, iov[i].iov_len);
		if (offset < LOSSY_MAX)
			memcpy(iov[i].iov_base, l->current + offset, MIN(iov[i].iov_len, LOSSY_MAX - offset));
	}
	return 0;
}

static void l_change(struct lossy *l, uint64_t offset, const void *data, uint64_t len)
{
	if (offset + len > LOSSY_MAX || l->npending >= LOSSY_PENDING)
		abort();       /* the test needs a larger file */
	struct lossy_write *w = &l->pending[l->npending++];
	*w = (struct lossy_write){ offset, (uint32_t)len, data ? memcpy(xmalloc(len), data, len) : NULL };
	if (data)
		memcpy(l->current + offset, data, len);
	else
		memset(l->current + offset, 0, len);
}

static bool full(struct lossy *l)
{
	if (l->writes_in > 0)
		l->writes_in--;
	if (l->writes_in != 0)
		return false;
	if (!l->full)
		l->writes_in = -1;
	return l->full && l->full--;
}

static int l_write(struct image_file *f, const struct iovec *iov, unsigned n, uint64_t offset)
{
	struct lossy *l = lossy(f);
	if (full(l))
		return -ENOSPC;
	if (faulty(l))
		return -l->fault;
	for (unsigned i = 0; i < n; offset += iov[i++].iov_len)
		for (size_t at_byte = 0; at_byte < iov[i].iov_len; at_byte += 4096)   /* torn at pages */
			l_change(l, offset + at_byte, (uint8_t *)iov[i].iov_base + at_byte,
				 MIN(iov[i].iov_len - at_byte, (size_t)4096));
	l->size = MAX(l->size, offset);
	return 0;
}

static void forget_pending(struct lossy *l)
{
	while (l->npending)
		free(l->pending[--l->npending].data);
}

static int l_sync(struct image_file *f)
{
	struct lossy *l = lossy(f);
	if (faulty(l))
		return -l->fault;
	if (l->before_sync)
		l->before_sync(l, l->opaque);
	memcpy(l->durable, l->current, MAX(l->size, l->durable_size));
	l->durable_size = l->size;
	forget_pending(l);
	return 0;
}

static int l_punch(struct image_file *f, uint64_t offset, uint64_t len)
{
	l_change(lossy(f), offset, NULL, len);
	return 0;
}

static int l_truncate(struct image_file *f, uint64_t size)
{
	lossy(f)->size = size;
	return 0;
}

static uint64_t l_size(struct image_file *f) { return lossy(f)->size; }
static void l_close(struct image_file *f) { }
static const struct image_file_ops lossy_ops = { l_read, l_write, l_sync, l_punch, l_truncate, l_size, l_close };

void lossy_init(struct lossy *l)
{
	*l = (struct lossy){ .file.ops = &lossy_ops, .faults_in = -1, .writes_in = -1, .fault = EIO };
	l->durable = xcalloc(1, LOSSY_MAX);
	l->current = xcalloc(1, LOSSY_MAX);
	l->pending = xcalloc(LOSSY_PENDING, sizeof(*l->pending));
}

void lossy_free(struct lossy *l)
{
	forget_pending(l);
	free(l->durable);
	free(l->current);
	free(l->pending);
}

void lossy_cut(const struct lossy *l, struct lossy *out, unsigned *seed)
{
	memcpy(out->current, l->durable, MAX(l->size, out->size));
	unsigned keep = rand_r(seed) % 101, order[64];
	for (unsigned i = 0; i < l->npending; i += 64) {
		unsigned n = MIN(l->npending - i, 64u);
		for (unsigned k = 0; k < n; k++) {
			unsigned j = (unsigned)rand_r(seed) % (k + 1);
			order[k] = order[j];
			order[j] = k;
		}
		for (unsigned k = 0; k < n; k++) {
			const struct lossy_write *w = &l->pending[i + order[k]];
			if ((unsigned)rand_r(seed) % 100 >= keep)
				continue;
			if (w->data)
				memcpy(out->current + w->offset, w->data, w->len);
			else
				memset(out->current + w->offset, 0, w->len);
		}
	}
	out->size = l->size;
	l_sync(&out->file);
}
