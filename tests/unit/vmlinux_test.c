/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernels that are unpacked from their bzImage: packed in each way, where they are
 * placed, what of them is relocated, and which are left to their own unpacker. */
#include "board_fixture.h"
#include "bzimage.h"

#include <elf.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "device/boot/boot.h"

#define LINK_BASE 0xffffffff81000000ull        /* of address 16 MiB */
enum { PREFERRED = 16 * MiB, ROOM = 2 * MiB, ALIGN = 2 * MiB, ENTRY = 0x40, WORD_64 = 0x100, WORD_32 = 0x110, WORD_NEGATED = 0x118,
       OWN_ENTRY = PREFERRED + 0x200, KASLR = 2, PACKED_MOST = 0x8000 };

/* As `vmlinux.bin.all` of a kernel's build: an ELF file, then what is to be relocated. */
struct kernel { Elf64_Ehdr eh; Elf64_Phdr ph; uint8_t text[0x200]; Elf64_Shdr sh; uint32_t relocs[6]; };

struct packed { uint8_t bytes[PACKED_MOST]; size_t n; };

static struct error err;

static void make_kernel(struct kernel *k)
{
	*k = (struct kernel){
		.eh = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 }, .e_type = ET_EXEC, .e_machine = EM_X86_64,
			.e_version = 1, .e_entry = PREFERRED + ENTRY, .e_phoff = offsetof(struct kernel, ph),
			.e_shoff = offsetof(struct kernel, sh), .e_ehsize = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 1, .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = 1 },
		.ph = { .p_type = PT_LOAD, .p_offset = offsetof(struct kernel, text), .p_vaddr = LINK_BASE, .p_paddr = PREFERRED,
			.p_filesz = sizeof(k->text), .p_memsz = 0x3000 },
		.relocs = { 0, (uint32_t)LINK_BASE + WORD_64, 0, (uint32_t)LINK_BASE + WORD_NEGATED, 0, (uint32_t)LINK_BASE + WORD_32 },
	};
	memset(k->text, 0x90, sizeof(k->text));
	le64_put(k->text + WORD_64, LINK_BASE + 0x1234);
	le32_put(k->text + WORD_32, (uint32_t)LINK_BASE + 0x5678);
	le32_put(k->text + WORD_NEGATED, 0x9abc);
}

static void append_size(struct packed *p, size_t n)
{
	le32_put(p->bytes + p->n, (uint32_t)n);
	p->n += 4;
}

static void pack_xz(struct packed *p, const void *data, size_t n)
{
	p->n = 0;
	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, data, n, p->bytes, &p->n, PACKED_MOST - 4), LZMA_OK);
	append_size(p, n);
}

static void pack_zstd(struct packed *p, const void *data, size_t n)
{
	p->n = ZSTD_compress(p->bytes, PACKED_MOST - 4, data, n, 3);
	assert_false(ZSTD_isError(p->n));
	append_size(p, n);
}

static void pack_gzip(struct packed *p, const void *data, size_t n)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)n, .next_out = p->bytes, .avail_out = PACKED_MOST };
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	p->n = z.total_out;
	deflateEnd(&z);
}

static size_t make_bzimage(uint8_t *k, const struct packed *p)
{
	put_bzimage_header(k, ALIGN, PREFERRED, ROOM);
	le32_put(k + 0x248, 0x10);           /* from the protected-mode part on */
	le32_put(k + 0x24c, (uint32_t)p->n);
	memset(k + 0x400, 0xf4, 0x10);
	memcpy(k + 0x410, p->bytes, p->n);
	return 0x410 + p->n;
}

static struct machine *boot(const struct packed *p, const char *cmdline)
{
	uint8_t image[0x410 + PACKED_MOST];
	struct machine *m = fixture_new(64 * MiB);

	fx.config.kernel_fd = fixture_file(image, make_bzimage(image, p));
	fx.config.kernel_path = (char *)"k";
	fx.config.append = (char *)(uintptr_t)cmdline;
	fx.config.initrd_fd = fixture_file("initrd!", 7);
	fx.config.initrd_path = (char *)"i";
	if (!boot_kernel(m, &err))
		fail_msg("%s", err.text);
	return m;
}

