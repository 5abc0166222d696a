/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme disk create, info, check, resize, map; the other sub-verbs have files of their own. */
#include "cli/disk.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "disk/copy.h"
#include "instance/holder.h"

struct image *disk_tool_open(const char *path, const char *format, bool readonly, struct error *err)
{
	struct image_open o = { .path = path, .fd = -1, .format = format, .readonly = readonly, .any_format = readonly };
	struct image *i = image_open(&o, err);
	auto_close int fd = i ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		holder_unknown(path, fd, readonly, NULL, err);
	return i;
}

bool disk_tool_format(const char **format, const char *path, struct error *err)
{
	size_t n = strlen(path);
	if (!*format)
		*format = n > 6 && !strcmp(path + n - 6, ".qcow2") ? "qcow2" : "raw";
	if (!strcmp(*format, "raw") || !strcmp(*format, "qcow2"))
		return true;
	return error_set(err, 0, "format '%s' is not known: raw and qcow2 are, and disk convert writes vmdk, vmdk-stream, vdi, vhd and vhdx", *format);
}

void disk_tool_progress(const char *what, uint64_t done, uint64_t total)
{
	static unsigned last = 1000;
	unsigned percent = total ? (unsigned)(done * 100 / total) : 100;
	if (!isatty(2) || percent == last)
		return;
	last = percent;
	fprintf(stderr, "\r%s: %u %%%s", what, percent, percent == 100 ? "\n" : "");
}

static volatile sig_atomic_t stopped;
static void on_signal(int signal) { stopped = 1; }
bool disk_tool_stopped(void) { return stopped; }

void disk_tool_stop_by_signal(void)
{
	struct sigaction a = { .sa_handler = on_signal };
	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
}

void disk_tool_going_on(uint64_t at, uint64_t size)
{
	fprintf(stderr, "abyme: going on at %llu of %llu MiB\n", at / MiB, size / MiB);
}

bool disk_tool_rate(const char *text, uint64_t *rate, struct error *err)
{
	*rate = 0;
	return !text || (parse_size(text, rate) && *rate) || error_set(err, 0, "'%s' is not a size: write 10M", text);
}

static void put_size(const char *label, uint64_t bytes)
{
	static const char units[] = " KMGTPE";
	unsigned u = 0;
	double v = (double)bytes;
	for (; v >= 1024 && units[u + 1]; u++)
		v /= 1024;
	printf("%-15s %.4g %.*s%s(%" PRIu64 " bytes)\n", label, v, u != 0, units + u, u ? "iB " : "", bytes);
}

/* ---- create ---- */

struct create_options { char *size, *format, *backing, *backing_format, *cluster, *preallocation, *data; bool lazy, data_raw; };
#define ROW(name, arg, field, text) \
	{ name, arg, text, OPTION_STRING, offsetof(struct create_options, field), NULL }
static const struct cli_option create_options[] = {
	ROW("--size", "SIZE", size, "how large the guest sees it (default: the backing file's size)"),
	ROW("--format", "qcow2|raw", format, "default: by the end of the name, else raw"),
	ROW("--backing", "FILE", backing, "what has not been written is read from there (qcow2)"),
	ROW("--backing-format", "qcow2|raw", backing_format, "default: by the file's first bytes"),
	ROW("--cluster-size", "SIZE", cluster, "512 to 2M (qcow2, default 64k)"),
	ROW("--preallocation", "off|metadata|falloc|full", preallocation, "take the space now (default off)"),
	ROW("--data-file", "FILE", data, "a new file for the data; this one has tables only (qcow2)"),
	{ "--data-file-raw", NULL, "which by itself is a raw disk", OPTION_FLAG, offsetof(struct create_options, data_raw), NULL },
	{ "--lazy-refcounts", NULL, "QEMU may write reference counts late (qcow2)", OPTION_FLAG,
	  offsetof(struct create_options, lazy), NULL },
	{ NULL }
};

/* The backing image must open, and says its size and format. */
static bool look_at_backing(const struct create_options *o, const char *path, struct qcow2_create *c,
			    struct error *err)
{
	const char *slash = strrchr(path, '/');
	auto_free char *from = o->backing[0] == '/' || !slash ? xstrdup(o->backing) :
			       xasprintf("%.*s%s", (int)(slash + 1 - path), path, o->backing);
	struct image *b = disk_tool_open(from, o->backing_format, true, err);
	if (!b)
		return false;
	if (b->ops != &image_raw && b->ops != &image_qcow2) {
		error_set(err, 0, "disk '%s' is %s, which cannot be a backing file: convert it", from, b->ops->format);
		image_close(b);
		return false;
	}
	c->backing = o->backing;
	c->backing_format = b->ops->format;
	if (!c->size)
		c->size = b->size;
	image_close(b);
	return true;
}

