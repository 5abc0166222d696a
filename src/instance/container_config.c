/* SPDX-License-Identifier: GPL-2.0-or-later */
/* config.json of an image's container: see container_config.h. */
#include "instance/container_config.h"
#include "instance/program.h"
#include "container/bundle.h"
#include "container/caps.h"
#include "container/passwd.h"
#include "container/verbs.h"
#include "session/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define INIT_AT "/dev/init"
enum { MAX_CAPS = 64, CPU_PERIOD = 100000 };

/* ---- capabilities ---- */

struct caps { const char *name[MAX_CAPS]; unsigned n; };

static bool has_cap(const struct caps *c, const char *name)
{
	for (unsigned i = 0; i < c->n; i++)
		if (!strcmp(c->name[i], name))
			return true;
	return false;
}

static void add_all(struct caps *c)
{
	for (int i = 0; i <= caps_last() && caps_name(i) && c->n < MAX_CAPS; i++)
		if (!has_cap(c, caps_name(i)))
			c->name[c->n++] = caps_name(i);
}

static bool cap_of(const char *word, const char **name, struct error *err)
{
	int number = caps_number(word);
	*name = number >= 0 ? caps_name(number) : NULL;
	return *name || error_set(err, 0, "'%s' is not a capability: see capabilities(7)", word);
}

static bool work_out(const struct definition *d, struct caps *c, struct error *err)
{
	const char *name;
	bool none = false;
	c->n = 0;
	for (unsigned i = 0; i < d->ncap_drop; i++)
		none |= !strcasecmp(d->cap_drop[i], "all");
	for (unsigned i = 0; bundle_default_caps[i] && !none; i++)
		c->name[c->n++] = bundle_default_caps[i];
	if (d->privileged)
		add_all(c);
	for (unsigned i = 0; i < d->ncap_add; i++) {
		if (!strcasecmp(d->cap_add[i], "all")) {
			add_all(c);
			continue;
		}
		if (!cap_of(d->cap_add[i], &name, err))
			return false;
		if (!has_cap(c, name) && c->n < MAX_CAPS)
			c->name[c->n++] = name;
	}
	for (unsigned i = 0; i < d->ncap_drop; i++) {
		if (!strcasecmp(d->cap_drop[i], "all"))
			continue;
		if (!cap_of(d->cap_drop[i], &name, err))
			return false;
		for (unsigned k = 0; k < c->n; k++)
			if (!strcmp(c->name[k], name))
				c->name[k--] = c->name[--c->n];
	}
	return true;
}

/* ---- process ---- */

static bool put_user(struct json_out *j, const struct definition *d, const struct container_place *p, struct error *err)
{
	struct passwd_user u = { 0 };
	if (!passwd_find_in(p->bundle, d->user ? d->user : "", &u, err))
		return false;
	json_open(j, "user", '{');
	json_put_u64(j, "uid", u.uid);
	json_put_u64(j, "gid", u.gid);
	json_open(j, "additionalGids", '[');
	for (unsigned i = 0; i < u.ngroups; i++)
		json_put_u64(j, NULL, u.groups[i]);
	json_close(j, ']');
	json_close(j, '}');
	return true;
}

