/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines: args.h. */
#include "container/args.h"

#include <errno.h>

static const struct arg *find(const struct arg *table, const char *name, size_t n)
{
	for (const struct arg *a = table; a->name; a++)
		if ((strlen(a->name) == n && !strncmp(a->name, name, n)) || (n == 1 && a->letter == *name))
			return a;
	return NULL;
}

static bool store(const struct arg *a, const char *value, struct error *err)
{
	char *end;
	struct strings *list = a->out;
	switch (a->kind) {
	case ARG_FLAG:
		*(bool *)a->out = !value || (strcmp(value, "false") && strcmp(value, "0"));
		break;
	case ARG_TEXT:
		*(const char **)a->out = value;
		break;
	case ARG_NUMBER:
		errno = 0;
		((struct opt_i64 *)a->out)->v = strtoll(value, &end, 10);
		((struct opt_i64 *)a->out)->set = true;
		if (errno || *end || end == value)
			return error_set(err, 0, "--%s: '%s' is no number", a->name, value);
		break;
	case ARG_LIST:
		list->v[list->n++] = value;
		break;
	default:
		break;
	}
	return true;
}

bool args_parse(const struct arg *table, int argc, char **argv, int *at, struct error *err)
{
	for (; *at < argc && argv[*at][0] == '-' && argv[*at][1]; (*at)++) {
		const char *name = argv[*at] + 1, *value;
		if (!strcmp(argv[*at], "--")) {
			(*at)++;
			break;
		}
		name += *name == '-';
		value = strchr(name, '=');
		const struct arg *a = find(table, name, value ? (size_t)(value - name) : strlen(name));
		if (!a)
			return error_set(err, 0, "unknown option '%s'", argv[*at]);
		bool flag = a->kind == ARG_FLAG || a->kind == ARG_IGNORED;
		if (value)
			value++;
		else if (!flag && !(value = argv[++*at]))
			return error_set(err, 0, "option '--%s' needs a value", a->name);
		if (!store(a, value, err))
			return false;
	}
	return true;
}
