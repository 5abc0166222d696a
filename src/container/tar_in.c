/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading tar: tar.h. */
#include "container/tar.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum { EXTENDED_MOST = 1 << 20 };
#define OFF_MOST (1ull << 62)

/* What extended headers said of the entry to come. */
struct more { char *path, *target; bool has_size, has_uid, has_gid; uint64_t size, uid, gid; };

static bool damaged(const char *how, struct error *err)
{
	return error_set(err, 0, "this is no tar archive, or a damaged one: %s", how);
}

/* All of n bytes; *got less only at the end of the stream. */
static bool get(struct tar_in *t, void *data, size_t n, size_t *got, struct error *err)
{
	for (*got = 0; *got < n; ) {
		ssize_t r = read(t->fd, (char *)data + *got, n - *got);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return error_set(err, errno, "cannot read the archive");
		if (!r)
			break;
		*got += (size_t)r;
	}
	return true;
}

/* Up to `room` bytes of the content and its padding; 0 at its end, -1 an error. */
static ssize_t some(struct tar_in *t, void *data, size_t room, struct error *err)
{
	size_t got, n = (size_t)MIN(t->left, (uint64_t)room);
	if (n && !get(t, data, n, &got, err))
		return -1;
	if (n && got < n)
		return damaged("it ends too early", err), -1;
	t->left -= n;
	return (ssize_t)n;
}

static bool pass_over(struct tar_in *t, struct error *err)
{
	static char buf[1 << 16];
	ssize_t n;
	while ((n = some(t, buf, sizeof(buf), err)) > 0)
		;
	return !n;
}

bool tar_read(struct tar_in *t, int to, struct error *err)
{
	static char buf[1 << 16];
	while (t->size) {
		ssize_t n = some(t, buf, (size_t)MIN(t->size, (uint64_t)sizeof(buf)), err);
		if (n < 0)
			return false;
		if (!fd_write_full(to, buf, (size_t)n))
			return error_set(err, errno, "cannot write a file");
		t->size -= (uint64_t)n;
	}
	return true;
}

static void expect(struct tar_in *t, uint64_t size)
{
	t->size = size;
	t->left = (size + TAR_BLOCK - 1) & ~(uint64_t)(TAR_BLOCK - 1);
}

/* Octal digits, or, the first bit set, a big-endian number (GNU). */
static bool number(const char *field, size_t n, uint64_t *v)
{
	size_t i = 0;
	*v = 0;
	if (field[0] & 0x80) {
		*v = (uint8_t)field[0] & 0x3f;
		for (i = 1; i < n; i++) {
			if (*v >> 55)
				return false;
			*v = *v << 8 | (uint8_t)field[i];
		}
		return !(field[0] & 0x40);       /* not below zero */
	}
	while (i < n && field[i] == ' ')
		i++;
	for (; i < n && field[i] >= '0' && field[i] <= '7'; i++)
		*v = *v << 3 | (uint64_t)(field[i] - '0');
	return i == n || !field[i] || field[i] == ' ';
}

static char *string(const char *field, size_t n) { return strndup(field, n); }

/* ---- extended headers ---- */

/* The whole content of an extended header, with a NUL; to be freed. */
static char *content(struct tar_in *t, uint64_t size, struct error *err)
{
	if (size > EXTENDED_MOST)
		return damaged("a header is too long", err), NULL;
	expect(t, size);
	char *text = xmalloc((size_t)t->left + 1);
	for (size_t n = 0; t->left; ) {
		ssize_t r = some(t, text + n, (size_t)t->left, err);
		if (r < 0) {
			free(text);
			return NULL;
		}
		n += (size_t)r;
	}
	text[size] = 0;
	return text;
}

static void replace(char **at, const char *value)
{
	free(*at);
	*at = xstrdup(value);
}

static bool take_record(struct more *m, const char *key, const char *value, struct error *err)
{
	const struct { const char *key; uint64_t *v; bool *has; } numbers[] = {
		{ "size", &m->size, &m->has_size }, { "uid", &m->uid, &m->has_uid }, { "gid", &m->gid, &m->has_gid } };
	if (!strncmp(key, "GNU.sparse.", 11))
		return error_set(err, 0, "the archive holds sparse files: make it without --sparse");
	if (!strcmp(key, "path"))
		replace(&m->path, value);
	if (!strcmp(key, "linkpath"))
		replace(&m->target, value);
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		if (!strcmp(key, numbers[i].key) && !(*numbers[i].has = parse_u64(value, 0, INT64_MAX, numbers[i].v)))
			return damaged("a number of a header", err);
	return true;
}

/* "LENGTH KEY=VALUE\n" after one another. */
static bool take_records(struct more *m, char *text, size_t n, struct error *err)
{
	while (n) {
		char *end, *equals;
		unsigned long length = text[0] >= '1' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
		if (!length || length > n || *end != ' ' || end + 1 >= text + length || text[length - 1] != '\n')
			return damaged("an extended header", err);
		text[length - 1] = 0;
		equals = strchr(end + 1, '=');
		if (!equals || strlen(equals) != (size_t)(text + length - 1 - equals))
			return damaged("an extended header", err);
		*equals = 0;
		if (!take_record(m, end + 1, equals + 1, err))
			return false;
		text += length;
		n -= length;
	}
	return true;
}

