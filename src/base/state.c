/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State streams (contract in state.h).
 *
 * On the wire: a section is
 *     u32 magic "ASEC", u32 version, u32 flags, u32 length, char name[48],
 *     u32 CRC-32 of the payload, u32 CRC-32 of the header before it, payload.
 * Invariants: (1) `pos` never exceeds `end`; (2) inside a section, `end` is the
 * section's end when loading; (3) after a failure nothing is read or written.
 */
#include "base/state.h"

#include <stdio.h>

enum { SEC_MAGIC = 0x43455341, SEC_HEADER = 16 + 48 + 8 };

struct state {
	bool loading;
	bool failed;
	struct error error;
	char section[48];
	uint8_t *buf;             /* save: owned, grows */
	const uint8_t *data;      /* load: borrowed */
	size_t pos, end, cap;
	size_t sec_start;         /* save: offset of the open section's header */
	size_t sec_next;          /* load: where the section ends */
	size_t total;
	bool in_section;
};

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
	static uint32_t table[256];
	if (!table[1])
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;
			for (int k = 0; k < 8; k++)
				c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
			table[i] = c;
		}
	uint32_t c = ~0u;
	while (n--)
		c = table[(c ^ *p++) & 0xff] ^ c >> 8;
	return ~c;
}

struct state *state_save_new(void)
{
	return xnew(struct state);
}

struct state *state_load_new(const void *data, size_t size)
{
	struct state *s = xnew(struct state);
	s->loading = true;
	s->data = data;
	s->end = s->total = size;
	return s;
}

void state_free(struct state *s)
{
	if (!s)
		return;
	free(s->buf);
	free(s);
}

const void *state_bytes(const struct state *s, size_t *size)
{
	*size = s->pos;
	return s->buf;
}

bool state_loading(const struct state *s) { return s->loading; }
bool state_ok(const struct state *s) { return !s->failed; }
const struct error *state_error(const struct state *s) { return &s->error; }

bool state_fail(struct state *s, const char *fmt, ...)
{
	if (s->failed)
		return false;
	s->failed = true;
	char text[400];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (s->in_section)
		return error_set(&s->error, 0, "state section '%s': %s", s->section, text);
	return error_set(&s->error, 0, "state: %s", text);
}

static void reserve(struct state *s, size_t n)
{
	if (s->cap - s->pos >= n)
		return;
	s->cap = (s->pos + n) * 2 + 4096;
	s->buf = xrealloc(s->buf, s->cap);
}

void xfer_bytes(struct state *s, void *p, size_t n)
{
	if (s->failed)
		return;
	if (!s->loading) {
		reserve(s, n);
		memcpy(s->buf + s->pos, p, n);
	} else {
		if (s->end - s->pos < n) {
			state_fail(s, "ends too early: %zu bytes missing", n - (s->end - s->pos));
			return;
		}
		memcpy(p, s->data + s->pos, n);
	}
	s->pos += n;
}

#define DEFINE_XFER(bits) \
	void xfer_u##bits(struct state *s, uint##bits##_t *v) \
	{ \
		uint##bits##_t w = htole##bits(*v); \
		xfer_bytes(s, &w, sizeof(w)); \
		if (s->loading && !s->failed) \
			*v = le##bits##toh(w); \
	} \
	void xfer_u##bits##_max(struct state *s, uint##bits##_t *v, uint##bits##_t max) \
	{ \
		uint##bits##_t w = *v; \
		xfer_u##bits(s, &w); \
		if (!s->failed && w > max) \
			state_fail(s, "value %llu is above %llu", (unsigned long long)w, \
				   (unsigned long long)max); \
		else if (!s->failed) \
			*v = w; \
	}
#define htole8(x) (x)
#define le8toh(x) (x)
DEFINE_XFER(8)
DEFINE_XFER(16)
DEFINE_XFER(32)
DEFINE_XFER(64)

void xfer_i64(struct state *s, int64_t *v)
{
	uint64_t u = (uint64_t)*v;
	xfer_u64(s, &u);
	*v = (int64_t)u;
}

void xfer_bool(struct state *s, bool *v)
{
	uint8_t b = *v;
	xfer_u8_max(s, &b, 1);
	*v = b;
}

void xfer_blob(struct state *s, void *p, uint32_t *n, uint32_t max)
{
	uint32_t len = *n;
	xfer_u32_max(s, &len, max);
	if (s->failed)
		return;
	xfer_bytes(s, p, len);
	if (!s->failed)
		*n = len;
}

void xfer_check_u64(struct state *s, uint64_t v, const char *what)
{
	uint64_t w = v;
	xfer_u64(s, &w);
	if (!s->failed && w != v)
		state_fail(s, "%s is %llu in the file and %llu in this machine", what,
			   (unsigned long long)w, (unsigned long long)v);
}

void state_begin(struct state *s, const char *name, uint32_t version, uint32_t flags)
{
	if (s->failed)
		return;
	reserve(s, SEC_HEADER);
	uint8_t *h = s->buf + s->pos;
	memset(h, 0, SEC_HEADER);
	le32_put(h, SEC_MAGIC);
	le32_put(h + 4, version);
	le32_put(h + 8, flags);
	snprintf((char *)h + 16, 48, "%s", name);
	snprintf(s->section, sizeof(s->section), "%s", name);
	s->in_section = true;
	s->sec_start = s->pos;
	s->pos += SEC_HEADER;
}

static void end_saving(struct state *s)
{
	uint8_t *h = s->buf + s->sec_start;
	size_t n = s->pos - s->sec_start - SEC_HEADER;
	le32_put(h + 12, (uint32_t)n);
	le32_put(h + 64, crc32_of(h + SEC_HEADER, n));
	le32_put(h + 68, crc32_of(h, 68));
}

void state_end(struct state *s)
{
	if (s->failed || !s->in_section)
		return;
	if (!s->loading)
		end_saving(s);
	else if (s->pos != s->sec_next)
		state_fail(s, "has %zu bytes too many", s->sec_next - s->pos);
	s->end = s->total;
	s->in_section = false;
}

bool state_next(struct state *s, struct state_section *sec)
{
	if (s->failed || s->pos == s->end)
		return false;
	if (s->end - s->pos < SEC_HEADER)
		return state_fail(s, "the file is cut");
	const uint8_t *h = s->data + s->pos;
	uint32_t n = le32_get(h + 12);
	if (le32_get(h) != SEC_MAGIC || le32_get(h + 68) != crc32_of(h, 68) || h[63])
		return state_fail(s, "the file is damaged at byte %zu", s->pos);
	if (s->end - s->pos - SEC_HEADER < n)
		return state_fail(s, "the file is cut");
	if (crc32_of(h + SEC_HEADER, n) != le32_get(h + 64))
		return state_fail(s, "the file is damaged in section '%.47s'", h + 16);
	sec->version = le32_get(h + 4);
	sec->flags = le32_get(h + 8);
	memcpy(sec->name, h + 16, 48);
	memcpy(s->section, h + 16, 48);
	s->pos += SEC_HEADER;
	s->sec_next = s->end = s->pos + n;
	s->in_section = true;
	return true;
}

void state_skip(struct state *s)
{
	s->pos = s->sec_next;
	state_end(s);
}
