/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directories, tags and uses of the image store: see store.h. */
#include "image/store.h"
#include "base/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { MAX_TEXT_BLOB = 4 << 20, MIN_DIGITS = 4 };

static int below(int dir, const char *name)
{
	if (mkdirat(dir, name, 0700) && errno != EEXIST)
		return -1;
	return openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

bool image_store_open(struct image_store *s, struct error *err)
{
	*s = (struct image_store){ -1, -1, -1, -1, -1, -1, -1 };
	s->dir = place_open("images", err);
	if (s->dir < 0)
		return false;
	s->lock = openat(s->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock >= 0 && flock(s->lock, LOCK_SH)) {
		image_store_close(s);
		return error_set(err, errno, "cannot lock the image store");
	}
	const struct { const char *name; int *fd; } dirs[] = { { "blobs", &s->blobs }, { "layers", &s->layers },
		{ "refs", &s->refs }, { "uses", &s->uses }, { "tmp", &s->tmp } };
	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++)
		if (s->lock < 0 || (*dirs[i].fd = below(s->dir, dirs[i].name)) < 0) {
			error_set(err, errno, "cannot open the image store");
			image_store_close(s);
			return false;
		}
	return true;
}

void image_store_close(struct image_store *s)
{
	const int fds[] = { s->dir, s->blobs, s->layers, s->refs, s->uses, s->tmp, s->lock };
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	*s = (struct image_store){ -1, -1, -1, -1, -1, -1, -1 };
}

/* ---- tags ---- */

static void swap(char *text, char from, char to)
{
	for (; *text; text++)
		if (*text == from)
			*text = to;
}

static bool write_digest(int dir, const char *name, const char *hex)
{
	char text[DIGEST_HEX + 16];
	snprintf(text, sizeof(text), "sha256:%s\n", hex);
	return place_write(dir, name, text);
}

static bool read_digest(int dir, const char *name, char hex[DIGEST_HEX + 1])
{
	auto_free char *text = place_read(dir, name, 256);
	if (!text)
		return false;
	text[strcspn(text, "\n")] = 0;
	return digest_parse(text, hex);
}

bool image_tag(struct image_store *s, const char *full, const char *hex, struct error *err)
{
	auto_free char *file = xstrdup(full);
	swap(file, '/', '%');
	return write_digest(s->refs, file, hex) || error_set(err, errno, "cannot write the tag '%s'", full);
}

bool image_untag(struct image_store *s, const char *full, struct error *err)
{
	auto_free char *file = xstrdup(full);
	swap(file, '/', '%');
	return !unlinkat(s->refs, file, 0) || error_set(err, errno, "cannot remove the tag '%s'", full);
}

struct walk {
	int dir;
	char separator;
	bool (*fn)(const char *, const char *, void *);
	void *opaque;
};

static bool walk_one(const char *file, void *opaque)
{
	struct walk *w = opaque;
	char hex[DIGEST_HEX + 1];
	auto_free char *name = xstrdup(file);
	if (w->separator)
		swap(name, w->separator, '/');
	return !read_digest(w->dir, file, hex) || w->fn(name, hex, w->opaque);
}

bool image_each(struct image_store *s, bool (*fn)(const char *, const char *, void *), void *opaque)
{
	struct walk w = { s->refs, '%', fn, opaque };
	return place_each(s->refs, walk_one, &w) == 1;
}

bool image_each_use(struct image_store *s, bool (*fn)(const char *, const char *, void *), void *opaque)
{
	struct walk w = { s->uses, 0, fn, opaque };
	return place_each(s->uses, walk_one, &w) == 1;
}

struct search { const char *digits; char *hex; unsigned found; };

static bool match(const char *full, const char *hex, void *opaque)
{
	struct search *s = opaque;
	if (strncmp(hex, s->digits, strlen(s->digits)) || (s->found && !strcmp(hex, s->hex)))
		return true;
	memcpy(s->hex, hex, DIGEST_HEX + 1);
	s->found++;
	return true;
}

bool image_find(struct image_store *s, const char *name, char full[REFERENCE_MAX + 1], char hex[DIGEST_HEX + 1],
		struct error *err)
{
	struct reference r;
	size_t digits = strspn(name, "0123456789abcdef");
	struct search by_digits = { name, hex, 0 };
	full[0] = 0;
	if (reference_parse(name, &r, NULL)) {
		auto_free char *file = xstrdup(r.full);
		swap(file, '/', '%');
		if (read_digest(s->refs, file, hex)) {
			snprintf(full, REFERENCE_MAX + 1, "%s", r.full);
			return true;
		}
	}
	if (digits >= MIN_DIGITS && digits <= DIGEST_HEX && !name[digits])
		image_each(s, match, &by_digits);
	if (by_digits.found == 1)
		return true;
	return error_set(err, 0, by_digits.found ? "'%s' begins the digests of several images: give more digits" :
			 "there is no image '%s': abyme images shows what there is, abyme pull fetches", name);
}

/* ---- uses ---- */

bool image_use(struct image_store *s, const char *instance, const char *hex, struct error *err)
{
	return write_digest(s->uses, instance, hex) ||
		error_set(err, errno, "cannot note that '%s' uses an image", instance);
}

void image_unuse(const char *instance)
{
	struct image_store s;
	if (!image_store_open(&s, NULL))
		return;
	unlinkat(s.uses, instance, 0);
	image_store_close(&s);
}

/* ---- blobs ---- */

int blob_open(const struct image_store *s, const char *hex, uint64_t *size)
{
	struct stat st;
	auto_close int fd = openat(s->blobs, hex, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return -1;
	if (size)
		*size = (uint64_t)st.st_size;
	return move_fd(&fd);
}

char *blob_text(const struct image_store *s, const char *hex, size_t *size, struct error *err)
{
	uint64_t n;
	auto_close int fd = blob_open(s, hex, &n);
	if (fd < 0)
		return error_null(err, errno, "the image store lacks the content sha256:%s", hex);
	if (n > MAX_TEXT_BLOB)
		return error_null(err, 0, "sha256:%s is too long for a manifest or config", hex);
	char *text = xcalloc(1, n + 1);
	if (fd_read_full(fd, text, n)) {
		*size = n;
		return text;
	}
	free(text);
	return error_null(err, errno, "cannot read the content sha256:%s", hex);
}

int layer_open(const struct image_store *s, const char *diff)
{
	return openat(s->layers, diff, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

void image_tmp_name(char name[48])
{
	uint8_t b[8] = { 0 };
	ssize_t n UNUSED = getrandom(b, sizeof(b), 0);
	snprintf(name, 48, "%d-%02x%02x%02x%02x%02x%02x%02x%02x", (int)getpid(), b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]);
}
