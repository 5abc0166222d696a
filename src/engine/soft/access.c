/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest-linear access.  Whatever the TLB does not answer comes to data_slow()
 * in pieces that lie in one page: RAM with flags, ROM, MMIO, the local APIC,
 * watched data.  An access over a page boundary first makes sure that both
 * pages allow it, so that a fault leaves nothing half-stored.
 */
#include "base/trace.h"
#include "engine/interp/interp.h"
#include "engine/soft/walk.h"
#include "memory/tap.h"
#include "engine/lapic.h"

static bool canonical(const struct vcpu *v, uint64_t lin)
{
	return !cpu_long_mode(&v->cpu) || (uint64_t)((int64_t)(lin << 16) >> 16) == lin;
}

/* Walk and enter the TLB; faults. *ram: where it lives, or NULL. */
static uint64_t translate(struct vcpu *v, uint64_t lin, enum mmu_access acc, unsigned mode,
			  const struct mmu_ram **ram)
{
	struct mapping m;
	bool checked = mode == MMU_USER_AC;
	if (checked)
		mode = MMU_USER;
	if (unlikely(!canonical(v, lin)))
		raise_gp(v, 0);
	int code = walk_page(v, lin, acc, mode, true, &m);
	if (unlikely(code >= 0))
		cpu_raise_pf(v, lin, (uint32_t)code);
	*ram = lapic_page(&v->cpu.lapic, m.gpa) ? NULL : ram_find(v, m.gpa);
	if (*ram && !checked)
		tlb_fill(v, lin, acc, mode, &m, *ram, watch_page(v, lin));
	return m.gpa;
}

static inline struct tlb_entry *entry_of(struct vcpu *v, uint64_t lin, enum mmu_access acc, unsigned mode)
{
	return &v->mmu->space->tlb[acc == MMU_WRITE ? MMU_MODES + mode : mode][tlb_index(lin)];
}

static uint64_t entry_tag(const struct tlb_entry *e, enum mmu_access acc)
{
	return acc == MMU_READ ? e->read : acc == MMU_WRITE ? e->write : e->exec;
}

static inline uint8_t *entry_host(const struct tlb_entry *e, uint64_t lin)
{
	return (uint8_t *)(uintptr_t)(lin + (uint64_t)e->addend);
}

/* The first byte of the next page; linear addresses wrap at 4 GiB outside of
 * 64-bit code. */
static uint64_t next_page(const struct vcpu *v, uint64_t lin)
{
	uint64_t next = (lin | PAGE_MASK) + 1;
	return lin >> 32 == 0 && !cpu_code64(&v->cpu) ? next & 0xffffffff : next;
}

uint64_t lapic_load(struct vcpu *v, unsigned offset, unsigned size)
{
	struct tape *t = tape_take();
	uint64_t value = 0;
	if (t && tape_replay(t, TAPE_APIC_READ, offset, size, &value))
		return value;
	if ((offset & 15) < 4)
		value = lapic_read(v, offset & 0xff0) >> (offset & 3) * 8;
	trace3(mmio_read, v->cpu.lapic.base + offset, size, value);
	tape_record(t, TAPE_APIC_READ, offset, size, value);
	return value;
}

/* Only whole registers can be written (SDM 3A 11.4.1). */
void lapic_store(struct vcpu *v, unsigned offset, uint64_t value, unsigned size)
{
	struct tape *t = tape_take();
	if (t && tape_replay(t, TAPE_APIC_WRITE, offset, size, &value))
		return;
	trace3(mmio_write, v->cpu.lapic.base + offset, size, value);
	if (!(offset & 15) && size >= 4)
		lapic_write(v, offset & 0xff0, (uint32_t)value);
	tape_record(t, TAPE_APIC_WRITE, offset, size, value);
}

static uint64_t io_load(struct vcpu *v, uint64_t gpa, unsigned size)
{
	if (lapic_page(&v->cpu.lapic, gpa))
		return lapic_load(v, gpa & PAGE_MASK, size);
	uint64_t value = memory_load(v->memory, gpa, size);
	trace3(mmio_read, gpa, size, value);
	return value;
}

static void io_store(struct vcpu *v, uint64_t gpa, uint64_t value, unsigned size)
{
	if (lapic_page(&v->cpu.lapic, gpa)) {
		lapic_store(v, gpa & PAGE_MASK, value, size);
		return;
	}
	trace3(mmio_write, gpa, size, value);
	memory_store(v->memory, gpa, value, size);
}

static void ram_store(struct vcpu *v, const struct mmu_ram *ram, uint64_t gpa,
		      const void *buf, unsigned n)
{
	uint64_t off = ram->slot_offset + (gpa - ram->start);
	if (ram->readonly)
		return;
	undo_note(v->mmu->undo, ram->slot->host + off, n);
	memcpy(ram->slot->host + off, buf, n);
	if (ram->slot->flags[off / PAGE_SIZE])
		memory_page_written(v->memory, ram->slot, off, n);
}

