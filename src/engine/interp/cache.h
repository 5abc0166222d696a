/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoded code of the interpreter: straight-line blocks within one page of RAM,
 * found by the host address of their first byte (so they survive changes of the
 * page tables).  Pages with blocks carry PAGE_CODE: stores to them arrive at
 * cache_written.  One cache a machine; its turn lock (interp.h of this engine)
 * serialises all use but cache_note.
 */
#ifndef ENGINE_INTERP_CACHE_H
#define ENGINE_INTERP_CACHE_H

#include "engine/interp/slot.h"

enum { BLOCK_MAX = 64, BLOCK_BUCKETS = 1 << 15, CACHE_PAGE_BUCKETS = 1 << 12 };

struct iblock {
	const uint8_t *host;
	struct iblock *next;          /* of the hash bucket */
	struct iblock *page_next;
	uint16_t offset, bytes;       /* within the page */
	uint8_t kind;                 /* decoding mode */
	bool system;                  /* ends with an instruction that may change modes */
	bool pause;                   /* ends with PAUSE: let others have their turn */
	uint16_t count;
	struct islot slot[];          /* count of them, then one with slot_stop */
};

struct ipage {
	struct ram_slot *ram;
	uint64_t number;              /* page within the slot */
	struct iblock *blocks;
	unsigned missed;              /* stores beside the blocks since one was hit or made */
	struct ipage *next;
};

struct icache {
	struct memory *memory;
	struct iblock *bucket[BLOCK_BUCKETS];
	struct ipage *page[CACHE_PAGE_BUCKETS];
	uint8_t *pool;                /* blocks, in order of making; flushed when full */
	size_t pool_used;
	struct iblock *running;       /* dropped: its slots become slot_stop */
	/* stores of other threads (DMA), not seen to yet */
	pthread_mutex_t note_lock;
	struct { uint64_t gpa, len; } note[64];
	unsigned notes;               /* over 64: everything */
	uint64_t built, dropped, flushed;
};

static inline unsigned block_hash(const uint8_t *host, uint8_t kind)
{
	uintptr_t h = (uintptr_t)host;
	return (h ^ h >> 13 ^ (uintptr_t)kind << 9) & (BLOCK_BUCKETS - 1);
}

bool cache_create(struct icache *c, struct memory *m, struct error *err);
void cache_destroy(struct icache *c);
/* Decode from `host` on; NULL: the first instruction leaves the page. */
struct iblock *cache_build(struct icache *c, struct vcpu *v, const uint8_t *host, uint8_t kind);
/* A store by the thread that has the turn. */
void cache_written(struct icache *c, uint64_t gpa, uint64_t len);
/* A store by any other thread: remembered for cache_catch_up. */
void cache_note(struct icache *c, uint64_t gpa, uint64_t len);
void cache_catch_up(struct icache *c);
void cache_flush(struct icache *c);

#endif
