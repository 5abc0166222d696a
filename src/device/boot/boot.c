/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all kernel formats share; see boot.h. */
#include "device/boot/boot.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "device/board.h"
#include "machine/machine.h"

#define KERNEL_MAX (512 * MiB)

/* --- files ------------------------------------------------------------------ */
static bool file_size(int fd, const char *what, const char *path, uint64_t max, uint64_t *size,
		      struct error *err)
{
	struct stat st;
	if (fstat(fd, &st))
		return error_set(err, errno, "cannot read %s '%s'", what, path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, 0, "%s '%s' is not a regular file", what, path);
	if (!st.st_size)
		return error_set(err, 0, "%s '%s' is empty", what, path);
	if ((uint64_t)st.st_size > max)
		return error_set(err, 0, "%s '%s' is larger than %llu MiB", what, path,
				 (unsigned long long)(max / MiB));
	*size = (uint64_t)st.st_size;
	return true;
}

static uint8_t *read_kernel(const struct machine_config *c, const char *path, size_t *size,
			    struct error *err)
{
	uint64_t n;
	if (!file_size(c->kernel_fd, "kernel", path, KERNEL_MAX, &n, err))
		return NULL;
	auto_free uint8_t *data = xmalloc(n);
	if (!fd_pread_full(c->kernel_fd, data, n, 0))
		return error_null(err, errno, "cannot read kernel '%s'", path);
	*size = n;
	return move_ptr(data);
}

bool boot_truncated(const struct boot *b, struct error *err)
{
	return error_set(err, 0, "kernel '%s' is damaged or cut short: its headers point beyond "
			 "its %zu bytes", b->path, b->size);
}

/* --- guest memory ------------------------------------------------------------ */
enum { POPULATE_FROM = 64 * KiB };

/* All pages at once: a fault for each costs more than to fill it. Where the host cannot, they come one by one. */
static void populate(void *to, size_t len)
{
	uintptr_t from = ALIGN_DOWN((uintptr_t)to, (uintptr_t)PAGE_SIZE);

	madvise((void *)from, ALIGN_UP((uintptr_t)to + len, (uintptr_t)PAGE_SIZE) - from, MADV_POPULATE_WRITE);
}

bool boot_write(struct boot *b, uint64_t gpa, const void *p, size_t len, struct error *err)
{
	struct memory *mem = b->machine->memory;
	if (!len)
		return true;
	void *to = gpa + len > gpa ? mem_pin_write(mem, gpa, len) : NULL;
	if (!to)
		return error_set(err, 0, "kernel '%s' wants memory at 0x%llx, where the machine's "
				 "%llu MiB do not reach: give it more with --memory", b->path,
				 (unsigned long long)gpa,
				 (unsigned long long)(b->machine->config->memory / MiB));
	if (len >= POPULATE_FROM)
		populate(to, len);
	memcpy(to, p, len);
	mem_unpin_write(mem, gpa, len);
	return true;
}

bool boot_zero(struct boot *b, uint64_t gpa, uint64_t len, struct error *err)
{
	static const uint8_t zero[PAGE_SIZE];
	while (len) {
		size_t n = MIN(len, PAGE_SIZE - (gpa & PAGE_MASK));
		if (!boot_write(b, gpa, zero, n, err))
			return false;
		gpa += n;
		len -= n;
	}
	return true;
}

static bool read_initrd(struct boot *b, struct error *err)
{
	const struct machine_config *c = b->machine->config;
	void *to = mem_pin_write(b->machine->memory, b->initrd, b->initrd_size);
	if (!to)
		return error_set(err, 0, "the initrd does not fit in memory");
	bool ok = fd_pread_full(c->initrd_fd, to, b->initrd_size, 0);
	int errnum = errno;
	mem_unpin_write(b->machine->memory, b->initrd, b->initrd_size);
	return ok || error_set(err, errnum, "cannot read initrd '%s'", c->initrd_path);
}

bool boot_load_initrd(struct boot *b, uint64_t limit, struct error *err)
{
	const struct machine_config *c = b->machine->config;
	uint64_t top = MIN(limit + 1, b->machine->ram_low->size);
	if (c->initrd_fd < 0)
		return true;
	if (!file_size(c->initrd_fd, "initrd", c->initrd_path, BOARD_LOW_RAM_MAX,
		       &b->initrd_size, err))
		return false;
	uint64_t floor = MAX(b->kernel_end, (uint64_t)BOOT_HIGH_MIN);
	if (top < floor || top - floor < b->initrd_size + PAGE_SIZE)
		return error_set(err, 0, "initrd '%s' (%llu KiB) does not fit above the kernel: "
				 "give the machine more with --memory", c->initrd_path,
				 (unsigned long long)(b->initrd_size / KiB));
	b->initrd = ALIGN_DOWN(top - b->initrd_size, PAGE_SIZE);
	return read_initrd(b, err);
}

bool boot_write_cmdline(struct boot *b, uint64_t max, struct error *err)
{
	size_t n = strlen(b->cmdline);
	max = MIN(max, (uint64_t)BOOT_CMDLINE_MAX - 1);
	if (n > max)
		return error_set(err, 0, "--append has %zu bytes; this kernel takes %llu", n,
				 (unsigned long long)max);
	return boot_write(b, BOOT_CMDLINE, b->cmdline, n + 1, err);
}

