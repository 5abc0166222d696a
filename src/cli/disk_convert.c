/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme disk convert and compare. */
#include "cli/disk.h"

#include <stdio.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, GRAIN = 65536 };

struct convert_options { char *format, *compression; bool compress; };
static const struct cli_option convert_options[] = {
	{ "--format", "qcow2|raw", "of the new disk; default: by the end of its name", OPTION_STRING,
	  offsetof(struct convert_options, format), NULL },
	{ "--compress", NULL, "compressed clusters (qcow2)", OPTION_FLAG, offsetof(struct convert_options, compress), NULL },
	{ "--compression", "zstd|zlib", "how (default zstd)", OPTION_STRING,
	  offsetof(struct convert_options, compression), NULL },
	{ NULL }
};

static bool all_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* What is not zero, in grains; buf has room to fill the last one up. */
static int copy_piece(struct image *to, uint8_t *buf, uint64_t offset, size_t n, bool compress)
{
	int r = 0;
	for (size_t at = 0, piece; at < n && !r; at += piece) {
		piece = MIN(n - at, (size_t)GRAIN);
		if (all_zero(buf + at, piece))
			continue;
		if (compress && !((offset + at) % GRAIN)) {
			memset(buf + at + piece, 0, GRAIN - piece);
			r = qcow2_write_compressed(to, buf + at, offset + at);
		} else {
			r = image_write(to, buf + at, piece, offset + at);
		}
	}
	return r;
}

/* Runs of data grow to whole grains, so that each is written once. */
static void whole_grains(uint64_t size, uint64_t *at, uint64_t *n)
{
	uint64_t end = MIN(ALIGN_UP(*at + *n, GRAIN), size);
	*at = ALIGN_DOWN(*at, GRAIN);
	*n = end - *at;
}

static int copy(struct image *from, struct image *to, bool compress)
{
	auto_free uint8_t *buf = xmalloc(CHUNK + GRAIN);
	int r = 0;
	for (uint64_t at = 0, n; at < from->size && !r; at += n) {
		enum image_kind kind;
		n = from->size - at;
		if ((r = image_map(from, at, &n, &kind, NULL)))
			break;
		if (kind == IMAGE_DATA) {
			n = MIN(n, (uint64_t)CHUNK - GRAIN);
			if (compress)
				whole_grains(from->size, &at, &n);
			r = image_read(from, buf, n, at);
			if (!r)
				r = copy_piece(to, buf, at, n, compress);
		}
		disk_tool_progress("converting", at + n, from->size);
	}
	return r ? r : to->ops->flush(to);
}

static struct image *make_target(const char *path, const char *format, uint64_t size, bool zstd, struct error *err)
{
	struct qcow2_create c = { .size = size, .cluster_bits = 16, .version = 3, .zstd = zstd };
	struct image_file *f = disk_tool_new(path, err);
	if (!f)
		return NULL;
	int r = 0;
	bool raw = !strcmp(format, "raw");
	if (raw)
		r = f->ops->truncate(f, size);
	if (r)
		error_set(err, -r, "cannot give disk '%s' its size", path);
	struct image *i = r || (!raw && !qcow2_create(f, &c, err)) ? NULL : image_on(f, format, path, false, err);
	if (!i) {
		f->ops->close(f);
		unlink(path);
	}
	return i;
}

/* Under another name until it is complete. */
static bool convert(const char *from_path, const char *to_path, const struct convert_options *o, struct error *err)
{
	const char *format = o->format, *how = o->compression ? o->compression : "zstd";
	bool compress = o->compress || o->compression;
	auto_free char *part = xasprintf("%s.part", to_path);
	if (!disk_tool_format(&format, to_path, err))
		return false;
	if (strcmp(how, "zstd") && strcmp(how, "zlib"))
		return error_set(err, 0, "compression '%s' is not known: zstd and zlib are", how);
	if (compress && strcmp(format, "qcow2"))
		return error_set(err, 0, "only qcow2 disks are compressed: add --format qcow2");
	if (!access(to_path, F_OK))
		return error_set(err, 0, "disk '%s' is there already: it is not overwritten", to_path);
	struct image *from = disk_tool_open(from_path, NULL, true, err);
	if (!from)
		return false;
	struct image *to = make_target(part, format, ALIGN_UP(from->size, 512), compress && *how == 'z' && how[1] == 's', err);
	int r = to ? copy(from, to, compress) : 0;
	bool ok = to && !r;
	if (r)
		error_set(err, -r, "cannot copy disk '%s' to '%s'", from_path, to_path);
	image_close(to);
	image_close(from);
	if (ok && rename(part, to_path)) {
		ok = false;
		error_set(err, 0, "cannot give disk '%s' its name", to_path);
	}
	if (!ok && to)
		unlink(part);
	return ok;
}

int disk_convert(int argc, char **argv)
{
	struct convert_options o = { 0 };
	struct error err;
	const char *words[2];
	int status = cli_parse((struct cli_group[]){ { convert_options, &o }, { NULL } }, argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	return convert(words[0], words[1], &o, &err) ? 0 : cli_fail(&err);
}

/* Beyond its end a disk is zero. Where they differ first, or UINT64_MAX. */
static int first_difference(struct image *a, struct image *b, uint64_t *where)
{
	auto_free uint8_t *pa = xmalloc(CHUNK), *pb = xmalloc(CHUNK);
	uint64_t size = MAX(a->size, b->size);
	*where = UINT64_MAX;
	for (uint64_t at = 0; at < size; at += CHUNK) {
		struct { struct image *i; uint8_t *p; } both[2] = { { a, pa }, { b, pb } };
		for (unsigned k = 0; k < 2; k++) {
			uint64_t n = at < both[k].i->size ? MIN(both[k].i->size - at, (uint64_t)CHUNK) : 0;
			memset(both[k].p + n, 0, CHUNK - n);
			int r = n ? image_read(both[k].i, both[k].p, n, at) : 0;
			if (r)
				return r;
		}
		if (memcmp(pa, pb, CHUNK)) {
			for (*where = at; pa[*where - at] == pb[*where - at]; )
				++*where;
			return 0;
		}
		disk_tool_progress("comparing", at + CHUNK, ALIGN_UP(size, CHUNK));
	}
	return 0;
}

int disk_compare(int argc, char **argv)
{
	struct error err;
	const char *words[2];
	uint64_t where;
	int status = cli_parse((struct cli_group[]){ { NULL } }, argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	struct image *a = disk_tool_open(words[0], NULL, true, &err);
	struct image *b = a ? disk_tool_open(words[1], NULL, true, &err) : NULL;
	int r = b ? first_difference(a, b, &where) : 0;
	image_close(a);
	bool opened = b != NULL;
	image_close(b);
	if (r)
		error_set(&err, -r, "cannot read the disks");
	if (!opened || r)
		return cli_fail(&err);
	if (where == UINT64_MAX) {
		printf("equal\n");
		return 0;
	}
	printf("they differ at byte %llu\n", (unsigned long long)where);
	return STATUS_FAILED;
}
