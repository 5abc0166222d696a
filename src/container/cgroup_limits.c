/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits into control groups.  runtime-spec config-linux.md; kernel
 * Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "container/cgroup.h"
#include "container/subids.h"

const struct spec_device_rule cgroup_default_devices[] = {
	{ true, "c", "m", { 0 }, { 0 } }, { true, "b", "m", { 0 }, { 0 } },
	{ true, "c", "rwm", { true, 1 }, { true, 3 } }, { true, "c", "rwm", { true, 1 }, { true, 5 } },
	{ true, "c", "rwm", { true, 1 }, { true, 7 } }, { true, "c", "rwm", { true, 1 }, { true, 8 } },
	{ true, "c", "rwm", { true, 1 }, { true, 9 } }, { true, "c", "rwm", { true, 5 }, { true, 0 } },
	{ true, "c", "rwm", { true, 5 }, { true, 1 } }, { true, "c", "rwm", { true, 5 }, { true, 2 } },
	{ true, "c", "rwm", { true, 136 }, { 0 } },
};
const unsigned cgroup_default_devices_n = ARRAY_SIZE(cgroup_default_devices);

struct limiter {
	const struct cgroups *c;
	struct error *err;
	bool ok;
};

/* Whether a group of version 2 has this controller: what the group above gave it. */
static bool delegated(const struct cgroup_dir *d, const char *controller)
{
	char have[1024];
	size_t n = strcspn(controller, ".");
	bool known = cgroup_read(d, "cgroup.controllers", have, sizeof(have)), found = false;
	for (char *p = known ? strtok(have, " ") : NULL; p && !found; p = strtok(NULL, " "))
		found = strlen(p) == n && !strncmp(p, controller, n);
	return found || !known || (n == 6 && !strncmp(controller, "cgroup", n));
}

static void put(struct limiter *l, const char *controller, const char *file, const char *value)
{
	const struct cgroup_dir *d = cgroups_with(l->c, controller);
	if (!l->ok)
		return;
	if (d && d->v2 && !delegated(d, controller))
		l->ok = error_set(l->err, 0, "cannot set %s: the '%.*s' controller is not delegated to control group '%s'%s", file,
			(int)strcspn(controller, "."), controller, d->path,
			subids_real_root() ? "" : "; Delegate= of systemd's user@.service says which are");
	else if (!d)
		l->ok = error_set(l->err, 0, "cannot set %s: there is no control group with the '%s' controller that this user may write",
			file, controller);
	else
		l->ok = cgroup_write(d, file, value, l->err);
}

/* Engines write 0 for "not set" almost everywhere. */
static void put_i64(struct limiter *l, const char *controller, const char *file, struct opt_i64 v)
{
	char text[24];
	snprintf(text, sizeof(text), "%" PRId64, v.v);
	if (v.v)
		put(l, controller, file, text);
}

static void put_u64(struct limiter *l, const char *controller, const char *file, struct opt_u64 v)
{
	char text[24];
	snprintf(text, sizeof(text), "%" PRIu64, v.v);
	if (v.v)
		put(l, controller, file, text);
}

/* ... but not where it is a value of its own. */
static void put_any(struct limiter *l, const char *controller, const char *file, bool set, int64_t v)
{
	char text[24];
	snprintf(text, sizeof(text), "%" PRId64, v);
	if (set)
		put(l, controller, file, text);
}

/* Version 2: a number, or "max" for less than nothing. */
static void put_max(struct limiter *l, const char *controller, const char *file, struct opt_i64 v)
{
	char text[24] = "max";
	if (v.v >= 0)
		snprintf(text, sizeof(text), "%" PRId64, v.v);
	if (v.set)
		put(l, controller, file, text);
}

static bool within(struct limiter *l, const struct spec_resources *r)
{
	char text[64];
	uint64_t used;
	if (!r->memory.check_before_update.v || r->memory.limit.v <= 0)
		return true;
	const struct cgroup_dir *d = cgroups_with(l->c, "memory");
	if (d && cgroup_read(d, l->c->v2 ? "memory.current" : "memory.usage_in_bytes", text, sizeof(text)) &&
	    parse_u64(text, 0, UINT64_MAX, &used) && used > (uint64_t)r->memory.limit.v)
		return l->ok = error_set(l->err, 0, "the memory limit %" PRId64 " is below what is used already, %" PRIu64,
			r->memory.limit.v, used);
	return true;
}

/* memory must stay below memory+swap at each step: which goes first depends on
 * the direction; the kernel says no to the wrong order. */
