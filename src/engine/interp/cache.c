/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoded blocks: built, found, dropped.  A page is flagged before its bytes are
 * read, so a store that comes between is seen as one to existing code.  Memory
 * of dropped blocks comes back when the pool is full and everything is flushed,
 * which happens only while no block runs.
 */
#include "engine/interp/cache.h"

#include <errno.h>
#include <sys/mman.h>

#include "engine/interp/ops.h"

enum { POOL_SIZE = 64 << 20, CODE_WINDOW = 1024, MISSES_MAX = 64 };

bool cache_create(struct icache *c, struct memory *m, struct error *err)
{
	c->memory = m;
	pthread_mutex_init(&c->note_lock, NULL);
	c->pool = mmap(NULL, POOL_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->pool == MAP_FAILED)
		return error_set(err, errno, "cannot reserve memory for decoded instructions");
	return true;
}

void cache_destroy(struct icache *c)
{
	cache_flush(c);
	munmap(c->pool, POOL_SIZE);
	pthread_mutex_destroy(&c->note_lock);
}

static struct ipage **page_bucket(struct icache *c, const struct ram_slot *ram, uint64_t number)
{
	return &c->page[(number ^ (uintptr_t)ram >> 6) & (CACHE_PAGE_BUCKETS - 1)];
}

static struct ipage *page_find(struct icache *c, const struct ram_slot *ram, uint64_t number)
{
	struct ipage *p = *page_bucket(c, ram, number);
	while (p && (p->ram != ram || p->number != number))
		p = p->next;
	return p;
}

static void page_remove(struct icache *c, struct ipage *p)
{
	struct ipage **at = page_bucket(c, p->ram, p->number);
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	memory_unflag_page(p->ram, p->number, PAGE_CODE);
	free(p);
}

static struct ram_slot *slot_of_host(struct icache *c, const uint8_t *host)
{
	struct ram_slot *s = memory_slots(c->memory);
	while (s && (uint64_t)(host - s->host) >= s->size)
		s = s->next;
	return s;
}

static struct ram_slot *slot_of_gpa(struct icache *c, uint64_t gpa)
{
	struct ram_slot *s = memory_slots(c->memory);
	while (s && gpa - s->gpa >= s->size)
		s = s->next;
	return s;
}

/* The record of the page that host lies in; flags it when it is new. */
static struct ipage *page_get(struct icache *c, const uint8_t *host)
{
	struct ram_slot *ram = slot_of_host(c, host);
	if (!ram)
		return NULL;
	uint64_t number = (uint64_t)(host - ram->host) / PAGE_SIZE;
	struct ipage *p = page_find(c, ram, number);
	if (!p) {
		struct ipage **at = page_bucket(c, ram, number);
		p = xnew(struct ipage);
		*p = (struct ipage){ .ram = ram, .number = number, .next = *at };
		*at = p;
	}
	if (!(ram->flags[number] & PAGE_CODE))
		memory_flag_pages(c->memory, ram, number, 1, PAGE_CODE);
	return p;
}

static void unlink_block(struct icache *c, struct iblock *b)
{
	struct iblock **at = &c->bucket[block_hash(b->host, b->kind)];
	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	c->dropped++;
	for (unsigned i = 0; c->running == b && i < b->count; i++)
		b->slot[i].fn = slot_stop;
}

/* Drop the blocks that overlap; true: there were some. */
static bool page_drop(struct icache *c, struct ipage *p, uint64_t offset, uint64_t len)
{
	struct iblock **at = &p->blocks;
	bool hit = false;
	while (*at) {
		struct iblock *b = *at;
		if (b->offset < offset + len && offset < (uint64_t)b->offset + b->bytes) {
			*at = b->page_next;
			unlink_block(c, b);
			hit = true;
		} else {
			at = &b->page_next;
		}
	}
	return hit;
}

/* A page that is written again and again beside its blocks most likely holds data
 * now: better without flag than exact. */
static void page_written(struct icache *c, struct ipage *p, uint64_t offset, uint64_t len)
{
	if (page_drop(c, p, offset, len))
		p->missed = 0;
	else if (++p->missed >= MISSES_MAX)
		page_drop(c, p, 0, PAGE_SIZE);
	if (!p->blocks)
		page_remove(c, p);
}

