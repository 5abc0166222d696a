/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System instructions that are neither segments, control registers nor
 * interrupts: caches and TLB, HLT, time stamp, CPUID, random numbers, FS/GS
 * bases, SMAP's flag, extended control register, MONITOR, hypercalls.
 */
#include <immintrin.h>
#include <sys/random.h>
#include "engine/interp/fpu.h"
#include "engine/interp/ops.h"
#include "engine/interp/sys.h"
#include "machine/machine.h"
#include "memory/tap.h"
#include "engine/lapic.h"

uint64_t cpu_tsc(const struct vcpu *v)
{
	uint64_t ns = clock_now(v->machine->clock);

	return muldiv64(ns, v->model->tsc_khz, 1000000) + v->cpu.tsc_offset;
}

/* 32-bit halves in EDX:EAX; the upper halves of the registers become zero. */
static void set_edx_eax(struct vcpu *v, uint64_t value)
{
	v->cpu.gpr[RAX] = (uint32_t)value;
	v->cpu.gpr[RDX] = value >> 32;
}

static uint64_t get_edx_eax(const struct vcpu *v)
{
	return (uint32_t)v->cpu.gpr[RAX] | v->cpu.gpr[RDX] << 32;
}

void op_HLT(struct vcpu *v, const struct x86_insn *i)
{
	require_cpl0(v);
	if (v->step_tf || v->cpu.debug_pending)
		return;                     /* the trap ends it at once */
	v->cpu.activity = CPU_HALTED;
	cpu_exit(v, EXIT_HALT);
}

void op_INVD(struct vcpu *v, const struct x86_insn *i) { require_cpl0(v); }
void op_WBINVD(struct vcpu *v, const struct x86_insn *i) { require_cpl0(v); }
void op_RSM(struct vcpu *v, const struct x86_insn *i) { raise_ud(v); }

void op_INVLPG(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t lin;

	require_cpl0(v);
	lin = op_effective(v, i);
	if (!cpu_code64(&v->cpu))
		lin = (uint32_t)(lin + v->cpu.seg[i->seg].base);
	else if (i->seg == FS || i->seg == GS)
		lin += v->cpu.seg[i->seg].base;
	if (canonical(lin))
		mmu_flush_page(v, lin);
}

/* SDM 2A INVPCID: 16-byte descriptor of PCID and linear address. */
void op_INVPCID(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t d[2], type = op_get(v, i, 0);
	bool single = type < 2;

	require_cpl0(v);
	mmu_read(v, op_linear(v, i, 16, MMU_READ), d, 16, v->mmu->mode);
	if (type > 3 || d[0] >> 12 || (type == 0 && !canonical(d[1])))
		raise_gp(v, 0);
	if (single && !(c->cr4 & CR4_PCIDE) && d[0])
		raise_gp(v, 0);
	if (type == 0)
		mmu_flush_page(v, d[1]);
	else if (type == 1)
		mmu_flush_pcid(v, d[0]);
	else
		mmu_flush_all(v);
}

void op_RDTSC(struct vcpu *v, const struct x86_insn *i)
{
	if (v->cpu.cpl && (v->cpu.cr4 & CR4_TSD))
		raise_gp(v, 0);
	set_edx_eax(v, cpu_tsc(v));
}

void op_RDTSCP(struct vcpu *v, const struct x86_insn *i)
{
	op_RDTSC(v, i);
	v->cpu.gpr[RCX] = (uint32_t)v->cpu.tsc_aux;
}

void op_RDPID(struct vcpu *v, const struct x86_insn *i)
{
	v->cpu.gpr[i->o[0].reg] = v->cpu.tsc_aux;
}

/* No performance counters in the models. */
void op_RDPMC(struct vcpu *v, const struct x86_insn *i) { raise_gp(v, 0); }

void op_RDMSR(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t value;

	require_cpl0(v);
	if (!msr_read(v, v->cpu.gpr[RCX], &value))
		raise_gp(v, 0);
	set_edx_eax(v, value);
}

void op_WRMSR(struct vcpu *v, const struct x86_insn *i)
{
	require_cpl0(v);
	if (!msr_write(v, v->cpu.gpr[RCX], get_edx_eax(v)))
		raise_gp(v, 0);
}

void op_CPUID(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t *r = v->cpu.gpr;
	struct x86_cpuid id = x86_cpuid(v->model, &v->cpu, v->machine->nvcpus, r[RAX], r[RCX]);

	r[RAX] = id.eax;
	r[RBX] = id.ebx;
	r[RCX] = id.ecx;
	r[RDX] = id.edx;
}

void op_SWAPGS(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t base = v->cpu.seg[GS].base;

	if (!cpu_code64(&v->cpu))
		raise_ud(v);
	require_cpl0(v);
	v->cpu.seg[GS].base = v->cpu.kernel_gs_base;
	v->cpu.kernel_gs_base = base;
}

static void require_fsgsbase(struct vcpu *v)
{
	if (!cpu_code64(&v->cpu) || !(v->cpu.cr4 & CR4_FSGSBASE))
		raise_ud(v);
}

static void write_base(struct vcpu *v, const struct x86_insn *i, unsigned seg)
{
	uint64_t base = v->cpu.gpr[i->o[0].reg];

	require_fsgsbase(v);
	if (i->opsize == 4)
		base = (uint32_t)base;
	if (!canonical(base))
		raise_gp(v, 0);
	v->cpu.seg[seg].base = base;
}