static void memory_v1(struct limiter *l, const struct spec_resources *r)
{
	struct opt_i64 limit = r->memory.limit, swap = r->memory.swap;
	const struct cgroup_dir *d = cgroups_with(l->c, "memory");
	char text[24];
	if (!within(l, r))
		return;
	snprintf(text, sizeof(text), "%" PRId64, limit.v);
	if (limit.v == -1 && !swap.v && d && cgroup_read(d, "memory.memsw.limit_in_bytes", text, sizeof(text)))
		cgroup_write(d, "memory.memsw.limit_in_bytes", "-1", NULL);
	if (limit.v && swap.v && d && !cgroup_write(d, "memory.limit_in_bytes", text, NULL)) {
		put_i64(l, "memory", "memory.memsw.limit_in_bytes", swap);
		put_i64(l, "memory", "memory.limit_in_bytes", limit);
		swap.v = 0;
	} else if (!limit.v || !swap.v) {
		put_i64(l, "memory", "memory.limit_in_bytes", limit);
	}
	put_i64(l, "memory", "memory.memsw.limit_in_bytes", swap);
	put_i64(l, "memory", "memory.soft_limit_in_bytes", r->memory.reservation);
	put_i64(l, "memory", "memory.kmem.tcp.limit_in_bytes", r->memory.kernel_tcp);
	put_any(l, "memory", "memory.swappiness", r->memory.swappiness.set, (int64_t)r->memory.swappiness.v);
	if (r->memory.disable_oom_killer.v)
		put(l, "memory", "memory.oom_control", "1");
}

bool cgroup_swap_alone(const struct spec_resources *r, int64_t *swap, struct error *err)
{
	int64_t both = r->memory.swap.v, limit = r->memory.limit.v;
	*swap = both < 0 ? -1 : both - limit;
	return both < 0 || (r->memory.limit.set && limit >= 0 && both >= limit) ||
		error_set(err, 0, "memory.swap is memory and swap together: it needs memory.limit, and not above it");
}

static void memory_v2(struct limiter *l, const struct spec_resources *r)
{
	struct opt_i64 swap = { true, 0 };
	if (!within(l, r) || (r->memory.swap.v && l->ok && !(l->ok = cgroup_swap_alone(r, &swap.v, l->err))))
		return;
	if (r->memory.swap.v)
		put_max(l, "memory", "memory.swap.max", swap);
	if (r->memory.limit.v)
		put_max(l, "memory", "memory.max", r->memory.limit);
	if (r->memory.reservation.v)
		put_max(l, "memory", "memory.low", r->memory.reservation);
}

static void cpu_v1(struct limiter *l, const struct spec_resources *r)
{
	char old[24];
	const struct cgroup_dir *d = cgroups_with(l->c, "cpu");
	put_u64(l, "cpu", "cpu.shares", r->cpu.shares);
	put_any(l, "cpu", "cpu.idle", r->cpu.idle.set, r->cpu.idle.v);
	/* the quota may have to give way to a smaller period first, or the other way round */
	if (r->cpu.period.v && r->cpu.quota.v && d && cgroup_read(d, "cpu.cfs_quota_us", old, sizeof(old)))
		cgroup_write(d, "cpu.cfs_quota_us", "-1", NULL);
	put_u64(l, "cpu", "cpu.cfs_period_us", r->cpu.period);
	put_i64(l, "cpu", "cpu.cfs_quota_us", r->cpu.quota);
	put_u64(l, "cpu", "cpu.cfs_burst_us", r->cpu.burst);
	if (r->cpu.rt_period.v)
		put_u64(l, "cpu", "cpu.rt_period_us", r->cpu.rt_period);
	if (r->cpu.rt_runtime.v)
		put_i64(l, "cpu", "cpu.rt_runtime_us", r->cpu.rt_runtime);
}

/* 2..262144 to 1..10000 */
uint64_t cgroup_cpu_weight(uint64_t shares)
{
	uint64_t some = MAX(shares, 2ull);
	return 1 + (MIN(some, 262144ull) - 2) * 9999 / 262142;
}

static void cpu_v2(struct limiter *l, const struct spec_resources *r)
{
	char text[64], quota[24] = "max";
	if (r->cpu.shares.v) {
		snprintf(text, sizeof(text), "%" PRIu64, cgroup_cpu_weight(r->cpu.shares.v));
		put(l, "cpu", "cpu.weight", text);
	}
	put_any(l, "cpu", "cpu.idle", r->cpu.idle.set, r->cpu.idle.v);
	if (r->cpu.quota.v > 0)
		snprintf(quota, sizeof(quota), "%" PRId64, r->cpu.quota.v);
	if (r->cpu.quota.v && !r->cpu.period.v)
		put(l, "cpu", "cpu.max", quota);
	if (r->cpu.period.v) {
		snprintf(text, sizeof(text), "%s %" PRIu64, quota, r->cpu.period.v);
		put(l, "cpu", "cpu.max", text);
	}
	put_u64(l, "cpu", "cpu.max.burst", r->cpu.burst);
}

