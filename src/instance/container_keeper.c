/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper of a container: mounts its image in a mount namespace of its own (so that
 * nothing stays mounted, however it ends), starts the shim beside the program, passes its
 * streams on, starts it again where the definition says so, and answers requests.
 */
#include "instance/container_keeper.h"
#include "instance/container_config.h"
#include "instance/container_network.h"
#include "instance/program.h"
#include "base/place.h"
#include "container/subids.h"
#include "image/mount.h"
#include "jail/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

enum { FIRST_DELAY_MS = 100, MOST_DELAY_MS = 60000 };

/* ---- preparing ---- */

static bool write_small(const struct instance *i, const char *file, const char *text, struct error *err)
{
	auto_close int fd = openat(i->dir, file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	/* read inside by anybody, whatever our umask */
	if (fd >= 0 && !fchmod(fd, 0644) && fd_write_full(fd, text, strlen(text)))
		return true;
	return error_set(err, errno, "cannot write '%s' of instance '%s'", file, i->name);
}

static bool write_names(struct container_keeper *k, struct error *err)
{
	const char *host = k->definition->hostname ? k->definition->hostname : k->instance->name;
	auto_free char *hosts = xasprintf("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\t%s\n", host);
	auto_free char *line = xasprintf("%s\n", host);
	auto_free char *resolver = container_own_network(k->definition) ? NULL : place_read(AT_FDCWD, "/etc/resolv.conf", 65536);
	return write_small(k->instance, "hosts", hosts, err) && write_small(k->instance, "hostname", line, err) &&
		write_small(k->instance, "resolv.conf", resolver ? resolver : "", err);
}

static bool private_mounts(struct error *err)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		return error_set(err, errno, "cannot make a mount namespace");
	return true;
}

/* What was opened before is of the host's mounts, which an overlay here may not use. */
static bool reopen(struct container_keeper *k, struct error *err)
{
	auto_close int dir = open(k->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || dup3(dir, k->instance->dir, O_CLOEXEC) < 0 || fchdir(k->instance->dir))
		return error_set(err, errno, "cannot open the directory of instance '%s'", k->instance->name);
	return true;
}

static bool mount_image(struct container_keeper *k, struct error *err)
{
	struct image_store s;
	if (!image_store_open(&s, err))
		return false;
	bool ok = image_mount(&s, k->definition->digest, k->instance->dir, err);
	image_store_close(&s);
	return ok;
}

static bool write_config(struct container_keeper *k, struct error *err)
{
	const struct container_place place = { .bundle = k->bundle, .name = k->instance->name, .rootless = k->rootless,
					       .own_network = container_own_network(k->definition) };
	auto_free char *text = container_config(k->definition, &place, err);
	return text && write_small(k->instance, "config.json", text, err);
}

