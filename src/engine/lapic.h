/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC (SDM 3A ch. 11), xAPIC and x2APIC, as part of struct x86_cpu; what
 * engines without one of their own use (engine/soft/lapic.c), and devices reach by
 * lapic_deliver and lapic_msi.  All on the vCPU's own thread except lapic_post and
 * friends.
 */
#ifndef ENGINE_LAPIC_H
#define ENGINE_LAPIC_H

#include "memory/memory.h"
#include "x86/cpu.h"

struct vcpu;

#define LAPIC_BASE 0xfee00000ull        /* after reset */

void lapic_reset(struct vcpu *v, bool init_only);
uint32_t lapic_read(struct vcpu *v, unsigned offset);            /* MMIO register, 0x0..0x3f0 */
void lapic_write(struct vcpu *v, unsigned offset, uint32_t value);
/* An access of `size` bytes at `offset` of its page (soft/access.c). */
uint64_t lapic_load(struct vcpu *v, unsigned offset, unsigned size);
void lapic_store(struct vcpu *v, unsigned offset, uint64_t value, unsigned size);
/* Is that its page, in xAPIC mode? */
static inline bool lapic_page(const struct x86_lapic *a, uint64_t gpa)
{
	return (a->base & 0xc00) == 0x800 && (gpa & ~PAGE_MASK) == (a->base & ~PAGE_MASK & (BIT(52) - 1));
}
enum { MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800 };
/* x2APIC MSRs 0x800..0x8ff and IA32_APIC_BASE, IA32_TSC_DEADLINE; false: #GP. */
bool lapic_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool lapic_msr_write(struct vcpu *v, uint32_t msr, uint64_t value);
uint8_t lapic_get_tpr(const struct vcpu *v);                     /* CR8 */
void lapic_set_tpr(struct vcpu *v, uint8_t cr8);

/* Highest vector above the processor priority, or -1 (PIC's ExtINT not included). */
int lapic_pending(const struct vcpu *v);
/* Take it: IRR to ISR. Returns the vector, or -1 if it went away. */
int lapic_ack(struct vcpu *v);
/* Does LINT0 (virtual wire) let the 8259's INTR through to this vCPU? */
bool lapic_accepts_extint(const struct vcpu *v);
/* Is there a vector for this vCPU, the 8259's or its own? And take it, or -1. */
bool lapic_has_vector(const struct vcpu *v);
int lapic_take_vector(struct vcpu *v);
/* Has an INIT or a start-up IPI come? Do to v->cpu what they do, INIT first; true: it has
 * changed (a processor that runs takes no start-up IPI). */
bool lapic_startup_pending(const struct vcpu *v);
bool lapic_take_startup(struct vcpu *v);

/* From any thread. `level`: set TMR, EOI is broadcast to the I/O APIC. */
void lapic_post(struct vcpu *v, uint8_t vector, bool level);
void lapic_post_nmi(struct vcpu *v);
void lapic_post_init(struct vcpu *v);
void lapic_post_sipi(struct vcpu *v, uint8_t vector);
/* Timer expiry, called by the machine's clock timer on the I/O thread. */
void lapic_timer_fired(struct vcpu *v);
/* After load, or a change of clock: program the clock timer again. */
void lapic_timer_rearm(struct vcpu *v);

struct machine;
/* Deliver an interrupt message (MSI, I/O APIC, IPI) by its fields, any thread. */
void lapic_deliver(struct machine *m, uint32_t dest, bool logical, unsigned mode,
		   uint8_t vector, bool level, bool x2);
/* MSI: address 0xfeeXXXXX and data. */
void lapic_msi(struct machine *m, uint64_t addr, uint32_t data);

#endif