static void done(struct machine *m)
{
	close(fx.config.kernel_fd);
	close(fx.config.initrd_fd);
	fixture_free(m);
}

static bool says_kaslr(void) { return mmio_in(BOOT_PARAMS + 0x211) & KASLR; }

/* What lies where it was entered, and the distance between its addresses and those it was linked for. */
static uint64_t expect_kernel(struct machine *m)
{
	struct x86_cpu *c = &fx.vcpu.cpu;
	uint64_t at = c->rip - ENTRY, initrd = mmio_in(BOOT_PARAMS + 0x218);

	assert_true(cpu_code64(c));
	assert_int_equal(c->gpr[RSI], BOOT_PARAMS);
	assert_int_equal(at % ALIGN, 0);
	assert_true(at >= PREFERRED && at + ROOM <= initrd);
	assert_int_equal(mmio_in(BOOT_PARAMS + 0x214), at);
	assert_memory_equal(mem_pin_read(m->memory, initrd, 7), "initrd!", 7);
	uint64_t by = memory_load(m->memory, at + WORD_64, 8) - (LINK_BASE + 0x1234);
	assert_int_equal(by % ALIGN, 0);
	assert_true(by <= GiB - PREFERRED - ROOM);
	assert_int_equal(mmio_in(at + WORD_32), (uint32_t)(LINK_BASE + 0x5678 + by));
	assert_int_equal(mmio_in(at + WORD_NEGATED), (uint32_t)(0x9abc - by));
	assert_int_equal(mmio_in(at), 0x90909090);
	return by;
}

static void (*const pack[])(struct packed *p, const void *data, size_t n) = { pack_xz, pack_zstd, pack_gzip };

static void unpacked(void **unused)
{
	struct kernel k;
	struct packed p;
	make_kernel(&k);
	for (unsigned i = 0; i < ARRAY_SIZE(pack); i++) {
		pack[i](&p, &k, sizeof(k));
		struct machine *m = boot(&p, "quiet");
		expect_kernel(m);
		assert_true(says_kaslr());
		done(m);
	}
}

/* Twelve times the same of 20 addresses and 504 distances: less likely than a broken CPU. */
static void places_differ(void **unused)
{
	uint64_t at = 0, by = 0;
	bool moved = false, displaced = false;
	struct kernel k;
	struct packed p;
	make_kernel(&k);
	pack_gzip(&p, &k, sizeof(k));
	for (unsigned i = 0; i < 12; i++) {
		struct machine *m = boot(&p, "quiet");
		uint64_t now = expect_kernel(m);
		displaced |= i && now != by;
		moved |= i && fx.vcpu.cpu.rip != at;
		by = now;
		at = fx.vcpu.cpu.rip;
		done(m);
	}
	assert_true(moved);
	assert_true(displaced);
}

static void expect_linked(const struct kernel *k, const char *cmdline)
{
	struct packed p;
	pack_gzip(&p, k, sizeof(*k));
	struct machine *m = boot(&p, cmdline);
	assert_int_equal(expect_kernel(m), 0);
	assert_int_equal(fx.vcpu.cpu.rip, PREFERRED + ENTRY);
	assert_false(says_kaslr());
	done(m);
}

static void where_it_was_linked(void **unused)
{
	struct kernel k;
	make_kernel(&k);
	expect_linked(&k, "quiet nokaslr");
	memset(k.relocs, 0, sizeof(k.relocs));
	k.relocs[0] = k.relocs[1] = 0;       /* lists, and nothing in them */
	k.eh.e_shnum = 1;
	k.eh.e_shentsize = sizeof(k.sh) + 4 * 4;
	expect_linked(&k, "quiet");
	k.eh.e_shentsize = sizeof(k.sh) + 4 * 6;      /* none */
	expect_linked(&k, "quiet");
}

