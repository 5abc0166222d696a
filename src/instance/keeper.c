/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper's process: see keeper.h.  It is single-threaded, so that it may fork
 * at any time: children at the start, and a new machine process when the machine is
 * to go on under another engine.  Signals come through a signalfd: SIGTERM and
 * SIGINT kill the machine, SIGCHLD reaps.
 */
#include "instance/keeper_process.h"
#include "instance/console.h"
#include "instance/dialer.h"
#include "instance/helpers.h"
#include "instance/machine_process.h"
#include "instance/redial.h"
#include "machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

enum { STATUS_KILLED = 128 + SIGKILL };

struct keeper {
	struct instance *instance;
	const struct definition *definition;
	const struct keeper_options *options;
	struct loop *loop;
	struct opened opened;
	struct helpers helpers;
	struct machine_process machine;
	struct console *console;
	struct dialer dialer;
	struct redial redial[CONFIG_MAX_DISKS];
	struct jail jail;
	int report, leash, primary, signals, log;
	struct loop_fd *leash_watch, *report_watch;
	int wait_status;
	bool killed, have_end;
	struct machine_report last;
};

void keeper_report(int fd, int word, int status, const char *text)
{
	struct keeper_report r = { .word = word, .status = status };
	snprintf(r.text, sizeof(r.text), "%s", text);
	fd_write_full(fd, &r, sizeof(r));
}

void keeper_to_null(int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, fd);
	close(null);
}

bool keeper_let_go(int leash)
{
	char c = 0;
	bool detached = read(leash, &c, 1) == 1 && c == 'd';
	if (detached)
		keeper_to_null(STDERR_FILENO);
	return detached;
}

/* ---- events ---- */

static void kill_machine(struct keeper *k)
{
	k->killed = true;
	kill(k->machine.pid, SIGKILL);
}

static bool change_engine(struct keeper *k);

static void reap(struct keeper *k)
{
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0; ) {
		if (pid == k->machine.pid) {
			k->wait_status = status;
			if (!change_engine(k))
				loop_stop(k->loop);
		}
		for (unsigned i = 0; i < k->helpers.count; i++)
			if (k->helpers.list[i].pid == pid)
				k->helpers.list[i].pid = 0;
	}
}

static void signal_ready(void *opaque, int events)
{
	struct keeper *k = opaque;
	int signo = keeper_signal(k->signals);
	if (signo == SIGCHLD)
		reap(k);
	else if (signo)
		kill_machine(k);
}

static void leash_ready(void *opaque, int events)
{
	struct keeper *k = opaque;
	if (!keeper_let_go(k->leash))
		kill_machine(k);
	loop_fd_del(k->leash_watch);
	close(k->leash);
}

static void machine_reported(void *opaque, int events)
{
	struct keeper *k = opaque;
	struct machine_report r;
	if (read(k->machine.report, &r, sizeof(r)) == sizeof(r) && r.word == MACHINE_ENDED) {
		k->last = r;
		k->have_end = true;
	}
}

/* ---- start ---- */

static bool write_facts(struct keeper *k, struct error *err)
{
	char jail[200];
	jail_describe(&k->jail, jail);
	json_t *o = json_pack("{s:i, s:i, s:s, s:s, s:s, s:I}", "keeper", (int)getpid(),
			      "machine", (int)k->machine.pid, "engine", k->opened.config.engine,
			      "jail", jail, "jail-missing", k->jail.missing,
			      "started", (json_int_t)time(NULL));
	char *text = json_dumps(o, JSON_INDENT(2));
	bool ok = text && instance_write(k->instance, "run.json", text, err);
	free(text);
	json_decref(o);
	return ok;
}

static bool start_children(struct keeper *k, struct error *err)
{
	k->log = openat(k->instance->dir, "log", O_WRONLY | O_CREAT | O_APPEND | O_TRUNC | O_CLOEXEC, 0600);
	jail_mode_parse(k->definition->jail, &k->jail.mode);
	k->jail.role = JAIL_MACHINE;
	return opened_make(&k->opened, k->instance, k->definition, k->options->state_fd, err) &&
		helpers_start(&k->helpers, &k->opened, k->definition, k->instance->name, k->jail.mode, err) &&
		machine_process_start(&k->machine, &k->opened, &k->jail, k->definition->trace, k->log, err) &&
		machine_process_ready(&k->machine, k->instance->name, &k->jail, err);
}

/* ---- another engine ---- */

