/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits of config.json as properties of a scope: systemd.resource-control(5),
 * org.freedesktop.systemd1(5).  "No limit" is the largest number there is.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "container/cgroup.h"

enum { CPU_IDS = 8192, PERIOD_US = 100000, QUOTA_GRAIN_US = 10000 };

struct scope_property *scope_add(struct scope_properties *p, const char *name, const char *type)
{
	unsigned i = 0;
	while (i < p->n && strcmp(p->v[i].name, name))
		i++;
	if (i == SCOPE_PROPERTIES_MAX)
		return NULL;
	p->n = MAX(p->n, i + 1);
	struct scope_property *v = &p->v[i];
	*v = (struct scope_property){ .name = name, .type = type };
	return v;
}

void scope_add_number(struct scope_properties *p, const char *name, const char *type, uint64_t number)
{
	struct scope_property *v = scope_add(p, name, type);
	if (v)
		v->number = number;
}

void scope_add_text(struct scope_properties *p, const char *name, const char *text)
{
	struct scope_property *v = scope_add(p, name, "s");
	if (v)
		v->text = text;
}

void scope_basics(struct scope_properties *p, const struct scope *s, const char *id, pid_t pid)
{
	static const char *const on[] = { "Delegate", "MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting" };
	uint32_t *member = arena_alloc(p->arena, sizeof(*member));
	*member = (uint32_t)pid;
	scope_add_text(p, "Description", arena_printf(p->arena, "container %s", id));
	scope_add_text(p, "Slice", s->slice);
	scope_add_text(p, "CollectMode", "inactive-or-failed");   /* a scope whose processes were killed goes, too */
	struct scope_property *pids = scope_add(p, "PIDs", "au");
	if (pids)
		pids->ids = (struct ids){ member, 1 };
	scope_add_number(p, "DefaultDependencies", "b", false);   /* who stops containers at shutdown is the engine's affair */
	for (unsigned i = 0; i < ARRAY_SIZE(on); i++)
		scope_add_number(p, on[i], "b", true);
}

/* A limit; -1 is none. Engines write 0 for "not set". */
static void limit(struct scope_properties *p, const char *name, int64_t v)
{
	if (v)
		scope_add_number(p, name, "t", v < 0 ? UINT64_MAX : (uint64_t)v);
}

/* Microseconds in a second; in whole percents, as systemd keeps them. */
static uint64_t quota_of_second(int64_t quota, uint64_t period)
{
	if (quota <= 0 || !period)
		return UINT64_MAX;
	unsigned __int128 us = ((unsigned __int128)quota * 1000000 / period + QUOTA_GRAIN_US - 1) / QUOTA_GRAIN_US * QUOTA_GRAIN_US;
	return us < UINT64_MAX ? (uint64_t)us : UINT64_MAX;
}

static void set_quota(struct scope_properties *p, int64_t quota, uint64_t period)
{
	scope_add_number(p, "CPUQuotaPerSecUSec", "t", quota_of_second(quota, period));
	scope_add_number(p, "CPUQuotaPeriodUSec", "t", period);
}

/* cpu.max: "QUOTA|max [PERIOD]" */
static bool read_cpu_max(const char *text, int64_t *quota, uint64_t *period)
{
	char first[24] = "", second[24] = "", more;
	uint64_t v = 0;
	int n = sscanf(text, "%23s %23s %c", first, second, &more);
	bool none = !strcmp(first, "max");
	if (n < 1 || n > 2 || (!none && !parse_u64(first, 1, INT64_MAX, &v)) || (n == 2 && !parse_u64(second, 1, UINT32_MAX, period)))
		return false;
	*quota = none ? -1 : (int64_t)v;
	return true;
}

static void cpu(struct scope_properties *p, const struct spec_resources *r, const char *now)
{
	int64_t quota = -1;
	uint64_t period = PERIOD_US;
	if (!p->v1 && r->cpu.idle.v == 1)
		scope_add_number(p, "CPUWeight", "t", 0);   /* "idle" */
	else if (r->cpu.shares.v)
		scope_add_number(p, p->v1 ? "CPUShares" : "CPUWeight", "t", p->v1 ? r->cpu.shares.v : cgroup_cpu_weight(r->cpu.shares.v));
	if (!r->cpu.quota.v && !r->cpu.period.v)
		return;
	if (now)
		read_cpu_max(now, &quota, &period);
	set_quota(p, r->cpu.quota.v ? r->cpu.quota.v : quota, r->cpu.period.v ? r->cpu.period.v : period);
}

static bool take_cpu(const char **p, unsigned *cpu)
{
	if (!isdigit((unsigned char)**p))
		return false;
	char *end;
	unsigned long n = strtoul(*p, &end, 10);
	*p = end;
	*cpu = (unsigned)MIN(n, (unsigned long)CPU_IDS);
	return n < CPU_IDS;
}

