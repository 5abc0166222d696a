/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AML encoding (ACPI 6.5 20.2); see aml.h.  A package's length is only known
 * when it is closed, and its own size depends on it: the bytes after are moved
 * up then.
 */
#include "device/acpi/aml.h"

void aml_free(struct aml *a)
{
	free(a->data);
	*a = (struct aml){ 0 };
}

void aml_bytes(struct aml *a, const void *p, size_t n)
{
	if (a->cap - a->len < n) {
		a->cap = a->cap * 2 + n + 256;
		a->data = xrealloc(a->data, a->cap);
	}
	if (n)
		memcpy(a->data + a->len, p, n);
	a->len += n;
}

void aml_byte(struct aml *a, unsigned v)
{
	uint8_t b = (uint8_t)v;
	aml_bytes(a, &b, 1);
}

static void open_package(struct aml *a)
{
	a->open[a->depth++] = a->len;
}

/* PkgLength counts itself (20.2.4). */
void aml_end(struct aml *a)
{
	size_t at = a->open[--a->depth], n = a->len - at;
	unsigned extra = n + 1 < 0x40 ? 0 : n + 2 < 0x1000 ? 1 : n + 3 < 0x100000 ? 2 : 3;
	size_t total = n + 1 + extra;
	uint8_t len[4] = { (uint8_t)(extra ? extra << 6 | (total & 15) : total),
			   (uint8_t)(total >> 4), (uint8_t)(total >> 12), (uint8_t)(total >> 20) };
	aml_bytes(a, len, 1 + extra);
	memmove(a->data + at + 1 + extra, a->data + at, n);
	memcpy(a->data + at, len, 1 + extra);
}

static void segment(struct aml *a, const char *s, size_t n)
{
	char seg[4] = { '_', '_', '_', '_' };
	memcpy(seg, s, MIN(n, sizeof(seg)));
	aml_bytes(a, seg, 4);
}

void aml_path(struct aml *a, const char *path)
{
	while (*path == '\\' || *path == '^')
		aml_byte(a, (uint8_t)*path++);
	unsigned count = *path ? 1 : 0;
	for (const char *p = path; *p; p++)
		count += *p == '.';
	if (!count)
		aml_byte(a, 0);
	else if (count == 2)
		aml_byte(a, 0x2e);
	else if (count > 2) {
		aml_byte(a, 0x2f);
		aml_byte(a, count);
	}
	while (*path) {
		size_t n = strcspn(path, ".");
		segment(a, path, n);
		path += n + (path[n] == '.');
	}
}

void aml_int(struct aml *a, uint64_t v)
{
	uint8_t b[8];
	le64_put(b, v);
	if (v < 2) {
		aml_byte(a, (unsigned)v);   /* ZeroOp, OneOp */
		return;
	}
	unsigned size = v <= 0xff ? 1 : v <= 0xffff ? 2 : v <= 0xffffffff ? 4 : 8;
	aml_byte(a, size == 1 ? 0x0a : size == 2 ? 0x0b : size == 4 ? 0x0c : 0x0e);
	aml_bytes(a, b, size);
}

size_t aml_dword_at(struct aml *a, uint32_t v)
{
	uint8_t b[4];
	le32_put(b, v);
	aml_byte(a, 0x0c);
	aml_bytes(a, b, 4);
	return a->len - 4;
}

void aml_string(struct aml *a, const char *s)
{
	aml_byte(a, 0x0d);
	aml_bytes(a, s, strlen(s) + 1);
}

