/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From an image's definition to that of the machine around it: see microvm.h. */
#include "instance/microvm.h"
#include "instance/container_config.h"
#include "instance/container_network.h"
#include "instance/program.h"
#include "session/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

/* The kernel, the init and the page cache of the image need some, beside what is the program's. */
#define OVERHEAD (160 * MiB)
#define MEMORY (512 * MiB)
#define DISK_SIZE (16 * GiB)
#define COMMAND_LINE "console=ttyS0 quiet loglevel=4 panic=-1 tsc=reliable random.trust_cpu=on"

/* ---- the disk ---- */

/* No discard, and inode tables that are zeros already: it stays as small as what is in it. */
static NORETURN void make_ext4(const char *path, bool journal)
{
	const char *const argv[] = { "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-I", "256", "-E", "nodiscard,lazy_itable_init=1",
		"-O", journal ? "has_journal" : "^has_journal", path, NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, 1);
	dup2(null, 2);
	setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1);
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

/* It appears whole. A machine that is removed at its end needs no journal. */
bool microvm_make_disk(const struct container_keeper *k, struct error *err)
{
	auto_close int fd = openat(k->instance->dir, "disk.tmp", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	auto_free char *path = xasprintf("%s/disk.tmp", k->bundle);
	if (fd < 0 || ftruncate(fd, DISK_SIZE))
		return error_set(err, errno, "cannot make the disk of instance '%s'", k->instance->name);
	pid_t pid = fork();
	if (!pid)
		make_ext4(path, !k->options->remove);
	int status = wait_child(pid);
	if (status == 127 << 8)
		return error_set(err, 0, "a micro-VM's disk needs mke2fs: install the package e2fsprogs");
	if (status || renameat(k->instance->dir, "disk.tmp", k->instance->dir, MICROVM_DISK))
		return error_set(err, status ? 0 : errno, "cannot make the disk of instance '%s'", k->instance->name);
	return true;
}

/* ---- shares ---- */

static void add_share(struct definition *d, char *dir, char *tag, bool readonly)
{
	d->shares = xrealloc(d->shares, (d->nshares + 1) * sizeof(*d->shares));
	d->shares[d->nshares++] = (struct def_share){ dir, tag, readonly };
}

/* A file is bound into a directory of its own. */
static char *directory_of_file(const struct container_keeper *k, const char *source, unsigned i, struct error *err)
{
	char name[64];
	auto_free char *dir = xasprintf("%s/volumes/" VOLUME_TAG, k->bundle, i);
	auto_free char *file = xasprintf("%s/" VOLUME_FILE, dir);
	mkdirat(k->instance->dir, "volumes", 0700);
	snprintf(name, sizeof(name), "volumes/" VOLUME_TAG, i);
	mkdirat(k->instance->dir, name, 0755);
	auto_close int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || mount(source, file, NULL, MS_BIND, NULL))
		return error_null(err, errno, "cannot share the file '%s'", source);
	return move_ptr(dir);
}

static bool add_volumes(struct definition *m, struct container_keeper *k, struct error *err)
{
	const struct definition *d = k->definition;
	for (unsigned i = 0; i < d->nvolumes; i++) {
		struct volume v;
		struct stat st;
		if (!volume_parse(d->volumes[i], &v, err))
			return false;
		bool directory = stat(v.source, &st) || S_ISDIR(st.st_mode);
		char *dir = directory ? xstrdup(v.source) : directory_of_file(k, v.source, i, err);
		if (!dir)
			return false;
		add_share(m, dir, xasprintf(VOLUME_TAG, i), v.readonly);
	}
	return true;
}

void microvm_unshare(struct container_keeper *k)
{
	for (unsigned i = 0; i < k->definition->nvolumes; i++) {
		auto_free char *dir = xasprintf("%s/volumes/" VOLUME_TAG, k->bundle, i);
		auto_free char *file = xasprintf("%s/" VOLUME_FILE, dir);
		umount2(file, MNT_DETACH);
		unlink(file);
		rmdir(dir);
	}
	unlinkat(k->instance->dir, "volumes", AT_REMOVEDIR);
}

