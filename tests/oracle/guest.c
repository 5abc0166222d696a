/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest machine that an engine runs: long mode with paging, one user code
 * page and two user data pages at the addresses that native code uses.  Every
 * exception ends in a HLT of its own at CPL 0; INT3 behind a case ends it.
 */
#include "oracle/oracle.h"
#include "base/epoch.h"
#include "engine/engine.h"
#include "machine/machine.h"
#include <asm/prctl.h>
#include <sys/syscall.h>

/* Guest-physical layout. */
enum {
	PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, PT_LOW = 0x4000, PT_USER = 0x5000,
	GDT = 0x10000, IDT = 0x11000, TSS = 0x12000, STUBS = 0x13000, STACK0 = 0x15000,
	CODE_GPA = 0x400000, DATA_GPA = 0x500000, RAM = 0x800000,
};
enum { SEL_KERNEL = 0x10, SEL_CODE32 = 0x23, SEL_DATA = 0x2b, SEL_CODE64 = 0x33, SEL_TSS = 0x40 };
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4 };

struct guest {
	struct machine machine;
	struct machine_config config;
	struct vcpu *vcpu;
	struct ram_slot *ram;
	struct x86_cpu start[GUEST_MODES];
};

static void put(struct guest *g, uint64_t gpa, uint64_t value)
{
	le64_put(g->ram->host + gpa, value);
}

static void build_tables(struct guest *g)
{
	unsigned user = NATIVE_CODE >> 21 & 511, data = DATA_BASE >> 12 & 511;

	put(g, PML4, PDPT | PTE_P | PTE_W | PTE_U);
	put(g, PDPT, PD | PTE_P | PTE_W | PTE_U);
	put(g, PD, PT_LOW | PTE_P | PTE_W);
	put(g, PD + user * 8, PT_USER | PTE_P | PTE_W | PTE_U);
	for (unsigned n = 1; n < 512; n++)
		put(g, PT_LOW + n * 8, n * PAGE_SIZE | PTE_P | PTE_W);
	put(g, PT_USER, CODE_GPA | PTE_P | PTE_U);
	for (unsigned n = 0; n < DATA_SIZE / PAGE_SIZE; n++)
		put(g, PT_USER + (data + n) * 8, (DATA_GPA + n * PAGE_SIZE) | PTE_P | PTE_W | PTE_U);
}

static void build_descriptors(struct guest *g)
{
	put(g, GDT + SEL_KERNEL, 0x00af9b000000ffffull);
	put(g, GDT + (SEL_CODE32 & ~7), 0x00cffb000000ffffull);
	put(g, GDT + (SEL_DATA & ~7), 0x00cff3000000ffffull);
	put(g, GDT + (SEL_CODE64 & ~7), 0x00affb000000ffffull);
	put(g, GDT + SEL_TSS, 0x00008b0000000067ull | (uint64_t)TSS << 16);
	put(g, TSS + 4, STACK0);
	put(g, TSS + 0x60, 0x68ull << 48);      /* no I/O bitmap */
	for (unsigned n = 0; n < 32; n++) {
		uint64_t stub = STUBS + n * 16, dpl = n == 3 || n == 4 ? 3 : 0;

		put(g, IDT + n * 16, (stub & 0xffff) | SEL_KERNEL << 16 | (0x8e00ull | dpl << 13) << 32 |
		    (stub >> 16) << 48);
		g->ram->host[stub] = 0xf4;
	}
}

static struct x86_seg segment(uint16_t sel, uint32_t attr, uint64_t base)
{
	return (struct x86_seg){ .sel = sel, .attr = attr, .limit = 0xffffffff, .base = base };
}

static void build_cpu(struct guest *g, enum guest_mode mode)
{
	struct x86_cpu *c = &g->start[mode];
	uint64_t fs_base = 0;
	enum { USER = SEG_P | SEG_S | 3 << SEG_DPL_SHIFT | SEG_A | SEG_W | SEG_G };

	syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_base);
	x86_cpu_reset(c, g->machine.model, false);
	c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	c->cr3 = PML4;
	c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	c->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	c->xcr0 = g->machine.model->xcr0;
	c->seg[CS] = segment(mode == GUEST_64 ? SEL_CODE64 : SEL_CODE32,
			     USER | SEG_CODE | (mode == GUEST_64 ? SEG_L : SEG_DB), 0);
	c->rip = NATIVE_CODE;
	if (mode == GUEST_16) {
		c->seg[CS] = (struct x86_seg){ NATIVE_CODE16_SELECTOR, (USER | SEG_CODE) & ~SEG_G, 0xffff,
					       NATIVE_CODE };
		c->rip = 0;
	}
	c->seg[SS] = c->seg[DS] = c->seg[ES] = segment(SEL_DATA, USER | SEG_DB, 0);
	if (mode == GUEST_32_SEGMENTED || mode == GUEST_16)
		c->seg[DS] = c->seg[ES] = segment(SEGMENT_SELECTOR, USER | SEG_DB, SEGMENT_BASE);
	c->seg[FS] = segment(0, SEG_UNUSABLE, fs_base);
	c->seg[GS] = segment(0, SEG_UNUSABLE, 0);
	c->tr = (struct x86_seg){ SEL_TSS, SEG_P | 11, 0x67, TSS };
	c->gdtr = (struct x86_dtr){ GDT, 0xfff };
	c->idtr = (struct x86_dtr){ IDT, 32 * 16 - 1 };
	c->cpl = 3;
	for (unsigned n = 0; n < ARRAY_SIZE(c->lapic.lvt); n++)
		c->lapic.lvt[n] = 1 << 16;      /* masked */
	c->activity = CPU_RUNNING;
}

