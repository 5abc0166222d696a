/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parent's side of `exec`: lifecycle.h. */
#include <errno.h>
#include <signal.h>

#include "container/channel.h"
#include "container/kernel.h"
#include "container/lifecycle.h"

static bool prepare(struct launch *l, struct error *err)
{
	const struct spec_seccomp *s = l->spec->lnx->seccomp;
	if (l->console_socket && (l->console = connect_unix(l->console_socket, err)) < 0)
		return false;
	if (l->process->terminal && l->console < 0)
		return error_set(err, 0, "a terminal needs --console-socket");
	if (s && !seccomp_compile(&l->spec->arena, s, l, err))
		return false;
	if (l->filter_notify && (l->listener = connect_unix(s->listener_path, err)) < 0)
		return false;
	return channel_pair(l->channel, err);
}

static bool place(struct launch *l, struct error *err)
{
	if (!cgroups_join(&l->container->cgroups, l->pid, err) || !process_limits(l->process, l->pid, err))
		return false;
	return channel_send(l->channel[0], CHANNEL_PLACED, l->pid) || error_set(err, errno, "the process ended too early");
}

/* The channel closes when it executes; a message is an error. */
static bool executed(struct launch *l, struct error *err)
{
	struct error e = { 0 };
	close(l->channel[1]);
	l->channel[1] = -1;
	if (channel_wait(l->channel[0], CHANNEL_READY, NULL, "", &e) || !strncmp(e.text, " ended", 6))
		return true;
	*err = e;
	return false;
}

pid_t container_exec(struct launch *l, struct error *err)
{
	struct container *c = l->container;
	enum container_status s = container_status(c);
	if (s != CONTAINER_RUNNING && s != CONTAINER_CREATED)
		return error_minus(err, 0, "container '%s' is %s: nothing can be executed in it", c->id, container_status_words[s]);
	l->joining = true;
	if (!prepare(l, err))
		return -1;
	l->pid = launch_spawn(l, launch_exec_main, err);
	if (l->pid < 0)
		return -1;
	if (place(l, err) && executed(l, err) && (!l->pid_file || write_pid_file(l->pid_file, l->pid, err)))
		return l->pid;
	kill(l->pid, SIGKILL);
	wait_child(l->pid);
	return -1;
}
