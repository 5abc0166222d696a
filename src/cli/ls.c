/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme ls (ps): the instances and what they do. */
#include "cli/table.h"
#include "instance/client.h"

#include <jansson.h>
#include <stdio.h>

struct ls_options { struct format_option format; bool quiet; };
#define TARGET struct ls_options
static const struct cli_option ls_options[] = {
	TEXT("--format", "json", format.format, "print JSON"),
	FLAG("--quiet", quiet, "names only"),
	{ NULL }
};
enum { ASK_SECONDS = 2 };

/* What the machine says of itself, or a stand-in. */
static json_t *status_of(const struct instance *i)
{
	pid_t keeper = instance_keeper(i);
	if (!keeper)
		return json_pack("{s:s}", "state", "stopped");
	json_t *o = control_call(i, "status", -1, ASK_SECONDS, NULL);
	if (!o)
		o = json_pack("{s:s}", "state", "running (no answer)");
	json_object_set_new(o, "keeper", json_integer(keeper));
	return o;
}

static bool collect(const char *name, void *opaque)
{
	struct instance *i = instance_open(name, NULL);
	if (!i)
		return true;      /* removed in the meantime */
	json_t *o = status_of(i);
	json_object_set_new(o, "name", json_string(name));
	json_array_append_new(opaque, o);
	instance_close(i);
	return true;
}

static bool print_name(const char *name, void *opaque)
{
	printf("%s\n", name);
	return true;
}

static const char *text_of(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "-";
}

static void print_table(json_t *all)
{
	size_t n;
	json_t *o;
	printf("%-20s %-10s %-8s %5s %8s %10s\n", "NAME", "STATE", "ENGINE", "VCPUS", "MEMORY", "UPTIME");
	json_array_foreach(all, n, o) {
		long long memory = json_integer_value(json_object_get(o, "memory"));
		long long up = json_integer_value(json_object_get(o, "uptime_ns"));
		printf("%-20s %-10s %-8s ", text_of(o, "name"), text_of(o, "state"), text_of(o, "engine"));
		const char *isolation = json_string_value(json_object_get(o, "isolation"));
		if (isolation)
			printf("%5s %8s %8lld s\n", "-", "-", up / 1000000000);
		else if (memory)
			printf("%5lld %6lld M %8lld s\n", json_integer_value(json_object_get(o, "vcpus")),
			       memory >> 20, up / 1000000000);
		else
			printf("%5s %8s %10s\n", "-", "-", "-");
	}
}

int verb_ls(int argc, char **argv)
{
	struct ls_options o = { { NULL }, false };
	const struct cli_group groups[] = { { ls_options, &o }, { NULL } };
	struct error err = { 0 };
	int status = cli_parse(groups, argc, argv, NULL, 0, 0);
	if (status >= 0)
		return status;
	int json = cli_format(&o.format, &err);
	if (json < 0)
		return cli_usage(&err);
	if (o.quiet)
		return instance_each(print_name, NULL, &err) ? 0 : cli_fail(&err);
	json_t *all = json_array();
	bool ok = instance_each(collect, all, &err);
	if (ok && json)
		json_dumpf(all, stdout, JSON_INDENT(2)), printf("\n");
	else if (ok)
		print_table(all);
	json_decref(all);
	free(o.format.format);
	return ok ? 0 : cli_fail(&err);
}