/* n bytes within one page. */
static void read_slow(struct vcpu *v, uint64_t lin, void *buf, unsigned n, unsigned mode)
{
	const struct mmu_ram *ram;
	uint64_t gpa = translate(v, lin, MMU_READ, mode, &ram), value;
	v->mmu->slow++;
	if (ram) {
		memcpy(buf, ram->host + (gpa - ram->start), n);
	} else if (n > 8 || n & (n - 1)) {
		memory_read(v->memory, gpa, buf, n);
	} else {
		value = htole64(io_load(v, gpa, n));
		memcpy(buf, &value, n);
	}
	if (unlikely(v->debug.count || v->cpu.dr[7] & 0xff))
		watch_access(v, lin, n, false);
}

static void write_slow(struct vcpu *v, uint64_t lin, const void *buf, unsigned n, unsigned mode)
{
	const struct mmu_ram *ram;
	uint64_t gpa = translate(v, lin, MMU_WRITE, mode, &ram), value = 0;
	v->mmu->slow++;
	if (unlikely(v->debug.count || v->cpu.dr[7] & 0xff))
		watch_access(v, lin, n, true);
	if (ram) {
		ram_store(v, ram, gpa, buf, n);
	} else if (n > 8 || n & (n - 1)) {
		memory_write(v->memory, gpa, buf, n);
	} else {
		memcpy(&value, buf, n);
		io_store(v, gpa, le64toh(value), n);
	}
}

static void read_piece(struct vcpu *v, uint64_t lin, void *buf, unsigned n, unsigned mode)
{
	const struct tlb_entry *e = entry_of(v, lin, MMU_READ, mode);
	if (likely(e->read == (lin & ~PAGE_MASK)))
		memcpy(buf, entry_host(e, lin), n);
	else
		read_slow(v, lin, buf, n, mode);
}

/* A store that only the undo log keeps from the fast path. */
static bool store_noted(struct vcpu *v, const struct tlb_entry *e, uint64_t lin, unsigned n)
{
	if (likely(e->write != ((lin & ~PAGE_MASK) | TLB_NOTED)))
		return false;
	undo_note(v->mmu->undo, entry_host(e, lin), n);
	return true;
}

static void write_piece(struct vcpu *v, uint64_t lin, const void *buf, unsigned n, unsigned mode)
{
	const struct tlb_entry *e = entry_of(v, lin, MMU_WRITE, mode);
	if (likely(e->write == (lin & ~PAGE_MASK)) || store_noted(v, e, lin, n))
		memcpy(entry_host(e, lin), buf, n);
	else
		write_slow(v, lin, buf, n, mode);
}

void mmu_check_alignment(struct vcpu *v, uint64_t lin, unsigned align, unsigned mode)
{
	if (unlikely(mode == MMU_USER_AC) && lin & (align - 1))
		cpu_raise(v, EXC_AC, true, 0);
}

/* SDM 3A table 6-7, but for the forms that are aligned to less than their size;
 * before a page fault, as processors have it. */
static void check_alignment(struct vcpu *v, uint64_t lin, unsigned n, unsigned mode)
{
	unsigned align = n == 10 ? 8 : n;
	if (unlikely(mode == MMU_USER_AC) && align <= 8 && !(align & (align - 1)))
		mmu_check_alignment(v, lin, align, mode);
}

void mmu_probe(struct vcpu *v, uint64_t lin, unsigned n, enum mmu_access acc, unsigned mode)
{
	const struct mmu_ram *ram;
	check_alignment(v, lin, n, mode);
	if (entry_tag(entry_of(v, lin, acc, mode), acc) != (lin & ~PAGE_MASK))
		translate(v, lin, acc, mode, &ram);
	if ((lin & PAGE_MASK) + n <= PAGE_SIZE)
		return;
	lin = next_page(v, lin);
	if (entry_tag(entry_of(v, lin, acc, mode), acc) != lin)
		translate(v, lin, acc, mode, &ram);
}

void mmu_read(struct vcpu *v, uint64_t lin, void *buf, unsigned n, unsigned mode)
{
	unsigned first = MIN(n, (unsigned)(PAGE_SIZE - (lin & PAGE_MASK)));
	check_alignment(v, lin, n, mode);
	if (unlikely(first < n))
		mmu_probe(v, lin, n, MMU_READ, mode);
	read_piece(v, lin, buf, first, mode);
	if (unlikely(first < n))
		read_piece(v, next_page(v, lin), (uint8_t *)buf + first, n - first, mode);
}

void mmu_write(struct vcpu *v, uint64_t lin, const void *buf, unsigned n, unsigned mode)
{
	unsigned first = MIN(n, (unsigned)(PAGE_SIZE - (lin & PAGE_MASK)));
	check_alignment(v, lin, n, mode);
	if (unlikely(first < n))
		mmu_probe(v, lin, n, MMU_WRITE, mode);
	write_piece(v, lin, buf, first, mode);
	if (unlikely(first < n))
		write_piece(v, next_page(v, lin), (const uint8_t *)buf + first, n - first, mode);
}