/* ---- the definition ---- */

static void take_nets(struct definition *m, const struct definition *d)
{
	m->nets = xcalloc(d->nnets + 1, sizeof(*m->nets));
	for (; m->nnets < d->nnets; m->nnets++) {
		const struct def_net *from = &d->nets[m->nnets];
		struct def_net *to = &m->nets[m->nnets];
		char **const fields[] = { &to->name, &to->mac, &to->model, &to->ip, &to->trunk, &to->limits.rate, &to->limits.rate_up,
			&to->limits.rate_down, &to->limits.burst, &to->limits.group };
		*to = *from;
		for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
			*fields[i] = *fields[i] ? xstrdup(*fields[i]) : NULL;
	}
	for (unsigned i = 0; i < d->npublish; i++)
		definition_append(&m->publish, &m->npublish, d->publish[i]);
}

static char *memory_of(const struct definition *d)
{
	uint64_t limit = 0, bytes = MEMORY;
	if (d->memory && parse_size(d->memory, &limit))
		bytes = ALIGN_UP(limit + OVERHEAD, MiB);
	return xasprintf("%llu", (unsigned long long)bytes);
}

static struct definition *words(const struct container_keeper *k, const char *kernel)
{
	const struct definition *d = k->definition;
	struct definition *m = xnew(struct definition);
	m->version = DEFINITION_VERSION;
	m->board = xstrdup("microvm");
	m->engine = xstrdup(d->engine);
	m->cpu = xstrdup(d->cpu);
	m->cpus = d->cpus;
	m->vcpus = d->vcpus;
	m->memory = memory_of(d);
	m->kernel = xstrdup(kernel);
	m->append = d->append ? xasprintf(COMMAND_LINE " %s", d->append) : xstrdup(COMMAND_LINE);
	m->serial = xasprintf("file:%s/kernel.log", k->bundle);
	m->vsock = GUEST_CID;
	m->on_reboot = xstrdup("exit");
	m->jail = d->jail ? xstrdup(d->jail) : NULL;
	m->uuid = xstrdup(d->uuid);
	m->trace = d->trace ? xstrdup(d->trace) : NULL;
	return m;
}

static void add_disk(struct definition *m, const struct container_keeper *k)
{
	const struct definition *d = k->definition;
	if (d->read_only)
		return;
	m->disks = xcalloc(1, sizeof(*m->disks));
	m->disks[m->ndisks++] = (struct def_disk){ .file = xasprintf("%s/" MICROVM_DISK, k->bundle), .format = xstrdup("raw"),
		.bus = xstrdup("virtio"), .bps = d->io ? xstrdup(d->io) : NULL };
}

struct definition *microvm_definition(struct container_keeper *k, const char *kernel, struct error *err)
{
	char why[160];
	struct definition *m = words(k, kernel);
	if (!k->rest)
		take_nets(m, k->definition);
	add_share(m, xasprintf("%s/rootfs", k->bundle), xstrdup(GUEST_ROOT_TAG), true);
	add_disk(m, k);
	if (add_volumes(m, k, err) && definition_resolve(m, why, err))
		return m;
	definition_free(m);
	return NULL;
}

/* ---- what the init is told ---- */

static json_t *net_of(const struct def_net *n, const struct network_joined *joined, bool first)
{
	const bool user = !joined;
	return json_pack("{s:s, s:s, s:i, s:s, s:i}", "mac", n->mac, "ip", user ? USER_ADDRESS : joined->ip,
			 "prefix", user ? USER_PREFIX : (int)joined->prefix,
			 "gateway", !first ? "" : user ? USER_GATEWAY : joined->gateway, "mtu", user ? 0 : (int)joined->mtu);
}

