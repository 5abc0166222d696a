/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Verify mode (--engine jit,verify; one vCPU).  The interpreter runs each block
 * first, with an MMU of its own that notes what stores replace and a tape that
 * records device accesses, time and random numbers; then memory and registers
 * are put back, and the translation runs, fed from the tape.  Both must end with
 * the same registers, the same exception, the same bytes stored and the same
 * accesses to devices.
 *
 * DMA of I/O threads may come in between and be seen by one run only: so a
 * difference is looked at again, and only one that stays is reported.  The local
 * APIC is outside: its accesses are on the tape.  The status flags are not compared
 * where an instruction did not end (exceptions, REP): the translator leaves out
 * those that the code after it overwrites.
 */
#include <setjmp.h>
#include "engine/interp/operand.h"
#include "engine/jit/slow.h"
#include "engine/jit/verify.h"
#include "memory/tap.h"

enum { TRIES = 4 };

/* --- the interpreter's run */

static void use_own_mmu(struct vcpu *v, struct verify *y)
{
	const struct x86_cpu *c = &v->cpu;

	v->mmu = y->mmu;
	if (c->cr0 != y->cr0 || c->cr3 != y->cr3 || c->cr4 != y->cr4 || c->efer != y->efer)
		mmu_flush_all(v);
	mmu_update_mode(v);
}

static void leave_own_mmu(struct vcpu *v, struct verify *y, struct soft_mmu *mmu)
{
	const struct x86_cpu *c = &v->cpu;

	y->cr0 = c->cr0;
	y->cr3 = c->cr3;
	y->cr4 = c->cr4;
	y->efer = c->efer;
	v->mmu = mmu;
}

/* Decoded before, from the same 15 bytes? len 0: it is not decodable. */
static const struct x86_insn *decode_cached(struct vcpu *v, struct verify *y, const uint8_t *host, bool real)
{
	uintptr_t h = (uintptr_t)host;
	struct decoded *d = &y->decoded[(h ^ h >> 12 ^ h >> 18) % DECODED];
	unsigned size = cpu_code_size(&v->cpu);

	if (d->size != size || d->real != real || memcmp(d->bytes, host, 15)) {
		d->size = (uint8_t)size;
		d->real = real;
		memcpy(d->bytes, host, 15);
		if (x86_decode(v->model, size, real, host, 15, &d->insn) != X86_OK)
			d->insn.len = 0;
	}
	return &d->insn;
}

/* At a page's end, or undecodable. */
static const struct x86_insn *decode_slowly(struct vcpu *v, struct verify *y, uint64_t lin, bool real)
{
	unsigned size = cpu_code_size(&v->cpu), n;
	uint8_t code[16];
	uint64_t gpa;

	n = mmu_fetch(v, lin, code, 15, &gpa);
	if (n < 15 && x86_decode(v->model, size, real, code, n, &y->other) == X86_MORE)
		n += mmu_fetch(v, lin + n, code + n, 15 - n, &gpa);
	switch (x86_decode(v->model, size, real, code, n, &y->other)) {
	case X86_OK:
		return &y->other;
	case X86_UD:
		raise_ud(v);
	default:
		raise_gp(v, 0);
	}
}

/* The next instruction, as the block has it; fetch faults unwind. */
static const struct x86_insn *fetch(struct vcpu *v, struct verify *y)
{
	const struct x86_cpu *c = &v->cpu;
	uint64_t lin = cpu_code64(c) ? c->rip : (uint32_t)(c->rip + c->seg[CS].base);
	bool real = cpu_real_mode(c) || cpu_vm86(c);
	const struct x86_insn *insn;
	const uint8_t *host;

	v->insn_rip = c->rip;
	host = mmu_page_pointer(v, lin, MMU_EXEC, c->cpl == 3 ? MMU_USER : MMU_SUPER);
	if (host && (lin & PAGE_MASK) <= PAGE_SIZE - 15) {
		insn = decode_cached(v, y, host, real);
		if (insn->len)
			return insn;
	}
	return decode_slowly(v, y, lin, real);
}

/* At most `count` instructions, while they follow each other. */
static void interpret(struct vcpu *v, struct verify *y, unsigned count)
{
	uint64_t next;

	for (y->ninsns = 0; y->ninsns < count; ) {
		const struct x86_insn *insn = fetch(v, y);

		y->insns[y->ninsns++] = insn;
		next = v->cpu.rip + insn->len;
		if (!cpu_code64(&v->cpu))
			next = (uint32_t)next;
		interp_exec(v, insn);
		y->cut = v->cpu.rip == v->insn_rip && x86_op_info[insn->op].props & OPP_STRING;
		if (x86_op_info[insn->op].props & OPP_SYSTEM)
			mmu_update_mode(v);
		if (v->cpu.rip != next || (y->stop && next == y->stop_rip))
			return;
		/* STI leaves the block if requests wait (t_sti). */
		if (insn->op == OP_STI && v->requests)
			return;
		/* A branch taken to the next instruction may or may not end it. */
		if (y->next_ends && insn->op == OP_JCC && cpu_cond(&v->cpu, insn->cond))
			return;
	}
}