/* What version 2 has no file for. */
static void missing_v2(struct limiter *l, const struct spec_resources *r)
{
	const struct { bool asked; const char *what; } limits[] = {
		{ r->cpu.rt_runtime.v || r->cpu.rt_period.v, "cpu.realtimeRuntime" }, { r->memory.swappiness.set, "memory.swappiness" },
		{ r->memory.disable_oom_killer.v, "memory.disableOOMKiller" },
		{ r->network.class_id.v || r->network.priorities.n, "network" }, { r->block.leaf_weight.v, "blockIO.leafWeight" },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++)
		if (limits[i].asked)
			l->ok = l->ok && error_set(l->err, 0, "linux.resources: %s does not exist with control groups of version 2",
				limits[i].what);
}

static void throttle_v1(struct limiter *l, const char *file, const spec_throttles *t)
{
	char text[80];
	for (unsigned i = 0; i < t->n; i++) {
		snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %" PRIu64, t->v[i].major, t->v[i].minor, t->v[i].rate);
		put(l, "blkio", file, text);
	}
}

static void throttle_v2(struct limiter *l, const char *key, const spec_throttles *t)
{
	char text[80];
	for (unsigned i = 0; i < t->n; i++) {
		snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %s=%" PRIu64, t->v[i].major, t->v[i].minor, key, t->v[i].rate);
		put(l, "io", "io.max", text);
	}
}

static bool has(const struct limiter *l, const char *controller, const char *file)
{
	char text[8];
	const struct cgroup_dir *d = cgroups_with(l->c, controller);
	return d && cgroup_read(d, file, text, sizeof(text));
}

static void block_v1(struct limiter *l, const struct spec_resources *r)
{
	char text[80];
	bool bfq = !has(l, "blkio", "blkio.weight") && has(l, "blkio", "blkio.bfq.weight");
	put_u64(l, "blkio", bfq ? "blkio.bfq.weight" : "blkio.weight", r->block.weight);
	put_u64(l, "blkio", "blkio.leaf_weight", r->block.leaf_weight);
	for (unsigned i = 0; i < r->block.weight_devices.n; i++) {
		const struct spec_weight_device *d = &r->block.weight_devices.v[i];
		snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %" PRIu64, d->major, d->minor, d->weight.v);
		if (d->weight.v)
			put(l, "blkio", bfq ? "blkio.bfq.weight_device" : "blkio.weight_device", text);
	}
	throttle_v1(l, "blkio.throttle.read_bps_device", &r->block.read_bps);
	throttle_v1(l, "blkio.throttle.write_bps_device", &r->block.write_bps);
	throttle_v1(l, "blkio.throttle.read_iops_device", &r->block.read_iops);
	throttle_v1(l, "blkio.throttle.write_iops_device", &r->block.write_iops);
}

/* 10..1000 to 1..10000 */
uint64_t cgroup_io_weight(uint64_t w)
{
	return w < 10 || w > 1000 ? w : 1 + (w - 10) * 9999 / 990;
}

static void block_v2(struct limiter *l, const struct spec_resources *r)
{
	char text[80];
	bool bfq = has(l, "io", "io.bfq.weight");
	const char *file = bfq ? "io.bfq.weight" : "io.weight";
	if (r->block.weight.v) {
		snprintf(text, sizeof(text), "%" PRIu64, bfq ? r->block.weight.v : cgroup_io_weight(r->block.weight.v));
		put(l, "io", file, text);
	}
	for (unsigned i = 0; i < r->block.weight_devices.n; i++) {
		const struct spec_weight_device *d = &r->block.weight_devices.v[i];
		snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %" PRIu64, d->major, d->minor,
			bfq ? d->weight.v : cgroup_io_weight(d->weight.v));
		if (d->weight.v)
			put(l, "io", file, text);
	}
	throttle_v2(l, "rbps", &r->block.read_bps);
	throttle_v2(l, "wbps", &r->block.write_bps);
	throttle_v2(l, "riops", &r->block.read_iops);
	throttle_v2(l, "wiops", &r->block.write_iops);
}