/* Named relative to the disk. */
static bool make_data_file(const char *path, const char *data, uint64_t size, struct error *err)
{
	const char *slash = strrchr(path, '/');
	auto_free char *at = data[0] == '/' || !slash ? xstrdup(data) : xasprintf("%.*s%s", (int)(slash + 1 - path), path, data);
	struct qcow2_create c = { .size = size };
	struct image *i = image_make(at, "raw", &c, err);
	image_close(i);
	return i != NULL;
}

static bool create(const struct create_options *o, const char *path, struct error *err)
{
	const char *format = o->format ? o->format : o->backing ? "qcow2" : NULL;
	struct qcow2_create c = { .cluster_bits = 16, .version = 3 };
	uint64_t cluster = 65536;
	if (!disk_tool_format(&format, path, err))
		return false;
	bool raw = !strcmp(format, "raw");
	if (o->size && (!parse_size(o->size, &c.size) || c.size > INT64_MAX))
		return error_set(err, 0, "'%s' is not a size: write 20G", o->size);
	if (o->cluster && (!parse_size(o->cluster, &cluster) || !cluster || cluster & (cluster - 1)))
		return error_set(err, 0, "the cluster size is a power of two from 512 to 2M, not '%s'", o->cluster);
	if (raw && (o->backing || o->cluster))
		return error_set(err, 0, "a raw disk has no backing file and no clusters: add --format qcow2");
	c.cluster_bits = (unsigned)__builtin_ctzll(cluster);
	if (o->backing && !look_at_backing(o, path, &c, err))
		return false;
	c.size = ALIGN_UP(c.size, 512);
	if (!c.size)
		return error_set(err, 0, "a new disk needs a size: --size 20G");
	enum preallocate how = PREALLOCATE_OFF;
	if (o->preallocation && !preallocate_parse(o->preallocation, &how, err))
		return false;
	c.lazy_refcounts = o->lazy;
	c.data_file = o->data;
	c.data_raw = o->data_raw;
	if (o->data && raw)
		return error_set(err, 0, "a raw disk is its data: a data file goes with --format qcow2");
	if (o->data && !make_data_file(path, o->data, c.size, err))
		return false;
	struct image *i = image_make(path, format, &c, err);
	bool ok = i && image_preallocate(i, how, err);
	image_close(i);
	if (i && !ok)
		unlink(path);
	return ok;
}

static int disk_create(int argc, char **argv)
{
	struct create_options o = { 0 };
	struct error err;
	const char *words[1];
	int status = cli_parse((struct cli_group[]){ { create_options, &o }, { NULL } }, argc, argv, words, 1, 1);
	if (status >= 0)
		return status;
	return create(&o, words[0], &err) ? 0 : cli_fail(&err);
}

/* ---- info ---- */

int disk_tool_listing(int argc, char **argv, struct image **i, bool *json)
{
	struct format_option f = { 0 };
	struct error err;
	const char *words[1];
	int status = cli_parse((struct cli_group[]){ { format_options, &f }, { NULL } }, argc, argv, words, 1, 1);
	if (status >= 0)
		return status;
	int format = cli_format(&f, &err);
	if (format < 0)
		return cli_usage(&err);
	*json = format;
	*i = disk_tool_open(words[0], NULL, true, &err);
	return *i ? -1 : cli_fail(&err);
}

static json_t *image_json(const struct image *i)
{
	struct stat st = { 0 };
	stat(i->path, &st);
	json_t *o = json_pack("{s:s, s:s, s:I, s:I}", "file", i->path, "format", i->ops->format, "size",
			      (json_int_t)i->size, "allocated", (json_int_t)st.st_blocks * 512);
	if (i->backing_name)
		json_object_set_new(o, "backing", json_string(i->backing_name));
	return o;
}

