/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing tar: tar.h. POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block". */
#include "container/tar.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum { OCTAL_7 = 07777777 };
#define OCTAL_11 077777777777ull

_Static_assert(sizeof(struct tar_header) == TAR_BLOCK, "a header is one block");

unsigned tar_sum(const struct tar_header *h)
{
	unsigned sum = sizeof(h->sum) * ' ';
	for (const uint8_t *p = (const uint8_t *)h; p < (const uint8_t *)(h + 1); p++)
		if (p < (const uint8_t *)h->sum || p >= (const uint8_t *)h->sum + sizeof(h->sum))
			sum += *p;
	return sum;
}

static bool put(int fd, const void *data, size_t n, struct error *err)
{
	return fd_write_full(fd, data, n) || error_set(err, errno, "cannot write the archive");
}

static bool pad(int fd, uint64_t size, struct error *err)
{
	static const char zeros[TAR_BLOCK];
	return put(fd, zeros, (size_t)(-size & (TAR_BLOCK - 1)), err);
}

static char type_of(const struct unpack_entry *e)
{
	return e->hardlink ? '1' : S_ISLNK(e->mode) ? '2' : S_ISDIR(e->mode) ? '5' : S_ISFIFO(e->mode) ? '6' : '0';
}

/* Digits and a NUL; what does not fit is in an extended header. */
static void octal(char *field, int digits, uint64_t v, uint64_t most)
{
	char text[32];
	snprintf(text, sizeof(text), "%0*llo", digits, (unsigned long long)(v > most ? 0 : v));
	memcpy(field, text, (size_t)digits + 1);
}

static bool put_header(int fd, const struct unpack_entry *e, char type, uint64_t size, struct error *err)
{
	struct tar_header h = { .type = type, .magic = "ustar", .version = { '0', '0' } };
	memcpy(h.name, e->path, strnlen(e->path, sizeof(h.name)));
	if (e->target)
		memcpy(h.link, e->target, strnlen(e->target, sizeof(h.link)));
	octal(h.mode, 7, e->mode & 07777, OCTAL_7);
	octal(h.uid, 7, e->uid, OCTAL_7);
	octal(h.gid, 7, e->gid, OCTAL_7);
	octal(h.size, 11, size, OCTAL_11);
	octal(h.mtime, 11, e->mtime > 0 ? (uint64_t)e->mtime : 0, OCTAL_11);
	octal(h.sum, 6, tar_sum(&h), OCTAL_7);
	h.sum[7] = ' ';
	return put(fd, &h, sizeof(h), err);
}

/* "LENGTH KEY=VALUE\n", the length with its own digits. */
static void record(char **text, const char *key, const char *value)
{
	size_t rest = strlen(key) + strlen(value) + 3, n = rest + 1;
	char number[24];
	while ((size_t)snprintf(number, sizeof(number), "%zu", n) + rest > n)
		n++;
	char *all = xasprintf("%s%s %s=%s\n", *text ? *text : "", number, key, value);
	free(*text);
	*text = all;
}

static void number_record(char **text, const char *key, uint64_t v, uint64_t most)
{
	char value[24];
	snprintf(value, sizeof(value), "%llu", (unsigned long long)v);
	if (v > most)
		record(text, key, value);
}

bool tar_put(int fd, const struct unpack_entry *e, uint64_t size, struct error *err)
{
	auto_free char *more = NULL;
	if (strlen(e->path) > sizeof(((struct tar_header *)0)->name))
		record(&more, "path", e->path);
	if (e->target && strlen(e->target) > sizeof(((struct tar_header *)0)->link))
		record(&more, "linkpath", e->target);
	number_record(&more, "size", size, OCTAL_11);
	number_record(&more, "uid", e->uid, OCTAL_7);
	number_record(&more, "gid", e->gid, OCTAL_7);
	const struct unpack_entry x = { .path = "././@PaxHeader", .mode = 0644 };
	size_t n = more ? strlen(more) : 0;
	if (more && (!put_header(fd, &x, 'x', n, err) || !put(fd, more, n, err) || !pad(fd, n, err)))
		return false;
	return put_header(fd, e, type_of(e), size, err);
}

bool tar_write(int fd, int from, uint64_t size, struct error *err)
{
	static char buf[1 << 16];
	for (uint64_t left = size; left; ) {
		ssize_t n = read(from, buf, (size_t)MIN(left, (uint64_t)sizeof(buf)));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, errno, "cannot read a file");
		if (!n)               /* it has become shorter */
			memset(buf, 0, (size_t)(n = (ssize_t)MIN(left, (uint64_t)sizeof(buf))));
		if (!put(fd, buf, (size_t)n, err))
			return false;
		left -= (uint64_t)n;
	}
	return pad(fd, size, err);
}

bool tar_end(int fd, struct error *err)
{
	static const char zeros[2 * TAR_BLOCK];
	return put(fd, zeros, sizeof(zeros), err);
}