/* The machine goes on from its state under that engine, which comes with its options. */
static bool start_again(struct keeper *k, const char *engine, struct error *err)
{
	struct machine_config *c = &k->opened.config;
	opened_engine(c, engine);
	if (!opened_kvm(c, err) || !machine_process_start(&k->machine, &k->opened, &k->jail, NULL, k->log, err))
		return false;
	if (machine_process_ready(&k->machine, k->instance->name, &k->jail, err)) {
		k->report_watch = loop_fd_add(k->loop, k->machine.report, LOOP_READ, machine_reported, k);
		return true;
	}
	close(k->machine.report);
	waitpid(k->machine.pid, NULL, 0);
	return false;
}

/* The machine process has ended. If it did so for a change of engine: a new one, which
 * gets the same descriptors, so that helpers and connections stay. Under the old
 * engine again, if the new one fails. */
static bool change_engine(struct keeper *k)
{
	struct machine_config *c = &k->opened.config;
	struct error err = { 0 };
	machine_reported(k, 0);
	if (!k->have_end || k->last.end != END_ENGINE || k->killed)
		return false;
	loop_fd_del(k->report_watch);
	close(k->machine.report);
	if (c->state_fd >= 0)
		close(c->state_fd);
	c->state_fd = openat(k->instance->dir, ENGINE_STATE, O_RDONLY | O_CLOEXEC);
	auto_free char *old = xasprintf("%s%s%s", c->engine, c->engine_options ? "," : "", c->engine_options ? c->engine_options : "");
	bool ok = c->state_fd >= 0 && opened_media(&k->opened, k->instance, &err) && start_again(k, k->last.text, &err);
	if (!ok && c->state_fd >= 0) {
		dprintf(k->log, "abyme: error: engine %s: %s; going on under %s\n", k->last.text, err.text, old);
		ok = start_again(k, old, &err);
	}
	bool told = ok && write_facts(k, &err);
	unlinkat(k->instance->dir, ENGINE_STATE, 0);       /* for whoever waits for the change it is done */
	k->have_end = !ok;
	if (ok)
		return told;
	k->last.end = END_ERROR;
	snprintf(k->last.text, sizeof(k->last.text), "%s", err.text);
	return false;
}

