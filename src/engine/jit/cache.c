/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code memory: one memfd mapped twice, readable and writable for the
 * translator, readable and executable for the vCPUs; never both in one view.
 * What blocks run through and what they leave it for now and then (misses, exits
 * not linked yet) lie apart, in chunks of their own, so that the CPU's caches hold
 * the first alone.  Filled from the bottom; when full, everything is dropped at
 * once (block.c).
 */
#include <errno.h>
#include <sys/mman.h>
#include "engine/jit/jit.h"

enum { CHUNK = 512 * KiB };
_Static_assert(CACHE_LEAST >= 2 * CHUNK, "one for each part");

static void *map(int fd, size_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
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
	code_forget(vm);
	return true;
}

void code_forget(struct jit_vm *vm)
{
	vm->nblocks = vm->nexits = 1;
	vm->rec_words = vm->nfar = vm->nmemos = vm->nprofiles = 0;
	vm->hot = (struct code_part) { .at = vm->start, .end = CHUNK };
	vm->cold = (struct code_part) { 0 };
	vm->used = CHUNK;
}

/* A fault for each page of both views costs several times as much; kernels before
 * 5.14 decline. */
static void populate(struct jit_vm *vm, size_t at)
{
	madvise(vm->rw + at, CHUNK, MADV_POPULATE_WRITE);
	madvise((void *)(vm->rx + at), CHUNK, MADV_POPULATE_READ);
}

/* What is left of a chunk is lost: a twentieth. */
static bool part_room(struct jit_vm *vm, struct code_part *p)
{
	if (p->at + PART_ROOM <= p->end)
		return true;
	if (vm->used + CHUNK > vm->size)
		return false;
	p->at = vm->used;
	p->end = vm->used += CHUNK;
	populate(vm, p->at);
	return true;
}

bool code_room(struct jit_vm *vm) { return part_room(vm, &vm->hot) && part_room(vm, &vm->cold); }

size_t code_used(const struct jit_vm *vm)
{
	return vm->used - (vm->hot.end - vm->hot.at) - (vm->cold.end - vm->cold.at);
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
