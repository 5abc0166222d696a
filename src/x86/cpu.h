/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of one x86 processor, its local APIC included: ONE struct for
 * every engine, saved under one and loaded under another.  Facts of the
 * architecture only (Intel SDM volumes 1 to 3); no engine's caches in here.
 */
#ifndef X86_CPU_H
#define X86_CPU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI,
       R8, R9, R10, R11, R12, R13, R14, R15 };
enum { ES, CS, SS, DS, FS, GS };

/* Segment caches. `attr` is bits 8..23 of a descriptor's high dword, shifted
 * down by 8 with the limit bits cleared (the layout of VMX access rights):
 * type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15; bit 16: unusable
 * (a null selector). `limit` is in bytes, already scaled by G. */
struct x86_seg {
	uint16_t sel;
	uint32_t attr;
	uint32_t limit;
	uint64_t base;
};
enum { SEG_TYPE = 0xf, SEG_A = 1, SEG_W = 2, SEG_R = 2, SEG_E = 4, SEG_C = 4,
       SEG_CODE = 8, SEG_S = 0x10, SEG_DPL_SHIFT = 5, SEG_P = 0x80,
       SEG_AVL = 0x1000, SEG_L = 0x2000, SEG_DB = 0x4000, SEG_G = 0x8000,
       SEG_UNUSABLE = 0x10000 };
struct x86_dtr { uint64_t base; uint16_t limit; };

#define FL_CF 0x1u
#define FL_1  0x2u
#define FL_PF 0x4u
#define FL_AF 0x10u
#define FL_ZF 0x40u
#define FL_SF 0x80u
#define FL_TF 0x100u
#define FL_IF 0x200u
#define FL_DF 0x400u
#define FL_OF 0x800u
#define FL_IOPL 0x3000u
#define FL_NT 0x4000u
#define FL_RF 0x10000u
#define FL_VM 0x20000u
#define FL_AC 0x40000u
#define FL_VIF 0x80000u
#define FL_VIP 0x100000u
#define FL_ID 0x200000u
#define FL_STATUS (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#define CR0_PE 0x1u
#define CR0_MP 0x2u
#define CR0_EM 0x4u
#define CR0_TS 0x8u
#define CR0_ET 0x10u
#define CR0_NE 0x20u
#define CR0_WP 0x10000u
#define CR0_AM 0x40000u
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u
#define CR0_PG 0x80000000u
#define CR4_VME 0x1u
#define CR4_PVI 0x2u
#define CR4_TSD 0x4u
#define CR4_DE 0x8u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_MCE 0x40u
#define CR4_PGE 0x80u
#define CR4_PCE 0x100u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u
#define CR4_UMIP 0x800u
#define CR4_FSGSBASE 0x10000u
#define CR4_PCIDE 0x20000u
#define CR4_OSXSAVE 0x40000u
#define CR4_SMEP 0x100000u
#define CR4_SMAP 0x200000u
#define EFER_SCE 0x1u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define EFER_NXE 0x800u

enum { EXC_DE, EXC_DB, EXC_NMI, EXC_BP, EXC_OF, EXC_BR, EXC_UD, EXC_NM, EXC_DF,
       EXC_TS = 10, EXC_NP, EXC_SS, EXC_GP, EXC_PF, EXC_MF = 16, EXC_AC,
       EXC_MC, EXC_XM };

/* The XSAVE area in the standard (not compacted) format: host XRSTOR takes it
 * as it is. x87 and SSE 512 bytes, header 64, AVX high halves 256 (SDM 1 13.4). */
struct x86_xsave {
	union {
		struct {
			uint16_t fcw, fsw;
			uint8_t ftw, reserved0;     /* ftw abridged, as FXSAVE */
			uint16_t fop;
			uint64_t fip, fdp;
			uint32_t mxcsr, mxcsr_mask;
			uint8_t st[8][16];          /* 10 bytes used each */
			uint8_t xmm[16][16];
			uint8_t reserved1[96];
		};
		uint8_t legacy[512];
	};
	uint64_t xstate_bv, xcomp_bv;
	uint64_t header_reserved[6];
	uint8_t ymmh[16][16];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct x86_xsave) == 832, "XSAVE area");
enum { XFEATURE_X87 = 1, XFEATURE_SSE = 2, XFEATURE_AVX = 4 };

enum x86_activity { CPU_RUNNING, CPU_HALTED, CPU_WAIT_SIPI, CPU_SHUTDOWN };

