/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NVM command set (6.): reads, writes, flush, zeroes, deallocation; and the
 * lists of pages (PRPs, 4.3) that say where data lies.
 */
#include "device/nvme/nvme.h"

#include <errno.h>

#include "machine/machine.h"

enum { FLUSH = 0, WRITE = 1, READ = 2, WRITE_ZEROES = 8, DATASET = 9 };
enum { FUA = 1 << 30, DEALLOCATE_ZEROES = 1 << 25, DEALLOCATE = 4, RANGE = 16 };

/* --- pages ----------------------------------------------------------------------- */
struct walker { struct nvme *n; uint64_t list; unsigned entry; };

/* The page after the first: PRP2 itself, or the list's next entry; the last entry
 * of a full page points to the next page of the list. */
static uint64_t next_page(struct walker *w, uint32_t left)
{
	uint8_t b[8];
	bool last = w->entry == PAGE_SIZE / 8 - 1 && left > PAGE_SIZE;
	memory_dma_read(nvme_memory(w->n), w->list + w->entry * 8, b, 8);
	w->entry++;
	if (!last)
		return le64_get(b);
	w->list = ALIGN_DOWN(le64_get(b), PAGE_SIZE);
	w->entry = 0;
	memory_dma_read(nvme_memory(w->n), w->list, b, 8);
	w->entry = 1;
	return le64_get(b);
}

/* Call fn for each piece of `len` bytes; false if it does, or a page is crooked. */
static bool each_piece(struct nvme *n, const struct nvme_command *c, uint32_t len,
		       bool (*fn)(void *opaque, uint64_t gpa, uint32_t len), void *opaque)
{
	uint64_t at = c->prp[0];
	uint32_t piece = MIN(len, (uint32_t)(PAGE_SIZE - (at & PAGE_MASK)));
	if (!fn(opaque, at, piece))
		return false;
	len -= piece;
	struct walker w = { n, ALIGN_DOWN(c->prp[1], 8), (unsigned)(c->prp[1] & PAGE_MASK) / 8 };
	w.list = ALIGN_DOWN(c->prp[1], PAGE_SIZE);
	bool list = len > PAGE_SIZE;
	while (len) {
		at = list ? next_page(&w, len) : c->prp[1];
		piece = MIN(len, (uint32_t)PAGE_SIZE);
		if (at & PAGE_MASK || !fn(opaque, at, piece))
			return false;
		len -= piece;
	}
	return true;
}

struct source { struct nvme *n; const uint8_t *from; uint8_t *to; };

static bool put_piece(void *opaque, uint64_t gpa, uint32_t len)
{
	struct source *s = opaque;
	memory_dma_write(nvme_memory(s->n), gpa, s->from, len);
	s->from += len;
	return true;
}

static bool get_piece(void *opaque, uint64_t gpa, uint32_t len)
{
	struct source *s = opaque;
	memory_dma_read(nvme_memory(s->n), gpa, s->to, len);
	s->to += len;
	return true;
}

bool nvme_answer(struct nvme *n, const struct nvme_command *c, const void *data, uint32_t len)
{
	struct source s = { .n = n, .from = data };
	return each_piece(n, c, len, put_piece, &s);
}

static void unpin(struct nvme_request *r)
{
	for (unsigned i = 0; i < r->segments && r->to_guest; i++)
		mem_unpin_write(nvme_memory(r->nvme), r->gpa[i], r->iov[i].iov_len);
	r->segments = 0;
}

static bool pin_piece(void *opaque, uint64_t gpa, uint32_t len)
{
	struct nvme_request *r = opaque;
	struct memory *m = nvme_memory(r->nvme);
	const void *p = r->to_guest ? mem_pin_write(m, gpa, len) : mem_pin_read(m, gpa, len);
	if (!p || r->segments == NVME_SEGMENTS)
		return false;
	r->gpa[r->segments] = gpa;
	r->iov[r->segments++] = (struct iovec){ (void *)(uintptr_t)p, len };
	return true;
}

/* --- requests ---------------------------------------------------------------------- */
static void give_back(struct nvme_request *r)
{
	r->next = r->nvme->spare;
	r->nvme->spare = r;
}

static uint16_t status_of(const struct nvme_request *r, int result)
{
	if (!result)
		return NVME_OK;
	if (result == -EOPNOTSUPP)
		return NVME_BAD_OPCODE;
	return r->dr.op == DISK_READ ? NVME_READ_FAULT : r->dr.op == DISK_FLUSH ? NVME_INTERNAL : NVME_WRITE_FAULT;
}

static void ended(struct nvme_request *r, int result)
{
	struct nvme *n = r->nvme;
	pthread_mutex_lock(&n->lock);
	unpin(r);
	n->running--;
	if (r->generation == n->generation)
		nvme_complete(n, r->sq, r->id, 0, status_of(r, result));
	give_back(r);
	nvme_post(n);
	pthread_mutex_unlock(&n->lock);
}

