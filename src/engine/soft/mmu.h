/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software MMU shared by the interpreter and the translator: page walk
 * (SDM 3A ch. 4), a TLB for each address space, and guest-linear access.
 * A fault unwinds: the functions that "may fault" set up the exception in
 * v->cpu.event and siglongjmp to v->unwind; they do that before they change
 * anything.  All functions are called on the vCPU's own thread, or while it is
 * stopped.
 *
 *   tlb.c     entries and flushes       walk.c   page walk
 *   access.c  loads, stores, blocks     watch.c  watched data
 *   undo.c    what stores replace
 * All but watch.c are compiled for general registers only, so that translations
 * need not save vectors around a plain miss.
 */
#ifndef ENGINE_SOFT_MMU_H
#define ENGINE_SOFT_MMU_H

#include "engine/engine.h"

enum mmu_access { MMU_READ, MMU_WRITE, MMU_EXEC };

/*
 * One TLB entry, 32 bytes, found by bits 12.. of the linear address. Each tag is
 * the linear address of the page, or TLB_NONE where that access needs the slow
 * path (no permission, MMIO, page flags, ROM, watched, not accessed/dirty yet).
 * host address = linear + addend.
 */
struct tlb_entry {
	uint64_t read, write, exec;
	int64_t addend;
};
#define TLB_NONE UINT64_MAX
#define TLB_NOTED 1ull

/* User and supervisor accesses have tables of their own: U/S, SMEP and SMAP are
 * decided when an entry is made. MMU_SUPER_AC: explicit accesses at CPL < 3 while
 * CR4.SMAP and EFLAGS.AC are set. MMU_USER_AC: CPL 3 with alignment checking on;
 * its table stays empty, so every access comes where it is checked. */
enum { MMU_SUPER, MMU_USER, MMU_SUPER_AC, MMU_USER_AC, MMU_MODES };

/* The tables of one address space (PCID); how many are kept per vCPU. The JIT
 * addresses the tables inline: geometry may change only together with it. */
enum { TLB_BITS = 14, TLB_SIZE = 1 << TLB_BITS, MMU_SPACES = 6, TLB_LOG = 16384 };
/* Pages in which what ends in page 0 may begin: a string of 32 KiB (jit/t_string.c). */
enum { TLB_BEFORE_ZERO = 16 };
/* The entry for stores is this far behind the one for loads. */
enum { TLB_STORES = MMU_MODES * TLB_SIZE };
static inline unsigned tlb_index(uint64_t lin) { return lin >> 12 & (TLB_SIZE - 1); }

enum { LARGE_FILTER = 16384 };
struct tlb_space {
	/* For loads and fetches, by mode; then for stores: apart, so that copies
	 * between aliasing addresses do not throw each other out. Memory is taken as
	 * entries are made: those never made are zero, which nothing matches: only what
	 * ends in page 0 is compared with that, and the entries of page 0 and of those
	 * before it, where such may begin, are not left so. */
	struct tlb_entry tlb[2 * MMU_MODES][TLB_SIZE];
	/* Which entries were made since the last flush, so that a flush costs
	 * what the fills did: [0] non-global, [1] global; over TLB_LOG: all. */
	unsigned logged[2];
	uint32_t log[2][TLB_LOG];     /* index into tlb[0] */
	uint64_t large[LARGE_FILTER / 64];       /* filter: 4 MiB regions (hashed) mapped by large pages */
	uint64_t huge[4];            /* filter: 1 GiB regions (hashed) mapped by 1 GiB pages */
	uint16_t pcid;
	uint64_t used;               /* for replacement */
	uint64_t code_version;       /* as below, for the non-global pages of this space */
	uint8_t global[MMU_MODES][TLB_SIZE];  /* of the entries for loads and fetches */
};

/* The piece of RAM that page tables were last seen in. */
struct mmu_ram {
	uint64_t start, size;
	uint8_t *host;
	struct ram_slot *slot;
	uint64_t slot_offset;        /* of start */
	bool readonly;
};

/* The bytes that stores replaced, so that they can be put back: verify mode. It takes
 * whatever a block stores: a string instruction up to half a MiB before it has to yield. */
struct undo_log {
	unsigned n, bytes;
	unsigned joined_from;        /* stores before this one are not grown any more */
	unsigned store_room, byte_room;
	struct undo_store { uint8_t *host; uint32_t size, at; } *store;
	uint8_t *old;                /* what was there, as store[].at */
};
void undo_add(struct undo_log *u, uint8_t *host, unsigned size);
void undo_free(struct undo_log *u);
static inline void undo_note(struct undo_log *u, uint8_t *host, unsigned size)
{
	if (unlikely(u))
		undo_add(u, host, size);
}

/* Pages of RAM by host address, hashed: see soft_mmu.stored. */
enum { STORED_FILTER = 262144 };

/* The pages of a region of 4 MiB are neighbours in it. */
enum { CODE_FILTER = 65536 };
static inline unsigned code_hash(uint64_t lin) { return (unsigned)(lin >> 12 ^ lin >> 28) & (CODE_FILTER - 1); }

enum { FAR_FILTER = 4096 };
static inline unsigned far_hash(uint64_t lin) { return (unsigned)(lin >> 21 ^ lin >> 33) & (FAR_FILTER - 1); }

/*
 * What translated code remembers of TLB entries, one for each place in
 * it that found its pages alike (jit/memo.c): an access that lies in `page` may use
 * `addend`. They are copies: whatever drops or takes rights from any
 * entry, or changes the space, drops them all (memos_drop).
 */