unsigned boot_memory_map(struct machine *m, struct boot_range r[BOOT_RANGES])
{
	unsigned n = 0;
	r[n++] = (struct boot_range){ 0, BOOT_LOW_MAX, 1 };
	r[n++] = (struct boot_range){ BOOT_LOW_MAX, 0xa0000 - BOOT_LOW_MAX, 2 };
	r[n++] = (struct boot_range){ 0xe0000, 0x20000, 2 };
	if (m->ram_low->size > BOOT_HIGH_MIN)
		r[n++] = (struct boot_range){ BOOT_HIGH_MIN, m->ram_low->size - BOOT_HIGH_MIN, 1 };
	if (board_has_pci(m))
		r[n++] = (struct boot_range){ BOARD_ECAM, 256 * MiB, 2 };
	if (m->ram_high)
		r[n++] = (struct boot_range){ BOARD_HIGH_RAM, m->ram_high->size, 1 };
	return n;
}

/* --- entry ------------------------------------------------------------------- */
enum { SEL_CODE = 0x10, SEL_DATA = 0x18, SEL_TSS = 0x20, ATTR_DATA = 0xc093 };

static bool write_gdt(struct boot *b, bool long_mode, struct error *err)
{
	uint8_t gdt[5 * 8] = { 0 };
	le64_put(gdt + SEL_CODE, long_mode ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull);
	le64_put(gdt + SEL_DATA, 0x00cf93000000ffffull);
	le64_put(gdt + SEL_TSS, 0x00008b0000000067ull);
	b->machine->vcpus[0]->cpu.gdtr = (struct x86_dtr){ BOOT_GDT, sizeof(gdt) - 1 };
	return boot_write(b, BOOT_GDT, gdt, sizeof(gdt), err);
}

static void flat_segments(struct x86_cpu *c, uint32_t code_attr)
{
	static const uint8_t data[] = { ES, SS, DS, FS, GS };
	c->seg[CS] = (struct x86_seg){ SEL_CODE, code_attr, UINT32_MAX, 0 };
	for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
		c->seg[data[i]] = (struct x86_seg){ SEL_DATA, ATTR_DATA, UINT32_MAX, 0 };
	c->tr = (struct x86_seg){ SEL_TSS, 0x8b, 0x67, 0 };
	c->idtr = (struct x86_dtr){ 0, 0 };
	c->cpl = 0;
	c->rflags = FL_1;
}

bool boot_enter_32(struct boot *b, uint64_t entry, uint64_t eax, uint64_t ebx, uint64_t esi,
		   struct error *err)
{
	struct x86_cpu *c = &b->machine->vcpus[0]->cpu;
	flat_segments(c, 0xc09b);
	c->cr0 = CR0_PE | CR0_ET;
	memset(c->gpr, 0, sizeof(c->gpr));
	c->gpr[RAX] = eax;
	c->gpr[RBX] = ebx;
	c->gpr[RSI] = esi;
	c->rip = entry;
	return write_gdt(b, false, err);
}

/* The low 4 GiB in 2 MiB pages. */
static bool write_page_tables(struct boot *b, struct error *err)
{
	enum { PRESENT_WRITE = 3, LARGE = 0x80 };
	uint8_t page[PAGE_SIZE] = { 0 };
	le64_put(page, (BOOT_PAGE_TABLES + PAGE_SIZE) | PRESENT_WRITE);
	if (!boot_write(b, BOOT_PAGE_TABLES, page, sizeof(page), err))
		return false;
	for (unsigned i = 0; i < 4; i++)
		le64_put(page + i * 8, (BOOT_PAGE_TABLES + (i + 2) * PAGE_SIZE) | PRESENT_WRITE);
	if (!boot_write(b, BOOT_PAGE_TABLES + PAGE_SIZE, page, sizeof(page), err))
		return false;
	for (uint64_t i = 0; i < 4; i++) {
		for (uint64_t k = 0; k < 512; k++)
			le64_put(page + k * 8, (i * 512 + k) << 21 | LARGE | PRESENT_WRITE);
		if (!boot_write(b, BOOT_PAGE_TABLES + (i + 2) * PAGE_SIZE, page, sizeof(page), err))
			return false;
	}
	return true;
}

bool boot_enter_64(struct boot *b, uint64_t entry, uint64_t rsi, struct error *err)
{
	struct x86_cpu *c = &b->machine->vcpus[0]->cpu;
	flat_segments(c, 0xa09b);
	c->cr4 = CR4_PAE;
	c->cr3 = BOOT_PAGE_TABLES;
	c->efer = EFER_LME | EFER_LMA;
	c->cr0 = CR0_PE | CR0_ET | CR0_PG;
	memset(c->gpr, 0, sizeof(c->gpr));
	c->gpr[RSI] = rsi;
	c->rip = entry;
	return write_gdt(b, true, err) && write_page_tables(b, err);
}

/* --- which format -------------------------------------------------------------- */
static bool load(struct boot *b, struct error *err)
{
	if (bzimage_detect(b))
		return bzimage_load(b, err);
	if (multiboot_detect(b))
		return multiboot_load(b, err);
	if (elf_detect(b))
		return pvh_load(b, err);
	return error_set(err, 0, "'%s' is not a kernel: it is neither a bzImage nor a PVH or "
			 "multiboot ELF file", b->path);
}

bool boot_kernel(struct machine *m, struct error *err)
{
	const struct machine_config *c = m->config;
	if (c->kernel_fd < 0)
		return error_set(err, 0, "there is no kernel to start: give one with --kernel FILE");
	struct boot b = { .machine = m, .path = c->kernel_path ? c->kernel_path : "kernel",
			  .cmdline = c->append ? c->append : "" };
	auto_free uint8_t *image = read_kernel(c, b.path, &b.size, err);
	b.image = image;
	return image && load(&b, err);
}
