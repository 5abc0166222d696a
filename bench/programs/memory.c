/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory: a copy sweep, pointer chasing, long linked lists. */
#include <sys/mman.h>

#include "work.h"

static void *pages(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	must(p != MAP_FAILED, "mmap");
	return p;
}

/* The same number of bytes at every size from 4 KiB to 64 MiB. */
static uint64_t copies(unsigned scale)
{
	enum { MAX = 64 << 20 };
	static uint8_t *a, *b;
	if (!a) {
		a = pages(MAX);
		b = pages(MAX);
		for (size_t i = 0; i < MAX; i += 64)
			a[i] = (uint8_t)mix(i);
	}
	uint64_t sum = 0;
	for (size_t size = 4096; size <= MAX; size *= 4)
		for (size_t done = 0; done < (size_t)scale << 20; done += size) {
			memcpy(b, a, size);
			sum += b[done % size & ~63ul] + done;
		}
	return sum;
}

/* A random cycle through buffers of 32 KiB to 64 MiB, the same number of steps each. */
static uint64_t chase(unsigned scale)
{
	enum { MAX = (64 << 20) / 8 };
	static uint64_t *v;
	static size_t built;
	if (!v)
		v = pages(MAX * 8ul);
	uint64_t sum = 0;
	for (size_t n = 4096; n <= MAX; n *= 8) {
		if (n != built)
			for (size_t i = 0; i < n; i++)       /* a full-period generator: one cycle */
				v[i] = (i * 1664525 + 1013904223) % n;
		built = n;
		uint64_t at = 0;
		for (unsigned i = 0; i < scale * 1000; i++)
			at = v[at];
		sum = sum * 31 + at;
	}
	return sum;
}

struct cell { struct cell *next; uint64_t pad[6], value; };

static uint64_t lists(unsigned scale)
{
	enum { N = 1 << 16 };
	static struct cell *c;
	if (!c) {
		c = pages(N * sizeof(*c));
		for (uint64_t i = 0; i < N; i++) {
			c[i].next = &c[(i * 40503 + 12345) % N];
			c[i].value = mix(i);
		}
	}
	uint64_t sum = 0;
	for (unsigned r = 0; r < scale; r++)
		for (struct cell *p = &c[r % N], *end = p; ; ) {
			sum += p->value;
			p = p->next;
			if (p == end || p == c)
				break;
		}
	return sum;
}

static uint64_t fill(unsigned scale)
{
	static uint8_t *a;
	if (!a)
		a = pages(1 << 20);
	uint64_t sum = 0;
	for (unsigned r = 0; r < scale; r++) {
		memset(a, (int)r, 1 << 20);
		for (unsigned i = 0; i < 1 << 20; i += 4096)
			sum += a[i + r % 4096];
	}
	return sum;
}

const struct work memory_work[] = {
	{ "copies", "memory", copies, 256 },
	{ "chase", "memory", chase, 400 },
	{ "lists", "memory", lists, 64 },
	{ "fill", "memory", fill, 1500 },
	{ 0 },
};
