/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux's x86 boot protocol, version 2.06 or later (Linux,
 * Documentation/arch/x86/boot.rst): the protected-mode part of a bzImage is
 * entered at its 64-bit entry point where it has one, else at the 32-bit one;
 * better still, the 64-bit kernel in it is (vmlinux.c).
 */
#include <sys/random.h>

#include "device/acpi/acpi.h"
#include "device/boot/vmlinux.h"
#include "device/board.h"
#include "machine/machine.h"

/* Offsets in the file's first sectors and in boot_params alike. */
enum { SETUP_SECTS = 0x1f1, BOOT_FLAG = 0x1fe, JUMP = 0x200, MAGIC = 0x202, VERSION = 0x206,
       TYPE_OF_LOADER = 0x210, LOADFLAGS = 0x211, RAMDISK_IMAGE = 0x218, RAMDISK_SIZE = 0x21c,
       CMD_LINE_PTR = 0x228, INITRD_MAX = 0x22c, ALIGNMENT = 0x230, RELOCATABLE = 0x234,
       XLOADFLAGS = 0x236, CMDLINE_SIZE = 0x238, PAYLOAD = 0x248, PAYLOAD_SIZE = 0x24c, SETUP_DATA = 0x250, PREF_ADDRESS = 0x258,
       INIT_SIZE = 0x260, HEADER_MAX = 0x290 };
/* Offsets in boot_params only. */
enum { BP_RSDP = 0x70, BP_E820_COUNT = 0x1e8, BP_E820 = 0x2d0, BP_SIZE = 0x1000 };
enum { LOADED_HIGH = 1, KASLR = 2, KEEP_SEGMENTS = 0x40, XLF_64 = 1, SETUP_RNG_SEED = 9 };

bool bzimage_detect(const struct boot *b)
{
	return b->size >= HEADER_MAX && le16_get(b->image + BOOT_FLAG) == 0xaa55 &&
	       !memcmp(b->image + MAGIC, "HdrS", 4);
}

static uint64_t setup_size(const struct boot *b)
{
	unsigned sects = b->image[SETUP_SECTS] ? b->image[SETUP_SECTS] : 4;
	return (sects + 1) * 512ull;
}

static bool check(const struct boot *b, struct error *err)
{
	if (le16_get(b->image + VERSION) < 0x206 || !(b->image[LOADFLAGS] & LOADED_HIGH))
		return error_set(err, 0, "kernel '%s' is too old: its boot protocol is %u.%02u, "
				 "and 2.06 is needed", b->path, b->image[VERSION + 1], b->image[VERSION]);
	uint64_t declared = setup_size(b) + le32_get(b->image + 0x1f4) * 16ull;
	if (setup_size(b) >= b->size || declared > b->size + 16)
		return error_set(err, 0, "kernel '%s' is cut short: it has %zu of %llu bytes",
				 b->path, b->size, (unsigned long long)declared);
	return true;
}

/* Where it runs: its preferred address, or lower if RAM ends before. */
static bool choose_address(const struct boot *b, uint64_t *at, uint64_t *room, struct error *err)
{
	bool new = le16_get(b->image + VERSION) >= 0x20a;
	uint64_t align = le32_get(b->image + ALIGNMENT), ram = b->machine->ram_low->size;
	uint64_t payload = b->size - setup_size(b);
	*at = new ? le64_get(b->image + PREF_ADDRESS) : BOOT_HIGH_MIN;
	*room = MAX(payload, new ? le32_get(b->image + INIT_SIZE) : payload * 4);
	if (!b->image[RELOCATABLE] || !align || align & (align - 1))
		align = 0;
	if (align && (*at < BOOT_HIGH_MIN || *at > ram || ram - *at < *room))
		*at = ALIGN_UP((uint64_t)BOOT_HIGH_MIN, align);
	if (*at < BOOT_HIGH_MIN || *at > ram || ram - *at < *room)
		return error_set(err, 0, "kernel '%s' needs %llu MiB to start and the machine has "
				 "%llu MiB: give it more with --memory", b->path,
				 (unsigned long long)((MIN(*at, UINT32_MAX) + *room) / MiB + 1),
				 (unsigned long long)(b->machine->config->memory / MiB));
	return true;
}

static bool write_rng_seed(struct boot *b, struct error *err)
{
	uint8_t data[16 + 32] = { 0 };
	le32_put(data + 8, SETUP_RNG_SEED);
	le32_put(data + 12, 32);
	if (getrandom(data + 16, 32, 0) != 32)
		return true;              /* a seed is a gift: the guest has others */
	return boot_write(b, BOOT_RNG_SEED, data, sizeof(data), err);
}

