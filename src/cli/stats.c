/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme stats: resource use of a running machine.  Memory is the proportional
 * set size summed over all its processes: the keeper, the machine, the helpers.
 */
#include "cli/name.h"
#include "cli/table.h"
#include "instance/client.h"

#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

struct stats_options { struct format_option format; bool engine; };
#define TARGET struct stats_options
static const struct cli_option stats_options[] = {
	TEXT("--format", "json", format.format, "print JSON"),
	FLAG("--engine", engine, "the engine's counters"),
	{ NULL }
};
enum { ASK_SECONDS = 5 };

static uint64_t pss_kib(int pid)
{
	char path[64], line[256];
	uint64_t kib = 0;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pss: %" SCNu64, &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

/* user + system time in ticks and the parent's pid, from /proc/PID/stat. */
static bool proc_stat(int pid, int *parent, uint64_t *ticks)
{
	char path[64], text[1024];
	unsigned long user, sys;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	if (f)
		fclose(f);
	text[n] = 0;
	char *after = strrchr(text, ')');      /* the name may hold anything */
	if (!after || sscanf(after + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			     parent, &user, &sys) != 3)
		return false;
	*ticks = user + sys;
	return true;
}

static void add_process(json_t *list, int pid, uint64_t ticks)
{
	json_array_append_new(list, json_pack("{s:i, s:I, s:f}", "pid", pid, "pss_kib", (json_int_t)pss_kib(pid),
					      "cpu_s", (double)ticks / (double)sysconf(_SC_CLK_TCK)));
}

static json_t *processes(int keeper)
{
	json_t *list = json_array();
	int parent = 0;
	uint64_t ticks = 0;
	DIR *d = opendir("/proc");
	if (proc_stat(keeper, &parent, &ticks))
		add_process(list, keeper, ticks);
	for (struct dirent *e; d && (e = readdir(d)); ) {
		int pid = atoi(e->d_name);
		if (pid > 0 && proc_stat(pid, &parent, &ticks) && parent == keeper)
			add_process(list, pid, ticks);
	}
	if (d)
		closedir(d);
	return list;
}

static long long number(json_t *o, const char *a, const char *b, const char *c)
{
	o = json_object_get(json_object_get(o, a), b);
	return json_integer_value(c ? json_object_get(o, c) : o);
}

/* What its control groups have counted. */
static void print_container(json_t *o)
{
	printf("processes %lld\nmemory %.1f MiB\ncpu %.2f s\n", number(o, "pids", "current", NULL),
	       (double)number(o, "memory", "usage", "usage") / (1 << 20), (double)number(o, "cpu", "usage", "total") / 1e9);
}

static void print_text(json_t *o, bool engine)
{
	const char *key;
	json_t *v, *p;
	size_t n;
	json_int_t pss = 0;
	double cpu = 0;
	json_array_foreach(json_object_get(o, "processes"), n, p) {
		pss += json_integer_value(json_object_get(p, "pss_kib"));
		cpu += json_real_value(json_object_get(p, "cpu_s"));
	}
	printf("processes %zu\nmemory %.1f MiB (guest memory touched included)\ncpu %.2f s\n",
	       json_array_size(json_object_get(o, "processes")), (double)pss / 1024, cpu);
	if (engine)
		json_object_foreach(json_object_get(o, "counters"), key, v)
			printf("%-32s %" JSON_INTEGER_FORMAT "\n", key, json_integer_value(v));
}

int verb_stats(int argc, char **argv)
{
	struct stats_options s = { { NULL }, false };
	struct error err = { 0 };
	int status;
	struct instance *i = cli_instance(stats_options, &s, argc, argv, &status);
	if (!i)
		return status;
	int json = cli_format(&s.format, &err);
	json_t *o = json < 0 ? NULL : control_call(i, "stats", -1, ASK_SECONDS, &err);
	if (o) {
		json_object_set_new(o, "processes", processes(instance_keeper(i)));
		if (json)
			json_dumpf(o, stdout, JSON_INDENT(2)), printf("\n");
		else
			json_object_get(o, "pids") ? print_container(o) : print_text(o, s.engine);
	} else {
		status = json < 0 ? cli_usage(&err) : cli_fail(&err);
	}
	json_decref(o);
	instance_close(i);
	free(s.format.format);
	return status;
}
