/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory slots: what the machine's view shows as RAM or ROM, page-aligned. A view
 * changes rarely, so slots that differ are deleted and made again; a vCPU that
 * touches one in between exits and is served through memory_read/write.  What vCPUs
 * store to RAM with a dirty log is in the kernel's bitmaps, or in rings (ring.c), until
 * that is harvested.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>

#include "base/log.h"
#include "machine/machine.h"

static bool same(const struct kvm_slot *a, const struct kvm_slot *b)
{
	return a->gpa == b->gpa && a->size == b->size && a->host == b->host && a->readonly == b->readonly;
}

static void tell(struct kvm_vm *k, unsigned n, const struct kvm_slot *s, bool gone)
{
	struct kvm_userspace_memory_region r = {
		.slot = n, .guest_phys_addr = s->gpa,
		.flags = s->readonly ? KVM_MEM_READONLY : atomic_load(&s->ram->logged) ? KVM_MEM_LOG_DIRTY_PAGES : 0,
		.memory_size = gone ? 0 : s->size, .userspace_addr = s->host,
	};
	if (kvm_ioctl(k->fd, KVM_SET_USER_MEMORY_REGION, &r))
		log_error("KVM does not take memory slot %u at 0x%llx: %s", n,
			  (unsigned long long)s->gpa, strerror(errno));
}

static unsigned wanted(struct memory *mem, struct kvm_slot *out)
{
	const struct mem_view *v = memory_view(mem);
	unsigned n = 0;
	for (unsigned i = 0; i < v->count && n < KVM_MAX_SLOTS; i++) {
		const struct mem_range *r = &v->ranges[i];
		uint64_t start = ALIGN_UP(r->start, PAGE_SIZE), end = ALIGN_DOWN(r->last + 1, PAGE_SIZE);
		if (!r->ram || start >= end)
			continue;
		out[n++] = (struct kvm_slot){
			.gpa = start, .size = end - start, .ram = r->ram, .readonly = r->readonly, .used = true,
			.host = (uintptr_t)r->ram->host + r->ram_offset + (start - r->start),
		};
	}
	return n;
}

/* What the kernel had logged where this RAM was seen before, if it was, went with its slot. */
static void all_written(struct kvm_vm *k, const struct kvm_slot *s)
{
	if (!s->readonly && atomic_load(&s->ram->logged))
		memory_page_written(k->machine->memory, s->ram, s->host - (uintptr_t)s->ram->host, s->size);
}

static bool find(const struct kvm_slot *list, unsigned n, const struct kvm_slot *s)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i].used && same(&list[i], s))
			return true;
	return false;
}

void kvm_slots_update(void *vm)
{
	struct kvm_vm *k = vm;
	struct kvm_slot want[KVM_MAX_SLOTS];
	pthread_mutex_lock(&k->lock);
	unsigned n = wanted(k->machine->memory, want);
	for (unsigned i = 0; i < KVM_MAX_SLOTS; i++)
		if (k->slot[i].used && !find(want, n, &k->slot[i])) {
			tell(k, i, &k->slot[i], true);
			k->slot[i].used = false;
		}
	for (unsigned w = 0, i = 0; w < n; w++) {
		if (find(k->slot, KVM_MAX_SLOTS, &want[w]))
			continue;
		while (i < KVM_MAX_SLOTS && k->slot[i].used)
			i++;
		if (i == KVM_MAX_SLOTS)
			break;
		k->slot[i] = want[w];
		tell(k, i, &want[w], false);
		all_written(k, &want[w]);
	}
	kvm_bells_update(k);
	pthread_mutex_unlock(&k->lock);
}

/* --- the dirty log -------------------------------------------------------------- */

void kvm_log_dirty(void *vm, const struct ram_slot *ram)
{
	struct kvm_vm *k = vm;
	pthread_mutex_lock(&k->lock);
	for (unsigned i = 0; i < KVM_MAX_SLOTS; i++)
		if (k->slot[i].used && !k->slot[i].readonly && k->slot[i].ram == ram)
			tell(k, i, &k->slot[i], false);
	pthread_mutex_unlock(&k->lock);
}

/* A ring may still name a slot that is gone or another's by now: one page too many then. */
void kvm_slot_written(struct kvm_vm *k, uint32_t n, uint64_t page)
{
	const struct kvm_slot *s = n < KVM_MAX_SLOTS ? &k->slot[n] : NULL;
	if (s && s->used && !s->readonly && page < s->size / PAGE_SIZE)
		memory_page_written(k->machine->memory, s->ram, s->host - (uintptr_t)s->ram->host + page * PAGE_SIZE,
				    PAGE_SIZE);
}

/* Reading the kernel's bitmap clears it and arms the pages again. */
static void collect(struct kvm_vm *k, unsigned n)
{
	uint64_t pages = k->slot[n].size / PAGE_SIZE;
	auto_free uint64_t *bitmap = xcalloc((pages + 63) / 64, 8);
	struct kvm_dirty_log log = { .slot = n, .dirty_bitmap = bitmap };
	if (kvm_ioctl(k->fd, KVM_GET_DIRTY_LOG, &log)) {
		log_error("KVM does not give its dirty log (%s): all of its memory counts as written", strerror(errno));
		all_written(k, &k->slot[n]);
		return;
	}
	for (uint64_t p = 0; p < pages; p++)
		if (bitmap[p / 64] >> (p % 64) & 1)
			kvm_slot_written(k, n, p);
}

void kvm_collect_dirty(void *vm, struct ram_slot *ram)
{
	struct kvm_vm *k = vm;
	pthread_mutex_lock(&k->lock);
	if (k->ring_size)
		kvm_rings_harvest(k);
	for (unsigned i = 0; i < KVM_MAX_SLOTS && !k->ring_size; i++) {
		const struct kvm_slot *s = &k->slot[i];
		if (s->used && !s->readonly && s->ram == ram)
			collect(k, i);
	}
	pthread_mutex_unlock(&k->lock);
}
