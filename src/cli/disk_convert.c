/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme disk convert and compare. */
#include "cli/foreign.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "disk/copy.h"
#include "disk/resume.h"

#define CHUNK (1ull << 20)

struct convert_options { char *format, *from_format, *compression, *rate; bool compress; };
static const struct cli_option convert_options[] = {
	{ "--format", "qcow2|raw|vmdk|vmdk-stream|vdi|vhd|vhdx", "of the new disk; default: by the end of its name", OPTION_STRING,
	  offsetof(struct convert_options, format), NULL },
	{ "--from-format", "FORMAT", "of the old disk; default: by its first bytes", OPTION_STRING,
	  offsetof(struct convert_options, from_format), NULL },
	{ "--compress", NULL, "compressed clusters (qcow2)", OPTION_FLAG, offsetof(struct convert_options, compress), NULL },
	{ "--compression", "zstd|zlib", "how (default zstd)", OPTION_STRING,
	  offsetof(struct convert_options, compression), NULL },
	{ "--rate", "SIZE", "how much to copy a second (default: as fast as it goes)", OPTION_STRING,
	  offsetof(struct convert_options, rate), NULL },
	{ NULL }
};

static void progress(uint64_t done, uint64_t total)
{
	disk_tool_progress("converting", done, total);
}

/* A copy that was interrupted goes on, if it was of the same disk as it is now. */
static bool copy(struct image *from, const char *path, const char *format, const struct convert_options *o, bool zstd,
		 struct error *err)
{
	bool compress = o->compress || o->compression;
	struct qcow2_create new = { .size = ALIGN_UP(from->size, 512), .cluster_bits = 16, .version = 3, .zstd = zstd };
	struct image_copy c = { .from = from, .compress = compress, .stop = disk_tool_stopped, .progress = progress };
	auto_free char *disks = resume_identity(from);
	auto_free char *job = xasprintf("convert to %s%s%s", format, compress ? zstd ? " zstd" : " zlib" : "", disks);
	int failed;
	if (!disk_tool_rate(o->rate, &c.rate, err))
		return false;
	disk_tool_stop_by_signal();
	return resume_copy(&c, path, format, &new, job, disk_tool_going_on, &failed, err) ||
	       (failed && error_set(err, -failed, "cannot copy disk '%s' to '%s'", from->path, path));
}

static bool in_one_go(const struct foreign_job *j, struct error *err)
{
	disk_tool_stop_by_signal();
	if (foreign_convert(j->from, j->from_format, j->to, j->format, err))
		return true;
	unlink(j->to);
	return disk_tool_stopped() ? error_set(err, 0, "stopped: %s is written in one go, so the next attempt begins anew", j->format) :
				     false;
}

/* By qemu-img; what the source is, we say. */
static bool convert_foreign(const char *from, const char *part, const struct convert_options *o, const char *format,
			    struct error *err)
{
	struct foreign_job j = { .from = from, .from_format = "vhdx", .to = part, .format = format };
	if (!disk_tool_rate(o->rate, &j.rate, err))
		return false;
	if (!foreign_source(from)) {
		if (!(j.i = disk_tool_open(from, o->from_format, true, err)))
			return false;
		j.from_format = j.i->ops->format;
	}
	bool ok = foreign_in_one_go(format) ? in_one_go(&j, err) : foreign_go_on(&j, err);
	image_close(j.i);
	return ok;
}

/* "disk.vmdk": vmdk; else raw or qcow2. */
static bool target_format(const char **format, const char *path, bool *foreign, struct error *err)
{
	const char *dot = strrchr(path, '.');
	if (!*format && dot && foreign_target(dot + 1))
		*format = dot + 1;
	*foreign = *format && foreign_target(*format);
	return *foreign || disk_tool_format(format, path, err);
}

/* Killed between the rename and its log's end, an earlier one was complete. */
static bool refuse(const char *to, const char *part, struct error *err)
{
	if (access(part, F_OK))
		resume_forget(part);
	return error_set(err, 0, "disk '%s' is there already: it is not overwritten", to);
}

/* Under another name until it is complete. */
static bool convert(const char *from_path, const char *to_path, const struct convert_options *o, struct error *err)
{
	const char *format = o->format, *how = o->compression ? o->compression : "zstd";
	bool compress = o->compress || o->compression;
	auto_free char *part = xasprintf("%s.part", to_path);
	bool foreign;
	if (!target_format(&format, to_path, &foreign, err))
		return false;
	if (strcmp(how, "zstd") && strcmp(how, "zlib"))
		return error_set(err, 0, "compression '%s' is not known: zstd and zlib are", how);
	if (compress && strcmp(format, "qcow2"))
		return error_set(err, 0, "only qcow2 disks are compressed: add --format qcow2");
	if (!access(to_path, F_OK))
		return refuse(to_path, part, err);
	foreign |= foreign_source(from_path);
	struct image *from = foreign ? NULL : disk_tool_open(from_path, o->from_format, true, err);
	if (!foreign && !from)
		return false;
	bool ok = foreign ? convert_foreign(from_path, part, o, format, err) :
		  copy(from, part, format, o, compress && !strcmp(how, "zstd"), err);
	image_close(from);
	if (ok && rename(part, to_path)) {
		ok = error_set(err, errno, "cannot give disk '%s' its name", to_path);
		unlink(part);
	}
	if (ok)
		resume_forget(part);
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

/* How far both are known to be zero from there on, beyond their ends too. */
static int both_zero(struct image *a, struct image *b, uint64_t at, uint64_t *n)
{
	struct image *both[2] = { a, b };
	for (unsigned k = 0; k < 2; k++) {
		enum image_kind kind;
		uint64_t here = *n;
		if (at >= both[k]->size)
			continue;
		int r = image_map(both[k], at, &here, &kind, NULL);
		if (r)
			return r;
		*n = kind == IMAGE_ZERO ? MIN(*n, here) : 0;
	}
	return 0;
}

/* Beyond its end a disk is zero. Where they differ first, or UINT64_MAX. */
static int first_difference(struct image *a, struct image *b, uint64_t *where)
{
	auto_free uint8_t *pa = xmalloc(CHUNK), *pb = xmalloc(CHUNK);
	uint64_t size = MAX(a->size, b->size);
	*where = UINT64_MAX;
	for (uint64_t at = 0, skip; at < size; at += skip ? skip : CHUNK) {
		struct { struct image *i; uint8_t *p; } both[2] = { { a, pa }, { b, pb } };
		skip = ALIGN_UP(size, CHUNK) - at;
		int e = both_zero(a, b, at, &skip);
		if (e)
			return e;
		disk_tool_progress("comparing", at, ALIGN_UP(size, CHUNK));
		if ((skip = ALIGN_DOWN(skip, CHUNK)))
			continue;
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
	}
	disk_tool_progress("comparing", size, size);
	return 0;
}

int disk_compare(int argc, char **argv)
{
	struct error err;
	const char *words[2];
	uint64_t where;
	int status = cli_words(argc, argv, words, 2, 2);
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
