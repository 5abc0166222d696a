/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page flags and the dirty log.  Invariant: for every active consumer, a page
 * whose CLEAN flag is not set has its bit set in that consumer's bitmap, or no
 * store has happened since the harvest that is going on now.
 */
#include "memory/view.h"

enum { FLUSH_RUN = 512 };

void memory_page_written(struct memory *m, struct ram_slot *s, uint64_t offset, size_t len)
{
	if (!len)
		return;
	uint64_t first = offset / PAGE_SIZE, last = (offset + len - 1) / PAGE_SIZE;
	unsigned active = atomic_load_explicit(&s->logged, memory_order_relaxed);
	for (uint64_t p = first; p <= last; p++) {
		uint8_t f = atomic_load_explicit(&s->flags[p], memory_order_relaxed);
		if (likely(!f))
			continue;
		if (f & PAGE_CODE && m->hooks.on_code_write) {
			uint64_t from = MAX(offset, p * PAGE_SIZE);
			uint64_t to = MIN(offset + len, (p + 1) * PAGE_SIZE);
			m->hooks.on_code_write(m->hooks.opaque, s->gpa + from, to - from);
		}
		if (f & PAGE_CLEAN) {
			for (unsigned c = 0; c < ARRAY_SIZE(s->dirty); c++)
				if (active & BIT(c))
					atomic_fetch_or(&s->dirty[c][p / 64], BIT(p % 64));
			atomic_fetch_and(&s->flags[p], (uint8_t)~PAGE_CLEAN);
		}
	}
}

void memory_flag_pages(struct memory *m, struct ram_slot *s, uint64_t first,
		       uint64_t count, uint8_t flags)
{
	for (uint64_t p = first; p < first + count; p++)
		atomic_fetch_or(&s->flags[p], flags);
	if (m->hooks.on_flags_set)
		m->hooks.on_flags_set(m->hooks.opaque, s, first, count);
}

void memory_unflag_page(struct ram_slot *s, uint64_t page, uint8_t flags)
{
	atomic_fetch_and(&s->flags[page], (uint8_t)~flags);
}

void memory_dirty_start(struct memory *m, struct ram_slot *s, int consumer)
{
	uint64_t words = (s->size / PAGE_SIZE + 63) / 64;
	if (!s->dirty[consumer])
		s->dirty[consumer] = xcalloc(words, 8);
	else
		memset((void *)s->dirty[consumer], 0, words * 8);
	unsigned before = atomic_fetch_or(&s->logged, (unsigned)BIT(consumer));
	if (!before && m->hooks.log_dirty)
		m->hooks.log_dirty(m->hooks.opaque, s);
	memory_flag_pages(m, s, 0, s->size / PAGE_SIZE, PAGE_CLEAN);
}

void memory_dirty_stop(struct memory *m, struct ram_slot *s, int consumer)
{
	unsigned before = atomic_fetch_and(&s->logged, (unsigned)~BIT(consumer));
	if (before == BIT(consumer) && m->hooks.log_dirty)
		m->hooks.log_dirty(m->hooks.opaque, s);
}

bool memory_dirty_cheap(const struct memory *m) { return m->hooks.collect_dirty; }

/* Exchange first, then flag and flush: a store in between is not recorded, but
 * the consumer reads the page only after we return and so sees it. */
void memory_dirty_harvest(struct memory *m, struct ram_slot *s, int consumer, uint64_t *bitmap)
{
	uint64_t pages = s->size / PAGE_SIZE, run_start = 0, run = 0;
	if (m->hooks.collect_dirty)
		m->hooks.collect_dirty(m->hooks.opaque, s);
	for (uint64_t w = 0; w < (pages + 63) / 64; w++)
		bitmap[w] = s->dirty[consumer] ? atomic_exchange(&s->dirty[consumer][w], 0) : 0;
	for (uint64_t p = 0; p <= pages; p++) {
		bool set = p < pages && bitmap[p / 64] >> (p % 64) & 1;
		if (set && run && run < FLUSH_RUN) {
			run++;
			continue;
		}
		if (run)
			memory_flag_pages(m, s, run_start, run, PAGE_CLEAN);
		run_start = p;
		run = set;
	}
}
