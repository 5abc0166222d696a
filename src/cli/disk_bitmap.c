/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme disk bitmap: what has been written since. */
#include "cli/disk.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "disk/image.h"

static int with_image(const char *path, bool readonly, const char *name,
		      bool (*change)(struct image *, const char *, struct error *))
{
	struct error err;
	struct image *i = disk_tool_open(path, NULL, readonly, &err);
	bool ok = i && change(i, name, &err);
	image_close(i);
	return ok ? 0 : cli_fail(&err);
}

static int on_one(int argc, char **argv, bool (*change)(struct image *, const char *, struct error *))
{
	const char *words[2];
	int status = cli_words(argc, argv, words, 2, 2);
	return status >= 0 ? status : with_image(words[0], false, words[1], change);
}

static int remove_one(int argc, char **argv) { return on_one(argc, argv, qcow2_bitmap_remove); }
static int clear(int argc, char **argv) { return on_one(argc, argv, qcow2_bitmap_clear); }

static int add(int argc, char **argv)
{
	struct add_options { char *granularity; } o = { 0 };
	static const struct cli_option options[] = {
		{ "--granularity", "SIZE", "what one bit stands for: 512 to 2G (default 64k)", OPTION_STRING,
		  offsetof(struct add_options, granularity), NULL }, { NULL } };
	const char *words[2];
	struct error err;
	uint64_t size = 65536;
	int status = cli_parse((struct cli_group[]){ { options, &o }, { NULL } }, argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	if (o.granularity && (!parse_size(o.granularity, &size) || !size || size & (size - 1))) {
		error_set(&err, 0, "'%s' is no power of two from 512 to 2G", o.granularity);
		return cli_usage(&err);
	}
	struct image *i = disk_tool_open(words[0], NULL, false, &err);
	bool ok = i && qcow2_bitmap_add(i, words[1], (unsigned)__builtin_ctzll(size), &err);
	image_close(i);
	return ok ? 0 : cli_fail(&err);
}

static void print_list(struct image *i, bool json)
{
	struct image_bitmap *list;
	unsigned n = qcow2_bitmap_list(i, &list);
	json_t *all = json_array();
	if (!json)
		printf("%-24s %-12s %-16s %s\n", "NAME", "GRANULARITY", "DIRTY", "STATE");
	for (unsigned k = 0; k < n; k++) {
		const char *state = !list[k].sound ? "in use or broken off" : list[k].recording ? "recording" : "stopped";
		json_array_append_new(all, json_pack("{s:s, s:I, s:I, s:b, s:b}", "name", list[k].name, "granularity",
						     (json_int_t)list[k].granularity, "dirty", (json_int_t)list[k].dirty,
						     "sound", list[k].sound, "recording", list[k].recording));
		if (!json)
			printf("%-24s %-12" PRIu64 " %-16" PRIu64 " %s\n", list[k].name, list[k].granularity, list[k].dirty, state);
	}
	if (json) {
		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(all);
	image_bitmaps_free(list, n);
}

static int list_all(int argc, char **argv)
{
	struct image *i;
	bool json;
	int status = disk_tool_listing(argc, argv, &i, &json);
	if (status >= 0)
		return status;
	print_list(i, json);
	image_close(i);
	return 0;
}

/* What is dirty, a run a line: offset and length. */
static bool show_runs(struct image *i, const char *name, struct error *err)
{
	bool dirty;
	for (uint64_t at = 0, n; at < i->size; at += n) {
		n = i->size - at;
		if (!qcow2_bitmap_run(i, name, at, &n, &dirty))
			return error_set(err, 0, "disk '%s' has no bitmap '%s' that can be trusted", i->path, name);
		if (dirty)
			printf("%-18" PRIu64 " %" PRIu64 "\n", at, n);
	}
	return true;
}

static int show(int argc, char **argv)
{
	const char *words[2];
	int status = cli_words(argc, argv, words, 2, 2);
	return status >= 0 ? status : with_image(words[0], true, words[1], show_runs);
}

static const struct verb bitmap_verbs[] = {
	{ "add", "[--granularity SIZE] FILE NAME", "record from now on what is written", add },
	{ "remove", "FILE NAME", "forget it", remove_one },
	{ "clear", "FILE NAME", "begin again", clear },
	{ "list", "[--format json] FILE", "what bitmaps there are", list_all },
	{ "show", "FILE NAME", "offsets and lengths of what is dirty", show },
	{ NULL }
};

int disk_bitmap(int argc, char **argv)
{
	char noun[] = "disk bitmap";
	argv[0] = noun;
	return cli_noun(bitmap_verbs, argc, argv);
}
