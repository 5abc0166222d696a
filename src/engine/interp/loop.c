/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The run loop of `interp`: decoded blocks (cache.h), one vCPU at a time.
 * Requests are looked at between blocks.  Where every instruction counts (TF,
 * debug registers, a debugger) it goes one by one.
 */
#include "base/epoch.h"
#include "engine/interp/loop.h"
#include "engine/interp/operand.h"

enum { TURN_INSTRUCTIONS = 20000 };
enum { DEBUG_STEP, DEBUG_BREAK };

/* After whatever may have changed segments, privilege or paging. */
static void update_mode(struct vcpu *v)
{
	struct interp_vcpu *iv = v->engine_data;
	mmu_update_mode(v);
	iv->kind = code_kind(&v->cpu);
}

/* --- single instructions --------------------------------------------------- */

void interp_exec(struct vcpu *v, const struct x86_insn *insn)
{
	struct x86_cpu *c = &v->cpu;
	v->insn_rip = c->rip;
	c->rip += insn->len;
	if (!cpu_code64(c))
		c->rip = (uint32_t)c->rip;
	c->int_shadow = 0;
	interp_ops[insn->op](v, insn);
	v->interpreted++;
}

/* Bytes that may be fetched at rIP: to the limit of CS. */
static unsigned fetch_room(struct vcpu *v)
{
	const struct x86_cpu *c = &v->cpu;
	if (cpu_code64(c))
		return 15;
	if (c->rip > c->seg[CS].limit)
		raise_gp(v, 0);
	return (unsigned)MIN(15ull, c->seg[CS].limit - c->rip + 1);
}

/* Decode at rIP without the cache; the next page is fetched only if needed. */
static void decode_here(struct vcpu *v, struct x86_insn *insn)
{
	const struct x86_cpu *c = &v->cpu;
	bool real = cpu_real_mode(c) || cpu_vm86(c);
	unsigned room, n;
	uint8_t code[16];
	uint64_t gpa, lin = c->seg[CS].base + c->rip;
	v->insn_rip = c->rip;
	room = fetch_room(v);
	lin = cpu_code64(c) ? c->rip : (uint32_t)lin;
	n = mmu_fetch(v, lin, code, room, &gpa);
	enum x86_decode_status s = x86_decode(v->model, cpu_code_size(c), real, code, n, insn);
	if (s == X86_MORE && n < room) {
		lin = cpu_code64(c) ? lin + n : (uint32_t)(lin + n);
		n += mmu_fetch(v, lin, code + n, room - n, &gpa);
		s = x86_decode(v->model, cpu_code_size(c), real, code, n, insn);
	}
	if (s == X86_UD)
		raise_ud(v);
	if (s != X86_OK)
		raise_gp(v, 0);
}

static bool at_breakpoint(const struct vcpu *v)
{
	uint64_t lin = cpu_code64(&v->cpu) ? v->cpu.rip : (uint32_t)(v->cpu.seg[CS].base + v->cpu.rip);
	for (unsigned i = 0; i < v->debug.count; i++)
		if (v->debug.point[i].kind == DEBUG_BREAK && v->debug.point[i].addr == lin)
			return true;
	return false;
}

static void debug_stop(struct vcpu *v, uint8_t kind)
{
	v->debug.hit = true;
	v->debug.hit_kind = kind;
	v->debug.hit_addr = v->cpu.rip;
	cpu_exit(v, EXIT_DEBUG);
}

/* For any engine: whose engine_data it is does not matter. */
void interp_step(struct vcpu *v)
{
	struct x86_insn insn;
	bool armed = debug_armed(v);
	if (v->debug.count && !v->debug.single_step && at_breakpoint(v))
		debug_stop(v, DEBUG_BREAK);
	if (armed)
		debug_before(v);
	decode_here(v, &insn);
	interp_exec(v, &insn);
	mmu_update_mode(v);
	if (armed || v->cpu.debug_pending)
		debug_after(v);
	if (v->debug.hit)
		cpu_exit(v, EXIT_DEBUG);
	if (v->debug.single_step)
		debug_stop(v, DEBUG_STEP);
}

