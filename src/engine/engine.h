/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contract between a machine and what runs its instructions, after what
 * KVM's API proved right.  An engine never knows a device; a device never knows
 * which engine runs it: they meet in memory/ and at interrupt lines.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <setjmp.h>
#include <pthread.h>
#include "base/error.h"
#include "memory/clock.h"
#include "memory/memory.h"
#include "x86/cpu.h"
#include "x86/model.h"

struct machine;
struct vcpu;
struct soft_mmu;

/* Reasons for a vCPU to look up from its work; set with vcpu_request. */
enum vcpu_request {
	REQ_INTERRUPT = 1,   /* IRR/ExtINT may have become deliverable */
	REQ_NMI = 2, REQ_INIT = 4, REQ_SIPI = 8,
	REQ_STOP = 16,       /* leave run(): pause, quiesce, shutdown */
	REQ_TLB = 32,        /* drop every cached translation */
	REQ_WORK = 64,       /* engine-private, e.g. exclusive sections, page shoot-downs */
};

enum vcpu_exit {
	EXIT_STOP,           /* REQ_STOP seen */
	EXIT_HALT,           /* HLT; activity is CPU_HALTED (or WAIT_SIPI) */
	EXIT_SHUTDOWN,       /* triple fault */
	EXIT_DEBUG,          /* gdb: breakpoint, watchpoint or step; see vcpu->debug */
	EXIT_ERROR,          /* host trouble; vcpu->error says what */
};

struct engine_ops {
	const char *name;
	/* Are these its options (what follows its name and a comma)? NULL: it has none. */
	bool (*options_ok)(const char *words, struct error *err);
	/* Usable here (then `err` may tell more)? If not: which step failed and what fixes it. */
	bool (*probe)(struct error *err);
	/* Can it run this CPU model here? If not: what is missing. */
	bool (*model_ok)(const struct x86_model *m, struct error *err);
	bool (*vm_create)(struct machine *m, struct error *err);
	void (*vm_destroy)(struct machine *m);
	/* On the vCPU's own thread, before run. */
	bool (*vcpu_create)(struct vcpu *v, struct error *err);
	void (*vcpu_destroy)(struct vcpu *v);
	/* Run until an exit. The vCPU's thread, inside an epoch, no locks held. */
	enum vcpu_exit (*run)(struct vcpu *v);
	/* Make run() notice vcpu->requests soon; any thread, async-signal-safe. */
	void (*kick)(struct vcpu *v);
	/* Bring v->cpu up to date / take changes of v->cpu over. The vCPU is not
	 * in run(). No-ops where v->cpu is always current. */
	void (*state_get)(struct vcpu *v);
	void (*state_set)(struct vcpu *v);
	/* Where the engine counts time by itself (kvm's TSC and kvmclock), else NULL:
	 * machine time has just stopped; it is about to go on. All vCPUs out. */
	void (*time_stopped)(struct machine *m);
	void (*time_goes_on)(struct machine *m);
	/* Where local APICs are the engine's own (kvm): an interrupt message, and
	 * the I/O APIC's entry for a pin after each change. NULL: engine/soft's. */
	void (*interrupt)(struct machine *m, uint64_t addr, uint32_t data);
	void (*route)(struct machine *m, unsigned pin, uint64_t addr, uint32_t data, bool masked);
	bool huge_pages;                     /* guest RAM in huge pages: second-level page tables follow the host's */
	size_t vcpu_room;                    /* zeroed bytes behind each struct vcpu (VCPU_ROOM), the engine's own */
	/* Counters as "name value" lines for `stats --engine`; may be NULL. */
	void (*stats)(struct machine *m, void (*put)(void *, const char *, uint64_t), void *opaque);
};
extern const struct engine_ops engine_interp, engine_jit, engine_kvm;

struct vcpu_debug {
	bool single_step;            /* stop after each instruction */
	bool hold;                   /* stay out of run() while another one steps */
	bool hit;                    /* EXIT_DEBUG: why */
	uint8_t hit_kind;            /* 0 step, 1 breakpoint, 2 write, 3 read, 4 access watch */
	uint64_t hit_addr;
	unsigned count;
	struct { uint8_t kind; uint64_t addr, len; } point[32];   /* linear addresses */
};

struct vcpu {
	struct x86_cpu cpu;                  /* first: engines address it from the vcpu pointer */
	_Atomic uint32_t requests;           /* enum vcpu_request bits */
	uint64_t hot[32];                    /* the engine's own words, near the cpu */
	unsigned index;
	struct machine *machine;
	const struct x86_model *model;
	struct memory *memory, *ports;
	const struct engine_ops *engine;
	struct soft_mmu *mmu;                /* soft TLB (interp, jit) */
	void *engine_data;
	uint64_t interpreted;                /* instructions that the interpreter ran, for the translator too */
	uint64_t insn_rip;                   /* start of the instruction being run */
	uint32_t step_tf;                    /* TF when it began: single-step trap due after it */
	uint8_t ext;                         /* an external event is being delivered: EXT of error codes */
	bool irq_waiting;                    /* polled while IF=0 or NMI blocked: look again when lifted */
	sigjmp_buf unwind;                   /* where an exception inside an instruction goes */
	struct clock_timer apic_timer;
	struct vcpu_debug debug;
	struct error error;
	/* thread */
	pthread_t thread;
	_Atomic int state;                   /* enum vcpu_thread_state in machine.h */
	_Atomic uint32_t wake;               /* futex word */
};

#define VCPU_ROOM ALIGN_UP(sizeof(struct vcpu), 64)
/* All zero but `engine`; with the room that the engine wants. */
struct vcpu *vcpu_alloc(const struct engine_ops *engine);
void vcpu_free(struct vcpu *v);

/* Set request bits and make the vCPU notice (kick if running, wake if halted).
 * Any thread; async-signal-safe. */
void vcpu_request(struct vcpu *v, uint32_t bits);

/* Is there something that ends HLT now (interrupt with IF=1, NMI, INIT, SIPI)? */
bool vcpu_has_work(struct vcpu *v);

#endif
