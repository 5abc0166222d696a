/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel loaders, on small made-up kernels: what the guest finds at entry, and
 * what each kind of broken file is told. */
#include "board_fixture.h"
#include "bzimage.h"

#include <elf.h>

#include "device/acpi/acpi.h"
#include "device/boot/boot.h"

static struct error err;

static struct machine *machine_with(const void *kernel, size_t n)
{
	struct machine *m = fixture_new(64 * MiB);
	fx.config.kernel_fd = fixture_file(kernel, n);
	fx.config.kernel_path = (char *)"k";
	err.text[0] = 0;
	return m;
}

static void done(struct machine *m)
{
	close(fx.config.kernel_fd);
	if (fx.config.initrd_fd >= 0)
		close(fx.config.initrd_fd);
	fixture_free(m);
}

static void expect_error(const void *kernel, size_t n, const char *part)
{
	struct machine *m = machine_with(kernel, n);
	assert_false(boot_kernel(m, &err));
	if (!strstr(err.text, part))
		fail_msg("'%s' does not say '%s'", err.text, part);
	done(m);
}

/* --- bzImage ------------------------------------------------------------------- */
enum { BZ_SIZE = BZ_HEAD + 0x1000 };

static void make_bzimage(uint8_t k[BZ_SIZE], bool long_mode)
{
	memset(k, 0x90, BZ_SIZE);
	put_bzimage_header(k, 0x200000, 0x1000000, 0x100000);
	le32_put(k + 0x1f4, 0x1000 / 16);
	k[0x236] = long_mode;
}

static uint32_t param(unsigned at) { return mmio_in(BOOT_PARAMS + at); }

static void bzimage_64(void **unused)
{
	uint8_t k[BZ_SIZE];
	make_bzimage(k, true);
	struct machine *m = machine_with(k, sizeof(k));
	fx.config.append = (char *)"console=ttyS0";
	fx.config.initrd_fd = fixture_file("initrd!", 7);
	fx.config.initrd_path = (char *)"i";
	assert_true(boot_kernel(m, &err));
	struct x86_cpu *c = &fx.vcpu.cpu;
	assert_int_equal(c->rip, 0x1000200);
	assert_int_equal(c->gpr[RSI], BOOT_PARAMS);
	assert_true(cpu_code64(c));
	assert_int_equal(c->cr0 & (CR0_PE | CR0_PG), CR0_PE | CR0_PG);
	/* page tables: the last 2 MiB page below 4 GiB */
	uint64_t pdpt = memory_load(m->memory, c->cr3, 8) & ~PAGE_MASK;
	uint64_t pd = memory_load(m->memory, pdpt + 24, 8) & ~PAGE_MASK;
	assert_int_equal(memory_load(m->memory, pd + 511 * 8, 8), 0xffe00083);
	assert_int_equal(mmio_in(0x1000000), 0x90909090);
	assert_string_equal(mem_pin_read(m->memory, param(0x228), 14), "console=ttyS0");
	assert_memory_equal(mem_pin_read(m->memory, param(0x218), 7), "initrd!", 7);
	assert_int_equal(param(0x21c), 7);
	assert_int_equal(param(0x70), ACPI_RSDP);
	assert_int_equal(param(0x1e8) & 0xff, 5);
	assert_int_equal(param(0x2d0 + 3 * 20), 0x100000);
	assert_int_equal(param(0x2d0 + 3 * 20 + 8), 63 * MiB);
	done(m);
}

static void bzimage_32_and_small_memory(void **unused)
{
	uint8_t k[BZ_SIZE];
	make_bzimage(k, false);
	le64_put(k + 0x258, 0x8000000);      /* prefers more than there is */
	struct machine *m = machine_with(k, sizeof(k));
	assert_true(boot_kernel(m, &err));
	struct x86_cpu *c = &fx.vcpu.cpu;
	assert_int_equal(c->rip, 0x200000);
	assert_int_equal(c->seg[CS].sel, 0x10);
	assert_int_equal(c->cr0 & (CR0_PE | CR0_PG), CR0_PE);
	assert_int_equal(mmio_in(0x200000), 0x90909090);
	done(m);
}

static void bzimage_broken(void **unused)
{
	uint8_t k[BZ_SIZE];
	make_bzimage(k, true);
	expect_error(k, 0x800, "cut short");
	le32_put(k + 0x260, 0x70000000);
	expect_error(k, sizeof(k), "--memory");
	make_bzimage(k, true);
	le16_put(k + 0x206, 0x200);
	expect_error(k, sizeof(k), "too old");
	make_bzimage(k, true);
	struct machine *m = machine_with(k, sizeof(k));
	char line[200];
	memset(line, 'x', sizeof(line));
	line[199] = 0;
	fx.config.append = line;
	assert_false(boot_kernel(m, &err));
	assert_non_null(strstr(err.text, "--append"));
	done(m);
}

/* --- ELF ------------------------------------------------------------------------ */
struct elf64 { Elf64_Ehdr eh; Elf64_Phdr ph[2]; uint8_t note[24]; uint8_t text[64]; };