static bool start_loop(struct keeper *k, struct error *err)
{
	struct opened *o = &k->opened;
	k->loop = loop_new(err);
	if (!k->loop)
		return false;
	int log = o->serial_host < 0 ? -1 : openat(k->instance->dir, "console.log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	k->console = console_new(k->loop, o->serial_host, log, o->serial_file);
	if (o->serial_listen >= 0)
		console_listen(k->console, o->serial_listen);
	int listen_fd = instance_listen(k->instance, "console.sock", err);
	if (listen_fd < 0)
		return false;
	console_listen(k->console, listen_fd);
	if (k->primary >= 0)
		console_attach(k->console, k->primary, true);
	if (o->vsock_line >= 0)
		dialer_start(&k->dialer, k->loop, k->instance, o->vsock_line);
	for (unsigned i = 0; i < o->config.ndisks; i++)
		if (o->nbd_line[i] >= 0)
			redial_start(&k->redial[i], k->loop, o->config.disk[i].path, o->nbd_line[i]);
	net_ties_watch(&k->helpers.ties, k->loop);
	loop_fd_add(k->loop, k->signals, LOOP_READ, signal_ready, k);
	k->report_watch = loop_fd_add(k->loop, k->machine.report, LOOP_READ, machine_reported, k);
	return true;
}

/* ---- end ---- */

static int end_status(const struct keeper *k, char text[480])
{
	text[0] = 0;
	if (!k->have_end && k->killed) {
		snprintf(text, 480, "killed");
		return STATUS_KILLED;
	}
	if (!k->have_end) {
		snprintf(text, 480, "the machine process died (%s %d)",
			 WIFSIGNALED(k->wait_status) ? strsignal(WTERMSIG(k->wait_status)) : "status",
			 WIFSIGNALED(k->wait_status) ? WTERMSIG(k->wait_status) : WEXITSTATUS(k->wait_status));
		return 1;
	}
	switch (k->last.end) {
	case END_POWEROFF: case END_RESET: case END_SUSPENDED:
		return 0;
	case END_DEBUG_EXIT:
		return k->last.status & 0xff;
	case END_KILLED:
		snprintf(text, 480, "killed");
		return STATUS_KILLED;
	case END_SHUTDOWN_FAULT:
		snprintf(text, 480, "the guest shut down by a triple fault");
		return 1;
	default:
		snprintf(text, 480, "%s", k->last.text[0] ? k->last.text : "the machine failed");
		return 1;
	}
}

static void clean_up(struct keeper *k)
{
	static const char *const files[] = { "control.sock", "console.sock", "run.json", "vsock/sock", ENGINE_STATE };
	helpers_kill(&k->helpers);
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		unlinkat(k->instance->dir, files[i], 0);
	unlinkat(k->instance->dir, "vsock", AT_REMOVEDIR);
	if (k->options->remove)
		instance_remove(k->instance, NULL);
}

static NORETURN void fail(struct keeper *k, const struct error *err)
{
	if (k->machine.pid > 0)
		kill(k->machine.pid, SIGKILL);
	if (k->opened.config.name)      /* the lock is ours */
		clean_up(k);
	keeper_report(k->report, KEEPER_FAILED, 1, err->text);
	_exit(1);
}

static int take_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int keeper_signal(int signals)
{
	struct signalfd_siginfo info;
	return read(signals, &info, sizeof(info)) == sizeof(info) ? (int)info.ssi_signo : 0;
}

int keeper_settle(const struct keeper_job *job)
{
	prctl(PR_SET_NAME, "abyme-keeper");
	setsid();
	keeper_to_null(STDIN_FILENO);
	keeper_to_null(STDOUT_FILENO);
	if (!job->options->foreground)
		keeper_to_null(STDERR_FILENO);
	return take_signals();
}

NORETURN void machine_keeper(const struct keeper_job *job)
{
	struct error err = { 0 };
	char text[480];
	struct keeper *k = xnew(struct keeper);
	k->instance = job->instance;
	k->definition = job->definition;
	k->options = job->options;
	k->report = job->report;
	k->leash = job->leash;
	k->primary = job->primary;
	k->signals = keeper_settle(job);
	if (!instance_lock(k->instance, &err) || !start_children(k, &err) || !start_loop(k, &err) ||
	    !write_facts(k, &err))
		fail(k, &err);
	if (k->leash >= 0)
		k->leash_watch = loop_fd_add(k->loop, k->leash, LOOP_READ, leash_ready, k);
	keeper_report(k->report, KEEPER_READY, 0, k->jail.missing);
	loop_run(k->loop);
	machine_reported(k, 0);
	opened_close_machine(&k->opened);     /* or the console would never end */
	console_drain(k->console);
	int status = end_status(k, text);
	clean_up(k);
	keeper_report(k->report, KEEPER_ENDED, status, text);
	console_free(k->console);
	_exit(status);
}

/* ---- the starter's side ---- */

struct channels { int report[2], leash[2], console[2]; };

static bool make_channels(struct channels *c, bool foreground, struct error *err)
{
	*c = (struct channels){ { -1, -1 }, { -1, -1 }, { -1, -1 } };
	if (pipe2(c->report, O_CLOEXEC) ||
	    (foreground && (pipe2(c->leash, O_CLOEXEC) ||
			    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c->console))))
		return error_set(err, errno, "cannot create the keeper's channels");
	return true;
}

static void close_side(const struct channels *c, unsigned side)
{
	const int fds[] = { c->report[side], c->leash[!side], c->console[side] };
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

void keeper_link_close(struct keeper_link *link)
{
	const int fds[] = { link->report, link->leash, link->console };
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static bool wait_for_ready(struct keeper_link *link, struct error *err)
{
	struct keeper_report r = { 0 };
	if (fd_read_full(link->report, &r, sizeof(r)) && r.word == KEEPER_READY) {
		snprintf(link->missing, sizeof(link->missing), "%.199s", r.text);
		return true;
	}
	if (r.word == KEEPER_FAILED)
		error_set(err, 0, "%s", r.text);
	else
		error_set(err, 0, "the keeper process died while starting");
	waitpid(link->pid, NULL, 0);
	keeper_link_close(link);
	return false;
}

/* Side 0 of the channels is the caller's, side 1 the keeper's (the leash runs
 * the other way). */
bool keeper_start(struct instance *i, const struct definition *d,
		  const struct keeper_options *o, struct keeper_link *link, struct error *err)
{
	struct channels c;
	if (!make_channels(&c, o->foreground, err))
		return false;
	pid_t pid = fork();
	if (pid < 0)
		return error_set(err, errno, "cannot start the keeper");
	if (pid == 0) {
		close_side(&c, 0);
		const struct keeper_job job = { i, d, o, c.report[1], c.leash[0], c.console[1] };
		if (definition_isolation(d) != ISOLATION_VM)
			container_keeper(&job);
		machine_keeper(&job);
	}
	close_side(&c, 1);
	*link = (struct keeper_link){ .pid = pid, .report = c.report[0], .console = c.console[0], .leash = c.leash[1] };
	return wait_for_ready(link, err);
}