static void put_env(struct json_out *j, const struct definition *d, const struct container_place *p)
{
	bool path = false, term = false;
	auto_free char *host = xasprintf("HOSTNAME=%s", d->hostname ? d->hostname : p->name);
	json_open(j, "env", '[');
	for (unsigned i = 0; i < d->nenv; i++) {
		path |= !strncmp(d->env[i], "PATH=", 5);
		term |= !strncmp(d->env[i], "TERM=", 5);
	}
	if (!path)
		json_put_str(j, NULL, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	json_put_str(j, NULL, host);
	if (d->tty && !term)
		json_put_str(j, NULL, "TERM=xterm");
	for (unsigned i = 0; i < d->nenv; i++)
		json_put_str(j, NULL, d->env[i]);
	json_close(j, ']');
}

static bool put_process(struct json_out *j, const struct definition *d, const struct container_place *p, const struct caps *c,
			struct error *err)
{
	json_open(j, "process", '{');
	json_put_bool(j, "terminal", d->tty);
	json_put_bool(j, "noNewPrivileges", false);
	json_put_str(j, "cwd", d->workdir ? d->workdir : "/");
	if (!put_user(j, d, p, err))
		return false;
	json_open(j, "args", '[');
	if (d->init) {
		json_put_str(j, NULL, INIT_AT);
		json_put_str(j, NULL, "--");
	}
	for (unsigned i = 0; i < d->ncommand; i++)
		json_put_str(j, NULL, d->command[i]);
	json_close(j, ']');
	put_env(j, d, p);
	bundle_caps(j, c->name, c->n);
	json_close(j, '}');
	return true;
}

/* ---- mounts ---- */

static void bind_file(struct json_out *j, const struct container_place *p, const char *name, const char *at)
{
	static const char *const options[] = { "bind", "nosuid", "nodev" };
	auto_free char *source = xasprintf("%s/%s", p->inside, name);
	bundle_mount(j, at, "bind", source, options, ARRAY_SIZE(options));
}

static void put_tmpfs(struct json_out *j, const char *text)
{
	const char *options[16] = { "nosuid", "nodev" };
	unsigned n = 2;
	auto_free char *copy = xstrdup(text);
	char *rest = strchr(copy, ':');
	if (rest)
		*rest++ = 0;
	for (char *word; rest && n < ARRAY_SIZE(options) && (word = strsep(&rest, ",")); )
		if (*word)
			options[n++] = word;
	bundle_mount(j, copy, "tmpfs", "tmpfs", options, n);
}

static char *volume_source(const struct volume *v, unsigned i, const struct container_place *p)
{
	struct stat st;
	if (!p->in_guest)
		return xstrdup(v->source);
	bool directory = stat(v->source, &st) || S_ISDIR(st.st_mode);
	return xasprintf(GUEST_VOLUMES "/" VOLUME_TAG "%s", i, directory ? "" : "/" VOLUME_FILE);
}

static bool put_volumes(struct json_out *j, const struct definition *d, const struct container_place *p, struct error *err)
{
	static const char *const options[] = { "rbind", "rprivate", "nodev", "rro" };
	for (unsigned i = 0; i < d->nvolumes; i++) {
		struct volume v;
		if (!volume_parse(d->volumes[i], &v, err))
			return false;
		auto_free char *source = volume_source(&v, i, p);
		bundle_mount(j, v.target, "bind", source, options, v.readonly ? 4 : 3);
	}
	return true;
}

static bool put_mounts(struct json_out *j, const struct definition *d, const struct container_place *p, struct error *err)
{
	static const char *const sys[] = { "nosuid", "noexec", "nodev", "ro" }, *const bound[] = { "rbind", "nosuid", "noexec", "nodev", "rro" },
		*const group[] = { "nosuid", "noexec", "nodev", "relatime", "ro" }, *const queue[] = { "nosuid", "noexec", "nodev" }, *const init[] = { "bind", "nosuid", "nodev", "ro" };
	const unsigned nsys = d->privileged ? 3 : 4, ngroup = d->privileged ? 4 : 5;
	json_open(j, "mounts", '[');
	bundle_basic_mounts(j, 64 * MiB);
	bundle_mount(j, "/dev/mqueue", "mqueue", "mqueue", queue, ARRAY_SIZE(queue));
	if (p->own_network || !p->rootless || p->in_guest)
		bundle_mount(j, "/sys", "sysfs", "sysfs", sys, nsys);
	else
		bundle_mount(j, "/sys", "bind", "/sys", bound, ARRAY_SIZE(bound));
	bundle_mount(j, "/sys/fs/cgroup", "cgroup", "cgroup", group, ngroup);
	bind_file(j, p, "resolv.conf", "/etc/resolv.conf");
	bind_file(j, p, "hosts", "/etc/hosts");
	bind_file(j, p, "hostname", "/etc/hostname");
	if (d->init)
		bundle_mount(j, INIT_AT, "bind", p->init, init, ARRAY_SIZE(init));
	for (unsigned i = 0; i < d->ntmpfs; i++)
		put_tmpfs(j, d->tmpfs[i]);
	bool ok = put_volumes(j, d, p, err);
	json_close(j, ']');
	return ok;
}

/* ---- devices ---- */

/* "/dev/X[:/dev/Y[:rwm]]" */
struct device { char source[256], target[256], access[4]; struct stat st; };

static bool parse_device(const char *text, struct device *v, struct error *err)
{
	size_t a = strcspn(text, ":"), b = text[a] ? strcspn(text + a + 1, ":") : 0;
	const char *access = b && text[a + 1 + b] ? text + a + b + 2 : "rwm";
	if (a >= sizeof(v->source) || b >= sizeof(v->target) || text[0] != '/' || (b && text[a + 1] != '/') ||
	    !*access || strlen(access) > 3 || strspn(access, "rwm") != strlen(access))
		return error_set(err, 0, "--device takes /dev/X[:/dev/Y[:rwm]], not '%s'", text);
	snprintf(v->source, sizeof(v->source), "%.*s", (int)a, text);
	snprintf(v->target, sizeof(v->target), "%.*s", (int)(b ? b : a), b ? text + a + 1 : text);
	snprintf(v->access, sizeof(v->access), "%s", access);
	if (stat(v->source, &v->st))
		return error_set(err, errno, "cannot find the device '%s'", v->source);
	return S_ISCHR(v->st.st_mode) || S_ISBLK(v->st.st_mode) || error_set(err, 0, "'%s' is not a device", v->source);
}

static void put_device(struct json_out *j, const struct device *v)
{
	json_open(j, NULL, '{');
	json_put_str(j, "path", v->target);
	json_put_str(j, "type", S_ISCHR(v->st.st_mode) ? "c" : "b");
	json_put_u64(j, "major", major(v->st.st_rdev));
	json_put_u64(j, "minor", minor(v->st.st_rdev));
	json_put_u64(j, "fileMode", v->st.st_mode & 0777);
	json_put_u64(j, "uid", v->st.st_uid);
	json_put_u64(j, "gid", v->st.st_gid);
	json_close(j, '}');
}

/* Those of the definition, to be freed. */
static struct device *parse_devices(const struct definition *d, struct error *err)
{
	auto_free struct device *v = xcalloc(d->ndevices + 1, sizeof(*v));
	for (unsigned i = 0; i < d->ndevices; i++)
		if (!parse_device(d->devices[i], &v[i], err))
			return NULL;
	return move_ptr(v);
}

static void put_devices(struct json_out *j, const struct device *v, unsigned n)
{
	json_open(j, "devices", '[');
	for (unsigned i = 0; i < n; i++)
		put_device(j, &v[i]);
	json_close(j, ']');
}

/* ---- limits ---- */

static void device_rules(struct json_out *j, const struct definition *d, const struct device *v)
{
	json_open(j, "devices", '[');
	json_open(j, NULL, '{');
	json_put_bool(j, "allow", d->privileged);
	json_put_str(j, "access", "rwm");
	json_close(j, '}');
	for (unsigned i = 0; i < d->ndevices; i++) {
		json_open(j, NULL, '{');
		json_put_bool(j, "allow", true);
		json_put_str(j, "type", S_ISCHR(v[i].st.st_mode) ? "c" : "b");
		json_put_u64(j, "major", major(v[i].st.st_rdev));
		json_put_u64(j, "minor", minor(v[i].st.st_rdev));
		json_put_str(j, "access", v[i].access);
		json_close(j, '}');
	}
	json_close(j, ']');
}

/* The whole disk under the state directory: partitions cannot be throttled. */
static bool state_disk(unsigned *major_out, unsigned *minor_out, struct error *err)
{
	struct stat st;
	char link[64], path[4096];
	if (fstatat(AT_FDCWD, ".", &st, 0))
		return error_set(err, errno, "cannot find the disk to limit");
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u/partition", major(st.st_dev), minor(st.st_dev));
	bool part = !access(link, F_OK);
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%sdev", major(st.st_dev), minor(st.st_dev), part ? "../" : "");
	FILE *f = fopen(path, "re");
	bool ok = f && fscanf(f, "%u:%u", major_out, minor_out) == 2;
	if (f)
		fclose(f);
	return ok || error_set(err, 0, "--io: the file system of the container is on no block device that could be limited");
}

static bool put_io(struct json_out *j, const struct definition *d, struct error *err)
{
	static const char *const keys[] = { "throttleReadBpsDevice", "throttleWriteBpsDevice" };
	unsigned ma, mi;
	uint64_t rate;
	if (!state_disk(&ma, &mi, err) || !parse_size(d->io, &rate))
		return false;
	json_open(j, "blockIO", '{');
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		json_open(j, keys[i], '[');
		json_open(j, NULL, '{');
		json_put_u64(j, "major", ma);
		json_put_u64(j, "minor", mi);
		json_put_u64(j, "rate", rate);
		json_close(j, '}');
		json_close(j, ']');
	}
	json_close(j, '}');
	return true;
}

