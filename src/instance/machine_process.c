/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine process: forked by the keeper with its descriptors open, it goes
 * into its jail, builds the machine, seals itself, and runs.  It is not a fresh
 * program, so that starting one costs no linking.
 */
#include "instance/machine_process.h"

#include "base/log.h"
#include "base/trace.h"
#include "machine/control.h"
#include "machine/machine.h"
#include "machine/viewer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

static void report(int fd, int word, const struct machine *m, const struct jail *jail, const char *text)
{
	struct machine_report r = { .word = word, .jail_granted = jail->granted };
	if (m && word == MACHINE_ENDED) {
		r.end = m->end;
		r.status = m->end_status;
	}
	snprintf(r.text, sizeof(r.text), "%s", text);
	fd_write_full(fd, &r, sizeof(r));
}

static void default_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	for (int s = 1; s < SIGSYS; s++)
		if (s != SIGKILL && s != SIGSTOP)
			signal(s, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);      /* the terminal's keys are the keeper's business */
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The trace goes to a file of the keeper's choice: opened before the jail. */
static void trace_to(int fd)
{
	if (fd >= 0)
		trace_dump(fd);
}

/* What of guest RAM is there at all (memory/ram.c): of this process, so not the keeper's to
 * open. Opened with the rights of the host's root it shows frame numbers, too, which have no
 * business in a jail; without it a save reads more. */
static int open_pagemap(void)
{
	int dumpable = prctl(PR_GET_DUMPABLE);
	prctl(PR_SET_DUMPABLE, 1);            /* it has changed its user: else /proc/self is root's */
	auto_close int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	prctl(PR_SET_DUMPABLE, dumpable);
	uint64_t entry = 0;
	const uint64_t frame = BIT(55) - 1;
	off_t own = (off_t)((uintptr_t)&entry / PAGE_SIZE * sizeof(entry));
	if (fd < 0 || pread(fd, &entry, sizeof(entry), own) != sizeof(entry) || entry & frame)
		return -1;
	return move_fd(&fd);
}

static bool enter_jail(struct jail *jail, struct opened *o, int report_fd, int log_fd, int trace_fd,
		       struct error *err)
{
	int keep[OPENED_MAX_FDS + 4];
	unsigned n = opened_machine_fds(o, keep);
	keep[n++] = o->config.pagemap_fd = open_pagemap();
	keep[n++] = report_fd;
	keep[n++] = log_fd;
	keep[n++] = trace_fd;
	jail_close_fds(keep, n);
	return jail_root(jail, NULL, err);
}

static NORETURN void child(struct opened *o, struct jail *jail, const char *trace,
			   int report_fd, int log_fd, int trace_fd)
{
	struct error err = { 0 };
	struct machine *m = NULL;
	prctl(PR_SET_NAME, "abyme-machine");
	default_signals();
	if (log_fd >= 0)
		log_setup(log_fd, LOG_INFO);
	if (!enter_jail(jail, o, report_fd, log_fd, trace_fd, &err) ||
	    (trace && !trace_enable(trace, &err)) ||
	    !(m = machine_build(&o->config, &err)) || !control_start(m, &err) ||
	    !viewer_start(m, &err) ||
	    !jail_seal(jail, &err) || !machine_start(m, &err)) {
		report(report_fd, MACHINE_FAILED, m, jail, err.text);
		_exit(1);
	}
	report(report_fd, MACHINE_READY, m, jail, jail->missing);
	machine_wait(m);
	control_finish(m);
	machine_free_devices(m);
	trace_to(trace_fd);
	report(report_fd, MACHINE_ENDED, m, jail, m->end == END_ENGINE ? m->next_engine : m->error.text);
	_exit(0);      /* the kernel frees faster than we could */
}

bool machine_process_start(struct machine_process *p, struct opened *o, struct jail *jail,
			   const char *trace, int log_fd, struct error *err)
{
	int pipe_fd[2];
	auto_close int trace_fd = trace ? open("abyme.trace", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
	if (trace && trace_fd < 0)
		return error_set(err, errno, "cannot write 'abyme.trace' here");
	if (pipe2(pipe_fd, O_CLOEXEC))
		return error_set(err, errno, "cannot create a pipe");
	p->pid = jail_fork(jail, err);
	if (p->pid == 0)
		child(o, jail, trace, pipe_fd[1], log_fd, trace_fd);
	close(pipe_fd[1]);
	p->report = pipe_fd[0];
	if (p->pid > 0)
		return true;
	close(p->report);
	return false;
}

bool machine_process_ready(const struct machine_process *p, const char *name, struct jail *jail, struct error *err)
{
	struct machine_report r;
	if (!fd_read_full(p->report, &r, sizeof(r)))
		return error_set(err, 0, "the machine process died while starting; its log is in %s/log", name);
	if (r.word == MACHINE_FAILED)
		return error_set(err, 0, "%s", r.text);
	jail->granted = r.jail_granted;
	snprintf(jail->missing, sizeof(jail->missing), "%.199s", r.text);
	return true;
}
