/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ACPI tables of a machine (ACPI 6.5 ch. 5), built once as one blob with
 * addresses relative to its start, and a list of what depends on where it goes:
 * the monitor places it itself (no firmware), or tells firmware how to.
 */
#ifndef DEVICE_ACPI_ACPI_H
#define DEVICE_ACPI_ACPI_H

#include "base/error.h"
#include "device/acpi/aml.h"

struct machine;

enum { ACPI_MAX_FIXUPS = 48, RSDP_SIZE = 36 };

/* What a pointer points into: the tables, the generation id's page, the log of
 * what firmware measures (only with firmware). */
enum acpi_target { ACPI_TABLES, ACPI_VMGENID, ACPI_TPM_LOG };
struct acpi_pointer { uint32_t at; uint8_t size; enum acpi_target to; };
struct acpi_checksum { uint32_t at, start, len; };

struct acpi_tables {
	struct aml blob;          /* all tables */
	uint8_t rsdp[RSDP_SIZE];  /* its XSDT address (24) and RSDT address (16) are relative */
	unsigned npointers, nchecksums;
	struct acpi_pointer pointer[ACPI_MAX_FIXUPS];
	struct acpi_checksum checksum[ACPI_MAX_FIXUPS];
};

void acpi_build(struct machine *m, struct acpi_tables *t);
void acpi_tables_free(struct acpi_tables *t);
/* Resolve pointers and checksums for a blob at `gpa`. */
void acpi_resolve(struct acpi_tables *t, uint64_t gpa, uint64_t vmgenid_gpa);
/* Without firmware: into BOARD_TABLES; RSDP at its fixed place. */
bool acpi_place(struct machine *m, struct error *err);
enum { ACPI_RSDP = 0xe1000 };

/* The DSDT's body (dsdt.c); *vmgenid = offset of the address to patch. */
void dsdt_build(struct machine *m, struct aml *a, size_t *vmgenid);

#endif
