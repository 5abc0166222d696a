/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address spaces of a machine: guest-physical memory and the 64 KiB of I/O
 * ports.  A space is built from regions (RAM, ROM, I/O) with priorities; from
 * them an immutable sorted array of ranges (a view) is computed and swapped
 * atomically whenever a region moves (BAR, PAM, A20, hotplug).  Readers take
 * the view inside an epoch (base/epoch.h), so dispatch needs no lock.
 *
 * Guest RAM is one mapping a slot, fixed GPA to offset (memory/ram.c).
 *
 * Every page of RAM has a flag byte.  Zero means that a store needs no help;
 * else the writer must call memory_page_written() after (CLEAN) or before
 * (CODE) -- all functions here do.  Engines keep store-capable TLB entries only
 * for pages whose flags are zero, and whoever sets a flag must then flush those
 * (memory_flag_pages() does, through on_flags_set).
 */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include <stdatomic.h>
#include "base/error.h"
#include "base/util.h"

#define PAGE_SIZE 4096ull
#define PAGE_MASK 4095ull

struct memory;
struct mem_region;

enum { PAGE_CODE = 1, PAGE_CLEAN = 2 };

struct ram_slot {
	char name[24];
	uint64_t gpa, size;       /* bytes, page-aligned */
	uint8_t *host;            /* mapping in this process */
	int fd;                   /* sealed memfd, or a state file; -1: anonymous */
	int pagemap_fd;
	bool readonly;            /* ROM for the guest: stores are dropped */
	_Atomic uint8_t *flags;   /* one byte a page: PAGE_* */
	_Atomic unsigned logged;  /* a bit for each consumer of its dirty log */
	/* One bit a page and consumer: 1 = written since its last harvest. */
	_Atomic uint64_t *dirty[4];
	bool private_map;         /* a private mapping of a state file, not a memfd */
	struct ram_slot *next;
};
/* Consumers of the dirty log. */
enum { DIRTY_SAVE, DIRTY_DISPLAY, DIRTY_BACKUP, DIRTY_SPARE };

/*
 * I/O regions.  The bus enforces what is declared here: an access is split or
 * widened to [min, max] bytes (powers of two, at most 8; 0 = 1 and 4), aligned
 * to its size; a device never sees another.  `offset` is from the region's
 * base.  Called with the board lock held unless `lockless`.  While a thread is
 * inside such a callback its own accesses (a device's DMA) reach RAM only:
 * devices are never re-entered.
 */
struct io_ops {
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
	void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned size);
	uint8_t min, max;
	bool lockless;
};

/*
 * Bells: stores that only tell a device to look (a virtqueue's doorbell).  An engine that
 * can (kvm: ioeventfd) signals `fd`, an eventfd, instead of having `write` called.
 */
struct mem_bell {
	uint64_t offset;          /* from the region's base */
	unsigned size;            /* 4: only 32-bit stores of `value`; 0: any store there */
	uint32_t value;
	int fd;
};

/* A range of a view: bytes [start, last]. */
struct mem_range {
	uint64_t start, last;
	struct ram_slot *ram;     /* NULL for I/O */
	uint64_t ram_offset;      /* of start within ram->host */
	bool readonly;            /* ROM, or RAM write-protected by PAM */
	const struct io_ops *ops;
	void *opaque;
	uint64_t io_offset;       /* of start within the region */
	const struct mem_bell *bells;     /* the region's, for the thread that builds the view */
	unsigned nbells;
};
struct mem_view { unsigned count; struct mem_range ranges[]; };

struct memory *memory_new(uint64_t last_address);   /* 2^52-1, or 0xffff for ports */
void memory_free(struct memory *m);
/* The lock taken around calls of not-lockless I/O regions. */
void memory_set_lock(struct memory *m, void (*lock)(void *), void (*unlock)(void *), void *opaque);

/* --- building; on the board lock, or before the machine runs ------------- */
/* RAM added from now on is in huge pages, where the host has any. pagemap_fd (not owned):
 * this process's /proc/self/pagemap, or -1. */
void memory_use_huge_pages(struct memory *m, int pagemap_fd);
/* RAM of its own (`offset` says nothing), or (fd >= 0) a private mapping of an
 * existing file from `offset` on: how a state file's RAM section is resumed. */
struct ram_slot *memory_add_ram(struct memory *m, const char *name, uint64_t gpa,
				uint64_t size, int priority, bool readonly,
				int fd, uint64_t offset, struct error *err);
/* RAM that only aliases show (a screen's memory behind a BAR); `gpa` is its name
 * for the engines, where nothing else is and no CPU reaches. */
struct ram_slot *memory_add_hidden(struct memory *m, const char *name, uint64_t gpa, uint64_t size,
				   struct error *err);
struct mem_region *memory_add_io(struct memory *m, const char *name, uint64_t base,
				 uint64_t size, int priority,
				 const struct io_ops *ops, void *opaque);
/* A window onto part of another RAM slot (PAM, SMRAM, the BIOS shadow below 1M). */
struct mem_region *memory_add_alias(struct memory *m, const char *name, uint64_t base,
				    uint64_t size, int priority, bool readonly,
				    struct ram_slot *target, uint64_t offset);
