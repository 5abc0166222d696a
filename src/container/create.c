/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parent's side of `create`: lifecycle.h, launch.h. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "container/channel.h"
#include "base/socket.h"
#include "container/kernel.h"
#include "container/lifecycle.h"

static const char child[] = "the container's first process";

void launch_init(struct launch *l)
{
	*l = (struct launch){ .channel = { -1, -1 }, .start = -1, .console = -1, .listener = -1, .terminal = -1,
		.rootfs = { .tree = -1, .fd = -1, .null = -1 } };
}

static void close_all(struct launch *l)
{
	close_fd(&l->channel[0]);
	close_fd(&l->channel[1]);
	close_fd(&l->start);
	close_fd(&l->console);
	close_fd(&l->listener);
	if (l->rootfs.spec)
		rootfs_close(&l->rootfs);
	l->rootfs.spec = NULL;
}

void launch_free(struct launch *l)
{
	close_all(l);
	close_fd(&l->terminal);
	container_close(l->container);
	spec_free(l->spec);
	launch_init(l);
}

static bool read_bundle(struct launch *l, const char *bundle, char **text, size_t *size, struct error *err)
{
	struct arena a = { 0 };
	auto_close int dir = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_set(err, errno, "cannot open bundle '%s'", bundle);
	char *in = json_read_file(&a, dir, "config.json", size, err);
	*text = in ? memcpy(xmalloc(*size + 1), in, *size) : NULL;
	arena_free(&a);
	l->spec = *text ? spec_parse(*text, *size, err) : NULL;
	if (!l->spec)
		return false;
	l->process = l->spec->process;
	return true;
}

static bool find_rootfs(struct launch *l, const char *bundle, struct error *err)
{
	struct container *c = l->container;
	const char *path = l->spec->root->path;
	char real[PATH_MAX], joined[PATH_MAX];
	struct stat st;
	if (!realpath(bundle, real))
		return error_set(err, errno, "cannot find bundle '%s'", bundle);
	c->bundle = arena_copy(&c->arena, real, strlen(real));
	if (snprintf(joined, sizeof(joined), "%s%s%s", *path == '/' ? "" : real, *path == '/' ? "" : "/", path) >= PATH_MAX)
		return error_set(err, ENAMETOOLONG, "root.path '%s'", path);
	if (!realpath(joined, real) || stat(real, &st))
		return error_set(err, errno, "cannot find the root file system '%s'", joined);
	if (!S_ISDIR(st.st_mode) || !strcmp(real, "/"))
		return error_set(err, 0, "root.path '%s' must be a directory, and not the host's root", joined);
	c->rootfs = l->rootfs.path = arena_copy(&c->arena, real, strlen(real));
	return true;
}

static bool listen_start(struct launch *l, struct error *err)
{
	l->start = unix_listen_at(l->container->dir, "start", SOCK_STREAM, 4);
	return l->start >= 0 || error_set(err, errno, "cannot make the socket '%s/start'", l->container->path);
}

bool launch_own_console(struct launch *l, int *receive, struct error *err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "cannot make a socket pair");
	*receive = pair[0];
	l->console = pair[1];
	return true;
}

static bool connect_out(struct launch *l, struct error *err)
{
	const struct spec_seccomp *s = l->spec->lnx->seccomp;
	bool terminal = l->process && l->process->terminal;
	if (l->console_socket && !terminal)
		return error_set(err, 0, "--console-socket is for a process with a terminal");
	if (terminal && l->keep_terminal && !launch_own_console(l, &l->terminal, err))
		return false;
	if (terminal && !l->console_socket && l->console < 0)
		return error_set(err, 0, "process.terminal is set: --console-socket is needed");
	if (l->console_socket && (l->console = connect_unix(l->console_socket, err)) < 0)
		return false;
	if (s && !seccomp_compile(&l->spec->arena, s, l, err))
		return false;
	return !l->filter_notify || (l->listener = connect_unix(s->listener_path, err)) >= 0;
}

