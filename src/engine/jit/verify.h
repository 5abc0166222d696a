/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verify mode of the translator: every block against the interpreter. */
#ifndef ENGINE_JIT_VERIFY_H
#define ENGINE_JIT_VERIFY_H

#include "engine/jit/jit.h"
#include "memory/tap.h"

enum { DECODED = 16384 };

struct decoded { uint8_t bytes[15], size; bool real; struct x86_insn insn; };

struct verify {
	struct soft_mmu *mmu;            /* the interpreter's */
	uint64_t cr0, cr3, cr4, efer;    /* that it was last used with */
	struct undo_log undo;
	struct tape tape;
	uint8_t stored[UNDO_BYTES];      /* what the interpreter left, as undo.store[].at */
	struct jit_block *block;         /* found when this many had been dropped */
	uint64_t found_at;
	struct x86_cpu before, expected;
	int expected_why;
	const char *difference;
	bool next_ends;                  /* a branch taken to the next instruction ends the run */
	bool stop;                       /* and so does arriving at stop_rip */
	uint64_t stop_rip;
	struct decoded decoded[DECODED]; /* by a hash of the host address */
	struct x86_insn other;           /* not from there */
	const struct x86_insn *insns[BLOCK_MAX];   /* what ran */
	unsigned ninsns;
	bool cut;                        /* the last one did not end: REP */
};

/* Was it asked for (--engine jit,verify)? */
bool verify_wanted(const struct machine *m);
bool verify_create(struct vcpu *v, struct error *err);
void verify_destroy(struct vcpu *v);
/* Run the block at cpu.rip, both ways. May unwind; a difference does, with
 * EXIT_ERROR and the sentence in v->error. */
void verify_block(struct vcpu *v);
/* The run loop is about to serve requests: flushes concern both MMUs. */
void verify_flush(struct vcpu *v);

/* verify_compare.c: what differs between y->expected and v->cpu, memory and tape;
 * NULL: nothing. why: how the translation ended (0, or UNWIND_*). */
const char *verify_compare(struct vcpu *v, struct verify *y, int why);
/* Log the block, the states, the stores. */
void verify_report(struct vcpu *v, struct verify *y);

#endif