/* Of two lists the second is the one that is not negated (Linux 6.15). */
static void two_lists(void **unused)
{
	struct kernel k;
	struct packed p;
	make_kernel(&k);
	k.eh.e_shentsize += 4 * 2;
	k.relocs[2] = 0;
	k.relocs[3] = (uint32_t)LINK_BASE + WORD_64;
	k.relocs[4] = 0;
	k.relocs[5] = (uint32_t)LINK_BASE + WORD_32;
	pack_zstd(&p, &k, sizeof(k));
	struct machine *m = boot(&p, "");
	uint64_t at = fx.vcpu.cpu.rip - ENTRY, by = memory_load(m->memory, at + WORD_64, 8) - (LINK_BASE + 0x1234);
	assert_int_equal(mmio_in(at + WORD_32), (uint32_t)(LINK_BASE + 0x5678 + by));
	assert_int_equal(mmio_in(at + WORD_NEGATED), 0x9abc);
	done(m);
}

static void expect_own(const struct packed *p, const char *cmdline)
{
	struct machine *m = boot(p, cmdline);
	assert_int_equal(fx.vcpu.cpu.rip, OWN_ENTRY);
	assert_int_equal(mmio_in(PREFERRED), 0xf4f4f4f4);
	assert_memory_equal(mem_pin_read(m->memory, PREFERRED + 0x10, p->n), p->bytes, p->n);
	assert_false(says_kaslr());
	done(m);
}

static void expect_own_kernel(const struct kernel *k)
{
	struct packed p;
	pack_gzip(&p, k, sizeof(*k));
	expect_own(&p, "quiet");
}

static void left_to_itself(void **unused)
{
	struct kernel k;
	make_kernel(&k);
	for (unsigned i = 0; i < ARRAY_SIZE(pack); i++) {
		struct packed p;
		pack[i](&p, &k, sizeof(k));
		expect_own(&p, "quiet mem=60M");
		expect_own(&p, "memmap=1M!32M");
		p.bytes[p.n / 2] ^= 0x40;
		expect_own(&p, "quiet");
		pack[i](&p, &k, sizeof(k));
		le32_put(p.bytes + p.n - 4, ROOM + 1);
		expect_own(&p, "quiet");
		p.bytes[0] ^= 1;
		expect_own(&p, "quiet");
	}
}

static void strange_kernels(void **unused)
{
	const struct { size_t at; uint64_t value; unsigned size; } changes[] = {
		{ offsetof(struct kernel, relocs[0]), 1, 4 },                                 /* no list begins */
		{ offsetof(struct kernel, relocs[1]), 0, 4 },                                 /* one list too many */
		{ offsetof(struct kernel, relocs[5]), (uint32_t)LINK_BASE + ROOM - 7, 4 },    /* outside */
		{ offsetof(struct kernel, relocs[3]), (uint32_t)LINK_BASE - 4, 4 },
		{ offsetof(struct kernel, relocs[3]), 0x1000, 4 },
		{ offsetof(struct kernel, ph.p_paddr), PREFERRED - 1, 8 },
		{ offsetof(struct kernel, ph.p_paddr), PREFERRED + ROOM, 8 },
		{ offsetof(struct kernel, ph.p_memsz), ROOM + 1, 8 },
		{ offsetof(struct kernel, ph.p_memsz), UINT64_MAX, 8 },
		{ offsetof(struct kernel, ph.p_filesz), 0x2000, 8 },
		{ offsetof(struct kernel, ph.p_type), PT_NOTE, 4 },
		{ offsetof(struct kernel, eh.e_entry), PREFERRED + ROOM, 8 },
		{ offsetof(struct kernel, eh.e_entry), PREFERRED - 1, 8 },
		{ offsetof(struct kernel, eh.e_shoff), UINT64_MAX - 8, 8 },
		{ offsetof(struct kernel, eh.e_shoff), 0, 8 },
		{ offsetof(struct kernel, eh.e_shnum), 1000, 2 },
		{ offsetof(struct kernel, eh.e_machine), EM_386, 2 },
		{ 0, 0, 4 },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		struct kernel k;
		make_kernel(&k);
		memcpy((uint8_t *)&k + changes[i].at, &changes[i].value, changes[i].size);
		expect_own_kernel(&k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unpacked),
		cmocka_unit_test(places_differ),
		cmocka_unit_test(where_it_was_linked),
		cmocka_unit_test(two_lists),
		cmocka_unit_test(left_to_itself),
		cmocka_unit_test(strange_kernels),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
