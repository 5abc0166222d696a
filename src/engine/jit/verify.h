/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verify mode of the translator: every block against the interpreter. */
#ifndef ENGINE_JIT_VERIFY_H
#define ENGINE_JIT_VERIFY_H

#include "engine/jit/jit.h"
#include "memory/tap.h"

enum { DECODED = 16384 };

struct decoded { uint8_t bytes[15], size; bool real; struct x86_insn insn; };

/* The interpreter's state after some instructions. */
struct verify_point {
	struct x86_cpu cpu;
	unsigned nstored;                /* of undo.store[] */
	unsigned tape_end;
	int why;                         /* how it unwound, or 0 */
};

struct verify {
	struct soft_mmu *mmu;            /* the interpreter's */
	uint64_t cr0, cr3, cr4, efer;    /* that it was last used with */
	struct undo_log undo;
	struct tape tape;
	unsigned room;                   /* of these two: */
	uint8_t *stored;                 /* what the interpreter stored, as undo.store[].at; */
	uint8_t *found;                  /* what is there now */
	struct verify_point points[BLOCK_MAX + 1], *expected;   /* expected: where the translation stopped */
	unsigned npoints;
	bool closely;                    /* after each instruction; else only at the end */
	struct jit_block *block;         /* found when this many had been dropped */
	uint64_t found_at;
	struct x86_cpu before;
	sigjmp_buf outer;                /* where what unwinds goes in the end */
	const char *difference;
	uint64_t apart, apart_at;        /* the interpreter's status flags, if RIP is this ... */
	uint64_t apart_from;             /* ... and RFLAGS this: what went on from verify_block() */
	bool alone;                      /* at alone_rip, the block without groups is due */
	uint64_t alone_rip;
	uint32_t key;                    /* KEY_ALONE, if that is the block */
	unsigned owing;                  /* blocks since the tape was empty */
	struct decoded decoded[DECODED]; /* by a hash of the host address */
	struct x86_insn other;           /* not from there */
	const struct x86_insn *insns[BLOCK_MAX];   /* what ran */
	unsigned ninsns;
};

/* While it runs, the guest's time goes 2^6 times slower: its watchdogs mind how long
 * a piece of work takes. */
enum { VERIFY_SLOW = 6 };
bool verify_create(struct vcpu *v, struct error *err);
void verify_destroy(struct vcpu *v);
/* Run the block at cpu.rip, both ways. May unwind; a difference does, with
 * EXIT_ERROR and the sentence in v->error. */
void verify_block(struct vcpu *v);
/* The translation has stopped before the interpreter: what that took from devices and
 * gave them is for the next block, nothing may come in between. */
bool verify_owes(struct vcpu *v);
/* An access group has failed: the rest of the block without groups is next. */
void verify_alone(struct vcpu *v);
/* What concerns both MMUs has been done: a flush, a step of the run loop. */
void verify_flush(struct vcpu *v);

/* verify_compare.c: what differs between one of y->points, which becomes y->expected,
 * and v->cpu, memory and tape; NULL: nothing. why: how the translation ended (0, or UNWIND_*). */
const char *verify_compare(struct vcpu *v, struct verify *y, int why);
/* Log the block, the states, the stores. */
void verify_report(struct vcpu *v, struct verify *y);

#endif
