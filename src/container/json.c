/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON reader (RFC 8259, no duplicate checks: the first member wins): json.h. */
#include "container/json.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	char data[] __attribute__((aligned(8)));
};
enum { ARENA_BLOCK = 16384 };

void *arena_alloc(struct arena *a, size_t n)
{
	n = ALIGN_UP(n ? n : 1, (size_t)8);
	struct arena_block *b = a->blocks;
	if (!b || b->size - b->used < n) {
		size_t size = MAX(n, (size_t)ARENA_BLOCK);
		b = xcalloc(1, sizeof(*b) + size);
		b->size = size;
		b->next = a->blocks;
		a->blocks = b;
	}
	void *p = b->data + b->used;
	b->used += n;
	return p;
}

char *arena_copy(struct arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);
	return memcpy(p, s, n);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	char *s;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		return arena_copy(a, "", 0);
	char *p = arena_copy(a, s, (size_t)n);
	free(s);
	return p;
}

void arena_free(struct arena *a)
{
	for (struct arena_block *b = a->blocks, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	a->blocks = NULL;
}

struct reader {
	struct arena *arena;
	const char *p, *end, *start;
	const char *what;
	unsigned depth;
	struct error *err;
};

static bool bad(struct reader *r, const char *why)
{
	unsigned line = 1;
	for (const char *p = r->start; p < r->p && p < r->end; p++)
		line += *p == '\n';
	return error_set(r->err, 0, "%s: line %u: %s", r->what, line, why);
}

static void blanks(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
		r->p++;
}

static bool hex4(struct reader *r, unsigned *v)
{
	*v = 0;
	if (r->end - r->p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		unsigned char c = (unsigned char)*r->p++;
		if (!isxdigit(c))
			return false;
		*v = *v << 4 | (c <= '9' ? c - 48u : (c | 32u) - 'a' + 10);
	}
	return true;
}

static char *utf8(char *out, unsigned c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 63));
		*out++ = (char)(0x80 | (c & 63));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 63));
		*out++ = (char)(0x80 | (c >> 6 & 63));
		*out++ = (char)(0x80 | (c & 63));
	}
	return out;
}