static void make_pvh(struct elf64 *e)
{
	*e = (struct elf64){
		.eh = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
			.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = 1,
			.e_entry = 0x200000, .e_phoff = sizeof(Elf64_Ehdr),
			.e_ehsize = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2 },
		.ph = { { .p_type = PT_LOAD, .p_offset = offsetof(struct elf64, text),
			  .p_paddr = 0x200000, .p_filesz = 64, .p_memsz = 0x3000 },
			{ .p_type = PT_NOTE, .p_offset = offsetof(struct elf64, note),
			  .p_filesz = 20, .p_memsz = 20, .p_align = 4 } },
	};
	le32_put(e->note, 4);
	le32_put(e->note + 4, 4);
	le32_put(e->note + 8, 18);
	memcpy(e->note + 12, "Xen", 4);
	le32_put(e->note + 16, 0x200010);
	memset(e->text, 0x90, sizeof(e->text));
}

static void pvh(void **unused)
{
	struct elf64 e;
	make_pvh(&e);
	struct machine *m = machine_with(&e, sizeof(e));
	fx.config.append = (char *)"quiet";
	fx.config.initrd_fd = fixture_file("rd", 2);
	fx.config.initrd_path = (char *)"i";
	mmio_out(0x202000, 0xdeadbeef);      /* .bss of an earlier run */
	assert_true(boot_kernel(m, &err));
	struct x86_cpu *c = &fx.vcpu.cpu;
	assert_int_equal(c->rip, 0x200010);
	uint64_t info = c->gpr[RBX];
	assert_int_equal(mmio_in(info), 0x336ec578);
	assert_int_equal(mmio_in(info + 12), 1);
	assert_string_equal(mem_pin_read(m->memory, mmio_in(info + 24), 6), "quiet");
	assert_memory_equal(mem_pin_read(m->memory, mmio_in(mmio_in(info + 16)), 2), "rd", 2);
	assert_int_equal(mmio_in(0x202000), 0);
	done(m);
}

static void elf_broken(void **unused)
{
	struct elf64 e;
	make_pvh(&e);
	e.ph[0].p_filesz = 0x10000;
	e.ph[0].p_memsz = 0x10000;
	expect_error(&e, sizeof(e), "cut short");
	make_pvh(&e);
	e.ph[0].p_paddr = 0x70000000;
	expect_error(&e, sizeof(e), "--memory");
	make_pvh(&e);
	e.ph[0].p_memsz = UINT64_MAX / 2;
	expect_error(&e, sizeof(e), "--memory");
	make_pvh(&e);
	e.ph[1].p_type = PT_NULL;
	expect_error(&e, sizeof(e), "PVH");
	make_pvh(&e);
	le32_put(e.note, 0xfffffff0);
	expect_error(&e, sizeof(e), "PVH");
	make_pvh(&e);
	e.eh.e_machine = EM_AARCH64;
	expect_error(&e, sizeof(e), "another processor");
	make_pvh(&e);
	expect_error(&e, 60, "cut short");
	expect_error("#!/bin/sh\n", 10, "not a kernel");
	expect_error("", 0, "empty");
}

/* --- multiboot -------------------------------------------------------------------- */
static void multiboot_flat(void **unused)
{
	uint8_t k[128] = { 0 };
	le32_put(k + 8, 0x1badb002);
	le32_put(k + 12, 0x10003);
	le32_put(k + 16, 0u - 0x1badb002 - 0x10003);
	le32_put(k + 20, 0x100008);          /* header's address */
	le32_put(k + 24, 0x100000);
	le32_put(k + 28, 0);
	le32_put(k + 32, 0x101000);
	le32_put(k + 36, 0x100040);
	struct machine *m = machine_with(k, sizeof(k));
	fx.config.append = (char *)"a b";
	assert_true(boot_kernel(m, &err));
	struct x86_cpu *c = &fx.vcpu.cpu;
	assert_int_equal(c->rip, 0x100040);
	assert_int_equal(c->gpr[RAX], 0x2badb002);
	assert_int_equal(mmio_in(0x100008), 0x1badb002);
	assert_string_equal(mem_pin_read(m->memory, mmio_in((uint32_t)c->gpr[RBX] + 16), 6), "k a b");
	assert_int_equal(mmio_in((uint32_t)c->gpr[RBX]) & 0x40, 0x40);
	done(m);
	le32_put(k + 24, 0x200000);          /* load address above the header */
	expect_error(k, sizeof(k), "cut short");
	le32_put(k + 24, 0x100000);
	le32_put(k + 32, 0xf0000000);
	expect_error(k, sizeof(k), "--memory");
	le32_put(k + 12, 0x10013);
	le32_put(k + 16, 0u - 0x1badb002 - 0x10013);
	expect_error(k, sizeof(k), "features");
}

static void initrd_too_large(void **unused)
{
	struct elf64 e;
	make_pvh(&e);
	struct machine *m = machine_with(&e, sizeof(e));
	fx.config.initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	fx.config.initrd_path = (char *)"i";
	assert_int_equal(ftruncate(fx.config.initrd_fd, 64 * MiB), 0);
	assert_false(boot_kernel(m, &err));
	assert_non_null(strstr(err.text, "--memory"));
	done(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bzimage_64),
		cmocka_unit_test(bzimage_32_and_small_memory),
		cmocka_unit_test(bzimage_broken),
		cmocka_unit_test(pvh),
		cmocka_unit_test(elf_broken),
		cmocka_unit_test(multiboot_flat),
		cmocka_unit_test(initrd_too_large),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
