/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC (SDM 3A ch. 11), xAPIC and x2APIC, as part of struct x86_cpu; what
 * engines without one of their own use (engine/soft/lapic.c), and devices reach by
 * lapic_deliver and lapic_msi.  All on the vCPU's own thread except lapic_post and
 * friends.
 */
#ifndef ENGINE_LAPIC_H
#define ENGINE_LAPIC_H

#include "x86/cpu.h"

struct vcpu;

#define LAPIC_BASE 0xfee00000ull        /* after reset */

void lapic_reset(struct vcpu *v, bool init_only);
uint32_t lapic_read(struct vcpu *v, unsigned offset);            /* MMIO register, 0x0..0x3f0 */
void lapic_write(struct vcpu *v, unsigned offset, uint32_t value);
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