struct page_memo {
	uint64_t page;               /* or `none` of the log: nothing is remembered */
	int64_t addend;
};
struct memo_log {
	uint64_t *count;             /* NULL: the engine keeps none */
	struct page_memo **memo;     /* those that remember something, each once */
	uint64_t none;               /* a page that no access lies in */
};
static inline void memos_drop(struct memo_log *log)
{
	if (!log->count)
		return;
	for (uint64_t i = 0; i < *log->count; i++)
		log->memo[i]->page = log->none;
	*log->count = 0;
}

struct soft_mmu {
	struct memo_log memos;
	struct undo_log *undo;               /* not NULL: stores are noted; no entry's write tag
					      * matches, those that could have TLB_NOTED set */
	struct tlb_entry *data, *code;       /* tables for explicit accesses and fetches now */
	unsigned mode;                       /* MMU_*: of explicit data accesses now */
	struct tlb_space *space;             /* of the current PCID */
	struct tlb_space *spaces[MMU_SPACES];/* made at first use */
	/* What depends on mappings of code (jump caches) holds while this stands. It
	 * goes up with each flush of global entries, but for a single page only if
	 * its bit is set in the filter. */
	uint64_t code_version;
	uint64_t code_filter[CODE_FILTER / 64];
	/* The same for links that the engine's vCPUs share, to global pages in the upper
	 * half, with a filter of 2 MiB regions that belongs to the engine. NULL: none. */
	uint64_t far_version;
	const uint64_t *far_filter;
	struct mmu_ram ram[2];
	unsigned ram_next;
	uint64_t generation;                 /* of the memory's view when ram[] was filled */
	uint64_t phys_reserved;              /* physical address bits the model lacks */
	uint64_t clock;                      /* of space replacement */
	uint64_t slow, walks;                /* counters */
	/* Pages that entries for stores have been made of since all entries were last
	 * looked at: the others have none, nor memos. */
	uint64_t stored[STORED_FILTER / 64];
	uint64_t flushes;                    /* grows with every flush, of a page too, and switch of space */
};

/* Choose the tables for data and code, from CPL, CR4.SMAP, EFLAGS.AC. Called by
 * the engines after each system instruction and delivered event. */
void mmu_update_mode(struct vcpu *v);

/* --- guest-linear access; may fault. `mode`: v->mmu->mode for explicit accesses;
 * implicit ones (descriptor tables, TSS, stacks of interrupts) pass MMU_SUPER. */
uint64_t mmu_load(struct vcpu *v, uint64_t lin, unsigned size, unsigned mode);
void mmu_store(struct vcpu *v, uint64_t lin, uint64_t value, unsigned size, unsigned mode);
void mmu_read(struct vcpu *v, uint64_t lin, void *buf, unsigned n, unsigned mode);
void mmu_write(struct vcpu *v, uint64_t lin, const void *buf, unsigned n, unsigned mode);
/* Check that n <= 4096 bytes could be written (or read), faulting now if not;
 * nothing but accessed and dirty bits changes. */
void mmu_probe(struct vcpu *v, uint64_t lin, unsigned n, enum mmu_access acc, unsigned mode);
/* #AC where it is on (all of these do this for 2, 4, 8 and 10 bytes). */
void mmu_check_alignment(struct vcpu *v, uint64_t lin, unsigned align, unsigned mode);
/* Host pointer for a locked read-modify-write within one page of RAM (dirty and
 * code marking done for it), or NULL: MMIO, watched or page-crossing: use the
 * exclusive section. Write permission is checked. */
void *mmu_rmw_pointer(struct vcpu *v, uint64_t lin, unsigned size, unsigned mode);
/* Host pointer to lin if loads (stores) anywhere in its page need no help, else
 * NULL. May fault. For string instructions and the like. */
uint8_t *mmu_page_pointer(struct vcpu *v, uint64_t lin, enum mmu_access acc, unsigned mode);
/* Does this page of code lie at gpa by a global mapping, as memory has it now? */
bool mmu_code_is_global(struct vcpu *v, uint64_t lin, uint64_t gpa);
/* Code fetch: copies up to n bytes from lin within one page; returns how many;
 * *gpa is that of the first byte. May fault as an instruction fetch. */
unsigned mmu_fetch(struct vcpu *v, uint64_t lin, void *buf, unsigned n, uint64_t *gpa);

/* Translate for an access, faulting if it is not allowed; enters the TLB where
 * possible. Returns the guest-physical address (A20 applied). */
uint64_t mmu_translate(struct vcpu *v, uint64_t lin, enum mmu_access acc, unsigned mode);
/* Translate without faulting or touching A/D bits: for gdb, and for the host
 * side. false if not mapped. */
bool mmu_translate_debug(struct vcpu *v, uint64_t lin, uint64_t *gpa);

/* --- flushes of this vCPU's TLB */
void mmu_flush_all(struct vcpu *v);                     /* CR0/CR4/EFER changes, INVPCID 2, REQ_TLB,
                                                         * IA32_APIC_BASE, DR7, A20 */
void mmu_flush_nonglobal(struct vcpu *v);               /* of the current space */
void mmu_flush_page(struct vcpu *v, uint64_t lin);      /* INVLPG: all spaces, global too */
void mmu_flush_pcid(struct vcpu *v, unsigned pcid);     /* INVPCID 1 */
/* MOV CR3: stores it (without bit 63) and switches or flushes as PCIDE and bit 63
 * say; PDPTEs are the caller's. */
void mmu_set_cr3(struct vcpu *v, uint64_t cr3);
/* No store-capable entries for these RAM pages on THIS vCPU any more. */
void mmu_drop_writable(struct vcpu *v, struct ram_slot *slot, uint64_t first, uint64_t count);

bool mmu_create(struct vcpu *v, struct error *err);
void mmu_destroy(struct vcpu *v);

#endif
