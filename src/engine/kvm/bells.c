/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bells (memory/memory.h): what the machine's view shows of them, as ioeventfds.  A store
 * to one signals its eventfd inside the kernel; the vCPU goes on at once, and the I/O loop
 * does the device's work.  A bell that KVM does not take costs nothing but speed: the store
 * then comes out as an access to MMIO.
 */
#include "engine/kvm/kvm.h"

#include <sys/ioctl.h>

#include "machine/machine.h"

static unsigned wanted(struct kvm_vm *k, struct kvm_bell *out)
{
	const struct mem_view *v = memory_view(k->machine->memory);
	unsigned n = 0;
	for (unsigned i = 0; i < v->count; i++) {
		const struct mem_range *r = &v->ranges[i];
		for (unsigned b = 0; b < r->nbells && n < KVM_MAX_BELLS; b++) {
			uint64_t gpa = r->start + r->bells[b].offset - r->io_offset;
			if (gpa < r->start || gpa > r->last || (!r->bells[b].size && !k->bells_any_size))
				continue;
			out[n++] = (struct kvm_bell){ gpa, r->bells[b].size, r->bells[b].value, r->bells[b].fd };
		}
	}
	return n;
}

static bool among(const struct kvm_bell *list, unsigned n, const struct kvm_bell *b)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i].gpa == b->gpa && list[i].size == b->size && list[i].value == b->value && list[i].fd == b->fd)
			return true;
	return false;
}

static bool tell(struct kvm_vm *k, const struct kvm_bell *b, bool gone)
{
	struct kvm_ioeventfd e = {
		.addr = b->gpa, .len = b->size, .datamatch = b->value, .fd = b->fd,
		.flags = (b->size ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) | (gone ? KVM_IOEVENTFD_FLAG_DEASSIGN : 0),
	};
	return !kvm_ioctl(k->fd, KVM_IOEVENTFD, &e);
}

void kvm_bells_update(struct kvm_vm *k)
{
	struct kvm_bell want[KVM_MAX_BELLS];
	unsigned n = wanted(k, want), kept = 0;
	for (unsigned i = 0; i < k->nbells; i++)
		if (among(want, n, &k->bell[i]))
			k->bell[kept++] = k->bell[i];
		else
			tell(k, &k->bell[i], true);
	k->nbells = kept;
	for (unsigned i = 0; i < n && k->nbells < KVM_MAX_BELLS; i++)
		if (!among(k->bell, kept, &want[i]) && tell(k, &want[i], false))
			k->bell[k->nbells++] = want[i];
}
