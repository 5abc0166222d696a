/* SPDX-License-Identifier: GPL-2.0-or-later */
/* update, events. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include "container/verbs.h"

static struct spec_resources *read_resources(struct arena *a, const char *path, struct error *err)
{
	char *text = arena_alloc(a, MiB);
	size_t n = 0;
	if (strcmp(path, "-")) {
		const struct json *v = json_load(a, AT_FDCWD, path, err);
		return v ? spec_resources_parse(a, v, err) : NULL;
	}
	for (ssize_t r; n < MiB - 1 && (r = read(0, text + n, MiB - 1 - n)) > 0; )
		n += (size_t)r;
	const struct json *v = json_parse(a, text, n, "resources", err);
	return v ? spec_resources_parse(a, v, err) : NULL;
}

struct update_options {
	const char *file, *cpus, *mems;
	struct opt_i64 weight, period, quota, burst, shares, rt_period, rt_runtime, idle, memory, reservation, swap, pids, kernel;
	bool check;
};

static struct opt_u64 positive(struct opt_i64 v)
{
	return (struct opt_u64){ v.set && v.v >= 0, (uint64_t)v.v };
}

static void from_options(struct spec_resources *r, const struct update_options *u)
{
	r->memory.limit = u->memory;
	r->memory.reservation = u->reservation;
	r->memory.swap = u->swap;
	r->memory.check_before_update = (struct opt_bool){ u->check, u->check };
	r->cpu.quota = u->quota;
	r->cpu.period = positive(u->period);
	r->cpu.burst = positive(u->burst);
	r->cpu.shares = positive(u->shares);
	r->cpu.rt_period = positive(u->rt_period);
	r->cpu.rt_runtime = u->rt_runtime;
	r->cpu.idle = u->idle;
	r->cpu.cpus = u->cpus;
	r->cpu.mems = u->mems;
	r->pids.limit = u->pids;
	r->block.weight = positive(u->weight);
}

/* "512M": sizes may have a unit. */
static bool size_option(const char *text, const char *name, struct opt_i64 *out, struct error *err)
{
	uint64_t v;
	if (!text)
		return true;
	out->set = true;
	out->v = -1;
	if (!strcmp(text, "-1"))
		return true;
	if (!parse_size(text, &v) || v > INT64_MAX)
		return error_set(err, 0, "--%s: '%s' is no size", name, text);
	out->v = (int64_t)v;
	return true;
}

int oci_update(struct oci *o, int argc, char **argv, struct error *err)
{
	struct update_options u = { 0 };
	const char *memory = NULL, *reservation = NULL, *swap = NULL;
	int at;
	const struct arg table[] = {
		{ "resources", 'r', ARG_TEXT, &u.file }, { "blkio-weight", 0, ARG_NUMBER, &u.weight },
		{ "cpu-period", 0, ARG_NUMBER, &u.period }, { "cpu-quota", 0, ARG_NUMBER, &u.quota },
		{ "cpu-burst", 0, ARG_NUMBER, &u.burst }, { "cpu-share", 0, ARG_NUMBER, &u.shares },
		{ "cpu-rt-period", 0, ARG_NUMBER, &u.rt_period }, { "cpu-rt-runtime", 0, ARG_NUMBER, &u.rt_runtime },
		{ "cpu-idle", 0, ARG_NUMBER, &u.idle }, { "cpuset-cpus", 0, ARG_TEXT, &u.cpus },
		{ "cpuset-mems", 0, ARG_TEXT, &u.mems }, { "memory", 0, ARG_TEXT, &memory },
		{ "memory-reservation", 0, ARG_TEXT, &reservation }, { "memory-swap", 0, ARG_TEXT, &swap },
		{ "kernel-memory", 0, ARG_NUMBER, &u.kernel }, { "kernel-memory-tcp", 0, ARG_NUMBER, &u.kernel },
		{ "pids-limit", 0, ARG_NUMBER, &u.pids }, { "memory-check-before-update", 0, ARG_FLAG, &u.check }, { NULL },
	};
	struct container *c = verb_container(o, table, argc, argv, &at, err);
	if (!c)
		return -1;
	bool ok = container_status(c) != CONTAINER_STOPPED || error_set(err, 0, "container not running: '%s'", c->id);
	struct spec_resources own = { 0 }, *r = &own;
	ok = ok && size_option(memory, "memory", &u.memory, err) && size_option(swap, "memory-swap", &u.swap, err) &&
		size_option(reservation, "memory-reservation", &u.reservation, err);
	from_options(&own, &u);
	ok = ok && (!u.file || (r = read_resources(&c->arena, u.file, err))) && cgroups_limit(&c->cgroups, r, true, err) &&
		cgroups_limit_scope(&c->cgroups, r, err);
	container_close(c);
	return ok ? 0 : -1;
}

static void print_stats(struct container *c)
{
	struct json_out out = { 0 };
	json_open(&out, NULL, '{');
	json_put_str(&out, "type", "stats");
	json_put_str(&out, "id", c->id);
	json_open(&out, "data", '{');
	cgroups_stats(&c->cgroups, &out);
	json_close(&out, '}');
	json_close(&out, '}');
	printf("%s\n", out.text);
	fflush(stdout);
	json_out_free(&out);
}

static uint64_t oom_kills(const struct container *c)
{
	char text[1024];
	const struct cgroup_dir *d = cgroups_with(&c->cgroups, "memory");
	const char *at = d && cgroup_read(d, c->cgroups.v2 ? "memory.events" : "memory.oom_control", text, sizeof(text)) ?
		strstr(text, "oom_kill ") : NULL;
	return at ? strtoull(at + 9, NULL, 10) : 0;
}

/* Statistics at each interval, an "oom" when one was, until the container ends. */
static void follow(struct container *c, int seconds)
{
	auto_close int fd = container_pidfd(c);
	uint64_t kills = oom_kills(c);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	for (int passed = 0; fd >= 0; ) {
		if (passed == 0)
			print_stats(c);
		if (poll(&p, 1, 1000) > 0)
			break;
		passed = (passed + 1) % seconds;
		uint64_t now = oom_kills(c);
		if (now != kills)
			printf("{\"type\":\"oom\",\"id\":\"%s\"}\n", c->id);
		kills = now;
	}
}

int oci_events(struct oci *o, int argc, char **argv, struct error *err)
{
	bool once = false;
	const char *interval = "5s";
	int at;
	const struct arg table[] = { { "stats", 0, ARG_FLAG, &once }, { "interval", 0, ARG_TEXT, &interval }, { NULL } };
	struct container *c = verb_container(o, table, argc, argv, &at, err);
	if (!c)
		return -1;
	int seconds = atoi(interval);
	bool ok = container_status(c) != CONTAINER_STOPPED || error_set(err, 0, "container not running: '%s'", c->id);
	if (ok && once)
		print_stats(c);
	else if (ok)
		follow(c, MAX(seconds, 1));
	container_close(c);
	return ok ? 0 : -1;
}
