/* SPDX-License-Identifier: GPL-2.0-or-later */
/* start, kill and delete: lifecycle.h. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "container/channel.h"
#include "base/socket.h"
#include "container/kernel.h"
#include "container/lifecycle.h"

enum { END_WAIT_MS = 30000 };

/* The process closes the connection when it executes, or says why it cannot. */
static bool ask_to_start(struct container *c, struct error *err)
{
	char text[sizeof(err->text)];
	size_t n = 0;
	auto_close int fd = unix_connect_at(c->dir, "start", SOCK_STREAM);
	if (fd < 0)
		return error_set(err, errno, "cannot start container '%s'", c->id);
	for (ssize_t r; n < sizeof(text) - 1; n += (size_t)r) {
		r = read(fd, text + n, sizeof(text) - 1 - n);
		if (r < 0 && errno == EINTR)
			r = 0;
		else if (r <= 0)
			break;
	}
	text[n] = 0;
	unlinkat(c->dir, "start", 0);
	return !n || error_set(err, 0, "%s", text);
}

bool container_start(struct container *c, struct error *err)
{
	if (!container_lock_record(c, err))
		return false;
	enum container_status s = container_status(c);
	if (s != CONTAINER_CREATED)
		return error_set(err, 0, "container '%s' is %s: only a created one can be started", c->id,
			container_status_words[s]);
	struct spec *spec = container_spec(c, err);
	if (!spec)
		return false;
	bool ok = ask_to_start(c, err);
	/* runtime-spec: a poststart hook that fails is only worth a warning */
	struct error e = { 0 };
	if (ok && !hooks_run(&spec->hooks.poststart, "poststart", c, "running", c->pid, true, &e))
		fprintf(stderr, "abyme-oci: warning: %s\n", e.text);
	spec_free(spec);
	return ok;
}

static bool has_pid_ns(struct container *c)
{
	struct spec *s = container_spec(c, NULL);
	bool own = s && (s->ns_new & BIT(NS_PID));
	spec_free(s);
	return own;
}

bool container_kill(struct container *c, int sig, bool all, struct error *err)
{
	auto_close int fd = container_pidfd(c);
	enum container_status s = container_status(c);
	if (all && cgroups_pids(&c->cgroups, NULL, 0, NULL) > 0)
		return cgroups_kill(&c->cgroups, sig, err);
	if (all && s == CONTAINER_STOPPED)
		return true;
	if (s == CONTAINER_STOPPED || fd < 0)
		return error_set(err, ESRCH, "container not running: '%s'", c->id);
	if (sys_pidfd_kill(fd, sig))
		return error_set(err, errno, "cannot send signal %d to container '%s'", sig, c->id);
	/* nothing reaches the processes of a paused container; a kill must */
	if (sig == SIGKILL && s == CONTAINER_PAUSED)
		return cgroups_freeze(&c->cgroups, false, err);
	return true;
}

static bool wait_end(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int r;
	do
		r = poll(&p, 1, END_WAIT_MS);
	while (r < 0 && errno == EINTR);
	return r > 0;
}

static bool end_processes(struct container *c, struct error *err)
{
	auto_close int fd = container_pidfd(c);
	if (fd >= 0) {
		sys_pidfd_kill(fd, SIGKILL);
		if (cgroups_frozen(&c->cgroups))
			cgroups_freeze(&c->cgroups, false, NULL);
	}
	/* with a PID namespace of its own the first process takes the others with it */
	if (!has_pid_ns(c) && cgroups_pids(&c->cgroups, NULL, 0, NULL) > 0)
		cgroups_kill(&c->cgroups, SIGKILL, NULL);
	if (fd >= 0 && !wait_end(fd))
		return error_set(err, 0, "the processes of container '%s' did not end within %d s", c->id, END_WAIT_MS / 1000);
	return true;
}

/* A record of a `create` that was killed has directories that it may have made. */
static void claim_cgroups(struct container *c)
{
	for (unsigned i = 0; !c->pid && i < c->cgroups.n; i++)
		c->cgroups.dir[i].ours = true;
}

bool container_delete(struct container *c, bool force, struct error *err)
{
	if (!container_lock_record(c, err))
		return false;
	enum container_status s = container_status(c);
	if (s != CONTAINER_STOPPED && !force)
		return error_set(err, 0, "cannot delete container '%s': it is %s (--force kills it)", c->id,
			container_status_words[s]);
	claim_cgroups(c);
	if (!end_processes(c, err) || !cgroups_remove(&c->cgroups, err))
		return false;
	struct spec *spec = container_spec(c, NULL);
	struct error e = { 0 };
	if (spec && c->pid && c->rootfs)
		rootfs_detach(spec, c->rootfs);
	if (spec && !hooks_run(&spec->hooks.poststop, "poststop", c, "stopped", 0, true, &e))
		fprintf(stderr, "abyme-oci: warning: %s\n", e.text);
	spec_free(spec);
	return container_remove(c, err);
}
