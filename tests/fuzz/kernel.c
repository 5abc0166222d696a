/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel files are hostile: damaged bzImage, ELF and multiboot headers. */
#include "board_fixture.h"

#include "device/boot/boot.h"
#include "lib/fuzz.h"

static size_t sample_bzimage(uint8_t *k)
{
	memset(k, 0, 0x600);
	k[0x1f1] = 1;
	le32_put(k + 0x1f4, 0x200 / 16);
	le16_put(k + 0x1fe, 0xaa55);
	le16_put(k + 0x200, 0x6aeb);
	memcpy(k + 0x202, "HdrS", 4);
	le16_put(k + 0x206, 0x20f);
	k[0x211] = k[0x234] = k[0x236] = 1;
	le32_put(k + 0x230, 0x200000);
	le64_put(k + 0x258, 0x200000);
	le32_put(k + 0x260, 0x1000);
	return 0x600;
}

static size_t sample_elf(uint8_t *k)
{
	memset(k, 0, 0x400);
	memcpy(k, "\177ELF\2\1\1", 7);
	le16_put(k + 16, 2);
	le16_put(k + 18, 62);
	le64_put(k + 32, 64);
	le16_put(k + 54, 56);
	le16_put(k + 56, 2);
	le32_put(k + 64, 1);                 /* PT_LOAD */
	le64_put(k + 72, 0x200);
	le64_put(k + 88, 0x200000);
	le64_put(k + 96, 0x100);
	le64_put(k + 104, 0x1000);
	le32_put(k + 120, 4);                /* PT_NOTE */
	le64_put(k + 128, 0x300);
	le64_put(k + 152, 20);
	le32_put(k + 0x300, 4);
	le32_put(k + 0x304, 4);
	le32_put(k + 0x308, 18);
	memcpy(k + 0x30c, "Xen", 4);
	le32_put(k + 0x310, 0x200000);
	return 0x400;
}

/* Packed by zstd, in a block as it is and without a checksum (RFC 8878, 3.1.1): damage
 * reaches what is unpacked. */
static size_t sample_packed(uint8_t *k)
{
	enum { AT = 0x600, HEAD = 10, ELF = 0x400, LISTS = 6 * 4, KERNEL = ELF + LISTS };
	uint8_t *elf = k + AT + HEAD;
	sample_bzimage(k);
	sample_elf(elf);
	memset(elf + ELF, 0, LISTS);
	le64_put(elf + 24, 0x200000);
	le64_put(elf + 40, ELF);             /* an empty table of sections ends it */
	for (unsigned i = 0; i < 3; i++)
		le32_put(elf + ELF + 4 + 8 * i, 0x80200010 + 16 * i);
	memcpy(k + AT, "\x28\xb5\x2f\xfd\x60", 5);
	le16_put(k + AT + 5, KERNEL - 256);
	k[AT + 7] = (KERNEL << 3 | 1) & 0xff;
	le16_put(k + AT + 8, KERNEL >> 5);
	le32_put(elf + KERNEL, KERNEL);
	le32_put(k + 0x248, AT - 0x400);
	le32_put(k + 0x24c, HEAD + KERNEL + 4);
	return AT + HEAD + KERNEL + 4;
}

static size_t sample_multiboot(uint8_t *k, uint32_t flags)
{
	size_t n = sample_elf(k);
	k[4] = 1;
	uint8_t *h = k + 0x380;
	le32_put(h, 0x1badb002);
	le32_put(h + 4, flags);
	le32_put(h + 8, 0u - 0x1badb002 - flags);
	le32_put(h + 12, 0x200380);
	le32_put(h + 16, 0x200000);
	le32_put(h + 28, 0x200000);
	return n;
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	return n == 0 ? sample_bzimage(buf) : n == 1 ? sample_elf(buf) :
	       n == 2 ? sample_multiboot(buf, 0x10000) : n == 3 ? sample_multiboot(buf, 0) :
	       n == 4 ? sample_packed(buf) : 0;
}

void fuzz_one(const uint8_t *data, size_t size)
{
	static struct machine *m;
	struct error err;
	if (!m) {
		m = fixture_new(16 * MiB);
		fx.config.kernel_path = (char *)"k";
		fx.config.append = (char *)"console=ttyS0";
		fx.config.initrd_fd = fixture_file("initrd", 6);
		fx.config.initrd_path = (char *)"i";
	}
	fx.config.kernel_fd = fixture_file(data, size);
	if (!boot_kernel(m, &err))
		assert_in_range(strlen(err.text), 1, sizeof(err.text));
	close(fx.config.kernel_fd);
}