/* Paths that hold whatever the working directory is. */
static bool find_paths(struct container_keeper *k, struct error *err)
{
	char link[64];
	auto_close int oci = helper_open("abyme-oci", err);
	if (oci < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", oci);
	ssize_t n = readlink(link, k->oci, sizeof(k->oci) - 1);
	if (n < 0 || fchdir(k->instance->dir) || !getcwd(k->bundle, sizeof(k->bundle)))
		return error_set(err, errno, "cannot find the instance's directory");
	k->oci[n] = 0;
	snprintf(k->records, sizeof(k->records), "%.4000s/oci", k->bundle);
	k->shim = (struct shim){ .oci = k->oci, .records = k->records, .bundle = k->bundle, .id = k->instance->name,
				 .terminal = k->definition->tty };
	return true;
}

/* Root of a user namespace looks for its state where root's is, if nobody says otherwise. */
static bool enter_namespaces(struct container_keeper *k, struct error *err)
{
	auto_free char *state = place_state(err);
	if (!state || setenv("ABYME_STATE", state, 1))
		return false;
	k->rootless = geteuid() != 0;
	return subids_enter(err) && private_mounts(err) && reopen(k, err);
}

static bool prepare(struct container_keeper *k, struct error *err)
{
	umask(022);
	k->log = openat(k->instance->dir, "log", O_WRONLY | O_CREAT | O_APPEND | O_TRUNC | O_CLOEXEC, 0600);
	k->console_log = openat(k->instance->dir, "console.log", O_WRONLY | O_CREAT | O_APPEND | O_TRUNC | O_CLOEXEC, 0600);
	return k->console_log >= 0 ? find_paths(k, err) && enter_namespaces(k, err) && mount_image(k, err) && write_names(k, err) &&
		write_config(k, err) : error_set(err, errno, "cannot write the log of instance '%s'", k->instance->name);
}

/* ---- the shim ---- */

static bool network_up(pid_t pid, void *opaque, struct error *err)
{
	struct container_keeper *k = opaque;
	return container_network(k->definition, k->instance->name, pid, err);
}

static NORETURN void shim_child(struct container_keeper *k, int sock)
{
	prctl(PR_SET_NAME, "abyme-shim");
	signal(SIGTERM, SIG_IGN);     /* the terminal's and the user's signals come by frames */
	signal(SIGINT, SIG_IGN);
	const int keep[] = { sock, k->instance->dir };
	loop_forget();
	jail_close_fds(keep, ARRAY_SIZE(keep));
	k->shim.created = network_up;
	k->shim.opaque = k;
	_exit(shim_main(sock, &k->shim));
}

bool container_start_program(struct container_keeper *k, struct error *err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "cannot create the program's channel");
	k->shim_pid = fork();
	if (!k->shim_pid)
		shim_child(k, pair[1]);
	close(pair[1]);
	if (k->shim_pid < 0) {
		close(pair[0]);
		return error_set(err, errno, "cannot start the program's shim");
	}
	hub_source(k->hub, pair[0]);
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
		prctl(PR_SET_NAME, "abyme-shim");
		signal(SIGTERM, SIG_DFL);
		const int keep[] = { fd, k->instance->dir };
		loop_forget();
		jail_close_fds(keep, ARRAY_SIZE(keep));
		_exit(shim_exec(fd, &k->shim));
	}
	close(fd);
}

/* ---- what happens ---- */

static bool write_facts(struct container_keeper *k, uint32_t pid, struct error *err)
{
	auto_free char *text = xasprintf("{\n  \"keeper\": %d,\n  \"pid\": %u,\n  \"isolation\": \"container\",\n  \"started\": %lld,\n"
		"  \"restarts\": %u\n}", (int)getpid(), pid, (long long)time(NULL), k->restarts);
	return instance_write(k->instance, "run.json", text, err);
}

static void running(void *opaque, uint32_t pid)
{
	struct container_keeper *k = opaque;
	struct error err = { 0 };
	k->pid = (pid_t)pid;
	k->started = time(NULL);
	if (!write_facts(k, pid, &err))
		dprintf(k->log, "abyme: %s\n", err.text);
	if (!k->told)
		keeper_report(k->report, KEEPER_READY, 0, "");
	k->told = true;
	if (k->killed)                /* meanwhile */
		container_kill_all(k);
}

static void finish(struct container_keeper *k, int status, const char *text)
{
	k->status = status;
	snprintf(k->text, sizeof(k->text), "%s", text);
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
		finish(k, status, "");
}

static void failed(void *opaque, const char *text)
{
	struct container_keeper *k = opaque;
	dprintf(k->log, "abyme: %s\n", text);
	finish(k, 125, text);
}

static void lost(void *opaque)
{
	finish(opaque, 125, "the process beside the program died");
}

static void timer_ready(void *opaque, int events)
{
	struct container_keeper *k = opaque;
	struct error err = { 0 };
	uint64_t n;
	if (read(k->timer, &n, sizeof(n)) == sizeof(n) && !container_start_program(k, &err))
		failed(k, err.text);
}