/* Points that blocks would miss: a breakpoint near rIP, or any watched data. */
static bool points_matter(const struct vcpu *v)
{
	uint64_t lin = cpu_code64(&v->cpu) ? v->cpu.rip : (uint32_t)(v->cpu.seg[CS].base + v->cpu.rip);
	for (unsigned i = 0; i < v->debug.count; i++)
		if (v->debug.point[i].kind != DEBUG_BREAK || (v->debug.point[i].addr ^ lin) < PAGE_SIZE)
			return true;
	return false;
}

static always_inline bool careful(const struct vcpu *v)
{
	return debug_armed(v) || v->debug.single_step || (v->debug.count && points_matter(v));
}

/* --- blocks ---------------------------------------------------------------- */

static inline const uint8_t *code_pointer(struct vcpu *v, uint64_t lin)
{
	const struct tlb_entry *e = &v->mmu->code[tlb_index(lin)];
	if (likely(e->exec == (lin & ~PAGE_MASK)))
		return (const uint8_t *)(uintptr_t)(lin + (uint64_t)e->addend);
	v->insn_rip = v->cpu.rip;
	return mmu_page_pointer(v, lin, MMU_EXEC, v->cpu.cpl == 3 ? MMU_USER : MMU_SUPER);
}

/* The block at rIP; NULL: go by single steps (faults of the fetch come there). */
static struct iblock *look_up_block(struct vcpu *v, struct icache *cache, uint8_t kind)
{
	const struct x86_cpu *c = &v->cpu;
	uint64_t lin = kind == 8 ? c->rip : (uint32_t)(c->seg[CS].base + c->rip);
	const uint8_t *host = code_pointer(v, lin);
	if (unlikely(!host))
		return NULL;
	struct iblock *b = cache->bucket[block_hash(host, kind)];
	while (b && (b->host != host || b->kind != kind))
		b = b->next;
	if (unlikely(!b)) {
		b = cache_build(cache, v, host, kind);
		if (!b)
			return NULL;
	}
	if (kind != 8 && unlikely(c->rip + b->bytes - 1 > c->seg[CS].limit))
		return NULL;
	return b;
}

/* What a jump entry was made under: it changes with every flush, every dropped
 * block and every change of mode and privilege. */
static always_inline uint64_t jump_context(const struct vcpu *v, const struct icache *cache)
{
	const struct interp_vcpu *iv = v->engine_data;
	return (v->mmu->flushes + cache->dropped) << 8 | (v->cpu.cpl & 2) << 6 | iv->kind;
}

/* The same by a jump entry, where there is one. */
static always_inline struct iblock *find_block(struct vcpu *v, struct icache *cache)
{
	struct interp_vcpu *iv = v->engine_data;
	uint64_t rip = v->cpu.rip;
	struct jump *j = &iv->jump[jump_index(rip)];
	if (likely(j->rip == rip && j->context == jump_context(v, cache)))
		return j->block;
	struct iblock *b = look_up_block(v, cache, iv->kind);
	if (b && (iv->kind == 8 || iv->kind & KIND_FLAT))
		*j = (struct jump){ rip, jump_context(v, cache), b };
	return b;
}

static always_inline void run_block(struct vcpu *v, struct interp *e, struct iblock *b)
{
	v->insn_rip = e->block_rip = v->cpu.rip;
	e->cache.running = b;
	const struct islot *end = b->slot[0].fn(v, b->slot);
	e->cache.running = NULL;
	v->interpreted += (uint64_t)(end - b->slot);
	e->budget -= (int)(end - b->slot);
	if (b->system)
		update_mode(v);
	if (unlikely(b->pause))
		e->budget = -1;
}

/* Count what a block had done when it unwound at insn_rip. */
static void count_partial(struct vcpu *v, struct icache *cache, uint64_t start)
{
	const struct iblock *b = cache->running;
	cache->running = NULL;
	if (!b)
		return;
	for (unsigned i = 0; i < b->count && start != v->insn_rip; i++) {
		start += b->slot[i].insn.len;
		v->interpreted++;
	}
}

/* --- the loop -------------------------------------------------------------- */

