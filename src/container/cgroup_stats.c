/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a container used, in the shape of `runc events --stats`. */
#include <inttypes.h>
#include <stdio.h>

#include "container/cgroup.h"
#include "container/json.h"

static uint64_t number(const struct cgroup_dir *d, const char *file)
{
	char text[64];
	return d && cgroup_read(d, file, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

/* "key value" lines */
static uint64_t keyed(const struct cgroup_dir *d, const char *file, const char *key)
{
	char text[8192];
	size_t n = strlen(key);
	if (!d || !cgroup_read(d, file, text, sizeof(text)))
		return 0;
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, n) && line[n] == ' ')
			return strtoull(line + n + 1, NULL, 10);
	}
	return 0;
}

static void cpu(const struct cgroups *c, struct json_out *out)
{
	const struct cgroup_dir *d = cgroups_with(c, c->v2 ? "cpu" : "cpuacct"), *q = cgroups_with(c, "cpu");
	json_open(out, "cpu", '{');
	json_open(out, "usage", '{');
	json_put_u64(out, "total", c->v2 ? keyed(d, "cpu.stat", "usage_usec") * 1000 : number(d, "cpuacct.usage"));
	json_put_u64(out, "user", c->v2 ? keyed(d, "cpu.stat", "user_usec") * 1000 : number(d, "cpuacct.usage_user"));
	json_put_u64(out, "kernel", c->v2 ? keyed(d, "cpu.stat", "system_usec") * 1000 : number(d, "cpuacct.usage_sys"));
	json_close(out, '}');
	json_open(out, "throttling", '{');
	json_put_u64(out, "periods", keyed(q, "cpu.stat", "nr_periods"));
	json_put_u64(out, "throttledPeriods", keyed(q, "cpu.stat", "nr_throttled"));
	json_put_u64(out, "throttledTime", c->v2 ? keyed(q, "cpu.stat", "throttled_usec") * 1000 : keyed(q, "cpu.stat", "throttled_time"));
	json_close(out, '}');
	json_close(out, '}');
}

static void amount(struct json_out *out, const char *key, uint64_t usage, uint64_t max, uint64_t fails, uint64_t limit)
{
	json_open(out, key, '{');
	json_put_u64(out, "limit", limit);
	json_put_u64(out, "usage", usage);
	json_put_u64(out, "max", max);
	json_put_u64(out, "failcnt", fails);
	json_close(out, '}');
}

static void memory(const struct cgroups *c, struct json_out *out)
{
	const struct cgroup_dir *d = cgroups_with(c, "memory");
	json_open(out, "memory", '{');
	if (c->v2) {
		amount(out, "usage", number(d, "memory.current"), number(d, "memory.peak"), keyed(d, "memory.events", "max"),
			number(d, "memory.max"));
		amount(out, "swap", number(d, "memory.swap.current"), 0, 0, number(d, "memory.swap.max"));
	} else {
		amount(out, "usage", number(d, "memory.usage_in_bytes"), number(d, "memory.max_usage_in_bytes"),
			number(d, "memory.failcnt"), number(d, "memory.limit_in_bytes"));
		amount(out, "swap", number(d, "memory.memsw.usage_in_bytes"), number(d, "memory.memsw.max_usage_in_bytes"),
			number(d, "memory.memsw.failcnt"), number(d, "memory.memsw.limit_in_bytes"));
	}
	json_put_u64(out, "cache", keyed(d, "memory.stat", c->v2 ? "file" : "cache"));
	json_close(out, '}');
}

static void pids(const struct cgroups *c, struct json_out *out)
{
	const struct cgroup_dir *d = cgroups_with(c, "pids");
	json_open(out, "pids", '{');
	json_put_u64(out, "current", number(d, "pids.current"));
	json_put_u64(out, "limit", number(d, "pids.max"));
	json_close(out, '}');
}

void cgroups_stats(const struct cgroups *c, struct json_out *out)
{
	cpu(c, out);
	memory(c, out);
	pids(c, out);
}
