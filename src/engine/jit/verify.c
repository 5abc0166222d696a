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
 * APIC is outside: its accesses are on the tape.
 *
 * The translator leaves out status flags that the code after a block overwrites. So
 * these are not compared, but go on apart: each side starts with what it ended with,
 * until something else than a block touches them. A flag that is wrong, or was left
 * out wrongly, shows where it is used.
 *
 * A translation may stop before its block's end: at an access group that fails, behind
 * a TLB miss while groups are in use, at STI while a request waits, where code has
 * changed itself, or when it has counted its runs. So from the second try on the
 * interpreter's state is kept after each instruction, and that is taken at which the
 * translation stopped; accesses to devices beyond it stay on the tape for the next block.
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

static void make_room(struct verify *y)
{
	if (y->room >= y->undo.bytes)
		return;
	y->room = y->undo.byte_room;
	y->stored = xrealloc(y->stored, y->room);
	y->found = xrealloc(y->found, y->room);
}

/* A place at which the translation may stop. */
static void mark(struct vcpu *v, struct verify *y)
{
	struct verify_point *p = &y->points[y->npoints++];

	make_room(y);
	for (unsigned n = y->undo.joined_from; n < y->undo.n; n++)
		memcpy(y->stored + y->undo.store[n].at, y->undo.store[n].host, y->undo.store[n].size);
	p->nstored = y->undo.joined_from = y->undo.n;
	p->tape_end = y->tape.next;
	p->why = 0;
	memcpy(&p->cpu, &v->cpu, offsetof(struct x86_cpu, lapic));
}

/* A string instruction that had more to do than its share: the run loop is due, in both. */
static bool is_cut(const struct vcpu *v, const struct x86_insn *insn)
{
	return insn->prefix & (PFX_REP | PFX_REPNE) && v->cpu.rip == v->insn_rip;
}

/* At most `count` instructions, as they follow each other in a block. */
static void interpret(struct vcpu *v, struct verify *y, unsigned count)
{
	uint64_t next;

	for (y->ninsns = 0; y->ninsns < count; ) {
		const struct x86_insn *insn = fetch(v, y);

		if (y->closely)
			mark(v, y);
		y->insns[y->ninsns++] = insn;
		next = v->cpu.rip + insn->len;
		if (!cpu_code64(&v->cpu))
			next = (uint32_t)next;
		interp_exec(v, insn);
		if (x86_op_info[insn->op].props & OPP_SYSTEM)
			mmu_update_mode(v);
		/* Back to the start: a loop of which the block holds several turns. */
		if (v->cpu.rip != next && v->cpu.rip != y->before.rip)
			return;
		if (is_cut(v, insn))
			return;
		/* STI leaves the block if requests wait (t_sti). */
		if (insn->op == OP_STI && (v->requests || v->irq_waiting))
			return;
	}
}

static void run_interpreter(struct vcpu *v, struct verify *y, unsigned count)
{
	struct soft_mmu *mmu = v->mmu;
	int why;

	y->undo.n = y->undo.bytes = y->undo.joined_from = 0;
	y->npoints = 0;
	y->tape.next = 0;
	y->tape.closed = y->tape.torn = false;
	if (y->apart_at == v->cpu.rip && y->apart_from == v->cpu.rflags)
		v->cpu.rflags = (v->cpu.rflags & ~(uint64_t)FL_STATUS) | y->apart;
	use_own_mmu(v, y);
	tape_now = &y->tape;
	why = sigsetjmp(v->unwind, 0);
	if (!why)
		interpret(v, y, count);
	tape_now = NULL;
	exclusive_drop();
	leave_own_mmu(v, y, mmu);
	mark(v, y);
	y->points[y->npoints - 1].why = why;
}

/* --- back to the state before; the local APIC goes on */

static void restore_cpu(struct vcpu *v, const struct x86_cpu *from)
{
	memcpy(&v->cpu, from, offsetof(struct x86_cpu, lapic));
}

static void undo_stores(struct verify *y)
{
	for (unsigned n = y->undo.n; n-- > 0; )
		memcpy(y->undo.store[n].host, y->undo.old + y->undo.store[n].at, y->undo.store[n].size);
}

/* The same for those of the translation: code may have been translated since. */
static void undo_for_good(struct vcpu *v, struct verify *y)
{
	jit_lock(v);
	for (unsigned n = y->undo.n; n-- > 0; ) {
		uint8_t *host = y->undo.store[n].host;
		const uint8_t *old = y->undo.old + y->undo.store[n].at;
		struct ram_slot *s = slot_of(v, host);

		for (unsigned k = 0; k < y->undo.store[n].size; k++)
			if (s && host[k] != old[k])
				blocks_drop(v, jit_vm(v), s->gpa + (uint64_t)(host + k - s->host), 1);
	}
	jit_unlock(v);
	undo_stores(y);
}

/* --- the translation's run */

static uint64_t dropped(struct vcpu *v)
{
	return atomic_load(&jit_vm(v)->drops) + jit_vm(v)->generation;
}