static void put_memory_map(struct boot *b, uint8_t *params)
{
	struct boot_range r[BOOT_RANGES];
	unsigned n = boot_memory_map(b->machine, r);
	params[BP_E820_COUNT] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		uint8_t *e = params + BP_E820 + i * 20;
		le64_put(e, r[i].base);
		le64_put(e + 8, r[i].size);
		le32_put(e + 16, r[i].type);
	}
}

static bool write_params(struct boot *b, uint64_t at, bool kaslr, struct error *err)
{
	uint8_t p[BP_SIZE] = { 0 };
	unsigned end = MIN((unsigned)MAGIC + b->image[JUMP + 1], (unsigned)HEADER_MAX);
	if (end > SETUP_SECTS)
		memcpy(p + SETUP_SECTS, b->image + SETUP_SECTS, end - SETUP_SECTS);
	p[TYPE_OF_LOADER] = 0xff;
	p[LOADFLAGS] &= (uint8_t)~(KEEP_SEGMENTS | KASLR);
	p[LOADFLAGS] |= kaslr ? KASLR : 0;
	le32_put(p + 0x214, (uint32_t)at);
	le32_put(p + RAMDISK_IMAGE, (uint32_t)b->initrd);
	le32_put(p + RAMDISK_SIZE, (uint32_t)b->initrd_size);
	le32_put(p + CMD_LINE_PTR, BOOT_CMDLINE);
	le64_put(p + SETUP_DATA, le16_get(p + VERSION) >= 0x209 ? BOOT_RNG_SEED : 0);
	le64_put(p + BP_RSDP, ACPI_RSDP);
	put_memory_map(b, p);
	return write_rng_seed(b, err) && boot_write(b, BOOT_PARAMS, p, sizeof(p), err);
}

/* At its own 64-bit entry: the kernel is unpacked already. */
static bool start_unpacked(struct boot *b, struct vmlinux *k, struct error *err)
{
	uint64_t top = b->initrd_size ? b->initrd : b->machine->ram_low->size;

	return vmlinux_place(k, top, err) && write_params(b, k->at, k->random, err) &&
	       boot_enter_64(b, k->at + k->entry, BOOT_PARAMS, err);
}

static bool start(struct boot *b, uint64_t at, bool long_mode, struct error *err)
{
	uint64_t setup = setup_size(b);

	if (!boot_write(b, at, b->image + setup, b->size - setup, err) || !write_params(b, at, false, err))
		return false;
	return long_mode ? boot_enter_64(b, at + 0x200, BOOT_PARAMS, err)
			 : boot_enter_32(b, at, 0, 0, BOOT_PARAMS, err);
}

static bool load_others(struct boot *b, struct error *err)
{
	uint32_t initrd_max = le32_get(b->image + INITRD_MAX), cmdline_max = le32_get(b->image + CMDLINE_SIZE);

	return boot_load_initrd(b, initrd_max ? initrd_max : 0x37ffffff, err) &&
	       boot_write_cmdline(b, cmdline_max ? cmdline_max : 255, err);
}

/* Only where it need not be moved down. */
static bool open_payload(const struct boot *b, struct vmlinux *k, uint64_t at)
{
	uint64_t from = setup_size(b) + le32_get(b->image + PAYLOAD), n = le32_get(b->image + PAYLOAD_SIZE);

	k->preferred = le64_get(b->image + PREF_ADDRESS);
	k->align = le32_get(b->image + ALIGNMENT);
	k->room = le32_get(b->image + INIT_SIZE);
	return k->preferred == at && boot_has(b, from, n) && vmlinux_open(k, b, b->image + from, n);
}

bool bzimage_load(struct boot *b, struct error *err)
{
	uint64_t at, room;
	struct vmlinux k = { 0 };

	if (!check(b, err) || !choose_address(b, &at, &room, err))
		return false;
	b->kernel_end = at + room;
	if (!load_others(b, err))
		return false;
	bool long_mode = le16_get(b->image + VERSION) >= 0x20c && le16_get(b->image + XLOADFLAGS) & XLF_64;
	bool ok = long_mode && open_payload(b, &k, at) ? start_unpacked(b, &k, err) : start(b, at, long_mode, err);
	vmlinux_close(&k);
	return ok;
}