static void run_interpreter(struct vcpu *v, struct verify *y, unsigned count)
{
	struct soft_mmu *mmu = v->mmu;

	y->undo.n = y->undo.bytes = 0;
	y->undo.full = y->cut = false;
	y->tape.next = 0;
	v->cpu.int_shadow = 0;
	use_own_mmu(v, y);
	tape_now = &y->tape;
	y->expected_why = sigsetjmp(v->unwind, 0);
	if (!y->expected_why)
		interpret(v, y, count);
	tape_now = NULL;
	if (y->stop)
		y->tape.n = y->tape.next;
	exclusive_drop();
	leave_own_mmu(v, y, mmu);
	memcpy(&y->expected, &v->cpu, offsetof(struct x86_cpu, lapic));
}

/* --- back to the state before; the local APIC goes on */

static void restore_cpu(struct vcpu *v, const struct x86_cpu *from)
{
	memcpy(&v->cpu, from, offsetof(struct x86_cpu, lapic));
}

static void undo_stores(struct verify *y)
{
	for (unsigned n = 0; n < y->undo.n; n++)
		memcpy(y->stored + y->undo.store[n].at, y->undo.store[n].host, y->undo.store[n].size);
	for (unsigned n = y->undo.n; n-- > 0; )
		memcpy(y->undo.store[n].host, y->undo.old + y->undo.store[n].at, y->undo.store[n].size);
}

/* --- the translation's run */

static uint64_t dropped(struct vcpu *v)
{
	return atomic_load(&jit_vm(v)->drops) + jit_vm(v)->generation;
}

static int run_translation(struct vcpu *v, struct verify *y)
{
	struct jit_vcpu *j = jit_of(v);
	int why;

	y->tape.replay = true;
	y->tape.next = 0;
	y->tape.torn = false;
	tape_now = &y->tape;
	why = sigsetjmp(v->unwind, 0);
	if (!why) {
		if (dropped(v) != y->found_at)
			y->block = slow_block(v);
		v->hot[HOT_TMP] = (uintptr_t)block_jump(jit_vm(v), y->block);
		/* every way out of the block leads to the run loop */
		j->one_block = true;
		v->hot[HOT_POLL] = 1;
		v->hot[HOT_JC] = (uintptr_t)j->empty;
		jit_enter(v, jit_vm(v)->stub[STUB_JUMP]);
	}
	j->one_block = false;
	tape_now = NULL;
	exclusive_drop();
	return why;
}

/* --- one block */

/* Both ways from y->before; the state is the translation's afterwards. */
static int run_both(struct vcpu *v, struct verify *y, unsigned count)
{
	uint64_t drops;
	int why;

	run_interpreter(v, y, count);
	restore_cpu(v, &y->before);
	undo_stores(y);
	drops = dropped(v);
	why = run_translation(v, y);
	y->difference = verify_compare(v, y, why);
	/* It stops early where it has changed code: seen only by itself. */
	if (dropped(v) != drops)
		y->difference = NULL;
	return why;
}

static void unwind_on(struct vcpu *v, const sigjmp_buf *outer, int why)
{
	memcpy(&v->unwind, outer, sizeof(v->unwind));
	if (why)
		siglongjmp(v->unwind, why);
}

void verify_block(struct vcpu *v)
{
	struct verify *y = jit_vm(v)->verify;
	sigjmp_buf outer;
	unsigned count;
	int why;

	y->block = slow_block(v);
	y->found_at = dropped(v);
	count = y->block->count;
	memcpy(&outer, &v->unwind, sizeof(outer));
	memcpy(&y->before, &v->cpu, offsetof(struct x86_cpu, lapic));
	y->tape.n = 0;
	y->tape.replay = false;
	y->next_ends = true;
	y->stop = false;
	stat_inc(v, verified);
	why = run_both(v, y, count);
	for (unsigned k = 1; y->difference && k < TRIES; k++) {
		stat_inc(v, verify_again);
		y->stop_rip = v->cpu.rip;
		undo_stores(y);
		restore_cpu(v, &y->before);
		/* It may leave a block early, for a request: compare there. */
		y->stop = k & 1;
		y->next_ends = y->stop;
		why = run_both(v, y, count);
	}
	if (y->difference) {
		verify_report(v, y);
		error_set(&v->error, 0, "verify: %s differs after the block at rip 0x%llx", y->difference,
			  (unsigned long long)y->before.rip);
		why = UNWIND_EXIT + EXIT_ERROR;
	}
	unwind_on(v, &outer, why);
}

void verify_flush(struct vcpu *v)
{
	struct verify *y = jit_vm(v)->verify;
	struct soft_mmu *mmu = v->mmu;

	v->mmu = y->mmu;
	mmu_flush_all(v);
	v->mmu = mmu;
}

bool verify_wanted(const struct machine *m)
{
	return m->config && m->config->engine_options && !strcmp(m->config->engine_options, "verify");
}

bool verify_create(struct vcpu *v, struct error *err)
{
	struct verify *y;
	struct soft_mmu *mmu = v->mmu;

	if (v->machine->nvcpus > 1)
		return error_set(err, 0, "engine option 'verify' takes one vCPU, not %u", v->machine->nvcpus);
	y = xnew(struct verify);
	if (!mmu_create(v, err)) {
		free(y);
		return false;
	}
	y->mmu = v->mmu;
	y->mmu->undo = &y->undo;
	v->mmu = mmu;
	jit_vm(v)->verify = y;
	return true;
}

void verify_destroy(struct vcpu *v)
{
	struct verify *y = jit_vm(v)->verify;
	struct soft_mmu *mmu = v->mmu;

	if (!y)
		return;
	v->mmu = y->mmu;
	mmu_destroy(v);
	v->mmu = mmu;
	free(y);
	jit_vm(v)->verify = NULL;
}