static void hugepages(struct limiter *l, const struct spec_resources *r)
{
	char file[64], text[24];
	for (unsigned i = 0; i < r->hugepages.n; i++) {
		const struct spec_hugepage *h = &r->hugepages.v[i];
		if (strlen(h->size) > 16 || strchr(h->size, '/')) {
			l->ok = l->ok && error_set(l->err, 0, "hugepageLimits: '%s' is no page size", h->size);
			return;
		}
		snprintf(file, sizeof(file), l->c->v2 ? "hugetlb.%s.max" : "hugetlb.%s.limit_in_bytes", h->size);
		snprintf(text, sizeof(text), "%" PRIu64, h->limit);
		put(l, "hugetlb", file, text);
	}
}

static void network_v1(struct limiter *l, const struct spec_resources *r)
{
	char text[64];
	put_u64(l, "net_cls", "net_cls.classid", r->network.class_id);
	for (unsigned i = 0; i < r->network.priorities.n; i++) {
		snprintf(text, sizeof(text), "%.32s %u", r->network.priorities.v[i].name, r->network.priorities.v[i].priority);
		put(l, "net_prio", "net_prio.ifpriomap", text);
	}
}

static void unified(struct limiter *l, const struct spec_resources *r)
{
	if (r->unified.n && !l->c->v2) {
		l->ok = l->ok && error_set(l->err, 0, "resources.unified needs control groups of version 2");
		return;
	}
	for (unsigned i = 0; i < r->unified.n; i++) {
		const char *key = r->unified.v[i].key;
		if (strchr(key, '/') || !strchr(key, '.') || strlen(key) > 100) {
			l->ok = l->ok && error_set(l->err, 0, "resources.unified: '%s' is no file of a control group", key);
			return;
		}
		put(l, key, key, r->unified.v[i].value);
	}
}

static void device_v1(struct limiter *l, const struct spec_device_rule *r)
{
	char text[64], major[24] = "*", minor[24] = "*";
	if (r->major.set && r->major.v >= 0)
		snprintf(major, sizeof(major), "%" PRId64, r->major.v);
	if (r->minor.set && r->minor.v >= 0)
		snprintf(minor, sizeof(minor), "%" PRId64, r->minor.v);
	const char *type = r->type && *r->type ? r->type : "a", *access = r->access && *r->access ? r->access : "rwm";
	if (*type == 'a' && *major == '*' && *minor == '*')
		snprintf(text, sizeof(text), "a");
	else
		snprintf(text, sizeof(text), "%.1s %s:%s %.3s", type, major, minor, access);
	put(l, "devices", r->allow ? "devices.allow" : "devices.deny", text);
}

/* Without rules the default holds: nothing but the default devices. Where we may
 * not have a devices group (an ordinary user), a user namespace keeps them out. */
static void devices(struct limiter *l, const struct spec_resources *r)
{
	const struct cgroup_dir *d = cgroups_with(l->c, "devices");
	if (l->c->v2 && d) {
		l->ok = l->ok && cgroup_bpf_devices(d, r->devices.v, r->devices.n, l->err);
	} else if (d) {
		put(l, "devices", "devices.deny", "a");
		for (unsigned i = 0; i < r->devices.n; i++)
			if (i || r->devices.v[i].allow || r->devices.v[i].major.set)   /* "deny all" was just said */
				device_v1(l, &r->devices.v[i]);
		for (unsigned i = 0; i < cgroup_default_devices_n; i++)
			device_v1(l, &cgroup_default_devices[i]);
	}
}

bool cgroups_limit(const struct cgroups *c, const struct spec_resources *r, bool update, struct error *err)
{
	static const struct spec_resources none;
	struct limiter l = { c, err, true };
	bool given = r != NULL;
	r = given ? r : &none;
	if (!update)
		devices(&l, r);
	if (!given)
		return l.ok;
	(c->v2 ? memory_v2 : memory_v1)(&l, r);
	(c->v2 ? cpu_v2 : cpu_v1)(&l, r);
	(c->v2 ? block_v2 : block_v1)(&l, r);
	if (r->cpu.cpus && *r->cpu.cpus)
		put(&l, "cpuset", "cpuset.cpus", r->cpu.cpus);
	if (r->cpu.mems && *r->cpu.mems)
		put(&l, "cpuset", "cpuset.mems", r->cpu.mems);
	if (r->pids.limit.v)
		put_max(&l, "pids", "pids.max", r->pids.limit);
	hugepages(&l, r);
	(c->v2 ? missing_v2 : network_v1)(&l, r);
	unified(&l, r);
	return l.ok;
}