static bool extended(struct tar_in *t, char type, uint64_t size, struct more *m, struct error *err)
{
	auto_free char *text = content(t, size, err);
	if (!text)
		return false;
	if (type == 'x')
		return take_records(m, text, (size_t)size, err);
	if (type == 'L' || type == 'K')        /* GNU */
		replace(type == 'L' ? &m->path : &m->target, text);
	return true;                           /* 'g': of the whole archive; 'V': its name */
}

/* ---- entries ---- */

static bool type_mode(char type, const char *path, uint32_t *mode)
{
	static const struct { char type; uint32_t mode; } types[] = { { '0', S_IFREG }, { 0, S_IFREG }, { '7', S_IFREG },
		{ '1', S_IFREG }, { '2', S_IFLNK }, { '3', S_IFCHR }, { '4', S_IFBLK }, { '5', S_IFDIR }, { '6', S_IFIFO } };
	size_t n = strlen(path);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].type == type) {
			bool old = (type == '0' || !type) && n && path[n - 1] == '/';   /* a directory before POSIX */
			*mode |= old ? S_IFDIR : types[i].mode;
			return true;
		}
	return false;
}

static char *header_path(const struct tar_header *h)
{
	auto_free char *name = string(h->name, sizeof(h->name));
	if (memcmp(h->magic, "ustar", 6) || !h->prefix[0])      /* GNU has other things there */
		return move_ptr(name);
	return xasprintf("%.*s/%s", (int)sizeof(h->prefix), h->prefix, name);
}

static bool fill(struct tar_in *t, const struct tar_header *h, struct more *m, uint64_t size, struct unpack_entry *e, struct error *err)
{
	uint64_t mode, uid, gid, mtime;
	if (!number(h->mtime, sizeof(h->mtime), &mtime))
		mtime = 0;                     /* before 1970 */
	if (!number(h->mode, sizeof(h->mode), &mode) || !number(h->uid, sizeof(h->uid), &uid) || !number(h->gid, sizeof(h->gid), &gid))
		return damaged("a number of a header", err);
	uid = m->has_uid ? m->uid : uid;
	gid = m->has_gid ? m->gid : gid;
	free(t->path);
	free(t->target);
	t->path = m->path ? move_ptr(m->path) : header_path(h);
	t->target = m->target ? move_ptr(m->target) : string(h->link, sizeof(h->link));
	*e = (struct unpack_entry){ .path = t->path, .target = t->target, .hardlink = h->type == '1', .mode = mode & 07777, .uid = (uint32_t)uid,
		.gid = (uint32_t)gid, .mtime = (int64_t)MIN(mtime, (uint64_t)OFF_MOST) };
	if (uid >= UINT32_MAX || gid >= UINT32_MAX)
		return damaged("a number of a header", err);
	if (!type_mode(h->type, t->path, &e->mode))
		return error_set(err, 0, h->type == 'S' ? "the archive holds sparse files: make it without --sparse" :
				 "the archive holds an entry of an unknown type");
	expect(t, S_ISREG(e->mode) && !e->hardlink ? size : 0);
	return true;
}

static bool is_zero(const struct tar_header *h)
{
	for (const char *p = (const char *)h; p < (const char *)(h + 1); p++)
		if (*p)
			return false;
	return true;
}

static bool is_compressed(const struct tar_header *h)
{
	return !memcmp(h, "\x1f\x8b", 2) || !memcmp(h, "BZh", 3) || !memcmp(h, "\xfd" "7zXZ", 5) || !memcmp(h, "\x28\xb5\x2f\xfd", 4);
}

static int read_rest(struct tar_in *t, struct error *err)
{
	static char rest[1 << 16];
	size_t got;
	do
		if (!get(t, rest, sizeof(rest), &got, err))
			return -1;
	while (got);
	return 0;
}

/* 1: a header, 0: the end. */
static int read_header(struct tar_in *t, struct tar_header *h, struct error *err)
{
	uint64_t sum;
	size_t got;
	*h = (struct tar_header){ 0 };
	if (!get(t, h, sizeof(*h), &got, err))
		return -1;
	if (is_compressed(h))
		return error_minus(err, 0, "the archive is compressed: pass it through zcat, bzcat, xzcat or zstdcat first");
	if (got < sizeof(*h))
		return damaged(got ? "it ends within a header" : "it has no end", err), -1;
	if (is_zero(h))
		return read_rest(t, err);
	if (!number(h->sum, sizeof(h->sum), &sum) || sum != tar_sum(h))
		return damaged("a wrong checksum", err), -1;
	return 1;
}

static int next(struct tar_in *t, struct more *m, struct unpack_entry *e, struct error *err)
{
	struct tar_header h;
	uint64_t size;
	for (;;) {
		int more = read_header(t, &h, err);
		if (more <= 0)
			return more;
		if (!number(h.size, sizeof(h.size), &size) || size > OFF_MOST)
			return damaged("a number of a header", err), -1;
		if (!h.type || !strchr("xgLKV", h.type))
			return fill(t, &h, m, m->has_size ? m->size : size, e, err) ? 1 : -1;
		if (!extended(t, h.type, size, m, err))
			return -1;
	}
}

int tar_next(struct tar_in *t, struct unpack_entry *e, uint64_t *size, struct error *err)
{
	struct more m = { 0 };
	int more = pass_over(t, err) ? next(t, &m, e, err) : -1;
	free(m.path);
	free(m.target);
	*size = t->size;
	return more;
}

void tar_close(struct tar_in *t)
{
	free(t->path);
	free(t->target);
	t->path = t->target = NULL;
}