static bool build_machine(struct guest *g, const char *engine, struct error *err)
{
	struct machine *m = &g->machine;

	m->config = &g->config;
	/* jit,eager: code is translated at once as if it ran often */
	g->config.engine_options = strchr(engine, ',') ? (char *)"eager" : NULL;
	m->engine = strncmp(engine, "jit", 3) == 0 ? &engine_jit : &engine_interp;
	pthread_mutex_init(&m->board, NULL);
	pthread_mutex_init(&m->quiesce_lock, NULL);
	m->memory = memory_new(BIT(m->model->phys_bits) - 1);
	m->ports = memory_new(0xffff);
	m->vcpus = xcalloc(1, sizeof(*m->vcpus));
	m->loop = loop_new(err);
	m->clock = m->loop ? clock_new(m->loop, err) : NULL;
	g->ram = memory_add_ram(m->memory, "ram", 0, RAM, 0, false, -1, 0, err);
	return m->clock && g->ram;
}

static bool build_vcpu(struct guest *g, struct error *err)
{
	struct machine *m = &g->machine;
	struct vcpu *v = vcpu_alloc(m->engine);

	v->machine = m;
	v->model = m->model;
	v->memory = m->memory;
	v->ports = m->ports;
	g->vcpu = m->vcpus[0] = v;
	m->nvcpus = 1;
	return m->engine->vm_create(m, err) && m->engine->vcpu_create(v, err);
}

struct guest *guest_new(const char *engine, const struct x86_model *model, struct error *err)
{
	struct guest *g = aligned_alloc(64, ALIGN_UP(sizeof(*g), 64));

	memset(g, 0, sizeof(*g));
	g->machine.model = model;
	if (!build_machine(g, engine, err) || !build_vcpu(g, err))
		return NULL;
	build_tables(g);
	build_descriptors(g);
	for (unsigned mode = 0; mode < GUEST_MODES; mode++)
		build_cpu(g, mode);
	return g;
}

uint8_t *guest_data(struct guest *g)
{
	return g->ram->host + DATA_GPA;
}

static void load_state(struct guest *g, const struct native_state *s, enum guest_mode mode)
{
	struct x86_cpu *c = &g->vcpu->cpu;

	*c = g->start[mode];
	memcpy(c->gpr, s->gpr, sizeof(c->gpr));
	for (unsigned n = 0; n < 16 && mode != GUEST_64; n++)
		c->gpr[n] = (uint32_t)c->gpr[n];
	c->rflags = (s->rflags & (FL_STATUS | FL_DF | FL_AC | FL_ID)) | FL_1 | FL_IF;
	c->xsave = s->xsave;
	c->xsave.xstate_bv = XFEATURE_X87 | XFEATURE_SSE | (c->xcr0 & XFEATURE_AVX);
	c->xsave.xcomp_bv = 0;
}

/* Components that are in their initial configuration hold no data. */
static void take_xsave(struct native_state *s, const struct x86_xsave *x)
{
	s->xsave = *x;
	if (!(x->xstate_bv & XFEATURE_X87)) {
		memset(&s->xsave, 0, 24);
		memset(s->xsave.st, 0, sizeof(s->xsave.st));
		s->xsave.fcw = 0x37f;
	}
	if (!(x->xstate_bv & XFEATURE_SSE))
		memset(s->xsave.xmm, 0, sizeof(s->xsave.xmm));
	if (!(x->xstate_bv & XFEATURE_AVX))
		memset(s->xsave.ymmh, 0, sizeof(s->xsave.ymmh));
}

/* The exception's frame says where it was. */
static void take_state(struct guest *g, struct native_state *s, unsigned n, enum guest_mode mode)
{
	const struct x86_cpu *c = &g->vcpu->cpu;
	unsigned vector = (c->rip - STUBS) / 16;
	const uint8_t *frame = g->ram->host + c->gpr[RSP];

	if (STACK0 - c->gpr[RSP] > 40)
		frame += 8;             /* error code */
	memcpy(s->gpr, c->gpr, sizeof(s->gpr));
	s->rip = le64_get(frame) - g->start[mode].rip;
	s->rflags = le64_get(frame + 16);
	s->gpr[RSP] = le64_get(frame + 24);
	take_xsave(s, &c->xsave);
	s->trap = vector;
	s->signal = vector != 3 || s->rip != n + 1;
	s->fault_address = vector == EXC_PF ? c->cr2 : 0;
	if (!s->signal) {
		s->rip = n;
		s->trap = 0;
	}
}

bool guest_run(struct guest *g, struct native_state *s, const uint8_t *code, unsigned n,
	       enum guest_mode mode, struct error *err)
{
	struct vcpu *v = g->vcpu;
	enum vcpu_exit why;

	memory_write(g->machine.memory, CODE_GPA, code, n);
	memory_write(g->machine.memory, CODE_GPA + n, "\xcc", 1);
	load_state(g, s, mode);
	v->engine->state_set(v);
	atomic_fetch_and(&v->requests, ~(uint32_t)(REQ_INTERRUPT | REQ_NMI));   /* no board to ask */
	epoch_enter();
	why = v->engine->run(v);
	epoch_leave();
	v->engine->state_get(v);
	if (why != EXIT_HALT)
		return error_set(err, 0, "the engine left with exit %d at rip 0x%llx %s", why,
				 (unsigned long long)v->cpu.rip, v->error.text);
	take_state(g, s, n, mode);
	return true;
}
