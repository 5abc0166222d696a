/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What translated code keeps for itself in each vCPU, behind the struct vcpu,
 * where GS reaches it: memos of pages by place in the code (memo.c), and what was
 * learned about blocks before it was decided which accesses get one (tier.c).
 */
#ifndef ENGINE_JIT_MEMO_H
#define ENGINE_JIT_MEMO_H

#include "engine/jit/jit.h"
#include "engine/soft/mmu.h"

enum { PROFILES = 16384 };

/* Of a watched block: how many runs until it is looked at again; of an access: how
 * often it went to another page than the time before. Blocks share these when they
 * run out. */
struct profile {
	uint64_t page;
	int32_t count;
	uint32_t owner;              /* block */
};

/* Calls that have not returned, by the guest's RSP before them: where to, and the host's code
 * for that (returns.c). What a call stores there lies half a page away from the guest's frame, by
 * the low bits of addresses: loads of the frame would wait for it otherwise. */
enum { RETURNS = 1024, RETURNS_MASK = (RETURNS - 1) * 8, RETURNS_APART = 32 };
/* From the word behind a call's code, and from its code, to its RIP. */
enum { CALL_RIP = 8 * (RETURNS + RETURNS_APART - 1), RETURN_RIP = 8 * (RETURNS + RETURNS_APART) };
struct __attribute__((aligned(4096))) returns {
	uint64_t half[2048 / 8];
	uint64_t code[RETURNS];
	uint64_t apart[RETURNS_APART];
	uint64_t rip[RETURNS];
};

struct jit_near {
	uint64_t save[3];            /* registers of the guest while a memo is renewed */
	uint64_t memos;              /* that hold something: log[] */
	uint64_t none;               /* the page in those that do not (memo.c) */
	struct page_memo *log[MEMOS];
	struct page_memo memo[MEMOS];
	uint32_t renewals[MEMOS];
	struct profile profile[PROFILES];
	/* Runs of blocks that are not watched, by index. Packed: a large program has
	 * more blocks than the cache has lines, and neighbours run together. */
	int16_t runs[BLOCKS_MAX];
	struct returns returns[2];   /* the second is empty */
	int32_t unguarded;           /* guarded jumps that may look up yet before one is linked */
};
#define OFF_NEAR(field) ((int32_t)(VCPU_ROOM + offsetof(struct jit_near, field)))
#define OFF_PROFILE(n, field) ((int32_t)(OFF_NEAR(profile) + (n) * sizeof(struct profile) + offsetof(struct profile, field)))
#define OFF_MEMO(n, field) ((int32_t)(OFF_NEAR(memo) + (n) * sizeof(struct page_memo) + offsetof(struct page_memo, field)))
#define OFF_RUNS(n) ((int32_t)(OFF_NEAR(runs) + (n) * sizeof(int16_t)))
static inline struct jit_near *near_of(struct vcpu *v) { return (struct jit_near *)((uint8_t *)v + VCPU_ROOM); }

/* How a memo is renewed: the same for all vCPUs. */
struct memo_site {
	const uint8_t *resume, *slow;
	uint32_t in_page;            /* offsets in a page below this are good ... */
	uint32_t mask;               /* ... if these bits of them are clear */
	uint32_t block;
	uint32_t memo;               /* its own number; or another's of the block, that it shares */
};

/* May code with this key have memos? They are copies of entries of one table: all
 * explicit accesses of such code go by that. */
static inline bool memo_key(uint32_t key)
{
	return !(key & KEY_ALONE) && (key & KEY_USER || (key & (KEY_KERNEL | KEY_SMAP)) == KEY_KERNEL);
}

/* A vCPU's memos, none of which remembers anything. */
void memos_create(struct vcpu *v);
/* The stubs that renew a memo. */
void memo_stub(struct jit_vm *vm, struct emit *e, bool write);

#endif
