/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS 3.0 (DSP0134 3.0.0): structure types 0, 1, 3, 4, 16, 17, 19, 32 and
 * 127 behind a 64-bit entry point.  A structure is its formatted part, then its
 * strings, numbered from 1 in the order in which they are added.
 */
#include "device/smbios.h"

#include "device/chipset.h"
#include "machine/machine.h"

enum { HANDLE_CHASSIS = 0x300, HANDLE_ARRAY = 0x1000 };

/* --- structures -------------------------------------------------------------- */
static uint8_t *begin(struct smbios *s, uint8_t type, uint8_t len, uint16_t handle)
{
	uint8_t *p = s->table + s->len;
	memset(p, 0, len);
	p[0] = type;
	p[1] = len;
	le16_put(p + 2, handle);
	s->len += len;
	return p;
}

/* At least one string or an empty string set, then the end mark. */
static void strings(struct smbios *s, const char *const *text)
{
	size_t start = s->len;
	for (; *text; text++) {
		size_t n = strnlen(*text, 63) + 1;
		memcpy(s->table + s->len, *text, n);
		s->table[s->len + n - 1] = 0;
		s->len += n;
	}
	if (s->len == start)
		s->table[s->len++] = 0;
	s->table[s->len++] = 0;
}

static void bios_information(struct smbios *s)
{
	uint8_t *p = begin(s, 0, 24, 0);
	p[4] = 1;
	p[5] = 2;
	le16_put(p + 6, 0xe000);
	p[8] = 3;
	le64_put(p + 10, BIT(3));         /* characteristics not supported */
	p[18 + 1] = 0x1c;                 /* UEFI no, virtual machine, targeted content */
	p[20] = p[21] = p[22] = p[23] = 0xff;
	strings(s, (const char *const[]){ "Abyme", "1", "01/01/2026", NULL });
}

/* The first three fields of a UUID are little-endian here (7.2.1). */
static void put_uuid(uint8_t *p, const uint8_t uuid[16])
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	for (unsigned i = 0; i < 16; i++)
		p[i] = uuid[order[i]];
}

static void system_information(struct smbios *s, const struct machine_config *c)
{
	uint8_t *p = begin(s, 1, 27, 0x100);
	p[4] = 1;
	p[5] = 2;
	p[6] = 3;
	put_uuid(p + 8, c->uuid);
	p[24] = 6;                        /* power switch */
	strings(s, (const char *const[]){ "Abyme", "Abyme PC", "pc-1", NULL });
}

static void chassis(struct smbios *s)
{
	uint8_t *p = begin(s, 3, 22, HANDLE_CHASSIS);
	p[4] = 1;
	p[5] = 1;                         /* other */
	p[9] = p[10] = p[11] = 3;         /* safe */
	p[12] = 2;
	strings(s, (const char *const[]){ "Abyme", NULL });
}

static void processor(struct smbios *s, unsigned cpus)
{
	uint8_t *p = begin(s, 4, 48, 0x400);
	p[4] = 1;
	p[5] = 3;                         /* central processor */
	p[6] = 1;
	p[7] = 2;
	p[24] = 0x41;                     /* populated, enabled */
	p[25] = 1;
	le16_put(p + 26, 0xffff);         /* no cache information */
	le16_put(p + 28, 0xffff);
	le16_put(p + 30, 0xffff);
	p[35] = p[36] = p[37] = (uint8_t)MIN(cpus, 255u);
	le16_put(p + 38, 4);              /* 64-bit capable */
	le16_put(p + 42, (uint16_t)cpus);
	le16_put(p + 44, (uint16_t)cpus);
	le16_put(p + 46, (uint16_t)cpus);
	strings(s, (const char *const[]){ "CPU 0", "Abyme", NULL });
}

static void memory_array(struct smbios *s, uint64_t size)
{
	uint8_t *p = begin(s, 16, 23, HANDLE_ARRAY);
	p[4] = 1;                         /* other */
	p[5] = 3;                         /* system memory */
	p[6] = 6;                         /* multi-bit ECC */
	le32_put(p + 7, 0x80000000);
	le16_put(p + 11, 0xfffe);
	le16_put(p + 13, 1);
	le64_put(p + 15, size);
	strings(s, (const char *const[]){ NULL });
}

static void memory_device(struct smbios *s, uint64_t size)
{
	uint8_t *p = begin(s, 17, 40, 0x1100);
	uint64_t mib = size / MiB;
	le16_put(p + 4, HANDLE_ARRAY);
	le16_put(p + 6, 0xfffe);
	le16_put(p + 8, 0xffff);
	le16_put(p + 10, 0xffff);
	le16_put(p + 12, mib < 0x7fff ? (uint16_t)mib : 0x7fff);
	p[14] = 9;                        /* DIMM */
	p[16] = 1;
	p[18] = 7;                        /* RAM */
	le32_put(p + 28, mib < 0x7fff ? 0 : (uint32_t)mib);
	strings(s, (const char *const[]){ "DIMM 0", NULL });
}

static void memory_mapping(struct smbios *s, uint16_t handle, uint64_t base, uint64_t size)
{
	uint8_t *p = begin(s, 19, 31, handle);
	le32_put(p + 4, UINT32_MAX);
	le32_put(p + 8, UINT32_MAX);
	le16_put(p + 12, HANDLE_ARRAY);
	p[14] = 1;
	le64_put(p + 15, base);
	le64_put(p + 23, base + size - 1);
	strings(s, (const char *const[]){ NULL });
}

static void boot_information(struct smbios *s)
{
	begin(s, 32, 11, 0x2000);
	strings(s, (const char *const[]){ NULL });
}

/* --- the whole ----------------------------------------------------------------- */
void smbios_set_address(struct smbios *s, uint64_t gpa)
{
	uint8_t sum = 0, *e = s->entry;
	le64_put(e + 16, gpa);
	e[5] = 0;
	for (unsigned i = 0; i < SMBIOS_ENTRY_SIZE; i++)
		sum += e[i];
	e[5] = (uint8_t)-sum;
}

void smbios_build(struct machine *m, struct smbios *s)
{
	*s = (struct smbios){ .len = 0 };
	bios_information(s);
	system_information(s, m->config);
	chassis(s);
	processor(s, m->config->vcpus);
	memory_array(s, m->config->memory);
	memory_device(s, m->config->memory);
	memory_mapping(s, 0x1300, 0, m->ram_low->size);
	if (m->ram_high)
		memory_mapping(s, 0x1301, BOARD_HIGH_RAM, m->ram_high->size);
	boot_information(s);
	begin(s, 127, 4, 0x7f00);
	strings(s, (const char *const[]){ NULL });
	memcpy(s->entry, "_SM3_", 5);
	s->entry[6] = SMBIOS_ENTRY_SIZE;
	s->entry[7] = 3;
	s->entry[10] = 1;
	le32_put(s->entry + 12, (uint32_t)s->len);
	smbios_set_address(s, 0);
}

void smbios_place(struct machine *m)
{
	struct smbios s;
	smbios_build(m, &s);
	smbios_set_address(&s, BOARD_SMBIOS + SMBIOS_ENTRY_SIZE + 8);
	memory_write(m->memory, BOARD_SMBIOS, s.entry, SMBIOS_ENTRY_SIZE);
	memory_write(m->memory, BOARD_SMBIOS + SMBIOS_ENTRY_SIZE + 8, s.table, s.len);
}
