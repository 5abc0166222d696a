/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Regions and the view computed from them.  The view is immutable and sorted;
 * building one is quadratic in the number of regions, which are a few dozen
 * and change rarely (a BAR is programmed, PAM is switched).
 */
#include "memory/view.h"

#include <stdio.h>
#include <sys/eventfd.h>

#include "base/epoch.h"

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static const struct mem_region *winner(const struct memory *m, uint64_t at)
{
	const struct mem_region *best = NULL;
	for (const struct mem_region *r = m->regions; r; r = r->next)
		if (r->enabled && at >= r->base && at - r->base < r->size &&
		    (!best || r->priority > best->priority))
			best = r;
	return best;
}

static struct mem_range range_of(const struct mem_region *r, uint64_t start, uint64_t last)
{
	uint64_t off = start - r->base;
	return (struct mem_range){
		.start = start, .last = last, .ram = r->ram,
		.ram_offset = r->ram_offset + off,
		.readonly = r->readonly || (r->ram && r->ram->readonly),
		.ops = r->ops, .opaque = r->opaque, .io_offset = off, .bells = r->bells, .nbells = r->nbells,
	};
}

/* The points where the answer may change: starts and ends of regions. */
static unsigned edges_of(const struct memory *m, uint64_t **out)
{
	unsigned n = 0;
	for (const struct mem_region *r = m->regions; r; r = r->next)
		n += 2;
	uint64_t *e = xcalloc(n + 1, sizeof(*e));
	n = 0;
	for (const struct mem_region *r = m->regions; r; r = r->next)
		if (r->enabled) {
			e[n++] = r->base;
			e[n++] = r->base + r->size;
		}
	qsort(e, n, sizeof(*e), compare_u64);
	*out = e;
	return n;
}

static struct mem_view *build(const struct memory *m)
{
	auto_free uint64_t *e = NULL;
	unsigned n = edges_of(m, &e);
	struct mem_view *v = xcalloc(1, sizeof(*v) + n * sizeof(v->ranges[0]));
	const struct mem_region *previous = NULL;
	for (unsigned i = 0; i + 1 < n; i++) {
		if (e[i] == e[i + 1])
			continue;
		const struct mem_region *r = winner(m, e[i]);
		if (r && r == previous)
			v->ranges[v->count - 1].last = e[i + 1] - 1;
		else if (r)
			v->ranges[v->count++] = range_of(r, e[i], e[i + 1] - 1);
		previous = r;
	}
	return v;
}

/* requires: m->lock */
static void publish(struct memory *m)
{
	struct mem_view *old = atomic_exchange(&m->view, build(m));
	atomic_fetch_add(&m->generation, 1);
	if (old)
		epoch_defer(free, old);
	for (struct change_hook *h = m->hooks_change; h; h = h->next)
		h->fn(h->opaque);
}

void memory_begin(struct memory *m)
{
	pthread_mutex_lock(&m->lock);
	m->depth++;
}

void memory_commit(struct memory *m)
{
	if (--m->depth == 0)
		publish(m);
	pthread_mutex_unlock(&m->lock);
}

struct memory *memory_new(uint64_t last_address)
{
	struct memory *m = xnew(struct memory);
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&m->lock, &a);
	pthread_mutexattr_destroy(&a);
	m->last = last_address;
	m->a20_mask = ~0ull;
	m->view = build(m);
	return m;
}

static void region_free(struct mem_region *r)
{
	free(r->bells);
	free(r);
}

