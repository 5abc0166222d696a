/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables but the DSDT's body: RSDP, XSDT and RSDT, FADT 6.5, FACS, MADT,
 * HPET, MCFG, WAET, TPM2 (ACPI 6.5 5.2; PCI Firmware 3.3 4.1.2; HPET 1.0a 3.2.4;
 * TCG ACPI Specification 1.4, 7.3).
 */
#include "device/acpi/acpi.h"
#include "device/chipset.h"
#include "engine/lapic.h"
#include "device/ps2.h"
#include "device/tpm/crb.h"
#include "machine/machine.h"

enum { HEADER = 36, FADT_LEN = 276, MAX_TABLES = 8 };
enum { GAS_MEMORY, GAS_IO };

/* --- building blocks -------------------------------------------------------- */
static void zeroes(struct aml *a, size_t n)
{
	static const uint8_t zero[64];
	for (; n > sizeof(zero); n -= sizeof(zero))
		aml_bytes(a, zero, sizeof(zero));
	aml_bytes(a, zero, n);
}

static void align(struct aml *a, size_t to)
{
	zeroes(a, ALIGN_UP(a->len, to) - a->len);
}

static void put16(struct aml *a, uint16_t v) { uint8_t b[2]; le16_put(b, v); aml_bytes(a, b, 2); }
static void put32(struct aml *a, uint32_t v) { uint8_t b[4]; le32_put(b, v); aml_bytes(a, b, 4); }
static void put64(struct aml *a, uint64_t v) { uint8_t b[8]; le64_put(b, v); aml_bytes(a, b, 8); }

static size_t table_begin(struct acpi_tables *t, const char sig[4], uint8_t revision)
{
	struct aml *a = &t->blob;
	align(a, 16);
	size_t at = a->len;
	aml_bytes(a, sig, 4);
	put32(a, 0);
	aml_byte(a, revision);
	aml_byte(a, 0);
	aml_bytes(a, "ABYME ABYMEPC ", 14);
	put32(a, 1);
	aml_bytes(a, "ABYM", 4);
	put32(a, 1);
	return at;
}

static void table_end(struct acpi_tables *t, size_t at)
{
	uint32_t len = (uint32_t)(t->blob.len - at);
	le32_put(t->blob.data + at + 4, len);
	t->checksum[t->nchecksums++] =
		(struct acpi_checksum){ (uint32_t)at + 9, (uint32_t)at, len };
}

static void add_pointer(struct acpi_tables *t, size_t at, uint8_t size, enum acpi_target to)
{
	t->pointer[t->npointers++] = (struct acpi_pointer){ (uint32_t)at, size, to };
}

static void gas_put(uint8_t *p, unsigned space, uint64_t addr, unsigned bits)
{
	p[0] = (uint8_t)space;
	p[1] = (uint8_t)bits;
	p[3] = bits == 8 ? 1 : bits == 16 ? 2 : bits == 32 ? 3 : 0;
	le64_put(p + 4, addr);
}

/* --- tables ----------------------------------------------------------------- */
static size_t build_facs(struct acpi_tables *t)
{
	struct aml *a = &t->blob;
	align(a, 64);
	size_t at = a->len;
	aml_bytes(a, "FACS", 4);
	put32(a, 64);
	zeroes(a, 24);
	aml_byte(a, 2);
	zeroes(a, 31);
	return at;
}

static size_t build_dsdt(struct machine *m, struct acpi_tables *t)
{
	size_t at = table_begin(t, "DSDT", 2), vmgenid;
	struct aml body = { 0 };
	dsdt_build(m, &body, &vmgenid);
	add_pointer(t, t->blob.len + vmgenid, 4, ACPI_VMGENID);
	aml_bytes(&t->blob, body.data, body.len);
	aml_free(&body);
	table_end(t, at);
	return at;
}

static void fadt_blocks(uint8_t *p)
{
	le32_put(p + 56, BOARD_PM_BASE);
	le32_put(p + 64, BOARD_PM_BASE + 4);
	le32_put(p + 76, BOARD_PM_BASE + 8);
	le32_put(p + 80, BOARD_PM_BASE + 0x20);
	p[88] = 4;
	p[89] = 2;
	p[91] = 4;
	p[92] = 16;
	gas_put(p + 148, GAS_IO, BOARD_PM_BASE, 32);
	gas_put(p + 172, GAS_IO, BOARD_PM_BASE + 4, 16);
	gas_put(p + 208, GAS_IO, BOARD_PM_BASE + 8, 32);
	gas_put(p + 220, GAS_IO, BOARD_PM_BASE + 0x20, 128);
}