/* A machine's disk and its place on the host's CPUs are the host's affair. */
static bool put_limits(struct json_out *j, const struct definition *d, bool in_guest, struct error *err)
{
	const char *cpuset = in_guest ? NULL : d->cpuset;
	uint64_t memory = 0;
	if (d->memory && parse_size(d->memory, &memory)) {
		json_open(j, "memory", '{');
		json_put_u64(j, "limit", memory);
		json_put_u64(j, "swap", memory);      /* of both together: no swap */
		json_close(j, '}');
	}
	if (d->cpus > 0 || cpuset) {
		json_open(j, "cpu", '{');
		if (d->cpus > 0) {
			json_put_u64(j, "period", CPU_PERIOD);
			json_put_u64(j, "quota", (uint64_t)(d->cpus * CPU_PERIOD));
		}
		if (cpuset)
			json_put_str(j, "cpus", cpuset);
		json_close(j, '}');
	}
	if (d->pids) {
		json_open(j, "pids", '{');
		json_put_u64(j, "limit", d->pids);
		json_close(j, '}');
	}
	return !d->io || in_guest || put_io(j, d, err);
}

char *container_resources(const struct definition *d, bool in_guest, struct error *err)
{
	struct json_out j = { 0 };
	json_open(&j, NULL, '{');
	bool ok = put_limits(&j, d, in_guest, err);
	json_close(&j, '}');
	if (!ok)
		json_out_free(&j);
	return j.text;
}

