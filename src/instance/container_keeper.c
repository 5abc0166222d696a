/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper of an image's program, in a container or in a micro-VM: mounts the image in
 * a mount namespace of its own (so that nothing stays mounted, however it ends), starts
 * the process beside the program, passes its streams on, starts it again where the
 * definition says so, and answers requests.
 */
#include "instance/container_keeper.h"
#include "instance/program.h"
#include "jail/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

enum { FIRST_DELAY_MS = 100, MOST_DELAY_MS = 60000 };

static bool prepare(struct container_keeper *k, struct error *err)
{
	const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (k->rest ? 0 : O_TRUNC);     /* what a run said stays */
	umask(022);
	k->log = openat(k->instance->dir, "log", flags, 0600);
	k->console_log = openat(k->instance->dir, "console.log", flags, 0600);
	if (k->console_log < 0)
		return error_set(err, errno, "cannot write the log of instance '%s'", k->instance->name);
	return container_bundle(k, err) && k->wall->prepare(k, err);
}

/* ---- the process beside the program ---- */

void container_child(const struct container_keeper *k, const char *name, int sock)
{
	const int keep[] = { sock, k->instance->dir };
	prctl(PR_SET_NAME, name);
	loop_forget();
	jail_close_fds(keep, ARRAY_SIZE(keep));
}

bool container_shim(struct container_keeper *k, void (*child)(struct container_keeper *k, int sock), struct error *err)
{
	int pair[2] = { -1, k->primary };
	if (!k->rest && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "cannot create the program's channel");
	k->shim_pid = fork();
	if (!k->shim_pid) {
		signal(SIGTERM, SIG_IGN);     /* the terminal's and the user's signals come by frames */
		signal(SIGINT, SIG_IGN);
		child(k, pair[1]);
		_exit(125);
	}
	if (k->shim_pid < 0) {
		close_fd(&pair[0]);
		return error_set(err, errno, "cannot start the program's shim");
	}
	if (k->rest) {
		k->client = move_fd(&k->primary);     /* the shim's from here on, ours to cut */
	} else {
		close(pair[1]);
		hub_source(k->hub, pair[0]);
	}
	return true;
}

/* A client of exec.sock speaks with a shim of its own from the first byte on. */
static void exec_ready(void *opaque, int events)
{
	struct container_keeper *k = opaque;
	int fd = accept4(k->exec_listen, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	if (!fork()) {
		signal(SIGTERM, SIG_DFL);
		k->wall->exec(k, fd);
		_exit(125);
	}
	close(fd);
}

/* ---- what happens ---- */

static bool write_facts(struct container_keeper *k, uint32_t pid, struct error *err)
{
	auto_free char *text = xasprintf("{\n  \"keeper\": %d,\n  \"pid\": %u,\n  \"isolation\": \"%s\",\n  \"started\": %lld,\n"
		"  \"restarts\": %u\n}", (int)getpid(), pid, k->wall->isolation, (long long)time(NULL), k->restarts);
	return instance_write(k->instance, "run.json", text, err);
}

static void running(void *opaque, uint32_t pid)
{
	struct container_keeper *k = opaque;
	struct error err = { 0 };
	k->pid = k->wall->pid(k, pid);
	k->started = time(NULL);
	if (!write_facts(k, (uint32_t)k->pid, &err))
		dprintf(k->log, "abyme: %s\n", err.text);
	if (!k->told)
		keeper_report(k->report, KEEPER_READY, 0, k->wall->missing ? k->wall->missing(k) : "");
	k->told = true;
	if (k->killed)                /* meanwhile */
		container_kill_all(k);
}

void container_finish(struct container_keeper *k, int status, const char *text)
{
	k->status = status;
	snprintf(k->text, sizeof(k->text), "%s", text);
	if (k->hub)
		hub_source(k->hub, -1);       /* what comes after the end is not news */
	loop_stop(k->loop);
}

static void again(struct container_keeper *k)
{
	struct itimerspec t = { .it_value = { k->delay_ms / 1000, (long)(k->delay_ms % 1000) * 1000000 } };
	timerfd_settime(k->timer, 0, &t, NULL);
	k->delay_ms = MIN(2 * k->delay_ms, (unsigned)MOST_DELAY_MS);
	k->pid = 0;
	hub_source(k->hub, -1);
}

static void ended(void *opaque, int status)
{
	struct container_keeper *k = opaque;
	struct restart r;
	restart_parse(k->definition->restart, &r, NULL);
	bool more = !r.most || k->restarts < r.most;
	if (time(NULL) - k->started >= 10)
		k->delay_ms = FIRST_DELAY_MS;
	k->restarts++;
	if (!k->killed && !k->stopped && more && (r.when == RESTART_ALWAYS || (r.when == RESTART_FAILURE && status)))
		again(k);
	else
		container_finish(k, status, "");
}

void container_failed(void *opaque, const char *text)
{
	struct container_keeper *k = opaque;
	dprintf(k->log, "abyme: %s\n", text);
	container_finish(k, 125, text);
}

/* The shim removes the record before it ends. */
static void wait_for_shim(struct container_keeper *k)
{
	if (k->shim_pid > 0)
		waitpid(k->shim_pid, NULL, 0);
	k->shim_pid = 0;
}

/* Its last word. Killed now it would leave a call of the runtime behind, and that would meet the
 * instance's removal. */
static void refused(void *opaque, const char *text)
{
	container_failed(opaque, text);
	wait_for_shim(opaque);
}

static void lost(void *opaque)
{
	container_finish(opaque, 125, "the process beside the program died");
}

static void timer_ready(void *opaque, int events)
{
	struct container_keeper *k = opaque;
	struct error err = { 0 };
	uint64_t n;
	if (read(k->timer, &n, sizeof(n)) == sizeof(n) && !k->wall->start(k, &err))
		container_failed(k, err.text);
}

/* A machine may end at any moment, also while it boots; a container that is just made, for the
 * first time or again, is waited for, and without a program the shim takes it away when its
 * client is gone. */
void container_kill_all(struct container_keeper *k)
{
	k->killed = true;
	if (k->pid)
		k->wall->kill(k);
	else if (k->machine || (k->hub && !hub_has_source(k->hub)))
		container_finish(k, 137, "killed");
	else if (k->rest)
		shutdown(k->client, SHUT_RDWR);
}

static void reap(struct container_keeper *k)
{
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0; ) {
		if (pid == k->shim_pid) {
			k->shim_pid = 0;
			if (k->rest)
				container_finish(k, 0, "");
		}
		if (k->wall->reaped)
			k->wall->reaped(k, pid, status);
	}
}