/* ACPI 6.5 table 5.10: legacy devices, keyboard controller, no VGA, no ASPM, no RTC */
static uint16_t boot_flags(struct machine *m)
{
	if (!board_has_pci(m))
		return BIT(0) | BIT(2) | BIT(4) | BIT(5);
	return 1 | (i8042_has_keyboard(m) ? 2 : 0) | (m->config->screen ? 0 : 4) | 0x10;
}

static size_t build_fadt(struct machine *m, struct acpi_tables *t, size_t facs, size_t dsdt)
{
	size_t at = table_begin(t, "FACP", 6);
	zeroes(&t->blob, FADT_LEN - HEADER);
	uint8_t *p = t->blob.data + at;
	le32_put(p + 36, (uint32_t)facs);
	le32_put(p + 40, (uint32_t)dsdt);
	le64_put(p + 140, dsdt);
	p[45] = 1;                        /* desktop */
	le16_put(p + 46, BOARD_SCI);
	le16_put(p + 96, 0xfff);          /* no C2 */
	le16_put(p + 98, 0xfff);          /* no C3 */
	p[108] = board_has_pci(m) ? 0x32 : 0;   /* century in CMOS */
	le16_put(p + 109, boot_flags(m));
	/* WBINVD, C1, no sleep button, RTC not fixed, reset register */
	le32_put(p + 112, BIT(0) | BIT(2) | BIT(5) | BIT(6) | BIT(10));
	gas_put(p + 116, GAS_IO, board_has_pci(m) ? 0xcf9 : BOARD_MICROVM_RESET, 8);
	p[128] = board_has_pci(m) ? 0x06 : MICROVM_RESET_VALUE;
	p[131] = 5;
	memcpy(p + 268, "Abyme", 5);
	fadt_blocks(p);
	add_pointer(t, at + 36, 4, ACPI_TABLES);
	add_pointer(t, at + 40, 4, ACPI_TABLES);
	add_pointer(t, at + 140, 8, ACPI_TABLES);
	table_end(t, at);
	return at;
}

static void madt_override(struct aml *a, unsigned irq, unsigned gsi, unsigned flags)
{
	aml_byte(a, 2);
	aml_byte(a, 10);
	aml_byte(a, 0);
	aml_byte(a, irq);
	put32(a, gsi);
	put16(a, (uint16_t)flags);
}

static void madt_cpu(struct aml *a, unsigned index)
{
	aml_byte(a, 0);
	aml_byte(a, 8);
	aml_byte(a, index);
	aml_byte(a, index);
	put32(a, 1);
}

static size_t build_madt(struct machine *m, struct acpi_tables *t)
{
	struct aml *a = &t->blob;
	size_t at = table_begin(t, "APIC", 5);
	put32(a, (uint32_t)LAPIC_BASE);
	put32(a, 1);                      /* there is an 8259 pair */
	for (unsigned i = 0; i < m->config->vcpus; i++)
		madt_cpu(a, i);
	aml_byte(a, 1);                   /* I/O APIC 0, GSI 0 on */
	aml_byte(a, 12);
	put16(a, 0);
	put32(a, (uint32_t)BOARD_IOAPIC);
	put32(a, 0);
	madt_override(a, 0, 2, 0);
	madt_override(a, BOARD_SCI, BOARD_SCI, 0xd);   /* active high, level */
	aml_byte(a, 4);                   /* NMI at LINT1 of all */
	aml_byte(a, 6);
	aml_byte(a, 0xff);
	put16(a, 0);
	aml_byte(a, 1);
	table_end(t, at);
	return at;
}

static size_t build_hpet(struct acpi_tables *t)
{
	struct aml *a = &t->blob;
	size_t at = table_begin(t, "HPET", 1);
	uint8_t gas[12] = { 0 };
	gas_put(gas, GAS_MEMORY, BOARD_HPET, 0);
	put32(a, 0x8086a201);
	aml_bytes(a, gas, sizeof(gas));
	aml_byte(a, 0);
	put16(a, 100);
	aml_byte(a, 0);
	table_end(t, at);
	return at;
}

static size_t build_mcfg(struct machine *m, struct acpi_tables *t)
{
	struct aml *a = &t->blob;
	size_t at = table_begin(t, "MCFG", 1);
	zeroes(a, 8);
	put64(a, pci_host_ecam(m));
	put16(a, 0);
	aml_byte(a, 0);
	aml_byte(a, 255);
	put32(a, 0);
	table_end(t, at);
	return at;
}

/* "The PM timer reads right the first time": spares guests a second read. */
static size_t build_waet(struct acpi_tables *t)
{
	size_t at = table_begin(t, "WAET", 1);
	put32(&t->blob, 2);
	table_end(t, at);
	return at;
}

