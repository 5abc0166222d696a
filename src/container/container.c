/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records of containers: container.h. */
#include "container/container.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "container/kernel.h"
#include "container/subids.h"

const char *const container_status_words[] = { "creating", "created", "running", "paused", "stopped" };

static bool make_path(char *path, struct error *err)
{
	for (char *p = path + 1; ; p++) {
		if (*p && *p != '/')
			continue;
		char keep = *p;
		*p = 0;
		if (mkdir(path, keep ? 0755 : 0700) && errno != EEXIST)
			return error_set(err, errno, "cannot make '%s'", path);
		*p = keep;
		if (!keep)
			return true;
	}
}

/* In /tmp anybody may have been first. */
static bool is_ours(const char *root, struct error *err)
{
	struct stat st;
	return stat(root, &st) || st.st_uid == geteuid() || !st.st_uid || error_set(err, 0, "'%s' belongs to another user", root);
}

static bool make_root(const char *root, struct error *err)
{
	auto_free char *path = xstrdup(root);
	return (!access(root, F_OK) || make_path(path, err)) && is_ours(root, err);
}

const char *container_root(const char *given, char path[4096], struct error *err)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	if (given)
		snprintf(path, 4096, "%s%s", *given == '/' ? "" : "./", given);
	else if (run && *run == '/' && !subids_real_root())    /* root of a user namespace has no /run */
		snprintf(path, 4096, "%s/abyme-oci", run);
	else if (!geteuid())
		snprintf(path, 4096, "/run/abyme-oci");
	else
		snprintf(path, 4096, "/tmp/abyme-oci-%u", geteuid());
	return is_ours(path, err) ? path : NULL;
}

static bool check_id(const char *id, struct error *err)
{
	bool ok = *id && *id != '-' && strcmp(id, ".") && strcmp(id, "..") && strlen(id) <= NAME_MAX;
	for (const char *p = id; *p; p++)
		ok = ok && (isalnum((unsigned char)*p) || strchr("_+-.", *p));
	return ok || error_set(err, 0, "'%.80s' is no container ID: letters, digits, '_', '+', '-' and '.', at most 255", id);
}

static struct container *container_new(const char *root, const char *id)
{
	struct container *c = xnew(struct container);
	c->id = arena_copy(&c->arena, id, strlen(id));
	c->path = arena_printf(&c->arena, "%s/%s", root, id);
	c->dir = -1;
	return c;
}

static bool open_dir(struct container *c, struct error *err)
{
	c->dir = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return c->dir >= 0 || error_set(err, errno, "cannot open container '%s'", c->id);
}

struct container *container_make(const char *root, const char *id, struct error *err)
{
	if (!check_id(id, err) || !make_root(root, err))
		return NULL;
	struct container *c = container_new(root, id);
	if (mkdir(c->path, 0711)) {
		error_set(err, errno == EEXIST ? 0 : errno, errno == EEXIST ? "container '%s' exists already" :
			"cannot make container '%s'", id);
	} else if (open_dir(c, err) && container_lock(c, err)) {
		char now[40];
		struct timespec ts;
		struct tm tm;
		clock_gettime(CLOCK_REALTIME, &ts);
		gmtime_r(&ts.tv_sec, &tm);
		strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%S", &tm);
		c->created = arena_printf(&c->arena, "%s.%09ldZ", now, ts.tv_nsec);
		c->owner = getuid();
		return c;
	}
	container_close(c);
	return NULL;
}

bool container_lock(struct container *c, struct error *err)
{
	while (flock(c->dir, LOCK_EX))
		if (errno != EINTR)
			return error_set(err, errno, "cannot lock container '%s'", c->id);
	return true;
}

void container_unlock(struct container *c)
{
	flock(c->dir, LOCK_UN);
}

static bool read_state(struct container *c, struct error *err)
{
	struct error e = { 0 };
	uint64_t pid = 0, owner = 0;
	const struct json *v = json_load(&c->arena, c->dir, "state.json", &e);
	if (!v && e.code == ENOENT)   /* `create` has just begun, or was killed at once */
		return true;
	if (!v)
		return error_set(err, 0, "container '%s': %s", c->id, e.text);
	c->bundle = json_str(v, "bundle");
	c->rootfs = json_str(v, "rootfs");
	c->created = json_str(v, "created");
	c->annotations = json_get(v, "annotations");
	json_u64(json_get(v, "pid"), &pid);
	json_u64(json_get(v, "startTime"), &c->start_time);
	json_u64(json_get(v, "owner"), &owner);
	c->pid = pid < INT_MAX ? (pid_t)pid : 0;
	c->owner = (uint32_t)owner;
	return cgroups_load(&c->cgroups, json_get(v, "cgroups"), err);
}

bool container_lock_record(struct container *c, struct error *err)
{
	if (!container_lock(c, err))
		return false;
	cgroups_free(&c->cgroups);
	c->pid = 0;
	return read_state(c, err);
}