/* By each of a block's entries in turn: from C, and as linked exits jump. */
static const uint8_t *enter_by(struct vcpu *v, const struct verify *y)
{
	const struct jit_vm *vm = jit_vm(v);
	const struct jit_block *b = y->block;
	uint64_t base = v->cpu.rip - b->off;
	unsigned way = (unsigned)(jit_of(v)->stats[STAT_verified] % 4);
	const uint8_t *jump = block_jump(vm, b);

	v->hot[HOT_RIPBASE] = (b->key & KEY_SIZE) == 3 ? base : (uint32_t)base;
	v->hot[HOT_TMP] = (uintptr_t)(way == 1 ? jump + b->slot : way == 2 ? jump + b->code : jump);
	return vm->stub[way == 1 ? STUB_SLOT : way == 2 ? STUB_LINKED : STUB_JUMP];
}

static int run_translation(struct vcpu *v, struct verify *y)
{
	struct jit_vcpu *j = jit_of(v);
	int why;

	y->tape.closed = true;
	y->tape.next = 0;
	y->tape.torn = false;
	tape_now = &y->tape;
	why = sigsetjmp(v->unwind, 0);
	if (!why) {
		/* every way out of the block leads to the run loop */
		j->one_block = true;
		v->hot[HOT_GO] = 0;
		v->hot[HOT_JC] = v->hot[HOT_JC_KERNEL] = (uintptr_t)j->empty;
		v->hot[HOT_EPOCH] = 0;
		jit_enter(v, enter_by(v, y));
	}
	j->one_block = false;
	tape_now = NULL;
	exclusive_drop();
	return why;
}

/* --- one block */

/* The block at cpu.rip, if it is another now. May unwind to outside. */
static bool find(struct vcpu *v, struct verify *y)
{
	if (y->block && dropped(v) == y->found_at)
		return true;
	memcpy(&v->unwind, &y->outer, sizeof(v->unwind));
	y->block = slow_block(v, y->key);
	y->found_at = dropped(v);
	if (!y->block)
		y->tape.n = 0;
	return y->block;
}

/* Both ways from y->before; the state is the translation's afterwards. */
static int run_both(struct vcpu *v, struct verify *y)
{
	unsigned count;
	int why;

	y->difference = NULL;
	do {
		count = y->block->count;
		run_interpreter(v, y, count);
		restore_cpu(v, &y->before);
		undo_stores(y);
		if (!find(v, y))
			return 0;
	} while (y->block->count > count);
	y->alone = false;
	why = run_translation(v, y);
	y->difference = verify_compare(v, y, why);
	return why;
}

bool verify_owes(struct vcpu *v)
{
	const struct verify *y = jit_vm(v)->verify;

	return y->tape.n || y->alone;
}

void verify_alone(struct vcpu *v)
{
	jit_vm(v)->verify->alone = true;
	jit_vm(v)->verify->alone_rip = v->cpu.rip;
}

/* What is left on the tape belongs to this block or to one of the next few, or else
 * an exception has come in between. */
static void cut_tape(struct verify *y)
{
	tape_rewind(&y->tape);
	y->owing = y->tape.n ? y->owing + 1 : 0;
	if (y->owing > BLOCK_MAX)
		y->tape.n = 0;
}

void verify_block(struct vcpu *v)
{
	struct verify *y = jit_vm(v)->verify;
	int why = 0;

	cut_tape(y);
	y->key = y->alone && y->alone_rip == v->cpu.rip ? KEY_ALONE : 0;
	y->alone = false;
	memcpy(&y->outer, &v->unwind, sizeof(y->outer));
	y->block = NULL;
	v->cpu.int_shadow = 0;
	memcpy(&y->before, &v->cpu, offsetof(struct x86_cpu, lapic));
	stat_inc(v, verified);
	for (unsigned k = 0; k < TRIES && (!k || y->difference); k++) {
		if (k) {
			stat_inc(v, verify_again);
			undo_for_good(v, y);
			restore_cpu(v, &y->before);
			y->block = NULL;
		}
		if (!find(v, y))
			return;
		y->closely = k;
		why = run_both(v, y);
	}
	memcpy(&v->unwind, &y->outer, sizeof(v->unwind));
	if (!y->block)                   /* its page is gone: not RAM any more */
		return;
	y->apart = y->expected->cpu.rflags & FL_STATUS;
	y->apart_at = why ? UINT64_MAX : v->cpu.rip;
	y->apart_from = v->cpu.rflags;
	if (y->difference) {
		verify_report(v, y);
		error_set(&v->error, 0, "verify: %s differs after the block at rip 0x%llx", y->difference,
			  (unsigned long long)y->before.rip);
		why = UNWIND_EXIT + EXIT_ERROR;
	}
	if (why)
		siglongjmp(v->unwind, why);
}

void verify_flush(struct vcpu *v)
{
	struct verify *y = jit_vm(v)->verify;
	struct soft_mmu *mmu = v->mmu;

	v->mmu = y->mmu;
	mmu_flush_all(v);
	v->mmu = mmu;
	y->apart_at = UINT64_MAX;
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
	undo_free(&y->undo);
	tape_free(&y->tape);
	free(y->stored);
	free(y->found);
	free(y);
	jit_vm(v)->verify = NULL;
}
