/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A builder of AML, the byte code of ACPI tables (ACPI 6.5 ch. 20).  Terms are
 * appended in the order of the ASL source; what encloses others is opened and
 * closed by aml_end().  Terms build left to right in Polish notation:
 *
 *     aml_device(a, "COM1");                 Device (COM1) {
 *     aml_name(a, "_UID"); aml_int(a, 1);        Name (_UID, 1)
 *     aml_end(a);                            }
 */
#ifndef DEVICE_ACPI_AML_H
#define DEVICE_ACPI_AML_H

#include "base/util.h"

struct aml {
	uint8_t *data;            /* owned */
	size_t len, cap;
	size_t open[16];          /* where each open package's length goes */
	unsigned depth;
};

void aml_free(struct aml *a);
void aml_bytes(struct aml *a, const void *p, size_t n);
void aml_byte(struct aml *a, unsigned v);
/* "\\_SB.PCI0", "^X", "LNKA": segments shorter than 4 are padded. */
void aml_path(struct aml *a, const char *path);
void aml_int(struct aml *a, uint64_t v);
/* Always four bytes, so that it can be patched; returns their offset. */
size_t aml_dword_at(struct aml *a, uint32_t v);
void aml_string(struct aml *a, const char *s);
void aml_eisa_id(struct aml *a, const char *id);          /* "PNP0A08" */
void aml_name(struct aml *a, const char *name);           /* then a data object */
void aml_name_int(struct aml *a, const char *name, uint64_t v);
void aml_name_eisa(struct aml *a, const char *name, const char *id);
void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *name);
void aml_method(struct aml *a, const char *name, unsigned args, bool serialized);
void aml_package(struct aml *a, unsigned count);
void aml_end(struct aml *a);
void aml_buffer(struct aml *a, const void *p, size_t n);

/* Terms in methods; operands follow by further calls. */
void aml_return(struct aml *a);
void aml_local(struct aml *a, unsigned n);
void aml_arg(struct aml *a, unsigned n);
void aml_store(struct aml *a);                            /* source, target */
void aml_add(struct aml *a);                              /* two operands, target */
void aml_index(struct aml *a);                            /* source, index, target */
void aml_no_target(struct aml *a);
void aml_notify(struct aml *a, const char *path, unsigned value);

/* Resource descriptors (ACPI 6.5 6.4), put out by aml_resources as Name (_CRS). */
struct aml_crs { uint8_t data[512]; size_t len; };
void crs_irq(struct aml_crs *c, unsigned irq);            /* edge, exclusive */
void crs_interrupt(struct aml_crs *c, unsigned gsi);      /* edge, shared */
void crs_dma(struct aml_crs *c, unsigned channel);        /* 8 bits, of an 8237 */
void crs_io(struct aml_crs *c, unsigned base, unsigned len);
void crs_memory32(struct aml_crs *c, uint32_t base, uint32_t len, bool write);
/* Windows of a bridge: type 0 memory, 1 I/O, 2 bus numbers; first..last. */
void crs_window(struct aml_crs *c, unsigned type, uint64_t first, uint64_t last);
void aml_resources(struct aml *a, struct aml_crs *c);

#endif