static int disk_info(int argc, char **argv)
{
	struct image *top;
	bool json;
	int status = disk_tool_listing(argc, argv, &top, &json);
	if (status >= 0)
		return status;
	json_t *chain = json_array();
	for (struct image *i = top; i; i = i->backing)
		json_array_append_new(chain, image_json(i));
	if (json) {
		json_dumpf(chain, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	for (struct image *i = top; i && !json; i = i->backing) {
		struct stat st = { 0 };
		stat(i->path, &st);
		printf("%s%-15s %s\n", i == top ? "" : "\n", "file", i->path);
		printf("%-15s %s\n", "format", i->ops->format);
		put_size("size", i->size);
		put_size("takes", (uint64_t)st.st_blocks * 512);
		if (i->backing_name)
			printf("%-15s %s\n", "backing file", i->backing_name);
	}
	json_decref(chain);
	image_close(top);
	return 0;
}

/* ---- check, resize, map ---- */

struct check_options { bool repair; };
static const struct cli_option check_options[] = {
	{ "--repair", NULL, "make the reference counts right", OPTION_FLAG, offsetof(struct check_options, repair), NULL },
	{ NULL }
};

static int disk_check(int argc, char **argv)
{
	struct check_options o = { 0 };
	struct image_check found = { 0 };
	struct error err;
	const char *words[1];
	int status = cli_parse((struct cli_group[]){ { check_options, &o }, { NULL } }, argc, argv, words, 1, 1);
	if (status >= 0)
		return status;
	struct image *i = disk_tool_open(words[0], NULL, !o.repair, &err);
	if (!i)
		return cli_fail(&err);
	bool ok = strcmp(i->ops->format, "qcow2") || qcow2_check(i, o.repair, &found, &err);
	if (ok && found.fixed) {
		struct image_check first = found;
		ok = qcow2_check(i, false, &found, &err);
		printf("%" PRIu64 " reference counts and marks were put right\n", first.fixed);
	}
	image_close(i);
	if (!ok)
		return cli_fail(&err);
	if (found.corruptions)
		printf("%" PRIu64 " corruptions\n", found.corruptions);
	if (found.leaks)
		printf("%" PRIu64 " leaked clusters: space only; --repair gives it back\n", found.leaks);
	if (found.unmarked)
		printf("%" PRIu64 " clusters are not marked as unshared: slower only; --repair marks them\n", found.unmarked);
	if (!found.corruptions && !found.leaks && !found.unmarked)
		printf("no errors\n");
	return found.corruptions || found.leaks || found.unmarked ? STATUS_FAILED : 0;
}

static int disk_resize(int argc, char **argv)
{
	struct error err;
	const char *words[2];
	uint64_t size;
	int status = cli_words(argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	bool more = words[1][0] == '+';
	if (!parse_size(words[1] + more, &size) || size > INT64_MAX / 2) {
		error_set(&err, 0, "'%s' is not a size: write 20G, or +5G for more", words[1]);
		return cli_usage(&err);
	}
	struct image *i = disk_tool_open(words[0], NULL, false, &err);
	if (!i)
		return cli_fail(&err);
	size = ALIGN_UP(more ? i->size + size : size, 512);
	bool ok = size >= i->size ? i->ops->resize(i, size, &err) :
		  error_set(&err, 0, "disk '%s' would become smaller and lose its end: convert it to a new one",
			    words[0]);
	image_close(i);
	return ok ? 0 : cli_fail(&err);
}

static int disk_map(int argc, char **argv)
{
	struct image *i;
	bool json;
	int status = disk_tool_listing(argc, argv, &i, &json);
	if (status >= 0)
		return status;
	int r = 0;
	const char *between = json ? "[\n" : "";
	if (!json)
		printf("%-18s %-18s %-5s %s\n", "START", "LENGTH", "WHAT", "DEPTH");
	for (uint64_t at = 0, n; at < i->size && !r; at += n) {
		enum image_kind kind;
		unsigned depth = 0;
		n = i->size - at;
		if ((r = image_map(i, at, &n, &kind, &depth)))
			break;
		const char *what = kind == IMAGE_ZERO ? "zero" : "data";
		if (json)
			printf("%s{\"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"what\": \"%s\", \"depth\": %u}",
			       between, at, n, what, depth);
		else
			printf("%-18" PRIu64 " %-18" PRIu64 " %-5s %u\n", at, n, what, depth);
		between = ",\n";
	}
	if (json)
		printf("\n]\n");
	struct error err;
	if (r)
		error_set(&err, -r, "cannot read the map of disk '%s'", i->path);
	image_close(i);
	return r ? cli_fail(&err) : 0;
}

static const struct verb disk_verbs[] = {
	{ "create", "FILE [--size SIZE] [--backing FILE]", "make a new disk", disk_create },
	{ "info", "[--format json] FILE", "format, size and backing files", disk_info },
	{ "check", "[--repair] FILE", "look for errors and lost space", disk_check },
	{ "convert", "[--format qcow2|raw] FROM TO", "copy into another format", disk_convert },
	{ "resize", "FILE SIZE|+SIZE", "make a disk larger", disk_resize },
	{ "map", "[--format json] FILE", "where there is data", disk_map },
	{ "compare", "FILE FILE", "are two disks equal", disk_compare },
	{ "scrub", "[--rate SIZE] [--from OFFSET] FILE", "read all of it: is it still there", disk_scrub },
	{ "serve", "[--readonly] --socket PATH|--listen PORT FILE", "over NBD, to other programs", disk_serve },
	{ "bitmap", "add|remove|clear|list|show ...", "what has been written since (qcow2)", disk_bitmap },
	{ "bench", "[--write] [--depth N] FILE", "how fast requests go through", disk_bench },
	{ NULL }
};

int verb_disk(int argc, char **argv) { return cli_noun(disk_verbs, argc, argv); }