struct container *container_open(const char *root, const char *id, struct error *err)
{
	struct stat st;
	if (!check_id(id, err))
		return NULL;
	struct container *c = container_new(root, id);
	if (stat(c->path, &st) && errno == ENOENT)
		error_set(err, ENOENT, "container '%s' does not exist", id);
	else if (open_dir(c, err) && read_state(c, err))
		return c;
	container_close(c);
	return NULL;
}

void container_close(struct container *c)
{
	if (!c)
		return;
	if (c->dir >= 0)
		close(c->dir);
	cgroups_free(&c->cgroups);
	struct arena a = c->arena;
	arena_free(&a);
	free(c);
}

static bool write_file(struct container *c, const char *name, const char *text, size_t size, struct error *err)
{
	char temporary[64];
	snprintf(temporary, sizeof(temporary), ".%s", name);
	auto_close int fd = openat(c->dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || !fd_write_full(fd, text, size) || renameat(c->dir, temporary, c->dir, name))
		return error_set(err, errno, "cannot write '%s/%s'", c->path, name);
	return true;
}

bool container_write_config(struct container *c, const char *text, size_t size, struct error *err)
{
	return write_file(c, "config.json", text, size, err);
}

static void put_annotations(const struct spec *s, struct json_out *out)
{
	json_open(out, "annotations", '{');
	for (unsigned i = 0; i < s->annotations.n; i++)
		json_put_str(out, s->annotations.v[i].key, s->annotations.v[i].value);
	json_close(out, '}');
}

bool container_save(struct container *c, const struct spec *s, struct error *err)
{
	struct json_out out = { 0 };
	json_open(&out, NULL, '{');
	json_put_str(&out, "id", c->id);
	json_put_str(&out, "bundle", c->bundle);
	json_put_str(&out, "rootfs", c->rootfs);
	json_put_str(&out, "created", c->created);
	json_put_u64(&out, "pid", (uint64_t)c->pid);
	json_put_u64(&out, "startTime", c->start_time);
	json_put_u64(&out, "owner", c->owner);
	cgroups_save(&c->cgroups, &out);
	put_annotations(s, &out);
	json_close(&out, '}');
	bool ok = write_file(c, "state.json", out.text, out.length, err);
	json_out_free(&out);
	return ok;
}

struct spec *container_spec(struct container *c, struct error *err)
{
	size_t size;
	char *text = json_read_file(&c->arena, c->dir, "config.json", &size, err);
	return text ? spec_parse(text, size, err) : NULL;
}

bool container_remove(struct container *c, struct error *err)
{
	static const char *const files[] = { "start", ".config.json", "config.json", ".state.json", "state.json" };
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		unlinkat(c->dir, files[i], 0);
	if (rmdir(c->path) && errno != ENOENT)
		return error_set(err, errno, "cannot remove '%s'", c->path);
	return true;
}

/* proc(5), /proc/PID/stat: state is field 3, starttime 22, after a name in
 * parentheses that may hold anything. */
uint64_t process_start_time(pid_t pid)
{
	char path[40], text[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = 0;
	char *p = strrchr(text, ')'), state;
	unsigned long long start;
	if (!p || sscanf(p + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			&state, &start) != 2 || state == 'Z' || state == 'X')
		return 0;
	return start;
}

int container_pidfd(const struct container *c)
{
	int fd = c->pid > 0 ? sys_pidfd_open(c->pid) : -1;
	if (fd >= 0 && process_start_time(c->pid) == c->start_time)
		return fd;
	if (fd >= 0)
		close(fd);
	errno = ESRCH;
	return -1;
}

enum container_status container_status(struct container *c)
{
	if (!c->pid)   /* `create` is at work, unless nobody holds the lock */
		return flock(c->dir, LOCK_SH | LOCK_NB) ? CONTAINER_CREATING : CONTAINER_STOPPED;
	if (process_start_time(c->pid) != c->start_time)
		return CONTAINER_STOPPED;
	if (!faccessat(c->dir, "start", F_OK, AT_SYMLINK_NOFOLLOW))
		return CONTAINER_CREATED;
	return cgroups_frozen(&c->cgroups) ? CONTAINER_PAUSED : CONTAINER_RUNNING;
}

static void put_json(struct json_out *out, const char *key, const struct json *v)
{
	if (v->type == JSON_STRING) {
		json_put_str(out, key, v->text);
	} else if (v->type == JSON_OBJECT) {
		json_open(out, key, '{');
		for (const struct json *m = v->child; m; m = m->next)
			put_json(out, m->key, m);
		json_close(out, '}');
	}
}

void container_state_json(struct container *c, const char *status, pid_t pid, struct json_out *out)
{
	json_open(out, NULL, '{');
	json_put_str(out, "ociVersion", "1.1.0");
	json_put_str(out, "id", c->id);
	json_put_i64(out, "pid", pid);
	json_put_str(out, "status", status);
	json_put_str(out, "bundle", c->bundle ? c->bundle : "");
	if (c->rootfs)
		json_put_str(out, "rootfs", c->rootfs);
	if (c->created)
		json_put_str(out, "created", c->created);
	if (c->annotations)
		put_json(out, "annotations", c->annotations);
	json_put_str(out, "owner", c->owner ? "" : "root");
	json_close(out, '}');
}