/* In the order of the interfaces; the resolver is that of the first. */
static bool add_nets(json_t *list, const struct microvm *m, struct error *err)
{
	static const struct network_joined nothing;
	const struct definition *d = m->definition;
	char resolver[64];
	for (unsigned i = 0, tie = 0; i < d->nnets; i++) {
		const struct def_net *n = &d->nets[i];
		const bool user = !strcmp(n->name, "user"), first = !json_array_size(list);
		if (!strcmp(n->name, "none"))
			continue;
		const struct network_joined *joined = user ? NULL : net_is_vhost(n->name) ? &nothing : &m->helpers.ties.tie[tie].joined;
		tie += !user;
		json_array_append_new(list, net_of(n, joined, first));
		container_resolver(joined, resolver);
		if (first && *resolver && !container_write_resolver(resolver, err))
			return false;
	}
	return true;
}

static json_t *volumes_of(const struct definition *m)
{
	json_t *list = json_array();
	for (unsigned i = 1; i < m->nshares; i++)
		json_array_append_new(list, json_pack("{s:s, s:b}", "tag", m->shares[i].tag, "readonly", m->shares[i].readonly));
	return list;
}

static void make_seed(char text[65])
{
	uint8_t bytes[32];
	ssize_t n UNUSED = getrandom(bytes, sizeof(bytes), 0);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		sprintf(text + 2 * i, "%02x", bytes[i]);
}

char *microvm_setup(const struct microvm *m, bool held, struct error *err)
{
	const struct container_keeper *k = m->keeper;
	struct timespec now;
	char seed[65];
	json_t *nets = json_array();
	bool ok = add_nets(nets, m, err);
	clock_gettime(CLOCK_REALTIME, &now);
	make_seed(seed);
	json_t *o = json_pack("{s:b, s:b, s:b, s:b, s:b, s:I, s:s, s:o, s:o}", "held", held, "rest", k->rest, "terminal", k->definition->tty, "keep", !k->options->remove,
			      "disk", m->definition->ndisks > 0, "clock", (json_int_t)now.tv_sec * 1000000000 + now.tv_nsec,
			      "seed", seed, "shares", volumes_of(m->definition), "nets", nets);
	if (m->program)               /* what a held one is started with */
		json_object_update(o, m->program);
	char *text = ok ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}

/* ---- a program that is held ---- */

char *microvm_hold(struct microvm *m, struct error *err)
{
	auto_free char *text = instance_read(m->keeper->instance, "config.json");
	json_t *config = text ? json_loads(text, 0, NULL) : NULL, *process = json_object_get(config, "process");
	if (!process)
		return error_null(err, 0, "config.json of instance '%s' cannot be read", m->keeper->instance->name);
	m->program = json_pack("{s:O, s:O, s:O}", "args", json_object_get(process, "args"), "env", json_object_get(process, "env"),
			       "hostname", json_object_get(config, "hostname"));
	json_object_set_new(process, "args", json_pack("[s]", "held"));
	json_object_set_new(process, "env", json_array());
	json_object_set_new(config, "hostname", json_string("held"));
	char *held = json_dumps(config, JSON_COMPACT);
	json_decref(config);
	return held;
}

/* ---- the host's CPUs ---- */

bool microvm_pin(const char *cpuset, struct error *err)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	for (const char *p = cpuset; *p; ) {
		char *end;
		unsigned long from = strtoul(p, &end, 10), to = *end == '-' ? strtoul(end + 1, &end, 10) : from;
		if (end == p || (*end && *end != ',') || to < from || to >= CPU_SETSIZE)
			return error_set(err, 0, "--cpuset takes a list of CPUs, as in 0-1,3, not '%s'", cpuset);
		for (; from <= to; from++)
			CPU_SET(from, &set);
		p = *end ? end + 1 : end;
	}
	return !sched_setaffinity(0, sizeof(set), &set) || error_set(err, errno, "cannot run on the CPUs '%s'", cpuset);
}