static uint64_t __attribute__((noinline)) load_slow(struct vcpu *v, uint64_t lin,
						     unsigned size, unsigned mode)
{
	uint64_t value = 0;
	mmu_read(v, lin, &value, size, mode);
	return le64toh(value);
}

static void __attribute__((noinline)) store_slow(struct vcpu *v, uint64_t lin, uint64_t value,
						  unsigned size, unsigned mode)
{
	value = htole64(value);
	mmu_write(v, lin, &value, size, mode);
}

uint64_t mmu_load(struct vcpu *v, uint64_t lin, unsigned size, unsigned mode)
{
	const struct tlb_entry *e = entry_of(v, lin, MMU_READ, mode);
	if (unlikely(e->read != (lin & ~PAGE_MASK) || (lin & PAGE_MASK) + size > PAGE_SIZE))
		return load_slow(v, lin, size, mode);
	const uint8_t *p = entry_host(e, lin);
	switch (size) {
	case 1: return *p;
	case 2: return le16_get(p);
	case 4: return le32_get(p);
	case 8: return le64_get(p);
	default: return load_slow(v, lin, size, mode);
	}
}

void mmu_store(struct vcpu *v, uint64_t lin, uint64_t value, unsigned size, unsigned mode)
{
	const struct tlb_entry *e = entry_of(v, lin, MMU_WRITE, mode);
	if (unlikely(e->write != (lin & ~PAGE_MASK) || (lin & PAGE_MASK) + size > PAGE_SIZE)) {
		store_slow(v, lin, value, size, mode);
		return;
	}
	uint8_t *p = entry_host(e, lin);
	switch (size) {
	case 1: *p = (uint8_t)value; break;
	case 2: le16_put(p, (uint16_t)value); break;
	case 4: le32_put(p, (uint32_t)value); break;
	case 8: le64_put(p, value); break;
	default: store_slow(v, lin, value, size, mode);
	}
}

void *mmu_rmw_pointer(struct vcpu *v, uint64_t lin, unsigned size, unsigned mode)
{
	const struct tlb_entry *e = entry_of(v, lin, MMU_WRITE, mode);
	const struct mmu_ram *ram;
	check_alignment(v, lin, size, mode);
	if ((lin & PAGE_MASK) + size > PAGE_SIZE) {
		mmu_probe(v, lin, size, MMU_WRITE, mode);
		return NULL;
	}
	if (likely(e->write == (lin & ~PAGE_MASK)) || store_noted(v, e, lin, size))
		return entry_host(e, lin);
	uint64_t gpa = translate(v, lin, MMU_WRITE, mode, &ram);
	if (!ram || ram->readonly || watch_page(v, lin))
		return NULL;
	uint64_t off = ram->slot_offset + (gpa - ram->start);
	undo_note(v->mmu->undo, ram->slot->host + off, size);
	if (ram->slot->flags[off / PAGE_SIZE])
		memory_page_written(v->memory, ram->slot, off, size);
	return ram->slot->host + off;
}

uint8_t *mmu_page_pointer(struct vcpu *v, uint64_t lin, enum mmu_access acc, unsigned mode)
{
	const struct tlb_entry *e = entry_of(v, lin, acc, mode);
	const struct mmu_ram *ram;
	if (unlikely(entry_tag(e, acc) != (lin & ~PAGE_MASK))) {
		if (acc == MMU_WRITE && e->write == ((lin & ~PAGE_MASK) | TLB_NOTED))
			return NULL;
		translate(v, lin, acc, mode, &ram);
		if (entry_tag(e, acc) != (lin & ~PAGE_MASK))
			return NULL;
	}
	return entry_host(e, lin);
}

bool mmu_code_is_global(struct vcpu *v, uint64_t lin, uint64_t gpa)
{
	struct mapping m;
	return walk_page(v, lin, MMU_EXEC, MMU_SUPER, false, &m) < 0 && m.global &&
	       mapping_allows(v, &m, MMU_EXEC, MMU_SUPER) && (m.gpa & ~PAGE_MASK) == gpa;
}

uint64_t mmu_translate(struct vcpu *v, uint64_t lin, enum mmu_access acc, unsigned mode)
{
	const struct mmu_ram *ram;
	return translate(v, lin, acc, mode, &ram);
}

unsigned mmu_fetch(struct vcpu *v, uint64_t lin, void *buf, unsigned n, uint64_t *gpa)
{
	const struct mmu_ram *ram;
	n = MIN(n, (unsigned)(PAGE_SIZE - (lin & PAGE_MASK)));
	*gpa = translate(v, lin, MMU_EXEC, v->cpu.cpl == 3 ? MMU_USER : MMU_SUPER, &ram);
	if (ram)
		memcpy(buf, ram->host + (*gpa - ram->start), n);
	else
		memory_read(v->memory, *gpa, buf, n);
	return n;
}

bool mmu_translate_debug(struct vcpu *v, uint64_t lin, uint64_t *gpa)
{
	struct mapping m;
	if (walk_page(v, lin, MMU_READ, MMU_SUPER, false, &m) >= 0)
		return false;
	*gpa = m.gpa;
	return true;
}
