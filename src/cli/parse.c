/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parsing of command lines by option tables; their help. */
#include "cli/cli.h"
#include "instance/store.h"

#include <stdio.h>

int cli_fail(const struct error *err)
{
	fprintf(stderr, "abyme: %s\n", err->text);
	return STATUS_FAILED;
}

int cli_usage(const struct error *err)
{
	fprintf(stderr, "abyme: %s\n", err->text);
	return STATUS_USAGE;
}

const struct cli_option format_options[] = {
	{ "--format", "json", "print JSON", OPTION_STRING, offsetof(struct format_option, format) },
	{ NULL }
};

int cli_format(const struct format_option *f, struct error *err)
{
	if (!f->format || !strcmp(f->format, "text"))
		return 0;
	if (!strcmp(f->format, "json"))
		return 1;
	return error_minus(err, 0, "format '%s' is not known: use text or json", f->format);
}

static void print_help(const struct cli_group *groups, const char *name)
{
	for (const struct verb *v = verbs; v->name; v++)
		if (!strcmp(v->name, name))
			printf("usage: abyme %s %s\n%s\n", name, v->synopsis, v->help);
	for (const struct cli_group *g = groups; g->options; g++)
		for (const struct cli_option *o = g->options; o->name; o++) {
			int n = printf("  %s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
			printf("%*s%s\n", n < 34 ? 34 - n : 1, "", o->help);
		}
}

/* The option named by arg ("--x" or "--x=value"), its target and the value. */
static const struct cli_option *find(const struct cli_group *groups, const char *arg, void **target,
				     const char **value)
{
	size_t n = strcspn(arg, "=");
	for (const struct cli_group *g = groups; g->options; g++)
		for (const struct cli_option *o = g->options; o->name; o++)
			if (strlen(o->name) == n && !strncmp(o->name, arg, n)) {
				*target = g->target;
				*value = arg[n] ? arg + n + 1 : NULL;
				return o;
			}
	return NULL;
}

static bool store(const struct cli_option *o, void *target, const char *value, struct error *err)
{
	void *field = (char *)target + o->offset;
	uint64_t v;
	switch (o->kind) {
	case OPTION_STRING:
		free(*(char **)field);
		*(char **)field = xstrdup(value);
		return true;
	case OPTION_UINT:
		if (!parse_u64(value, 1, UINT32_MAX, &v))
			return error_set(err, 0, "%s takes a whole number from 1 on, not '%s'", o->name, value);
		*(unsigned *)field = (unsigned)v;
		return true;
	case OPTION_FLAG:
		*(bool *)field = true;
		return true;
	default:
		return o->call(target, value, err);
	}
}

/* "a|b:X|c[,d=E]": a and c, a line each. */
static void print_values(const char *p)
{
	while (*p >= 'a' && *p <= 'z') {
		size_t n = strcspn(p, "|:[");
		if (p[n] != ':')
			printf("%.*s\n", (int)n, p);
		if (p[n] == '[')
			return;
		p += strcspn(p, "|");
		p += *p == '|';
	}
}

/* What may come next, a word a line: the values of the option before, or the options. */
static void print_words(const struct cli_group *groups, const char *before)
{
	void *target;
	const char *value;
	const struct cli_option *o = before ? find(groups, before, &target, &value) : NULL;
	if (o && o->argument && !value) {
		print_values(o->argument);
		return;
	}
	for (const struct cli_group *g = groups; g->options; g++)
		for (o = g->options; o->name; o++)
			printf("%s\n", o->name);
}

/* How many of argv were used; 0: error. */
static int one_option(const struct cli_group *groups, const char *verb, char **argv, struct error *err)
{
	void *target = NULL;
	const char *value = NULL;
	const struct cli_option *o = find(groups, argv[0], &target, &value);
	int used = 1;
	if (!o)
		return error_set(err, 0, "abyme %s has no option '%s'; see abyme %s --help", verb, argv[0], verb);
	if (!o->argument && value)
		return error_set(err, 0, "%s takes no value", o->name);
	if (o->argument && !value) {
		value = argv[1];
		used = 2;
	}
	if (o->argument && !value)
		return error_set(err, 0, "%s needs a value: %s %s", o->name, o->name, o->argument);
	return store(o, target, value, err) ? used : 0;
}

int cli_first_word(const struct cli_group *groups, int argc, char **argv)
{
	void *target;
	const char *value;
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-' || !argv[i][1])
			return i;
		if (!strcmp(argv[i], "--"))
			return i + 1;
		const struct cli_option *o = find(groups, argv[i], &target, &value);
		i += o && o->argument && !value;
	}
	return argc;
}

int cli_parse(const struct cli_group *groups, int argc, char **argv,
	      const char **words, unsigned min, unsigned max)
{
	struct error err = { 0 };
	unsigned n = 0;
	bool options = true;
	for (int i = 1; i < argc; ) {
		if (options && !strcmp(argv[i], "--")) {
			options = false;
			i++;
		} else if (options && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))) {
			print_help(groups, argv[0]);
			return 0;
		} else if (options && !strcmp(argv[i], CLI_COMPLETE)) {
			print_words(groups, argv[i + 1]);
			return 0;
		} else if (options && argv[i][0] == '-' && argv[i][1] && !(argv[i][1] >= '0' && argv[i][1] <= '9')) {
			int used = one_option(groups, argv[0], argv + i, &err);
			if (!used)
				return cli_usage(&err);
			i += used;
		} else if (n < max) {
			words[n++] = argv[i++];
		} else {
			error_set(&err, 0, "'%s' is one word too many for abyme %s", argv[i], argv[0]);
			return cli_usage(&err);
		}
	}
	if (n >= min)
		return -1;
	error_set(&err, 0, "abyme %s needs %s; see abyme %s --help", argv[0],
		  max == 1 ? "a NAME" : "more words", argv[0]);
	return cli_usage(&err);
}

int cli_words(int argc, char **argv, const char **words, unsigned min, unsigned max)
{
	return cli_parse((struct cli_group[]){ { NULL } }, argc, argv, words, min, max);
}

int cli_with_instance(int argc, char **argv, bool (*fn)(struct instance *i, const char *word, struct error *err))
{
	const char *words[2];
	struct error err = { 0 };
	int status = cli_words(argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	struct instance *i = instance_open(words[0], &err);
	bool ok = i && fn(i, words[1], &err);
	instance_close(i);
	return ok ? 0 : cli_fail(&err);
}