static void read_base(struct vcpu *v, const struct x86_insn *i, unsigned seg)
{
	uint64_t base = v->cpu.seg[seg].base;

	require_fsgsbase(v);
	v->cpu.gpr[i->o[0].reg] = i->opsize == 4 ? (uint32_t)base : base;
}

void op_RDFSBASE(struct vcpu *v, const struct x86_insn *i) { read_base(v, i, FS); }
void op_RDGSBASE(struct vcpu *v, const struct x86_insn *i) { read_base(v, i, GS); }
void op_WRFSBASE(struct vcpu *v, const struct x86_insn *i) { write_base(v, i, FS); }
void op_WRGSBASE(struct vcpu *v, const struct x86_insn *i) { write_base(v, i, GS); }

/* #UD, not #GP, above CPL 0 (SDM 2A CLAC). */
static void set_ac(struct vcpu *v, uint64_t value)
{
	if (v->cpu.cpl || cpu_vm86(&v->cpu))
		raise_ud(v);
	cpu_set_flags(v, value, FL_AC);
}

void op_CLAC(struct vcpu *v, const struct x86_insn *i) { set_ac(v, 0); }
void op_STAC(struct vcpu *v, const struct x86_insn *i) { set_ac(v, FL_AC); }

static uint64_t random_number(struct vcpu *v)
{
	struct tape *t = tape_take();
	uint64_t value = 0;

	if (t && tape_replay(t, TAPE_RANDOM, 0, 8, &value))
		return value;
	if (getrandom(&value, sizeof(value), 0) != sizeof(value))
		value = cpu_tsc(v) * 0x9e3779b97f4a7c15ull;
	tape_record(t, TAPE_RANDOM, 0, 8, value);
	return value;
}

/* Always successful: CF=1, the other status flags 0. */
static void set_random(struct vcpu *v, const struct x86_insn *i)
{
	op_set(v, i, 0, random_number(v));
	v->cpu.rflags = (v->cpu.rflags & ~(uint64_t)FL_STATUS) | FL_CF;
}

void op_RDRAND(struct vcpu *v, const struct x86_insn *i) { set_random(v, i); }
void op_RDSEED(struct vcpu *v, const struct x86_insn *i) { set_random(v, i); }

/* MWAIT may end at any time: it ends at once. */
void op_MONITOR(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t offset = v->cpu.gpr[RAX];

	if (v->cpu.cpl)
		raise_ud(v);
	if (v->cpu.gpr[RCX])
		raise_gp(v, 0);
	if (i->addrsize < 8)
		offset &= i->addrsize == 4 ? 0xffffffff : 0xffff;
	mmu_load(v, seg_linear(v, i->seg, offset, 1, MMU_READ), 1, v->mmu->mode);
}

void op_MWAIT(struct vcpu *v, const struct x86_insn *i)
{
	if (v->cpu.cpl)
		raise_ud(v);
	if (v->cpu.gpr[RCX] & ~1ull)
		raise_gp(v, 0);
}

static void require_osxsave(struct vcpu *v)
{
	if (!(v->cpu.cr4 & CR4_OSXSAVE))
		raise_ud(v);
}

/* XGETBV(1): the components in use, XCR0 and XSTATE_BV. */
void op_XGETBV(struct vcpu *v, const struct x86_insn *i)
{
	uint32_t index = v->cpu.gpr[RCX];

	require_osxsave(v);
	if (index > 1 || (index && !x86_has(v->model, FEAT_XGETBV1)))
		raise_gp(v, 0);
	set_edx_eax(v, index ? v->cpu.xcr0 & xsave_inuse(&v->cpu) : v->cpu.xcr0);
}

void op_XSETBV(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t value = get_edx_eax(v);

	require_osxsave(v);
	require_cpl0(v);
	if ((uint32_t)v->cpu.gpr[RCX] || (value & ~v->model->xcr0) || !(value & XFEATURE_X87))
		raise_gp(v, 0);
	if ((value & XFEATURE_AVX) && !(value & XFEATURE_SSE))
		raise_gp(v, 0);
	v->cpu.xcr0 = value;
}

/*
 * KVM's hypercalls: number in RAX, arguments in RBX RCX RDX RSI. Those CPUID
 * leaf 0x40000001 offers, and -ENOSYS; from CPL > 0, -EPERM.
 */
enum { KVM_HC_VAPIC_POLL_IRQ = 1, KVM_HC_KICK_CPU = 5, KVM_HC_SCHED_YIELD = 11,
       KVM_ENOSYS = 1000, KVM_EPERM = 1 };

static struct vcpu *vcpu_by_apic_id(struct machine *m, uint32_t id)
{
	for (unsigned n = 0; n < m->nvcpus; n++)
		if (m->vcpus[n]->cpu.lapic.id == id)
			return m->vcpus[n];
	return NULL;
}

void op_VMCALL(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t *r = v->cpu.gpr;
	bool lng = cpu_code64(&v->cpu);
	uint64_t nr = lng ? r[RAX] : (uint32_t)r[RAX];
	int64_t result = 0;
	struct vcpu *target;

	if (v->cpu.cpl) {
		result = -KVM_EPERM;
	} else if (nr == KVM_HC_KICK_CPU) {
		target = vcpu_by_apic_id(v->machine, r[RCX]);
		if (target)
			vcpu_request(target, REQ_INTERRUPT);
	} else if (nr != KVM_HC_VAPIC_POLL_IRQ && nr != KVM_HC_SCHED_YIELD) {
		result = -KVM_ENOSYS;
	}
	r[RAX] = lng ? (uint64_t)result : (uint32_t)result;
}
