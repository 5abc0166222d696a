/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside memory/: regions, and the view that is computed from them. */
#ifndef MEMORY_VIEW_H
#define MEMORY_VIEW_H

#include <pthread.h>
#include "memory/memory.h"

struct mem_region {
	char name[24];
	uint64_t base, size;
	int priority;
	bool enabled, readonly;
	struct ram_slot *ram;         /* NULL: I/O */
	uint64_t ram_offset;
	const struct io_ops *ops;
	void *opaque;
	struct mem_bell *bells;
	unsigned nbells;
	struct mem_region *next;
};

struct change_hook { void (*fn)(void *); void *opaque; struct change_hook *next; };

struct memory {
	_Atomic(struct mem_view *) view;
	_Atomic uint64_t generation, a20_mask;
	uint64_t last;
	pthread_mutex_t lock;         /* the builder's: regions, view, depth */
	unsigned depth;
	struct mem_region *regions;
	struct ram_slot *slots;       /* GPA order */
	struct change_hook *hooks_change;
	struct memory_hooks hooks;
	void (*io_lock)(void *), (*io_unlock)(void *);
	void *io_lock_opaque;
	bool huge_pages;
	int pagemap_fd;
};

/* memory/ram.c */
struct ram_slot *ram_slot_new(const struct memory *m, const char *name, uint64_t gpa, uint64_t size,
			      bool readonly, int fd, uint64_t offset, struct error *err);
void ram_slot_free(struct ram_slot *s);
void ram_slot_discard(struct ram_slot *s, uint64_t off, uint64_t n);

#endif