static unsigned hex(char c) { return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A' + 10); }

void aml_eisa_id(struct aml *a, const char *id)
{
	uint32_t v = (uint32_t)(id[0] - 0x40) << 26 | (uint32_t)(id[1] - 0x40) << 21 |
		     (uint32_t)(id[2] - 0x40) << 16 | hex(id[3]) << 12 | hex(id[4]) << 8 |
		     hex(id[5]) << 4 | hex(id[6]);
	aml_dword_at(a, __builtin_bswap32(v));
}

void aml_name(struct aml *a, const char *name)
{
	aml_byte(a, 0x08);
	aml_path(a, name);
}

void aml_name_int(struct aml *a, const char *name, uint64_t v)
{
	aml_name(a, name);
	aml_int(a, v);
}

void aml_name_eisa(struct aml *a, const char *name, const char *id)
{
	aml_name(a, name);
	aml_eisa_id(a, id);
}

void aml_scope(struct aml *a, const char *path)
{
	aml_byte(a, 0x10);
	open_package(a);
	aml_path(a, path);
}

void aml_device(struct aml *a, const char *name)
{
	aml_byte(a, 0x5b);
	aml_byte(a, 0x82);
	open_package(a);
	aml_path(a, name);
}

void aml_method(struct aml *a, const char *name, unsigned args, bool serialized)
{
	aml_byte(a, 0x14);
	open_package(a);
	aml_path(a, name);
	aml_byte(a, args | (serialized ? 8 : 0));
}

void aml_package(struct aml *a, unsigned count)
{
	aml_byte(a, 0x12);
	open_package(a);
	aml_byte(a, count);
}

void aml_buffer(struct aml *a, const void *p, size_t n)
{
	aml_byte(a, 0x11);
	open_package(a);
	aml_int(a, n);
	aml_bytes(a, p, n);
	aml_end(a);
}

void aml_return(struct aml *a) { aml_byte(a, 0xa4); }
void aml_local(struct aml *a, unsigned n) { aml_byte(a, 0x60 + n); }
void aml_arg(struct aml *a, unsigned n) { aml_byte(a, 0x68 + n); }
void aml_store(struct aml *a) { aml_byte(a, 0x70); }
void aml_add(struct aml *a) { aml_byte(a, 0x72); }
void aml_index(struct aml *a) { aml_byte(a, 0x88); }
void aml_no_target(struct aml *a) { aml_byte(a, 0); }

void aml_notify(struct aml *a, const char *path, unsigned value)
{
	aml_byte(a, 0x86);
	aml_path(a, path);
	aml_int(a, value);
}

/* --- resources -------------------------------------------------------------- */
static void put(struct aml_crs *c, const void *p, size_t n)
{
	if (n <= sizeof(c->data) - c->len) {
		memcpy(c->data + c->len, p, n);
		c->len += n;
	}
}

void crs_irq(struct aml_crs *c, unsigned irq)
{
	uint8_t d[3] = { 0x22 };
	le16_put(d + 1, (uint16_t)BIT(irq));
	put(c, d, sizeof(d));
}

void crs_interrupt(struct aml_crs *c, unsigned gsi)
{
	uint8_t d[9] = { 0x89, 6, 0, 0x0b, 1 };   /* consumer, edge, active high, shared */
	le32_put(d + 5, gsi);
	put(c, d, sizeof(d));
}

void crs_dma(struct aml_crs *c, unsigned channel)
{
	const uint8_t d[3] = { 0x2a, (uint8_t)BIT(channel) };
	put(c, d, sizeof(d));
}

void crs_io(struct aml_crs *c, unsigned base, unsigned len)
{
	uint8_t d[8] = { 0x47, 1 };
	le16_put(d + 2, (uint16_t)base);
	le16_put(d + 4, (uint16_t)base);
	d[6] = 1;
	d[7] = (uint8_t)len;
	put(c, d, sizeof(d));
}

void crs_memory32(struct aml_crs *c, uint32_t base, uint32_t len, bool write)
{
	uint8_t d[12] = { 0x86, 9, 0, write };
	le32_put(d + 4, base);
	le32_put(d + 8, len);
	put(c, d, sizeof(d));
}

/* The address space descriptors: word, dword or qword fields as they fit. */
void crs_window(struct aml_crs *c, unsigned type, uint64_t first, uint64_t last)
{
	unsigned w = type ? 2 : last >> 32 ? 8 : 4;
	uint8_t d[6 + 5 * 8] = { w == 2 ? 0x88 : w == 4 ? 0x87 : 0x8a };
	le16_put(d + 1, (uint16_t)(3 + 5 * w));
	d[3] = (uint8_t)type;
	d[4] = 0x0c;                      /* minimum and maximum fixed, produced */
	d[5] = type == 1 ? 3 : type == 0 ? 1 : 0;   /* entire range; read-write */
	uint64_t field[5] = { 0, first, last, 0, last - first + 1 };
	for (unsigned i = 0; i < 5; i++) {
		uint8_t b[8];
		le64_put(b, field[i]);
		memcpy(d + 6 + i * w, b, w);
	}
	put(c, d, 6 + 5 * w);
}

void aml_resources(struct aml *a, struct aml_crs *c)
{
	static const uint8_t end[2] = { 0x79, 0 };
	put(c, end, sizeof(end));
	aml_name(a, "_CRS");
	aml_buffer(a, c->data, c->len);
}