static void signal_ready(void *opaque, int events)
{
	struct container_keeper *k = opaque;
	int signo = keeper_signal(k->signals);
	if (signo == SIGCHLD)
		reap(k);
	else if (signo)
		container_kill_all(k);
}

static void leash_ready(void *opaque, int events)
{
	struct container_keeper *k = opaque;
	if (!keeper_let_go(k->leash))
		container_kill_all(k);
	loop_fd_del(k->leash_watch);
	close(k->leash);
}

/* ---- life ---- */

/* What serves any other than the one for whom the keeper was started. */
static bool serve_others(struct container_keeper *k, struct error *err)
{
	const struct hub_events events = { running, refused, ended, lost, k };
	k->hub = hub_new(k->loop, k->console_log, &events);
	int attach = instance_listen(k->instance, "attach.sock", err);
	k->exec_listen = attach < 0 ? -1 : instance_listen(k->instance, "exec.sock", err);
	if (k->exec_listen < 0 || !container_control_start(k, err))
		return false;
	hub_listen(k->hub, attach);
	if (k->primary >= 0)
		hub_attach(k->hub, k->primary, true);
	loop_fd_add(k->loop, k->exec_listen, LOOP_READ, exec_ready, k);
	return true;
}

static bool start_loop(struct container_keeper *k, struct error *err)
{
	k->loop = loop_new(err);
	if (!k->loop || (!k->rest && !serve_others(k, err)))
		return false;
	k->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	loop_fd_add(k->loop, k->signals, LOOP_READ, signal_ready, k);
	loop_fd_add(k->loop, k->timer, LOOP_READ, timer_ready, k);
	if (k->wall->watch)
		k->wall->watch(k);
	if (k->leash >= 0)
		k->leash_watch = loop_fd_add(k->loop, k->leash, LOOP_READ, leash_ready, k);
	return true;
}

static void clean_up(struct container_keeper *k)
{
	static const char *const files[] = { "control.sock", "machine.sock", "attach.sock", "exec.sock", "run.json", "config.json" };
	k->wall->clean_up(k);
	if (fchdir(k->instance->dir) || umount2("rootfs", MNT_DETACH))
		dprintf(k->log, "abyme: cannot unmount the image: %s\n", strerror(errno));
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		unlinkat(k->instance->dir, files[i], 0);
	struct error err = { 0 };
	if (k->options->remove && !instance_remove(k->instance, &err))
		dprintf(k->log, "abyme: %s\n", err.text);
}

static NORETURN void fail(struct container_keeper *k, const struct error *err, bool locked)
{
	if (locked)
		clean_up(k);
	keeper_report(k->report, KEEPER_FAILED, 1, err->text);
	_exit(1);
}

static struct container_keeper *keeper_new(const struct keeper_job *job, bool rest)
{
	struct container_keeper *k = xnew(struct container_keeper);
	const bool microvm = definition_isolation(job->definition) == ISOLATION_MICROVM;
	*k = (struct container_keeper){ .wall = microvm ? &wall_microvm : &wall_container, .instance = job->instance, .definition = job->definition,
		.options = job->options, .report = job->report, .leash = job->leash, .primary = job->primary, .client = -1, .delay_ms = FIRST_DELAY_MS, .rest = rest };
	k->signals = keeper_settle(job);
	return k;
}

NORETURN void container_keeper_rest(const struct keeper_job *job)
{
	struct error err = { 0 };
	struct container_keeper *k = keeper_new(job, true);
	bool locked = instance_lock(k->instance, &err);
	if (locked && prepare(k, &err) && start_loop(k, &err) && k->wall->start(k, &err))
		loop_run(k->loop);
	const char *why = err.text[0] ? err.text : k->text;
	if (k->primary >= 0)          /* no shim that could say it */
		frame_send(k->primary, FRAME_FAILED, why, strlen(why));
	if (locked)
		clean_up(k);
	_exit(0);
}

NORETURN void container_keeper(const struct keeper_job *job)
{
	struct error err = { 0 };
	struct container_keeper *k = keeper_new(job, false);
	bool locked = instance_lock(k->instance, &err);
	if (!locked || !prepare(k, &err) || !start_loop(k, &err) || !k->wall->start(k, &err))
		fail(k, &err, locked);
	loop_run(k->loop);
	if (!k->text[0])
		wait_for_shim(k);
	hub_finish(k->hub, k->status);
	clean_up(k);
	if (k->told)
		keeper_report(k->report, KEEPER_ENDED, k->status, k->text);
	else
		keeper_report(k->report, KEEPER_FAILED, k->status, k->text);
	_exit(k->status);
}
