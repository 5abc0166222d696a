/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme backup: copies of an instance's disks in a directory elsewhere. */
#include "instance/backup.h"
#include "cli/disk.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

struct backup_options { bool incremental, resume, boot; unsigned number, seconds; char *output, *expect, *rate; };
#define ROW(name, arg, kind, field, text) { name, arg, text, kind, offsetof(struct backup_options, field), NULL }

static void copying(uint64_t done, uint64_t total) { disk_tool_progress("copying", done, total); }
static void reading(uint64_t done, uint64_t total) { disk_tool_progress("reading", done, total); }

static bool make(const char *name, const char *dir, const struct backup_options *o, struct backup_make *m, struct error *err)
{
	struct backup_progress p = { .fn = copying, .stop = disk_tool_stopped };
	if (!disk_tool_rate(o->rate, &p.rate, err))
		return false;
	struct instance *i = instance_open(name, err);
	disk_tool_stop_by_signal();
	bool ok = i && backup_create(i, dir, m, &p, err);
	instance_close(i);
	return ok;
}

static int create(int argc, char **argv)
{
	static const struct cli_option options[] = {
		ROW("--incremental", NULL, OPTION_FLAG, incremental, "only what has changed since the last one"),
		ROW("--resume", NULL, OPTION_FLAG, resume, "finish the one that was interrupted, if there is one"),
		ROW("--rate", "SIZE", OPTION_STRING, rate, "how much to copy a second (default: as fast as it goes)"), { NULL } };
	struct backup_options o = { 0 };
	const char *words[2];
	struct error err;
	int status = cli_parse((struct cli_group[]){ { options, &o }, { NULL } }, argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	struct backup_make m = { .incremental = o.incremental, .resume = o.resume };
	if (!make(words[0], words[1], &o, &m, &err))
		return cli_fail(&err);
	if (m.resume)
		fprintf(stderr, "abyme: it was interrupted before: this is the state that it began with\n");
	else if (o.incremental && !m.incremental)
		fprintf(stderr, "abyme: there was no earlier backup to build on: this one is full\n");
	printf("backup %u\n", m.number);
	return 0;
}

static void print_backup(json_t *b, const char *dir)
{
	char when[32];
	time_t t = (time_t)json_integer_value(json_object_get(b, "time"));
	struct tm tm;
	json_int_t parent = json_integer_value(json_object_get(b, "parent"));
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", localtime_r(&t, &tm));
	printf("%6lld  %s  ", (long long)json_integer_value(json_object_get(b, "number")), when);
	if (parent)
		printf("what had changed since %lld\n", (long long)parent);
	else
		printf("full\n");
}

static int list(int argc, char **argv)
{
	struct format_option f = { 0 };
	const char *words[1];
	struct error err;
	int status = cli_parse((struct cli_group[]){ { format_options, &f }, { NULL } }, argc, argv, words, 1, 1);
	int json = status < 0 ? cli_format(&f, &err) : 0;
	if (status >= 0 || json < 0)
		return status >= 0 ? status : cli_usage(&err);
	json_t *o = backup_list(words[0], &err), *b;
	size_t n;
	if (!o)
		return cli_fail(&err);
	if (json) {
		json_dumpf(o, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		json_array_foreach(json_object_get(o, "backups"), n, b)
			print_backup(b, words[0]);
	}
	json_decref(o);
	return 0;
}

static int restore(int argc, char **argv)
{
	static const struct cli_option options[] = {
		ROW("--number", "N", OPTION_UINT, number, "which (default: the last)"),
		ROW("--output", "DIR", OPTION_STRING, output, "where the disks go (default: here)"), { NULL } };
	struct backup_options o = { 0 };
	const char *words[2];
	struct error err;
	int status = cli_parse((struct cli_group[]){ { options, &o }, { NULL } }, argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	return backup_restore(words[0], o.number, words[1], o.output ? o.output : ".", &(struct backup_progress){ copying },
			      &err) ? 0 : cli_fail(&err);
}

static int verify(int argc, char **argv)
{
	static const struct cli_option options[] = {
		ROW("--number", "N", OPTION_UINT, number, "which (default: the last)"),
		ROW("--boot", NULL, OPTION_FLAG, boot, "and start a machine made of it"),
		ROW("--expect", "TEXT", OPTION_STRING, expect, "what it must print (default 'login:')"),
		ROW("--seconds", "N", OPTION_UINT, seconds, "how long it may take (default 600)"), { NULL } };
	struct backup_options o = { .seconds = 600 };
	const char *words[1];
	struct error err;
	int status = cli_parse((struct cli_group[]){ { options, &o }, { NULL } }, argc, argv, words, 1, 1);
	if (status >= 0)
		return status;
	struct backup_boot b = { o.expect ? o.expect : "login:", o.seconds };
	if (!backup_verify(words[0], o.number, &(struct backup_progress){ reading }, &err) ||
	    (o.boot && !backup_boot(words[0], o.number, &b, &(struct backup_progress){ copying }, &err)))
		return cli_fail(&err);
	printf(o.boot ? "complete, readable, and it starts\n" : "complete and readable\n");
	return 0;
}

static const struct verb backup_verbs[] = {
	{ "create", "[--incremental] [--resume] NAME DIRECTORY", "of a running or a stopped instance", create },
	{ "list", "[--format json] DIRECTORY", "what is in there", list },
	{ "restore", "[--number N] DIRECTORY NEW-NAME", "an instance with the disks of a backup", restore },
	{ "verify", "[--number N] [--boot] DIRECTORY", "read all of a backup, start it", verify },
	{ NULL }
};

int verb_backup(int argc, char **argv) { return cli_noun(backup_verbs, argc, argv); }