void cache_written(struct icache *c, uint64_t gpa, uint64_t len)
{
	struct ram_slot *ram = slot_of_gpa(c, gpa);
	while (ram && len) {
		uint64_t offset = gpa & PAGE_MASK, n = MIN(len, PAGE_SIZE - offset);
		struct ipage *p = page_find(c, ram, (gpa - ram->gpa) / PAGE_SIZE);
		if (p)
			page_written(c, p, offset, n);
		gpa += n;
		len -= n;
	}
}

void cache_note(struct icache *c, uint64_t gpa, uint64_t len)
{
	pthread_mutex_lock(&c->note_lock);
	if (c->notes < ARRAY_SIZE(c->note)) {
		c->note[c->notes].gpa = gpa;
		c->note[c->notes].len = len;
	}
	c->notes++;
	pthread_mutex_unlock(&c->note_lock);
}

void cache_catch_up(struct icache *c)
{
	pthread_mutex_lock(&c->note_lock);
	unsigned n = c->notes;
	c->notes = 0;
	for (unsigned i = 0; i < n && n <= ARRAY_SIZE(c->note); i++)
		cache_written(c, c->note[i].gpa, c->note[i].len);
	if (n > ARRAY_SIZE(c->note))
		cache_flush(c);
	pthread_mutex_unlock(&c->note_lock);
}

void cache_flush(struct icache *c)
{
	for (unsigned i = 0; i < CACHE_PAGE_BUCKETS; i++)
		while (c->page[i]) {
			struct ipage *p = c->page[i];
			c->page[i] = p->next;
			memory_unflag_page(p->ram, p->number, PAGE_CODE);
			free(p);
		}
	memset(c->bucket, 0, sizeof(c->bucket));
	c->pool_used = 0;
	c->running = NULL;
	c->flushed++;
	c->dropped++;
}

static bool ends_block(const struct x86_insn *i)
{
	unsigned props = x86_op_info[i->op].props;
	return props & (OPP_BRANCH | OPP_SYSTEM | OPP_IO) || i->op == OP_PAUSE ||
	       (props & OPP_STRING && i->prefix & (PFX_REP | PFX_REPNE));
}

/* Up to a branch, the end of the page, or what cannot be decoded; returns the
 * bytes. */
static unsigned decode_block(struct vcpu *v, struct iblock *b, const uint8_t *code, unsigned avail,
			     bool page_end)
{
	struct islot *s = b->slot;
	unsigned at = 0;
	bool end = false;
	for (; !end && b->count < BLOCK_MAX && (page_end || avail - at >= 15); s++) {
		if (x86_decode(v->model, b->kind & KIND_SIZE, b->kind & KIND_REAL, code + at, avail - at,
			       &s->insn) != X86_OK)
			break;
		end = ends_block(&s->insn);
		slot_choose(s, b->kind, end);
		s->offset = (uint16_t)at;
		b->pause = s->insn.op == OP_PAUSE;
		b->system = end && x86_op_info[s->insn.op].props & (OPP_SYSTEM | OPP_IO);
		at += s->insn.len;
		b->count++;
	}
	s->fn = slot_stop;
	s->offset = (uint16_t)at;
	return at;
}

struct iblock *cache_build(struct icache *c, struct vcpu *v, const uint8_t *host, uint8_t kind)
{
	size_t most = sizeof(struct iblock) + (BLOCK_MAX + 1) * sizeof(struct islot);
	uint8_t code[CODE_WINDOW];
	if (c->pool_used + most > POOL_SIZE)
		cache_flush(c);
	struct ipage *p = page_get(c, host);
	if (!p)
		return NULL;
	unsigned left = (unsigned)(PAGE_SIZE - ((uintptr_t)host & PAGE_MASK));
	unsigned avail = MIN(left, (unsigned)CODE_WINDOW);
	memcpy(code, host, avail);
	struct iblock *b = (struct iblock *)(c->pool + c->pool_used);
	*b = (struct iblock){ .host = host, .kind = kind,
			      .offset = (uintptr_t)host & PAGE_MASK };
	b->bytes = (uint16_t)decode_block(v, b, code, avail, avail == left);
	if (!b->count) {
		if (!p->blocks)
			page_remove(c, p);
		return NULL;
	}
	struct iblock **at = &c->bucket[block_hash(host, b->kind)];
	b->next = *at;
	*at = b;
	b->page_next = p->blocks;
	p->blocks = b;
	p->missed = 0;
	c->pool_used += ALIGN_UP(sizeof(*b) + (b->count + 1u) * sizeof(struct islot), 64);
	c->built++;
	return b;
}