/* "0-3,7" */
static bool set_bits(uint8_t bits[CPU_IDS / 8], unsigned *bytes, const char *list)
{
	for (const char *p = list; *p; p += *p == ',') {
		unsigned from, to;
		if (!take_cpu(&p, &from))
			return false;
		to = from;
		p += *p == '-';
		if ((p[-1] == '-' && !take_cpu(&p, &to)) || to < from || (*p && *p != ','))
			return false;
		for (unsigned i = from; i <= to; i++)
			bits[i / 8] |= (uint8_t)(1 << i % 8);
		*bytes = MAX(*bytes, to / 8 + 1);
	}
	return true;
}

static bool set_list(struct scope_properties *p, const char *name, const char *list, struct error *err)
{
	if (!list || !*list || p->v1)      /* systemd knows no cpuset of version 1 */
		return true;
	uint8_t *bits = arena_alloc(p->arena, CPU_IDS / 8);
	struct scope_property *v = scope_add(p, name, "ay");
	if (v)
		v->bytes.v = bits;
	return v && (set_bits(bits, &v->bytes.n, list) || error_set(err, 0, "'%s' is no list of numbers like 0-3,7", list));
}

static bool memory(struct scope_properties *p, const struct spec_resources *r, struct error *err)
{
	int64_t swap;
	limit(p, p->v1 ? "MemoryLimit" : "MemoryMax", r->memory.limit.v);
	if (p->v1)
		return true;
	limit(p, "MemoryLow", r->memory.reservation.v);
	if (r->memory.swap.v && !cgroup_swap_alone(r, &swap, err))
		return false;
	if (r->memory.swap.v)
		scope_add_number(p, "MemorySwapMax", "t", swap < 0 ? UINT64_MAX : (uint64_t)swap);
	return true;
}

/* systemd looks a device up by its node, /dev/block has one for each number. */
static void throttle(struct scope_properties *p, const char *name, const spec_throttles *t)
{
	struct scope_property *v = t->n ? scope_add(p, name, "a(st)") : NULL;
	if (!v)
		return;
	v->devices.v = arena_alloc(p->arena, t->n * sizeof(*v->devices.v));
	for (; v->devices.n < t->n; v->devices.n++) {
		const struct spec_throttle *d = &t->v[v->devices.n];
		const char *path = arena_printf(p->arena, "/dev/block/%" PRId64 ":%" PRId64, d->major, d->minor);
		v->devices.v[v->devices.n] = (struct scope_device){ path, d->rate };
	}
}

static void block(struct scope_properties *p, const struct spec_resources *r)
{
	if (r->block.weight.v)
		scope_add_number(p, p->v1 ? "BlockIOWeight" : "IOWeight", "t", p->v1 ? r->block.weight.v : cgroup_io_weight(r->block.weight.v));
	if (p->v1)
		return;
	throttle(p, "IOReadBandwidthMax", &r->block.read_bps);
	throttle(p, "IOWriteBandwidthMax", &r->block.write_bps);
	throttle(p, "IOReadIOPSMax", &r->block.read_iops);
	throttle(p, "IOWriteIOPSMax", &r->block.write_iops);
}

/* Files of "unified" that systemd would write over if it did not know. */
static const struct { const char *file, *property; } numbers[] = {
	{ "memory.min", "MemoryMin" }, { "memory.low", "MemoryLow" }, { "memory.high", "MemoryHigh" },
	{ "memory.max", "MemoryMax" }, { "memory.swap.max", "MemorySwapMax" }, { "pids.max", "TasksMax" },
	{ "cpu.weight", "CPUWeight" },
};

static bool unified_number(struct scope_properties *p, const struct pair *u)
{
	uint64_t v = UINT64_MAX;
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
		if (strcmp(u->key, numbers[i].file))
			continue;
		if (strcmp(u->value, "max") && !parse_u64(u->value, 0, UINT64_MAX, &v))
			return false;
		scope_add_number(p, numbers[i].property, "t", v);
	}
	return true;
}

static bool unified(struct scope_properties *p, const struct pair *u, struct error *err)
{
	int64_t quota;
	uint64_t period = PERIOD_US;
	bool cpu_max = !strcmp(u->key, "cpu.max");
	if (!unified_number(p, u) || (cpu_max && !read_cpu_max(u->value, &quota, &period)))
		return error_set(err, 0, "resources.unified: '%s' is no value of %s", u->value, u->key);
	if (cpu_max)
		set_quota(p, quota, period);
	return (strcmp(u->key, "cpuset.cpus") || set_list(p, "AllowedCPUs", u->value, err)) &&
		(strcmp(u->key, "cpuset.mems") || set_list(p, "AllowedMemoryNodes", u->value, err));
}

bool scope_resources(struct scope_properties *p, const struct spec_resources *r, const char *cpu_max, struct error *err)
{
	if (!r)
		return true;
	cpu(p, r, cpu_max);
	block(p, r);
	limit(p, "TasksMax", r->pids.limit.v);
	if (!memory(p, r, err) || !set_list(p, "AllowedCPUs", r->cpu.cpus, err) ||
	    !set_list(p, "AllowedMemoryNodes", r->cpu.mems, err))
		return false;
	for (unsigned i = 0; i < r->unified.n; i++)
		if (!unified(p, &r->unified.v[i], err))
			return false;
	return true;
}