/* After "\u": one code point, of two escapes where they are surrogates. */
static bool escape_u(struct reader *r, char **out)
{
	unsigned c, low;
	if (!hex4(r, &c))
		return bad(r, "a \\u escape needs four hexadecimal digits");
	if (c >= 0xd800 && c < 0xdc00) {
		if (r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u')
			return bad(r, "half of a surrogate pair");
		r->p += 2;
		if (!hex4(r, &low) || low < 0xdc00 || low > 0xdfff)
			return bad(r, "half of a surrogate pair");
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	} else if (c >= 0xdc00 && c <= 0xdfff) {
		return bad(r, "half of a surrogate pair");
	}
	if (!c)
		return bad(r, "a string holds a zero byte");
	*out = utf8(*out, c);
	return true;
}

static bool escape(struct reader *r, char **out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (r->p >= r->end)
		return bad(r, "the text ends inside a string");
	char c = *r->p++;
	if (c == 'u')
		return escape_u(r, out);
	const char *at = c ? strchr(from, c) : NULL;
	if (!at)
		return bad(r, "unknown escape in a string");
	*(*out)++ = to[at - from];
	return true;
}

/* At the opening quote. An unescaped string is never longer than its source. */
static const char *string(struct reader *r)
{
	const char *p = ++r->p;
	while (p < r->end && *p != '"')
		p += *p == '\\' && p + 1 < r->end ? 2 : 1;
	if (p >= r->end) {
		bad(r, "a string does not end");
		return NULL;
	}
	char *text = arena_alloc(r->arena, (size_t)(p - r->p) + 1), *out = text;
	while (*r->p != '"') {
		unsigned char c = (unsigned char)*r->p++;
		if (c < 0x20) {
			bad(r, "a control character in a string");
			return NULL;
		}
		if (c != '\\')
			*out++ = (char)c;
		else if (!escape(r, &out))
			return NULL;
	}
	r->p++;
	return text;
}

static bool digits(struct reader *r)
{
	const char *from = r->p;
	while (r->p < r->end && isdigit((unsigned char)*r->p))
		r->p++;
	return r->p > from;
}

static bool number(struct reader *r, struct json *v)
{
	const char *from = r->p;
	r->p += *r->p == '-';
	const char *whole = r->p;
	bool ok = digits(r) && !(*whole == '0' && r->p - whole > 1);
	if (ok && r->p < r->end && *r->p == '.') {
		r->p++;
		ok = digits(r);
	}
	if (ok && r->p < r->end && (*r->p | 32) == 'e') {
		r->p++;
		r->p += r->p < r->end && (*r->p == '+' || *r->p == '-');
		ok = digits(r);
	}
	if (!ok)
		return bad(r, "this is no JSON value");
	v->type = JSON_NUMBER;
	v->text = arena_copy(r->arena, from, (size_t)(r->p - from));
	return true;
}

static bool word(struct reader *r, struct json *v, const char *w, enum json_type type)
{
	size_t n = strlen(w);
	if ((size_t)(r->end - r->p) < n || memcmp(r->p, w, n))
		return bad(r, "this is no JSON value");
	r->p += n;
	v->type = type;
	v->text = w;
	return true;
}

static bool value(struct reader *r, struct json *v);

static bool member(struct reader *r, struct json *v, bool object)
{
	blanks(r);
	if (!object)
		return value(r, v);
	if (r->p >= r->end || *r->p != '"')
		return bad(r, "a name in quotes is missing");
	v->key = string(r);
	if (!v->key)
		return false;
	blanks(r);
	if (r->p >= r->end || *r->p++ != ':')
		return bad(r, "a ':' is missing");
	return value(r, v);
}

static bool members(struct reader *r, struct json *v, bool object)
{
	char last = object ? '}' : ']';
	struct json **link = &v->child;
	v->type = object ? JSON_OBJECT : JSON_ARRAY;
	r->p++;
	blanks(r);
	if (r->p < r->end && *r->p == last) {
		r->p++;
		return true;
	}
	for (;;) {
		struct json *m = arena_alloc(r->arena, sizeof(*m));
		if (!member(r, m, object))
			return false;
		*link = m;
		link = &m->next;
		v->count++;
		blanks(r);
		char c = r->p < r->end ? *r->p++ : 0;
		if (c == last)
			return true;
		if (c != ',')
			return bad(r, object ? "a ',' or '}' is missing" : "a ',' or ']' is missing");
	}
}

static bool value(struct reader *r, struct json *v)
{
	blanks(r);
	if (r->p >= r->end)
		return bad(r, "the text ends too early");
	if (r->depth == JSON_DEPTH_MAX)
		return bad(r, "nested too deeply");
	bool ok;
	r->depth++;
	switch (*r->p) {
	case '{': ok = members(r, v, true); break;
	case '[': ok = members(r, v, false); break;
	case '"':
		v->type = JSON_STRING;
		v->text = string(r);
		ok = v->text != NULL;
		break;
	case 't': ok = word(r, v, "true", JSON_BOOL); break;
	case 'f': ok = word(r, v, "false", JSON_BOOL); break;
	case 'n': ok = word(r, v, "null", JSON_NULL); break;
	default: ok = number(r, v);
	}
	r->depth--;
	return ok;
}

struct json *json_parse(struct arena *a, const char *text, size_t size, const char *what, struct error *err)
{
	struct reader r = { .arena = a, .p = text, .end = text + size, .start = text, .what = what, .err = err };
	struct json *v = arena_alloc(a, sizeof(*v));
	if (!value(&r, v))
		return NULL;
	blanks(&r);
	if (r.p == r.end)
		return v;
	bad(&r, "something follows the end");
	return NULL;
}

char *json_read_file(struct arena *a, int dirfd, const char *path, size_t *size, struct error *err)
{
	struct stat st;
	auto_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st))
		return error_null(err, errno, "cannot open '%s'", path);
	if (!S_ISREG(st.st_mode) || st.st_size > JSON_BYTES_MAX)
		return error_null(err, 0, "'%s' is no regular file of at most 16 MiB", path);
	char *text = arena_alloc(a, (size_t)st.st_size + 1);
	if (!fd_read_full(fd, text, (size_t)st.st_size))
		return error_null(err, errno, "cannot read '%s'", path);
	*size = (size_t)st.st_size;
	return text;
}

struct json *json_load(struct arena *a, int dirfd, const char *path, struct error *err)
{
	size_t size;
	char *text = json_read_file(a, dirfd, path, &size, err);
	return text ? json_parse(a, text, size, path, err) : NULL;
}

const struct json *json_get(const struct json *o, const char *key)
{
	if (!o || o->type != JSON_OBJECT)
		return NULL;
	for (const struct json *m = o->child; m; m = m->next)
		if (!strcmp(m->key, key))
			return m->type == JSON_NULL ? NULL : m;
	return NULL;
}

const char *json_str(const struct json *o, const char *key)
{
	const struct json *v = json_get(o, key);
	return v && v->type == JSON_STRING ? v->text : NULL;
}

bool json_is(const struct json *o, const char *key)
{
	const struct json *v = json_get(o, key);
	return v && v->type == JSON_BOOL && *v->text == 't';
}

bool json_u64(const struct json *v, uint64_t *out)
{
	char *end;
	if (!v || v->type != JSON_NUMBER || *v->text == '-')
		return false;
	errno = 0;
	*out = strtoull(v->text, &end, 10);
	return !errno && !*end;
}

bool json_i64(const struct json *v, int64_t *out)
{
	char *end;
	if (!v || v->type != JSON_NUMBER)
		return false;
	errno = 0;
	*out = strtoll(v->text, &end, 10);
	return !errno && !*end;
}