void container_kill_all(struct container_keeper *k)
{
	char *said = NULL;
	const char *const words[] = { "kill", "--all", k->instance->name, "KILL", NULL };
	k->killed = true;
	if (k->pid)
		shim_oci(&k->shim, words, &said);
	else if (k->told)
		finish(k, 137, "killed");     /* between two runs */
	free(said);
}

static void reap(struct container_keeper *k)
{
	for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0; )
		if (pid == k->shim_pid)
			k->shim_pid = 0;
}

static void signal_ready(void *opaque, int events)
{
	struct container_keeper *k = opaque;
	struct signalfd_siginfo info;
	if (read(k->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		reap(k);
	else
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

static bool start_loop(struct container_keeper *k, struct error *err)
{
	const struct hub_events events = { running, failed, ended, lost, k };
	int attach;
	k->loop = loop_new(err);
	if (!k->loop)
		return false;
	k->hub = hub_new(k->loop, k->console_log, &events);
	k->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	attach = instance_listen(k->instance, "attach.sock", err);
	k->exec_listen = attach < 0 ? -1 : instance_listen(k->instance, "exec.sock", err);
	if (k->exec_listen < 0 || !container_control_start(k, err))
		return false;
	hub_listen(k->hub, attach);
	if (k->primary >= 0)
		hub_attach(k->hub, k->primary, true);
	loop_fd_add(k->loop, k->signals, LOOP_READ, signal_ready, k);
	loop_fd_add(k->loop, k->timer, LOOP_READ, timer_ready, k);
	loop_fd_add(k->loop, k->exec_listen, LOOP_READ, exec_ready, k);
	if (k->leash >= 0)
		k->leash_watch = loop_fd_add(k->loop, k->leash, LOOP_READ, leash_ready, k);
	return true;
}

static void clean_up(struct container_keeper *k)
{
	static const char *const files[] = { "control.sock", "attach.sock", "exec.sock", "run.json", "config.json" };
	if (k->shim_pid > 0) {
		kill(k->shim_pid, SIGKILL);
		waitpid(k->shim_pid, NULL, 0);
		char *said = NULL;
		const char *const words[] = { "delete", "--force", k->instance->name, NULL };
		shim_oci(&k->shim, words, &said);
		free(said);
	}
	if (fchdir(k->instance->dir) || umount2("rootfs", MNT_DETACH))
		dprintf(k->log, "abyme: cannot unmount the image: %s\n", strerror(errno));
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		unlinkat(k->instance->dir, files[i], 0);
	if (k->options->remove)
		instance_remove(k->instance, NULL);
}

static NORETURN void fail(struct container_keeper *k, const struct error *err, bool locked)
{
	if (locked)
		clean_up(k);
	keeper_report(k->report, KEEPER_FAILED, 1, err->text);
	_exit(1);
}

NORETURN void container_keeper(const struct keeper_job *job)
{
	struct error err = { 0 };
	struct container_keeper *k = xnew(struct container_keeper);
	*k = (struct container_keeper){ .instance = job->instance, .definition = job->definition, .options = job->options,
		.report = job->report, .leash = job->leash, .primary = job->primary, .delay_ms = FIRST_DELAY_MS };
	k->signals = keeper_settle(job);
	bool locked = instance_lock(k->instance, &err);
	if (!locked || !prepare(k, &err) || !start_loop(k, &err) || !container_start_program(k, &err))
		fail(k, &err, locked);
	loop_run(k->loop);
	if (k->shim_pid > 0 && !k->text[0])      /* it removes the record before it ends */
		waitpid(k->shim_pid, NULL, 0), k->shim_pid = 0;
	hub_finish(k->hub, k->status);
	clean_up(k);
	if (k->told)
		keeper_report(k->report, KEEPER_ENDED, k->status, k->text);
	else
		keeper_report(k->report, KEEPER_FAILED, k->status, k->text);
	_exit(k->status);
}
