/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme snapshot: the states of an instance's disks, kept as a tree. */
#include "instance/snapshot.h"
#include "cli/cli.h"

#include <jansson.h>
#include <stdio.h>
#include <time.h>

static int create(int argc, char **argv) { return cli_with_instance(argc, argv, snapshot_create); }
static int restore(int argc, char **argv) { return cli_with_instance(argc, argv, snapshot_restore); }
static int delete(int argc, char **argv) { return cli_with_instance(argc, argv, snapshot_delete); }

static const char *text_of(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

static void print_line(json_t *o, const char *current, unsigned depth)
{
	char when[32];
	time_t t = (time_t)json_integer_value(json_object_get(o, "time"));
	struct tm tm;
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", localtime_r(&t, &tm));
	const char *name = text_of(o, "name");
	printf("%*s%-*s %s%s\n", 2 * (int)depth, "", MAX(24 - 2 * (int)depth, 1), name, when,
	       strcmp(name, current) ? "" : "  <- the disks stand here");
}

/* Those whose parent it is; a record that names itself its ancestor ends at the depth. */
static void print_below(json_t *all, const char *parent, const char *current, unsigned depth)
{
	size_t n;
	json_t *o;
	json_array_foreach(all, n, o) {
		if (strcmp(text_of(o, "parent"), parent) || depth > json_array_size(all))
			continue;
		print_line(o, current, depth);
		if (*text_of(o, "name"))
			print_below(all, text_of(o, "name"), current, depth + 1);
	}
}

static int show(int argc, char **argv, bool tree)
{
	struct format_option f = { 0 };
	const struct cli_group groups[] = { { format_options, &f }, { NULL } };
	const char *words[1];
	struct error err;
	int status = cli_parse(groups, argc, argv, words, 1, 1);
	int json = status < 0 ? cli_format(&f, &err) : 0;
	if (status >= 0 || json < 0)
		return status >= 0 ? status : cli_usage(&err);
	struct instance *i = instance_open(words[0], &err);
	if (!i)
		return cli_fail(&err);
	json_t *o = snapshot_tree(i), *all = json_object_get(o, "snapshots"), *one;
	size_t n;
	if (json) {
		json_dumpf(o, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (tree) {
		print_below(all, "", text_of(o, "current"), 0);
	} else {
		json_array_foreach(all, n, one)
			print_line(one, text_of(o, "current"), 0);
	}
	json_decref(o);
	instance_close(i);
	return 0;
}

static int list(int argc, char **argv) { return show(argc, argv, false); }
static int tree(int argc, char **argv) { return show(argc, argv, true); }

static const struct verb snapshot_verbs[] = {
	{ "create", "NAME SNAPSHOT", "keep the state of the disks, running or not", create },
	{ "list", "[--format json] NAME", "the snapshots in order of time", list },
	{ "tree", "[--format json] NAME", "which was made from which", tree },
	{ "restore", "NAME SNAPSHOT", "put the disks of a stopped instance back", restore },
	{ "delete", "NAME SNAPSHOT", "forget a snapshot, running or not", delete },
	{ NULL }
};

int verb_snapshot(int argc, char **argv) { return cli_noun(snapshot_verbs, argc, argv); }