static void request_done(struct disk_request *dr, int result)
{
	struct nvme_request *r = dr->opaque;
	if (result || !r->flush_after) {
		ended(r, result);
		return;
	}
	r->flush_after = false;           /* forced unit access: it must be on the disk */
	*dr = (struct disk_request){ .op = DISK_FLUSH, .done = request_done, .opaque = r };
	disk_submit(r->nvme->disk, dr);
}

static void begin(struct nvme *n, unsigned sq, const struct nvme_command *c, enum disk_op op,
		  struct nvme_request **submit)
{
	struct nvme_request *r = n->spare;
	n->spare = r->next;
	r->generation = n->generation;
	r->sq = sq;
	r->id = c->id;
	r->to_guest = op == DISK_READ;
	r->segments = 0;
	r->flush_after = false;
	r->dr = (struct disk_request){ .op = op, .iov = r->iov, .done = request_done, .opaque = r };
	n->running++;
	*submit = r;
}

static bool in_range(const struct nvme *n, uint64_t lba, uint64_t count)
{
	uint64_t blocks = n->info.size / NVME_BLOCK;
	return lba < blocks && count <= blocks - lba;
}

static void cancel(struct nvme_request **submit)
{
	struct nvme_request *r = *submit;
	unpin(r);
	r->nvme->running--;
	give_back(r);
	*submit = NULL;
}

static uint16_t read_write(struct nvme *n, unsigned sq, const struct nvme_command *c, enum disk_op op,
			   struct nvme_request **submit)
{
	uint64_t lba = c->dw[0] | (uint64_t)c->dw[1] << 32, count = (c->dw[2] & 0xffff) + 1;
	uint32_t len = (uint32_t)count * NVME_BLOCK;
	bool data = op != DISK_WRITE_ZEROES;
	if (data && len > NVME_TRANSFER_MAX)
		return NVME_BAD_FIELD;
	if (!in_range(n, lba, count))
		return NVME_LBA_RANGE;
	if (op != DISK_READ && n->info.readonly)
		return NVME_READ_ONLY;
	begin(n, sq, c, op, submit);
	struct nvme_request *r = *submit;
	if (data && !each_piece(n, c, len, pin_piece, r)) {
		cancel(submit);
		return NVME_BAD_PRP;
	}
	r->dr.niov = r->segments;
	r->dr.offset = lba * NVME_BLOCK;
	r->dr.length = len;
	r->dr.unmap = c->dw[2] & DEALLOCATE_ZEROES;
	r->flush_after = op != DISK_READ && (c->dw[2] & FUA || !n->write_cache);
	return NVME_HELD;
}

/* Ranges one after the other; a range that cannot be deallocated is left alone,
 * as it may be (6.7). */
static void next_range(struct disk_request *dr, int result)
{
	struct nvme_request *r = dr->opaque;
	while (r->range < r->ranges) {
		const uint8_t *e = r->list + r->range++ * RANGE;
		uint64_t count = le32_get(e + 4), lba = le64_get(e + 8);
		if (!count || !in_range(r->nvme, lba, count))
			continue;
		*dr = (struct disk_request){ .op = DISK_DISCARD, .offset = lba * NVME_BLOCK,
					     .length = count * NVME_BLOCK, .done = next_range, .opaque = r };
		disk_submit(r->nvme->disk, dr);
		return;
	}
	ended(r, 0);
}

/* The first request is a flush, which makes the start as asynchronous as the rest. */
static uint16_t dataset(struct nvme *n, unsigned sq, const struct nvme_command *c,
			struct nvme_request **submit)
{
	if (!(c->dw[1] & DEALLOCATE) || !n->info.discard)
		return NVME_OK;
	if (n->info.readonly)
		return NVME_READ_ONLY;
	begin(n, sq, c, DISK_FLUSH, submit);
	struct nvme_request *r = *submit;
	struct source to = { .n = n, .to = r->list };
	r->range = 0;
	r->ranges = (c->dw[0] & 0xff) + 1;
	r->dr.done = next_range;
	if (each_piece(n, c, r->ranges * RANGE, get_piece, &to))
		return NVME_HELD;
	cancel(submit);
	return NVME_BAD_PRP;
}

uint16_t nvme_io(struct nvme *n, unsigned sq, const struct nvme_command *c, struct nvme_request **submit)
{
	if (c->opcode == FLUSH && (c->nsid == 1 || c->nsid == UINT32_MAX)) {
		begin(n, sq, c, DISK_FLUSH, submit);
		return NVME_HELD;
	}
	if (c->nsid != 1)
		return NVME_BAD_NAMESPACE;
	switch (c->opcode) {
	case READ: return read_write(n, sq, c, DISK_READ, submit);
	case WRITE: return read_write(n, sq, c, DISK_WRITE, submit);
	case WRITE_ZEROES: return read_write(n, sq, c, DISK_WRITE_ZEROES, submit);
	case DATASET: return dataset(n, sq, c, submit);
	}
	return NVME_BAD_OPCODE;
}
