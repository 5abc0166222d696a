/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tracepoints: a ring per thread, found again through a lock-free list so that
 * a crash handler can dump them.  Rings are never freed: a thread that ends
 * leaves its last records readable.
 */
#include "base/trace.h"

#include <stdio.h>
#include <sys/syscall.h>

#include "base/util.h"

enum { RING_RECORDS = 8192 };

struct trace_record { uint64_t ns; uint32_t id, tid; uint64_t arg[4]; };
struct trace_ring {
	struct trace_ring *next;
	uint64_t head;
	uint32_t tid;
	struct trace_record rec[RING_RECORDS];
};

uint8_t trace_on[TRACE_COUNT];
static struct trace_ring *rings;
static __thread struct trace_ring *my_ring;

static const char *const names[] = {
#define TRACE(name, fmt) #name,
#include "base/trace.def"
#undef TRACE
};
static const char *const formats[] = {
#define TRACE(name, fmt) fmt,
#include "base/trace.def"
#undef TRACE
};

static struct trace_ring *ring_of_thread(void)
{
	if (my_ring)
		return my_ring;
	struct trace_ring *r = xcalloc(1, sizeof(*r));
	r->tid = (uint32_t)syscall(SYS_gettid);
	r->next = __atomic_load_n(&rings, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&rings, &r->next, r, true,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	return my_ring = r;
}

void trace_record(enum trace_id id, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct trace_ring *r = ring_of_thread();
	struct trace_record *rec = &r->rec[r->head % RING_RECORDS];
	*rec = (struct trace_record){
		.ns = monotonic_ns(),
		.id = id, .tid = r->tid, .arg = { a, b, c, d },
	};
	__atomic_store_n(&r->head, r->head + 1, __ATOMIC_RELEASE);
}

static bool enable_one(const char *name, size_t n)
{
	bool found = false;
	for (unsigned i = 0; i < TRACE_COUNT; i++) {
		if ((n == 3 && !memcmp(name, "all", 3)) ||
		    (strlen(names[i]) == n && !memcmp(names[i], name, n))) {
			trace_on[i] = 1;
			found = true;
		}
	}
	return found;
}

bool trace_enable(const char *list, struct error *err)
{
	for (const char *p = list; *p; ) {
		size_t n = strcspn(p, ",");
		if (!enable_one(p, n)) {
			char all[400] = "";
			for (unsigned i = 0; i < TRACE_COUNT; i++) {
				strncat(all, " ", sizeof(all) - strlen(all) - 1);
				strncat(all, names[i], sizeof(all) - strlen(all) - 1);
			}
			return error_set(err, 0, "unknown trace event '%.*s'; known are: all%s",
					 (int)n, p, all);
		}
		p += n + (p[n] == ',');
	}
	return true;
}

void trace_dump(int fd)
{
	struct trace_ring *r = __atomic_load_n(&rings, __ATOMIC_ACQUIRE);
	for (; r; r = r->next) {
		uint64_t head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
		uint64_t i = head > RING_RECORDS ? head - RING_RECORDS : 0;
		for (; i < head; i++) {
			const struct trace_record *t = &r->rec[i % RING_RECORDS];
			dprintf(fd, "%lu.%09lu %u %s ", t->ns / 1000000000u,
				t->ns % 1000000000u, t->tid, names[t->id]);
			dprintf(fd, formats[t->id], t->arg[0], t->arg[1], t->arg[2], t->arg[3]);
			dprintf(fd, "\n");
		}
	}
}