static bool put_linux(struct json_out *j, const struct definition *d, const struct container_place *p, const struct caps *c,
		      struct error *err)
{
	static const char *const types[] = { "mount", "pid", "ipc", "uts", "cgroup", "network" };
	auto_free struct device *devices = parse_devices(d, err);
	if (!devices)
		return false;
	json_open(j, "linux", '{');
	json_open(j, "namespaces", '[');
	for (unsigned i = 0; i < ARRAY_SIZE(types) - !p->own_network; i++) {
		json_open(j, NULL, '{');
		json_put_str(j, "type", types[i]);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_open(j, "resources", '{');
	if (!p->rootless || p->in_guest)
		device_rules(j, d, devices);
	bool ok = put_limits(j, d, p->in_guest, err);
	json_close(j, '}');
	put_devices(j, devices, d->ndevices);
	if (!d->privileged) {
		bundle_hidden_paths(j);
		bundle_seccomp(j, has_cap(c, "CAP_SYS_ADMIN"));
	}
	json_close(j, '}');
	return ok;
}

char *container_config(const struct definition *d, const struct container_place *p, struct error *err)
{
	struct json_out j = { 0 };
	struct caps c;
	if (!work_out(d, &c, err))
		return NULL;
	json_open(&j, NULL, '{');
	json_put_str(&j, "ociVersion", "1.1.0");
	json_put_str(&j, "hostname", d->hostname ? d->hostname : p->name);
	json_open(&j, "root", '{');
	json_put_str(&j, "path", "rootfs");
	json_put_bool(&j, "readonly", d->read_only);
	json_close(&j, '}');
	bool ok = put_process(&j, d, p, &c, err) && put_mounts(&j, d, p, err) && put_linux(&j, d, p, &c, err);
	json_close(&j, '}');
	if (!ok)
		json_out_free(&j);
	return ok ? j.text : NULL;
}
