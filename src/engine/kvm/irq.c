/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts into the kernel's local APICs: every device interrupt is a message
 * (the I/O APIC's too).  Routes exist only so that the kernel knows which
 * vectors are level-triggered and reports their EOI.
 */
#include "engine/kvm/kvm.h"

#include "machine/machine.h"

void kvm_interrupt(struct machine *m, uint64_t addr, uint32_t data)
{
	struct kvm_vm *k = m->engine_data;
	struct kvm_msi msi = { .address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data };
	kvm_ioctl(k->fd, KVM_SIGNAL_MSI, &msi);
}

void kvm_route(struct machine *m, unsigned pin, uint64_t addr, uint32_t data, bool masked)
{
	struct kvm_vm *k = m->engine_data;
	struct { struct kvm_irq_routing head; struct kvm_irq_routing_entry e[KVM_IOAPIC_PINS]; } table = { 0 };
	if (pin >= KVM_IOAPIC_PINS)
		return;
	pthread_mutex_lock(&k->lock);
	struct kvm_irq_routing_entry *e = &k->route[pin];
	*e = (struct kvm_irq_routing_entry){ .gsi = pin, .type = masked ? 0 : KVM_IRQ_ROUTING_MSI };
	e->u.msi.address_lo = (uint32_t)addr;
	e->u.msi.data = data;
	for (unsigned i = 0; i < KVM_IOAPIC_PINS; i++)
		if (k->route[i].type)
			table.e[table.head.nr++] = k->route[i];
	kvm_ioctl(k->fd, KVM_SET_GSI_ROUTING, &table);
	pthread_mutex_unlock(&k->lock);
}