/* An event that has been taken off its source but not yet delivered (only
 * between instructions; what KVM calls events.injected). */
struct x86_event {
	uint8_t pending;      /* bool */
	uint8_t type;         /* 0 external, 2 NMI, 3 hardware exception, 4 software int, 6 software exc */
	uint8_t vector;
	uint8_t has_error;
	uint32_t error;
	uint64_t cr2;         /* for #PF */
};

/*
 * Local APIC (SDM 3A ch. 11). IRR may be set from any thread (lapic_post);
 * all else belongs to the vCPU's thread or a quiesced machine.
 */
struct x86_lapic {
	uint32_t id;                      /* x2APIC id; xAPIC id is its low byte */
	uint64_t base;                    /* IA32_APIC_BASE with its BSP/EN/EXTD bits */
	uint32_t tpr, ldr, dfr, svr, esr, esr_pending;
	uint32_t lvt[7];                  /* CMCI, timer, thermal, perf, LINT0, LINT1, error */
	uint32_t icr_low, icr_high;
	uint32_t isr[8], tmr[8];
	_Atomic uint32_t irr[8];
	uint32_t timer_initial, timer_divide;
	uint64_t timer_start;             /* machine ns when the count was loaded */
	uint64_t tsc_deadline;
	_Atomic uint32_t pending_nmi, pending_init, pending_sipi;  /* sipi: 0x100|vector */
};
enum { LVT_CMCI, LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR };

struct x86_cpu {
	uint64_t gpr[16];
	uint64_t rip;
	uint64_t rflags;                  /* always whole between instructions */
	struct x86_seg seg[6];
	struct x86_seg ldtr, tr;
	struct x86_dtr gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4;      /* CR8 is lapic.tpr >> 4 */
	uint64_t dr[8];                   /* 4, 5 unused */
	uint64_t efer;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, tsc_aux, tsc_adjust, misc_enable, spec_ctrl;
	uint64_t tsc_offset;              /* guest TSC = clock_now * khz / 1e6 + this */
	uint64_t mtrr_def, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
	uint64_t kvmclock_system, kvmclock_wall, kvm_async_pf, kvm_steal, kvm_eoi, kvm_poll;
	uint64_t mcg_status, mcg_ctl, mc_bank[4][4];
	uint64_t xcr0, xss;
	struct x86_xsave xsave;
	uint64_t pdpte[4];                /* PAE: loaded by MOV CR3 (SDM 3A 4.4.1) */
	uint8_t activity;                 /* enum x86_activity */
	uint8_t int_shadow;               /* 1 STI, 2 MOV SS: nothing is delivered before the next insn */
	uint8_t nmi_blocked;
	uint8_t cpl;                      /* = SS.DPL; kept for speed */
	uint32_t debug_pending;           /* DR6 bits of #DB traps not delivered yet (MOV SS holds them) */
	struct x86_event event;
	struct x86_lapic lapic;
};

static inline bool cpu_real_mode(const struct x86_cpu *c) { return !(c->cr0 & CR0_PE); }
static inline bool cpu_vm86(const struct x86_cpu *c) { return c->rflags & FL_VM; }
static inline bool cpu_long_mode(const struct x86_cpu *c) { return c->efer & EFER_LMA; }
static inline bool cpu_code64(const struct x86_cpu *c)
{ return (c->efer & EFER_LMA) && (c->seg[CS].attr & SEG_L); }
/* Default code size: 2, 4 or 8 bytes. */
static inline unsigned cpu_code_size(const struct x86_cpu *c)
{ return cpu_code64(c) ? 8 : c->seg[CS].attr & SEG_DB ? 4 : 2; }
static inline bool cpu_stack64(const struct x86_cpu *c) { return cpu_code64(c); }
static inline unsigned cpu_stack_size(const struct x86_cpu *c)
{ return cpu_code64(c) ? 8 : c->seg[SS].attr & SEG_DB ? 4 : 2; }

struct x86_model;
struct state;
/* Power-on / INIT values (SDM 3A table 10-1). The APIC id is kept. */
void x86_cpu_reset(struct x86_cpu *c, const struct x86_model *model, bool init_only);
/* The whole struct in both directions; checks canonical bases, reserved CR and
 * EFER bits, MXCSR, segment attributes. */
bool x86_cpu_xfer(struct x86_cpu *c, struct state *s);

#endif
