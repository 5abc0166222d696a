/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code memory: one memfd mapped twice, readable and writable for the
 * translator, readable and executable for the vCPUs; never both in one view.
 * What blocks run through and what they leave it for now and then (misses, exits
 * not linked yet) lie apart, the first from the begin of a segment upwards, the others
 * chunk by chunk from its end downwards, so that the CPU's caches hold the first alone,
 * and huge pages can.  Filled segment by segment; when the last is full, the first is
 * emptied (block.c) and filled again, and so on: what has been translated lately
 * stays.
 */
#include <errno.h>
#include <sys/mman.h>
#include "engine/jit/jit.h"

enum { CHUNK = 512 * KiB, HUGE_PAGE = 2 * MiB };
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25                /* Linux 6.1 */
#endif
_Static_assert(CACHE_LEAST >= 2 * CHUNK, "one for each part");

/* Aligned, so that huge pages fit. */
static void *map(int fd, size_t size, int prot)
{
	uint8_t *room = mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return NULL;
	size_t before = -(uintptr_t)room % HUGE_PAGE;
	void *p = mmap(room + before, size, prot, MAP_SHARED | MAP_FIXED, fd, 0);
	if (p == MAP_FAILED) {
		munmap(room, size + HUGE_PAGE);
		return NULL;
	}
	if (before)
		munmap(room, before);
	munmap(room + before + size, HUGE_PAGE - before);
	return p;
}

/* Tables that only grow: address space now, memory when touched. */
static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

bool code_create(struct jit_vm *vm, size_t size, struct error *err)
{
	auto_close int fd = memfd_create("abyme-code", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return error_set(err, errno, "cannot make %zu MiB of code cache", size >> 20);
	vm->size = size;
	vm->rw = map(fd, size, PROT_READ | PROT_WRITE);
	vm->rx = map(fd, size, PROT_READ | PROT_EXEC);
	if (!vm->rw || !vm->rx)
		return error_set(err, errno, "cannot map code memory as executable "
				 "(is a security policy such as SELinux execmem in the way?)");
	vm->blocks = reserve(BLOCKS_MAX * sizeof(*vm->blocks));
	vm->exits = reserve(EXIT_MAX * sizeof(*vm->exits));
	vm->recs = reserve(REC_WORDS * sizeof(*vm->recs));
	vm->far = reserve(EXIT_MAX * sizeof(*vm->far));
	if (!vm->blocks || !vm->exits || !vm->recs || !vm->far)
		return error_set(err, errno, "cannot reserve the translator's tables");
	vm->nsegments = (unsigned)MIN(size / (2 * CHUNK), (size_t)SEGMENTS);
	return true;
}

size_t segment_at(const struct jit_vm *vm, unsigned segment)
{
	return vm->size / CHUNK / vm->nsegments * CHUNK * segment;
}

/* Numbers are handed out as the bytes are: each segment has a share of its own. Never 0. */
static uint32_t share(const struct jit_vm *vm, unsigned segment, unsigned total)
{
	return MAX(total / vm->nsegments * segment, 1u);
}

uint32_t segment_blocks(const struct jit_vm *vm, unsigned segment) { return share(vm, segment, BLOCKS_MAX); }

uint32_t segment_exits(const struct jit_vm *vm, unsigned segment) { return share(vm, segment, EXIT_MAX); }

/* A fault for each page of both views costs several times as much; kernels before
 * 5.14 decline. A compiler runs through more code than the CPU's TLB knows small pages. A huge
 * page is made around one small one: of none Linux makes none, and many would be copied. */
static void populate(struct jit_vm *vm, size_t at, size_t bytes)
{
	if (bytes >= HUGE_PAGE) {
		madvise(vm->rw + at, PAGE_SIZE, MADV_POPULATE_WRITE);
		madvise(vm->rw + at, bytes, MADV_COLLAPSE);
		madvise((void *)(vm->rx + at), bytes, MADV_COLLAPSE);
	}
	madvise(vm->rw + at, bytes, MADV_POPULATE_WRITE);
	madvise((void *)(vm->rx + at), bytes, MADV_POPULATE_READ);
}

/* A huge page, if one fits and a chunk is left for the other part. */
static bool hot_room(struct jit_vm *vm)
{
	bool huge = vm->used % HUGE_PAGE == 0 && vm->used + HUGE_PAGE + CHUNK <= vm->limit;
	size_t bytes = huge ? HUGE_PAGE : CHUNK;

	if (vm->hot.at + PART_ROOM <= vm->hot.end)
		return true;
	if (vm->used + bytes > vm->limit)
		return false;
	populate(vm, vm->used, bytes);
	vm->hot.end = vm->used += bytes;
	return true;
}

/* What is left of a chunk is lost: a twentieth. */
static bool cold_room(struct jit_vm *vm)
{
	if (vm->cold.at + PART_ROOM <= vm->cold.end)
		return true;
	if (vm->used + CHUNK > vm->limit)
		return false;
	vm->limit -= CHUNK;
	vm->cold = (struct code_part) { .at = vm->limit, .end = vm->limit + CHUNK };
	populate(vm, vm->limit, CHUNK);
	return true;
}

bool code_room(struct jit_vm *vm) { return hot_room(vm) && cold_room(vm); }

void code_begin(struct jit_vm *vm, unsigned segment)
{
	vm->segment = segment;
	vm->segments[segment].memos = vm->nmemos;
	vm->nblocks = segment_blocks(vm, segment);
	vm->blocks_end = segment_blocks(vm, segment + 1);
	vm->nexits = segment_exits(vm, segment);
	vm->exits_end = segment_exits(vm, segment + 1);
	vm->rec_words = share(vm, segment, REC_WORDS);
	vm->recs_end = share(vm, segment + 1, REC_WORDS);
	vm->used = segment_at(vm, segment);
	vm->limit = segment_at(vm, segment + 1);
	vm->hot = (struct code_part) { .at = segment ? vm->used : vm->start, .end = vm->used };
	vm->cold = (struct code_part) { 0 };
}

static size_t bytes_now(const struct jit_vm *vm)
{
	size_t cold = segment_at(vm, vm->segment + 1) - vm->limit - (vm->cold.end - vm->cold.at);

	return vm->hot.at - segment_at(vm, vm->segment) + cold;
}

void code_next(struct jit_vm *vm)
{
	unsigned next = (vm->segment + 1) % vm->nsegments;

	vm->segments[vm->segment].bytes = bytes_now(vm);
	code_begin(vm, next);
	vm->memos_freed = vm->segments[(next + 1) % vm->nsegments].memos;
}

size_t code_used(const struct jit_vm *vm)
{
	size_t used = bytes_now(vm);

	for (unsigned n = 0; n < vm->nsegments; n++)
		if (n != vm->segment)
			used += vm->segments[n].bytes;
	return used;
}

void code_destroy(struct jit_vm *vm)
{
	if (vm->rw)
		munmap(vm->rw, vm->size);
	if (vm->rx)
		munmap((void *)vm->rx, vm->size);
	if (vm->blocks)
		munmap(vm->blocks, BLOCKS_MAX * sizeof(*vm->blocks));
	if (vm->exits)
		munmap(vm->exits, EXIT_MAX * sizeof(*vm->exits));
	if (vm->recs)
		munmap(vm->recs, REC_WORDS * sizeof(*vm->recs));
	if (vm->far)
		munmap(vm->far, EXIT_MAX * sizeof(*vm->far));
}
