/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Access to an address space: find the range, copy RAM, dispatch I/O in the
 * sizes that the device declared.  Called inside an epoch.
 */
#include "memory/view.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "base/trace.h"
#include "memory/tap.h"

/* Inside an I/O callback: DMA of the device reaches RAM only. */
static __thread bool inside_io;

const struct mem_range *memory_find(struct memory *m, uint64_t gpa)
{
	const struct mem_view *v = atomic_load_explicit(&m->view, memory_order_acquire);
	unsigned lo = 0, hi = v->count;
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		if (v->ranges[mid].last < gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < v->count && v->ranges[lo].start <= gpa ? &v->ranges[lo] : NULL;
}

const struct mem_view *memory_view(struct memory *m)
{
	return atomic_load_explicit(&m->view, memory_order_acquire);
}

static bool io_enter(struct memory *m, const struct mem_range *r)
{
	if (inside_io)
		return false;
	if (!r->ops->lockless && m->io_lock)
		m->io_lock(m->io_lock_opaque);
	inside_io = true;
	return true;
}

static void io_leave(struct memory *m, const struct mem_range *r)
{
	inside_io = false;
	if (!r->ops->lockless && m->io_unlock)
		m->io_unlock(m->io_lock_opaque);
}

static uint64_t ones(unsigned size) { return size >= 8 ? ~0ull : BIT(size * 8) - 1; }

/* One naturally aligned access of `size`, inside the range, in the sizes the
 * device declared. */
static uint64_t device_read(struct memory *m, const struct mem_range *r, uint64_t gpa, unsigned size)
{
	if (!r->ops->read || !io_enter(m, r))
		return ones(size);
	uint64_t off = gpa - r->start + r->io_offset, value = 0;
	unsigned min = r->ops->min ? r->ops->min : 1, max = r->ops->max ? r->ops->max : 4;
	if (size < min) {
		uint64_t wide = r->ops->read(r->opaque, ALIGN_DOWN(off, min), min);
		value = wide >> (off % min * 8);
	} else if (size > max) {
		for (unsigned i = 0; i < size; i += max)
			value |= (r->ops->read(r->opaque, off + i, max) & ones(max)) << (i * 8);
	} else {
		value = r->ops->read(r->opaque, off, size);
	}
	io_leave(m, r);
	return value & ones(size);
}

static void device_write(struct memory *m, const struct mem_range *r, uint64_t gpa,
			 uint64_t value, unsigned size)
{
	if (!r->ops->write || !io_enter(m, r))
		return;
	uint64_t off = gpa - r->start + r->io_offset;
	unsigned min = r->ops->min ? r->ops->min : 1, max = r->ops->max ? r->ops->max : 4;
	value &= ones(size);
	if (size < min)
		r->ops->write(r->opaque, ALIGN_DOWN(off, min), value << (off % min * 8), min);
	else if (size > max)
		for (unsigned i = 0; i < size; i += max)
			r->ops->write(r->opaque, off + i, value >> (i * 8) & ones(max), max);
	else
		r->ops->write(r->opaque, off, value, size);
	io_leave(m, r);
}

static uint64_t io_read(struct memory *m, const struct mem_range *r, uint64_t gpa, unsigned size)
{
	struct tape *t = tape_take();
	uint64_t value;
	if (t && tape_replay(t, TAPE_READ, gpa, size, &value))
		return value;
	value = device_read(m, r, gpa, size);
	tape_record(t, TAPE_READ, gpa, size, value);
	return value;
}

static void io_write(struct memory *m, const struct mem_range *r, uint64_t gpa,
		     uint64_t value, unsigned size)
{
	struct tape *t = tape_take();
	if (t && tape_replay(t, TAPE_WRITE, gpa, size, &value))
		return;
	device_write(m, r, gpa, value, size);
	tape_record(t, TAPE_WRITE, gpa, size, value);
}

/* The largest naturally aligned piece of [gpa, gpa+len) inside the range. */
static unsigned io_piece(const struct mem_range *r, uint64_t gpa, size_t len)
{
	unsigned size = 8;
	while (size > 1 && (size > len || gpa % size || gpa + size - 1 > r->last))
		size /= 2;
	return size;
}

static void ram_write(struct memory *m, const struct mem_range *r, uint64_t gpa,
		      const void *buf, size_t n)
{
	if (r->readonly)
		return;
	uint64_t off = r->ram_offset + (gpa - r->start);
	memcpy(r->ram->host + off, buf, n);
	memory_page_written(m, r->ram, off, n);
}

void memory_read(struct memory *m, uint64_t gpa, void *buf, size_t len)
{
	uint8_t *p = buf;
	while (len) {
		const struct mem_range *r = memory_find(m, gpa);
		size_t n;
		if (!r) {
			n = 1;
			*p = 0xff;
		} else if (r->ram) {
			n = MIN((uint64_t)len, r->last - gpa + 1);
			memcpy(p, r->ram->host + r->ram_offset + (gpa - r->start), n);
		} else {
			n = io_piece(r, gpa, len);
			uint64_t v = htole64(io_read(m, r, gpa, (unsigned)n));
			memcpy(p, &v, n);
		}
		p += n;
		gpa += n;
		len -= n;
	}
}

void memory_write(struct memory *m, uint64_t gpa, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	while (len) {
		const struct mem_range *r = memory_find(m, gpa);
		size_t n = 1;
		if (r && r->ram) {
			n = MIN((uint64_t)len, r->last - gpa + 1);
			ram_write(m, r, gpa, p, n);
		} else if (r) {
			n = io_piece(r, gpa, len);
			uint64_t v = 0;
			memcpy(&v, p, n);
			io_write(m, r, gpa, le64toh(v), (unsigned)n);
		}
		p += n;
		gpa += n;
		len -= n;
	}
}

void memory_dma_read(struct memory *m, uint64_t gpa, void *buf, size_t len)
{
	bool was = inside_io;
	inside_io = true;
	memory_read(m, gpa, buf, len);
	inside_io = was;
}

void memory_dma_write(struct memory *m, uint64_t gpa, const void *buf, size_t len)
{
	bool was = inside_io;
	inside_io = true;
	memory_write(m, gpa, buf, len);
	inside_io = was;
}

uint64_t memory_load(struct memory *m, uint64_t gpa, unsigned size)
{
	uint64_t v = 0;
	const struct mem_range *r = memory_find(m, gpa);
	if (r && !r->ram && gpa + size - 1 <= r->last && gpa % size == 0)
		return io_read(m, r, gpa, size);
	memory_read(m, gpa, &v, size);
	return le64toh(v);
}

void memory_store(struct memory *m, uint64_t gpa, uint64_t value, unsigned size)
{
	const struct mem_range *r = memory_find(m, gpa);
	if (r && !r->ram && gpa + size - 1 <= r->last && gpa % size == 0) {
		io_write(m, r, gpa, value, size);
		return;
	}
	value = htole64(value);
	memory_write(m, gpa, &value, size);
}

static uint8_t *pin(struct memory *m, uint64_t gpa, size_t len, bool write)
{
	const struct mem_range *r = memory_find(m, gpa);
	if (!r || !r->ram || !len || (write && r->readonly) || r->last - gpa < len - 1)
		return NULL;
	return r->ram->host + r->ram_offset + (gpa - r->start);
}

const void *mem_pin_read(struct memory *m, uint64_t gpa, size_t len)
{
	return pin(m, gpa, len, false);
}

void *mem_pin_write(struct memory *m, uint64_t gpa, size_t len)
{
	return pin(m, gpa, len, true);
}

void mem_unpin_write(struct memory *m, uint64_t gpa, size_t len)
{
	while (len) {
		const struct mem_range *r = memory_find(m, gpa);
		size_t n = 1;
		if (r) {
			n = MIN((uint64_t)len, r->last - gpa + 1);
			if (r->ram)
				memory_page_written(m, r->ram, r->ram_offset + (gpa - r->start), n);
		}
		gpa += n;
		len -= n;
	}
}

void memory_discard(struct memory *m, uint64_t gpa, uint64_t len)
{
	uint64_t end = ALIGN_DOWN(gpa + len, PAGE_SIZE);
	for (gpa = ALIGN_UP(gpa, PAGE_SIZE); gpa < end; ) {
		const struct mem_range *r = memory_find(m, gpa);
		if (!r)
			return;
		uint64_t n = MIN(end - gpa, r->last - gpa + 1);
		if (r->ram && !r->readonly) {
			uint64_t off = r->ram_offset + (gpa - r->start);
			ram_slot_discard(r->ram, off, n);
			memory_page_written(m, r->ram, off, n);
		}
		gpa += n;
	}
}