void memory_free(struct memory *m)
{
	if (!m)
		return;
	for (struct mem_region *r = m->regions, *next; r; r = next) {
		next = r->next;
		region_free(r);
	}
	for (struct ram_slot *s = m->slots, *next; s; s = next) {
		next = s->next;
		ram_slot_free(s);
	}
	for (struct change_hook *h = m->hooks_change, *next; h; h = next) {
		next = h->next;
		free(h);
	}
	free(m->view);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static struct mem_region *region_add(struct memory *m, const char *name, uint64_t base,
				     uint64_t size, int priority)
{
	struct mem_region *r = xnew(struct mem_region);
	snprintf(r->name, sizeof(r->name), "%s", name);
	r->base = base;
	r->size = size;
	r->priority = priority;
	r->enabled = true;
	r->next = m->regions;
	m->regions = r;
	return r;
}

static void slot_insert(struct memory *m, struct ram_slot *s)
{
	struct ram_slot **p = &m->slots;
	while (*p && (*p)->gpa < s->gpa)
		p = &(*p)->next;
	s->next = *p;
	*p = s;
}

struct ram_slot *memory_add_ram(struct memory *m, const char *name, uint64_t gpa,
				uint64_t size, int priority, bool readonly,
				int fd, uint64_t offset, struct error *err)
{
	struct ram_slot *s = ram_slot_new(m, name, gpa, size, readonly, fd, offset, err);
	if (!s)
		return NULL;
	memory_begin(m);
	region_add(m, name, gpa, size, priority)->ram = s;
	slot_insert(m, s);
	memory_commit(m);
	return s;
}

struct ram_slot *memory_add_hidden(struct memory *m, const char *name, uint64_t gpa, uint64_t size,
				   struct error *err)
{
	struct ram_slot *s = ram_slot_new(m, name, gpa, size, false, -1, 0, err);
	if (!s)
		return NULL;
	memory_begin(m);
	slot_insert(m, s);
	memory_commit(m);
	return s;
}

struct mem_region *memory_add_io(struct memory *m, const char *name, uint64_t base,
				 uint64_t size, int priority,
				 const struct io_ops *ops, void *opaque)
{
	memory_begin(m);
	struct mem_region *r = region_add(m, name, base, size, priority);
	r->ops = ops;
	r->opaque = opaque;
	memory_commit(m);
	return r;
}

int memory_bell(struct memory *m)
{
	return m->hooks.rings ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
}

void mem_region_bells(struct memory *m, struct mem_region *r, const struct mem_bell *bells, unsigned n)
{
	memory_begin(m);
	free(r->bells);
	r->bells = xcalloc(n, sizeof(*bells));
	memcpy(r->bells, bells, n * sizeof(*bells));
	r->nbells = n;
	memory_commit(m);
}

struct mem_region *memory_add_alias(struct memory *m, const char *name, uint64_t base,
				    uint64_t size, int priority, bool readonly,
				    struct ram_slot *target, uint64_t offset)
{
	memory_begin(m);
	struct mem_region *r = region_add(m, name, base, size, priority);
	r->ram = target;
	r->ram_offset = offset;
	r->readonly = readonly;
	memory_commit(m);
	return r;
}

void mem_region_set(struct memory *m, struct mem_region *r, bool enabled, uint64_t base)
{
	if (r->enabled == enabled && r->base == base)
		return;
	memory_begin(m);
	/* A BAR programmed to wrap around the end of the space decodes nothing. */
	r->enabled = enabled && base <= m->last && r->size - 1 <= m->last - base;
	r->base = base;
	memory_commit(m);
}

void mem_region_readonly(struct memory *m, struct mem_region *r, bool readonly)
{
	if (r->readonly == readonly)
		return;
	memory_begin(m);
	r->readonly = readonly;
	memory_commit(m);
}

void mem_region_del(struct memory *m, struct mem_region *r)
{
	memory_begin(m);
	for (struct mem_region **p = &m->regions; *p; p = &(*p)->next)
		if (*p == r) {
			*p = r->next;
			break;
		}
	memory_commit(m);
	region_free(r);
}

void memory_set_a20(struct memory *m, bool enabled)
{
	uint64_t mask = enabled ? ~0ull : ~BIT(20);
	if (atomic_exchange(&m->a20_mask, mask) == mask)
		return;
	memory_begin(m);
	memory_commit(m);     /* engines drop translations made with the old mask */
}

uint64_t memory_a20_mask(const struct memory *m) { return m->a20_mask; }
struct ram_slot *memory_slots(struct memory *m) { return m->slots; }
uint64_t memory_generation(const struct memory *m) { return m->generation; }

void memory_on_change(struct memory *m, void (*fn)(void *), void *opaque)
{
	struct change_hook *h = xnew(struct change_hook);
	h->fn = fn;
	h->opaque = opaque;
	memory_begin(m);
	h->next = m->hooks_change;
	m->hooks_change = h;
	memory_commit(m);
}

void memory_set_lock(struct memory *m, void (*lock)(void *), void (*unlock)(void *), void *opaque)
{
	m->io_lock = lock;
	m->io_unlock = unlock;
	m->io_lock_opaque = opaque;
}

void memory_set_hooks(struct memory *m, const struct memory_hooks *hooks)
{
	m->hooks = *hooks;
}
