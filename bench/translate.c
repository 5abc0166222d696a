/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What it costs to translate: the code of a program for x86-64 that is linked for its address (a
 * compiler's cc1, python3) is put into a guest's RAM and translated block by block, without being run.
 *     build/bench/translate PROGRAM [ROUNDS [COLD]]
 * From the entry and behind each block, along jumps and calls, newest first; then whatever is
 * left.  Each round begins with an empty cache.  Prints what a block and an instruction take in the mean.  COLD: so many KiB
 * of other memory are read before each block, in time that does not count.
 * Under `valgrind --tool=callgrind --toggle-collect=translate` it tells where instructions go.
 */
#include <elf.h>
#include <stdio.h>

#include "base/util.h"
#include "engine/jit/jit.h"
#include "engine/jit/memo.h"
#include "lib/rig.h"

enum { RAM = 256 * MiB, KEY = 3 | KEY_SSE | KEY_AVX | KEY_USER, MOST = 1 << 22, BLOCKS_WANTED = 100000, INTERRUPTED = 50000 /* ns */ };

struct sum { uint64_t ns, timed, blocks, insns, bytes; };

static struct rig rig;
static struct jit_vm *vm;
static uint64_t low, high;                      /* of the code */
static uint64_t todo[MOST];
static unsigned ntodo;
static volatile uint8_t *other;
static size_t cold;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static const uint8_t *load(const char *path)
{
	FILE *f = fopen(path, "rb");
	Elf64_Ehdr e;
	Elf64_Phdr p;

	if (!f || fread(&e, sizeof(e), 1, f) != 1 || memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 || e.e_type != ET_EXEC)
		die(path);
	for (unsigned n = 0; n < e.e_phnum; n++) {
		if (fseek(f, (long)(e.e_phoff + n * sizeof(p)), SEEK_SET) || fread(&p, sizeof(p), 1, f) != 1)
			die(path);
		if (p.p_type != PT_LOAD || !(p.p_flags & PF_X) || p.p_vaddr + p.p_filesz > RAM)
			continue;
		low = p.p_vaddr;
		high = p.p_vaddr + p.p_filesz;
		if (fseek(f, (long)p.p_offset, SEEK_SET) || fread(rig_ram(&rig, low), 1, p.p_filesz, f) != p.p_filesz)
			die(path);
	}
	fclose(f);
	todo[ntodo++] = e.e_entry;
	return rig_ram(&rig, 0);
}

static void later(uint64_t rip)
{
	if (rip >= low && rip < high && ntodo < MOST)
		todo[ntodo++] = rip;
}

/* Where control goes behind a block. */
static void follow(const struct jit_block *b)
{
	const struct x86_insn *insns = jit_of(rig.v)->insns;
	uint64_t base = block_base(b), end = base + b->off;

	for (unsigned n = 0; n < b->count; n++) {
		end += insns[n].len;
		if (insns[n].nops && insns[n].o[0].kind == OPK_REL)
			later(end + insns[n].imm);
	}
	later(end);
}

static void chill(void)
{
	for (size_t n = 0; n < cold; n += 64)
		other[n]++;
}

static void one(const uint8_t *ram, uint64_t rip, struct sum *s)
{
	uint64_t page = rip & ~(uint64_t)PAGE_MASK;
	struct code c = { .page = page, .page2 = PAGE_NONE, .base = page, .bytes = ram + page, .hi = PAGE_SIZE, .end = PAGE_SIZE };
	unsigned off = rip & PAGE_MASK;

	if (block_find(vm, &c, off, KEY) || (off >= OVERRUN_FROM && code_overruns(rig.v, &c, off, KEY)))
		return;
	chill();
	uint64_t start = monotonic_ns();
	struct jit_block *b = translate(rig.v, &c, off, KEY);
	uint64_t ns = monotonic_ns() - start;
	if (!b) {                                    /* its segment is full */
		blocks_evict(rig.v, vm);
		return later(rip);
	}
	s->blocks++;
	s->insns += b->count;
	s->bytes += vm->hot.at - b->jump;
	if (ns < INTERRUPTED) {
		s->ns += ns;
		s->timed++;
	}
	follow(b);
}

static void one_round(const uint8_t *ram)
{
	uint64_t outside = jit_of(rig.v)->stats[STAT_cold_bytes];
	uint64_t entry = todo[0];
	struct sum s = { 0 };

	for (ntodo = 1; ntodo && s.blocks < BLOCKS_WANTED; )
		one(ram, todo[--ntodo], &s);
	for (uint64_t rip = low; rip < high && s.blocks < BLOCKS_WANTED; rip += 4096 + 64) {
		later(rip);
		while (ntodo && s.blocks < BLOCKS_WANTED)
			one(ram, todo[--ntodo], &s);
	}
	todo[0] = entry;
	outside = jit_of(rig.v)->stats[STAT_cold_bytes] - outside;
	double ns = (double)s.ns / (double)s.timed, insns = (double)s.insns;
	printf("%llu blocks of %.2f instructions: %.0f ns a block, %.0f an instruction; %.2f bytes an instruction and %.2f out of line\n",
	       (unsigned long long)s.blocks, insns / (double)s.blocks, ns, ns * (double)s.blocks / insns, (double)s.bytes / insns,
	       (double)outside / insns);
}

int main(int argc, char **argv)
{
	static const struct machine_config config = { .engine_options = (char *)"cache=256M" };
	unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 1;

	cold = argc > 3 ? (size_t)atoi(argv[3]) * KiB : 0;
	if (argc < 2 || (cold && !(other = malloc(cold))))
		return fprintf(stderr, "usage: translate PROGRAM [ROUNDS [COLD]]\n"), 2;
	rig_config = &config;
	rig_create(&rig, &engine_jit, "abyme-v3.1", RAM);
	vm = jit_vm(rig.v);
	const uint8_t *ram = load(argv[1]);
	for (unsigned n = 0; n < rounds; n++) {
		one_round(ram);
		for (unsigned k = 0; k < vm->nsegments; k++)
			blocks_evict(rig.v, vm);
	}
	rig_destroy(&rig);
	return 0;
}