/* A command response buffer (start method 7); firmware is given room for its log. */
static size_t build_tpm2(struct machine *m, struct acpi_tables *t)
{
	struct aml *a = &t->blob;
	bool log = m->config->firmware_fd >= 0;
	size_t at = table_begin(t, "TPM2", 4);
	put32(a, 0);                      /* a client's */
	put64(a, TPM_CRB_BASE + TPM_CRB_CONTROL);
	put32(a, 7);
	zeroes(a, 12);
	put32(a, log ? TPM_LOG_SIZE : 0);
	if (log)
		add_pointer(t, a->len, 8, ACPI_TPM_LOG);
	put64(a, 0);
	table_end(t, at);
	return at;
}

static size_t build_root(struct acpi_tables *t, const char sig[4], unsigned size,
			 const size_t *tables, unsigned n)
{
	size_t at = table_begin(t, sig, 1);
	for (unsigned i = 0; i < n; i++) {
		add_pointer(t, t->blob.len, (uint8_t)size, ACPI_TABLES);
		if (size == 8)
			put64(&t->blob, tables[i]);
		else
			put32(&t->blob, (uint32_t)tables[i]);
	}
	table_end(t, at);
	return at;
}

void acpi_build(struct machine *m, struct acpi_tables *t)
{
	size_t table[MAX_TABLES];
	unsigned n = 0;
	*t = (struct acpi_tables){ 0 };
	size_t facs = build_facs(t), dsdt = build_dsdt(m, t);
	table[n++] = build_fadt(m, t, facs, dsdt);
	table[n++] = build_madt(m, t);
	if (board_has_pci(m)) {
		table[n++] = build_hpet(t);
		table[n++] = build_mcfg(m, t);
	}
	table[n++] = build_waet(t);
	if (m->config->tpm_fd >= 0)
		table[n++] = build_tpm2(m, t);
	size_t rsdt = build_root(t, "RSDT", 4, table, n);
	size_t xsdt = build_root(t, "XSDT", 8, table, n);
	memcpy(t->rsdp, "RSD PTR ", 8);
	memcpy(t->rsdp + 9, "ABYME ", 6);
	t->rsdp[15] = 2;
	le32_put(t->rsdp + 16, (uint32_t)rsdt);
	le32_put(t->rsdp + 20, RSDP_SIZE);
	le64_put(t->rsdp + 24, xsdt);
}

void acpi_tables_free(struct acpi_tables *t)
{
	aml_free(&t->blob);
}

/* --- placing ---------------------------------------------------------------- */
static uint8_t sum_to_zero(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;
	while (n--)
		sum += *p++;
	return (uint8_t)-sum;
}

void acpi_resolve(struct acpi_tables *t, uint64_t gpa, uint64_t vmgenid_gpa)
{
	uint8_t *d = t->blob.data;
	for (unsigned i = 0; i < t->npointers; i++) {
		const struct acpi_pointer *p = &t->pointer[i];
		uint64_t add = p->to == ACPI_VMGENID ? vmgenid_gpa : gpa;
		if (p->size == 8)
			le64_put(d + p->at, le64_get(d + p->at) + add);
		else
			le32_put(d + p->at, le32_get(d + p->at) + (uint32_t)add);
	}
	for (unsigned i = 0; i < t->nchecksums; i++) {
		const struct acpi_checksum *c = &t->checksum[i];
		d[c->at] = 0;
		d[c->at] = sum_to_zero(d + c->start, c->len);
	}
	le32_put(t->rsdp + 16, le32_get(t->rsdp + 16) + (uint32_t)gpa);
	le64_put(t->rsdp + 24, le64_get(t->rsdp + 24) + gpa);
	t->rsdp[8] = sum_to_zero(t->rsdp, 20);
	t->rsdp[32] = sum_to_zero(t->rsdp, RSDP_SIZE);
}

bool acpi_place(struct machine *m, struct error *err)
{
	struct acpi_tables t;
	uint64_t at = ALIGN_UP((uint64_t)ACPI_RSDP + RSDP_SIZE, 64);
	acpi_build(m, &t);
	acpi_resolve(&t, at, BOARD_TABLES);
	bool fits = at + t.blob.len <= BOARD_SMBIOS;
	if (fits) {
		memory_write(m->memory, ACPI_RSDP, t.rsdp, RSDP_SIZE);
		memory_write(m->memory, at, t.blob.data, t.blob.len);
		vmgenid_place(m, BOARD_TABLES);
	}
	acpi_tables_free(&t);
	return fits || error_set(err, 0, "the ACPI tables of %u vCPUs do not fit", m->config->vcpus);
}
