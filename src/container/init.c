/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The child's side of `create` and `exec`: launch.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "container/channel.h"
#include "container/held.h"
#include "container/kernel.h"
#include "container/launch.h"

static const char runtime[] = "the runtime";

/* From here on nobody in the container may look into this process. */
static bool take_ids(struct launch *l, struct error *err)
{
	if (spec_has_ns(l->spec, NS_USER) || l->joining) {
		if ((l->spec->ns_new & BIT(NS_USER)) && !l->joining &&
		    !channel_wait(l->channel[1], CHANNEL_MAPPED, NULL, runtime, err))
			return false;
		if ((setresgid(0, 0, 0) || setresuid(0, 0, 0)) && errno != EINVAL)   /* EINVAL: 0 is not mapped */
			return error_set(err, errno, "cannot become root of the user namespace");
	}
	prctl(PR_SET_DUMPABLE, 0);
	return true;
}

/* The cgroup namespace shows the place where we are when we make it. */
static bool wait_placed(void *arg, struct error *err)
{
	struct launch *l = arg;
	int pid;
	if (l->placed)
		return true;
	l->placed = true;
	if (!channel_wait(l->channel[1], CHANNEL_PLACED, &pid, runtime, err))
		return false;
	l->pid = pid;
	cgroups_notice(&l->container->cgroups);   /* made by the parent since we parted */
	if (!l->joining && (l->spec->ns_new & BIT(NS_CGROUP)) && unshare(CLONE_NEWCGROUP))
		return error_set(err, errno, "cannot make a cgroup namespace");
	return true;
}

static bool set_names(const struct spec *s, struct error *err)
{
	if (s->hostname && sethostname(s->hostname, strlen(s->hostname)))
		return error_set(err, errno, "cannot set the host name '%s'", s->hostname);
	if (s->domainname && setdomainname(s->domainname, strlen(s->domainname)))
		return error_set(err, errno, "cannot set the domain name '%s'", s->domainname);
	return true;
}

/* Both sides at a point where hooks of the host may look at the namespaces. */
static bool hooks_point(struct launch *l, struct error *err)
{
	const struct spec *s = l->spec;
	return channel_send(l->channel[1], CHANNEL_MOUNTED, 0) &&
		channel_wait(l->channel[1], CHANNEL_GO, NULL, runtime, err) &&
		hooks_run(&s->hooks.create_container, "createContainer", l->container, "creating", l->pid, false, err);
}

/* Devices are made and opened in the control groups, by their rules: while these are written,
 * first nothing is allowed. /dev/console is mounted before the root may become read-only, and
 * before the terminal can be sent all mounts must be there. */
static bool build_root(struct launch *l, struct error *err)
{
	struct rootfs *r = &l->rootfs;
	r->placed = wait_placed;
	r->arg = l;
	return rootfs_attach(r, err) && rootfs_mount_all(r, err) && wait_placed(l, err) && rootfs_devices(r, err) &&
		(l->console < 0 || terminal_open(l, err)) && hooks_point(l, err) &&
		rootfs_seal_paths(r, err) && rootfs_enter(r, err);
}

static bool set_up(struct launch *l, char path[4096], const char **program, struct error *err)
{
	setsid();
	if (!take_ids(l, err) || !set_names(l->spec, err) || !sysctl_apply(l->spec, err) || !build_root(l, err))
		return false;
	if (!l->process || l->held)
		return true;
	*program = process_find(l->process, path, err);
	return *program && process_prepare_env(l);
}

/* `start` connects; what it reads until the end is an error, nothing is success. */
static int await_start(struct launch *l)
{
	for (;;) {
		int fd = accept4(l->start, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0 || errno != EINTR)
			return fd;
	}
}

static NORETURN void execute(struct launch *l, const char *program, int report, struct error *err)
{
	if (!l->process)
		error_set(err, 0, "config.json has no 'process': there is nothing to start");
	else if (process_become(l, err)) {
		execve(program, (char *const *)l->process->args.v, (char *const *)l->process->env.v);
		error_set(err, errno, "exec: \"%s\"", program);
	}
	ssize_t n UNUSED = write(report, err->text, strlen(err->text));
	_exit(1);
}

void launch_init_main(struct launch *l)
{
	struct error err = { 0 };
	char path[4096];
	const char *program = NULL;
	close(l->channel[0]);
	close(l->container->dir);     /* and with it our share of the lock */
	if (!set_up(l, path, &program, &err)) {
		channel_fail(l->channel[1], &err);
		_exit(1);
	}
	/* the record is written before anybody may start us: else nobody could find us */
	if (!channel_send(l->channel[1], CHANNEL_READY, 0) || !channel_wait(l->channel[1], CHANNEL_GO, NULL, runtime, &err))
		_exit(1);
	close(l->channel[1]);
	int report = await_start(l);
	if (report < 0)
		_exit(1);
	close(l->start);
	if (!hooks_run(&l->spec->hooks.start_container, "startContainer", l->container, "created", l->pid, false, &err)) {
		ssize_t n UNUSED = write(report, err.text, strlen(err.text));
		_exit(1);
	}
	if (l->held && l->process && (!held_receive(l, report, &err) || !(program = process_find(l->process, path, &err)) ||
				      !process_prepare_env(l))) {
		ssize_t n UNUSED = write(report, err.text, strlen(err.text));
		_exit(1);
	}
	execute(l, program, report, &err);
}

/* `exec`: its namespaces are joined already. The channel is the report: its end
 * without a message is success. */
void launch_exec_main(struct launch *l)
{
	struct error err = { 0 };
	char path[4096];
	const char *program = NULL;
	close(l->channel[0]);
	setsid();
	bool ok = take_ids(l, &err) && wait_placed(l, &err) && (l->console < 0 || terminal_open(l, &err)) &&
		(program = process_find(l->process, path, &err)) && process_prepare_env(l) && process_become(l, &err);
	if (ok) {
		execve(program, (char *const *)l->process->args.v, (char *const *)l->process->env.v);
		error_set(&err, errno, "exec: \"%s\"", program);
	}
	channel_fail(l->channel[1], &err);
	_exit(1);
}