/* What must be there before the child, so that it inherits it. */
static bool map_before(struct launch *l, struct error *err)
{
	auto_close int userns = -1;
	const char *path = l->spec->ns_path[NS_USER];
	if ((l->spec->ns_new & BIT(NS_USER)))
		return true;
	if (path && (userns = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return error_set(err, errno, "cannot open the user namespace '%s'", path);
	return rootfs_map_ids(&l->rootfs, userns, err);
}

static bool prepare(struct launch *l, struct error *err)
{
	struct rootfs *r = &l->rootfs;
	r->spec = l->spec;
	r->cgroups = &l->container->cgroups;
	r->no_pivot = l->no_pivot;
	r->userns = spec_has_ns(l->spec, NS_USER);
	if (geteuid() && !r->userns)
		return error_set(err, 0, "an ordinary user's container needs a 'user' namespace in linux.namespaces (see 'spec --rootless')");
	if (!rootfs_plan(r, &l->spec->arena, err))
		return false;
	/* with a user namespace of its own the child cannot reach all that we can */
	if (r->userns && !geteuid() && !rootfs_open_sources(r, err))
		return false;
	return map_before(l, err) && connect_out(l, err) && listen_start(l, err) && channel_pair(l->channel, err);
}

static bool map_after(struct launch *l, struct error *err)
{
	char path[64];
	if (!(l->spec->ns_new & BIT(NS_USER)))
		return true;
	if (!launch_map_ids(l, err))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", l->pid);
	auto_close int userns = open(path, O_RDONLY | O_CLOEXEC);
	return rootfs_map_ids(&l->rootfs, userns, err) && (channel_send(l->channel[0], CHANNEL_MAPPED, 0) || true);
}

static bool set_oom(const struct launch *l, struct error *err)
{
	char path[64], text[16], now[16] = "";
	if (!l->process || !l->process->oom_score_adj.set)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", l->pid);
	snprintf(text, sizeof(text), "%d", (int)l->process->oom_score_adj.v);
	auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && read(fd, now, sizeof(now) - 1) > 0 && atoi(now) == l->process->oom_score_adj.v)
		return true;
	if (fd < 0 || pwrite(fd, text, strlen(text), 0) < 0)
		return error_set(err, errno, "cannot set oomScoreAdj to %s", text);
	return true;
}

static bool place(struct launch *l, struct error *err)
{
	struct container *c = l->container;
	bool in = l->systemd ? cgroups_start_scope(&c->cgroups, l->pid, c->id, l->spec, err) :
		cgroups_make(&c->cgroups, err) && cgroups_join(&c->cgroups, l->pid, err);
	if (!in || !cgroups_limit(&c->cgroups, l->spec->lnx->resources, false, err) || !set_oom(l, err))
		return false;
	channel_send(l->channel[0], CHANNEL_PLACED, l->pid);
	return true;
}

/* Where a send fails the child is gone; its last words come with the next wait. */
static bool bring_up(struct launch *l, struct error *err)
{
	struct container *c = l->container;
	if (!map_after(l, err) || !place(l, err) || !channel_wait(l->channel[0], CHANNEL_MOUNTED, NULL, child, err))
		return false;
	l->mounted = true;
	if (!hooks_run(&l->spec->hooks.prestart, "prestart", c, "creating", l->pid, false, err) ||
	    !hooks_run(&l->spec->hooks.create_runtime, "createRuntime", c, "creating", l->pid, false, err))
		return false;
	channel_send(l->channel[0], CHANNEL_GO, 0);
	if (!channel_wait(l->channel[0], CHANNEL_READY, NULL, child, err))
		return false;
	if (l->process && !process_limits(l->process, l->pid, err))
		return false;
	c->pid = l->pid;
	c->start_time = process_start_time(l->pid);
	if (!container_save(c, l->spec, err) || (l->pid_file && !write_pid_file(l->pid_file, c->pid, err)))
		return false;
	channel_send(l->channel[0], CHANNEL_GO, 0);
	return true;
}

static bool start_child(struct launch *l, struct error *err)
{
	l->pid = launch_spawn(l, launch_init_main, err);
	if (l->pid < 0)
		return false;
	close_fd(&l->channel[1]);
	close_fd(&l->start);
	return bring_up(l, err);
}

/* A failed child may have told why before we noticed that it is gone. */
static void last_words(struct launch *l, struct error *err)
{
	struct error e = { 0 };
	while (l->channel[0] >= 0 && channel_pending(l->channel[0]))
		if (!channel_wait(l->channel[0], CHANNEL_FAILED, NULL, "", &e)) {
			if (e.text[0] && *e.text != ' ')
				*err = e;
			return;
		}
}

/* The channel closes a moment before a dying process can be waited for. */
static void end_child(struct launch *l, struct error *err)
{
	auto_close int fd = sys_pidfd_open(l->pid);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	bool by_itself = strstr(err->text, "ended before") && poll(&p, 1, 1000) > 0;
	kill(l->pid, SIGKILL);
	int status = wait_child(l->pid);
	if (by_itself && WIFSIGNALED(status))
		error_set(err, 0, "%s was killed by signal %d before it was ready%s", child, WTERMSIG(status),
			WTERMSIG(status) == SIGKILL ? ": is the memory limit too small?" : "");
}

static void undo(struct launch *l, struct error *err)
{
	struct container *c = l->container;
	last_words(l, err);
	if (l->pid > 0)
		end_child(l, err);
	if (l->mounted)
		rootfs_detach(l->spec, c->rootfs);
	cgroups_remove(&c->cgroups, NULL);
	if (l->spec && l->pid > 0)
		hooks_run(&l->spec->hooks.poststop, "poststop", c, "stopped", 0, true, NULL);
	container_remove(c, NULL);
	close_all(l);
}

static bool make_record(struct launch *l, const char *text, size_t size, struct error *err)
{
	struct container *c = l->container;
	bool (*find)(struct cgroups *, const char *, const char *, struct error *) = l->systemd ? cgroups_find_scope : cgroups_find;
	return container_write_config(c, text, size, err) && find(&c->cgroups, l->spec->lnx->cgroups_path, c->id, err) &&
		container_save(c, l->spec, err);
}

bool container_create(struct launch *l, const char *root, const char *id, const char *bundle, struct error *err)
{
	auto_free char *text = NULL;
	size_t size;
	if (!read_bundle(l, bundle, &text, &size, err))
		return false;
	l->container = container_make(root, id, err);
	if (!l->container)
		return false;
	if (find_rootfs(l, bundle, err) && make_record(l, text, size, err) && prepare(l, err) && start_child(l, err)) {
		close_all(l);
		return true;
	}
	undo(l, err);
	return false;
}

bool write_pid_file(const char *path, pid_t pid, struct error *err)
{
	char text[16], temporary[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int n = snprintf(temporary, sizeof(temporary), "%.*s.%s-%d", slash ? (int)(slash + 1 - path) : 0, path,
		slash ? slash + 1 : path, getpid());
	auto_close int fd = n < PATH_MAX ? open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
	n = snprintf(text, sizeof(text), "%d", pid);
	if (fd < 0 || !fd_write_full(fd, text, (size_t)n) || rename(temporary, path))
		return error_set(err, errno, "cannot write the PID file '%s'", path);
	return true;
}
