/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dirty log as rings (api.rst, "KVM_CAP_DIRTY_LOG_RING"): each vCPU has one, into which KVM
 * puts what it has written to slots that log; whoever harvests hands the entries back, and KVM
 * arms their pages again.  What a vCPU has written just now may still be on its way (VMX's
 * page-modification log); it is in the ring at its next exit, and so in a later harvest, or
 * before the vCPU stands still.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/log.h"
#include "machine/machine.h"

/* KVM keeps up to 576 for itself; the rest is pages between two harvests without an exit. */
enum { ENTRIES = 1024 };

void kvm_rings_enable(struct kvm_vm *k)
{
	size_t size = ENTRIES * sizeof(struct kvm_dirty_gfn);
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { size } };
	int most = ioctl(k->dev, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING);
	k->ring_size = most > 0 && (size_t)most >= size && !kvm_ioctl(k->fd, KVM_ENABLE_CAP, &cap) ? size : 0;
	log_info("dirty log of the screen: %s", k->ring_size ? "rings" : "bitmaps");
}

bool kvm_ring_map(struct kvm_vcpu *c, struct error *err)
{
	if (!c->vm->ring_size)
		return true;
	void *ring = mmap(NULL, c->vm->ring_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd,
			  KVM_DIRTY_LOG_PAGE_OFFSET * PAGE_SIZE);
	if (ring == MAP_FAILED)
		return error_set(err, errno, "cannot map the dirty ring of a vCPU of KVM");
	pthread_mutex_lock(&c->vm->lock);
	c->ring = ring;
	pthread_mutex_unlock(&c->vm->lock);
	return true;
}

void kvm_ring_unmap(struct kvm_vcpu *c)
{
	pthread_mutex_lock(&c->vm->lock);
	if (c->ring)
		munmap(c->ring, c->vm->ring_size);
	c->ring = NULL;
	pthread_mutex_unlock(&c->vm->lock);
}

static void harvest(struct kvm_vm *k, struct kvm_vcpu *c)
{
	for (;;) {
		struct kvm_dirty_gfn *g = &c->ring[c->ring_next % ENTRIES];
		if (__atomic_load_n(&g->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
			return;
		kvm_slot_written(k, g->slot, g->offset);
		__atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		c->ring_next++;
	}
}

void kvm_rings_harvest(struct kvm_vm *k)
{
	for (unsigned i = 0; i < k->machine->nvcpus; i++) {
		struct kvm_vcpu *c = kvm_of(k->machine->vcpus[i]);
		if (c && c->ring)
			harvest(k, c);
	}
	kvm_ioctl(k->fd, KVM_RESET_DIRTY_RINGS, NULL);
}

void kvm_ring_full(struct kvm_vm *k)
{
	pthread_mutex_lock(&k->lock);
	kvm_rings_harvest(k);
	pthread_mutex_unlock(&k->lock);
}