/* Between blocks; unwinds if it is time to leave. */
static void serve_requests(struct vcpu *v, struct interp *e)
{
	uint32_t requests = atomic_load(&v->requests);
	if (requests & REQ_TLB) {
		atomic_fetch_and(&v->requests, ~(uint32_t)REQ_TLB);
		mmu_flush_all(v);
	}
	if (requests & REQ_WORK) {
		atomic_fetch_and(&v->requests, ~(uint32_t)REQ_WORK);
		cache_catch_up(&e->cache);
	}
	if (requests & (REQ_INTERRUPT | REQ_NMI | REQ_INIT | REQ_SIPI)) {
		if (!interp_poll(v))
			cpu_exit(v, EXIT_SHUTDOWN);
		update_mode(v);
		if (v->cpu.activity != CPU_RUNNING)
			cpu_exit(v, EXIT_HALT);
	}
	if (requests & REQ_STOP)
		cpu_exit(v, EXIT_STOP);
}

static void next_turn(struct interp *e)
{
	e->budget = TURN_INSTRUCTIONS;
	epoch_quiescent();
	if (!turn_wanted(&e->turn))
		return;
	turn_give(&e->turn);
	turn_take(&e->turn);
	e->budget = TURN_INSTRUCTIONS;
}

static void step(struct vcpu *v)
{
	interp_step(v);
	update_mode(v);
}

/* The instruction in the shadow of STI or MOV SS: nothing comes before it. */
static void run_shadowed(struct vcpu *v, struct interp *e)
{
	const struct iblock *b = careful(v) ? NULL : find_block(v, &e->cache);
	if (b) {
		interp_exec(v, &b->slot[0].insn);
		update_mode(v);
	} else {
		step(v);
	}
}

static NORETURN void run_forever(struct vcpu *v, struct interp *e)
{
	for (;;) {
		if (unlikely(v->cpu.int_shadow)) {
			run_shadowed(v, e);
			continue;
		}
		if (unlikely(atomic_load_explicit(&v->requests, memory_order_relaxed)))
			serve_requests(v, e);
		if (unlikely(e->budget < 0))
			next_turn(e);
		struct iblock *b = likely(!careful(v)) ? find_block(v, &e->cache) : NULL;
		if (likely(b)) {
			run_block(v, e, b);
		} else {
			step(v);
			e->budget--;
		}
	}
}

/* HLT and the like have been done when they leave. */
static enum vcpu_exit leave(struct vcpu *v, enum vcpu_exit why)
{
	if (why == EXIT_HALT && v->cpu.rip != v->insn_rip)
		v->interpreted++;
	v->insn_rip = v->cpu.rip;
	return why;
}

static bool deliver(struct vcpu *v)
{
	bool ok = interp_deliver_event(v);
	update_mode(v);
	if (ok && v->debug.single_step) {
		v->debug.hit = true;
		v->debug.hit_kind = DEBUG_STEP;
	}
	return ok;
}

static enum vcpu_exit run_turn(struct vcpu *v, struct interp *e)
{
	int why = sigsetjmp(v->unwind, 0);
	if (why) {
		count_partial(v, &e->cache, e->block_rip);
		exclusive_drop();
		e->budget--;              /* what unwinds for ever must not keep the turn */
		if (why >= UNWIND_EXIT)
			return leave(v, (enum vcpu_exit)(why - UNWIND_EXIT));
	}
	if (v->cpu.event.pending && !deliver(v))
		return EXIT_SHUTDOWN;
	if (v->debug.hit)
		return EXIT_DEBUG;
	run_forever(v, e);
}

enum vcpu_exit interp_loop(struct vcpu *v, struct interp *e)
{
	e->budget = TURN_INSTRUCTIONS;
	v->debug.hit = false;
	v->insn_rip = v->cpu.rip;
	update_mode(v);
	/* a debugger may have set points; something may end HLT */
	if (v->debug.count)
		mmu_flush_all(v);
	if (v->cpu.activity != CPU_RUNNING)
		atomic_fetch_or(&v->requests, REQ_INTERRUPT);
	return run_turn(v, e);
}