/* An eventfd for a bell, or -1: this engine rings none, or the host gives no more. */
int memory_bell(struct memory *m);
/* Hang them on a region (copied; the descriptors stay the caller's). */
void mem_region_bells(struct memory *m, struct mem_region *r, const struct mem_bell *bells, unsigned n);
/* Move, enable, protect; takes effect before it returns. */
void mem_region_set(struct memory *m, struct mem_region *r, bool enabled, uint64_t base);
void mem_region_readonly(struct memory *m, struct mem_region *r, bool readonly);
void mem_region_del(struct memory *m, struct mem_region *r);
/* Several changes, one new view: begin ... commit. Nests. */
void memory_begin(struct memory *m);
void memory_commit(struct memory *m);
void memory_set_a20(struct memory *m, bool enabled);
uint64_t memory_a20_mask(const struct memory *m);   /* and with every GPA */

struct ram_slot *memory_slots(struct memory *m);    /* list, GPA order */
/* Called after each change of the view; engines flush what they cached. */
void memory_on_change(struct memory *m, void (*fn)(void *opaque), void *opaque);
uint64_t memory_generation(const struct memory *m);

/* --- access; any thread inside an epoch (vCPU and I/O threads always are) - */
/* NULL where nothing answers (reads all ones, writes vanish). The A20 mask has
 * been applied by the caller. Valid until the caller's next quiescent point. */
const struct mem_range *memory_find(struct memory *m, uint64_t gpa);
/* The whole view, under the same rule. */
const struct mem_view *memory_view(struct memory *m);
/* Any length, RAM and I/O mixed; I/O in naturally aligned pieces of <= 8. */
void memory_read(struct memory *m, uint64_t gpa, void *buf, size_t len);
void memory_write(struct memory *m, uint64_t gpa, const void *buf, size_t len);
/* The same for a device's own access on a thread of the monitor: RAM only. What
 * lies elsewhere reads all ones and takes nothing, so that a guest cannot point
 * a device at registers whose lock that device holds. */
void memory_dma_read(struct memory *m, uint64_t gpa, void *buf, size_t len);
void memory_dma_write(struct memory *m, uint64_t gpa, const void *buf, size_t len);
/* One access of 1, 2, 4 or 8 bytes; may cross a page. */
uint64_t memory_load(struct memory *m, uint64_t gpa, unsigned size);
void memory_store(struct memory *m, uint64_t gpa, uint64_t value, unsigned size);

/* Host pointer to [gpa, gpa+len) if all of it is plain RAM in one slot, else
 * NULL (the caller then uses memory_read/write or fails the request). A write
 * pin marks pages dirty and drops translations at unpin. */
const void *mem_pin_read(struct memory *m, uint64_t gpa, size_t len);
void *mem_pin_write(struct memory *m, uint64_t gpa, size_t len);
void mem_unpin_write(struct memory *m, uint64_t gpa, size_t len);

/* The first byte at or after `at` that may differ from zero, or the size: what has never been
 * touched is neither read nor made. */
uint64_t memory_next_data(const struct ram_slot *s, uint64_t at);
/* Give RAM pages back to the host; they read as zero afterwards (balloon). */
void memory_discard(struct memory *m, uint64_t gpa, uint64_t len);

/* --- page flags and the dirty log ---------------------------------------- */
/* After/before a store to pages with flags: records dirty, clears CLEAN, and
 * for CODE calls on_code_write(gpa, len) first. */
void memory_page_written(struct memory *m, struct ram_slot *slot, uint64_t offset, size_t len);
/* Set flags on pages [first, first+count) of a slot, then on_flags_set. */
void memory_flag_pages(struct memory *m, struct ram_slot *slot, uint64_t first,
		       uint64_t count, uint8_t flags);
void memory_unflag_page(struct ram_slot *slot, uint64_t page, uint8_t flags);
/* Engine hooks. on_flags_set must return only when no vCPU holds a store-capable
 * TLB entry for the pages. */
struct memory_hooks {
	void (*on_code_write)(void *opaque, uint64_t gpa, size_t len);
	void (*on_flags_set)(void *opaque, struct ram_slot *slot, uint64_t first, uint64_t count);
	void *opaque;
	/* For engines whose stores nobody here sees (kvm): `logged` of the slot has changed
	 * between none and some; and before a harvest, call memory_page_written() for
	 * each page of the slot that vCPUs have stored to. May be NULL. */
	void (*log_dirty)(void *opaque, const struct ram_slot *slot);
	void (*collect_dirty)(void *opaque, struct ram_slot *slot);
	bool rings;               /* it signals the bells that it finds in the view */
};
void memory_set_hooks(struct memory *m, const struct memory_hooks *hooks);
/* Start/stop logging a slot for a consumer; harvest copies and clears its bitmap
 * (bits = size/4096, rounded up to 64) and re-arms the pages. */
void memory_dirty_start(struct memory *m, struct ram_slot *slot, int consumer);
void memory_dirty_stop(struct memory *m, struct ram_slot *slot, int consumer);
void memory_dirty_harvest(struct memory *m, struct ram_slot *slot, int consumer, uint64_t *bitmap);
/* Is a harvest cheap, and allowed with the board lock held? A translator has to stop all
 * vCPUs for it, and one of them may wait for that lock. */
bool memory_dirty_cheap(const struct memory *m);

#endif
