/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting a process in a container: what `create`, `run` and `exec` share.
 *
 * The runtime (parent) makes the process in its namespaces; the two talk over a
 * channel (channel.h); what needs the host's rights is done by the parent while
 * the child mounts.  The child ends whenever the parent ends before it is ready.
 */
#ifndef CONTAINER_LAUNCH_H
#define CONTAINER_LAUNCH_H

#include <linux/filter.h>

#include "container/container.h"
#include "container/rootfs.h"

struct launch {
	struct spec *spec;                /* of the container */
	struct spec_process *process;     /* what to run: the spec's, or that of `exec` */
	struct container *container;
	struct rootfs rootfs;
	struct sock_fprog filter;         /* seccomp; len 0: none */
	unsigned filter_flags;
	bool filter_notify;
	/* options of the verb */
	const char *console_socket, *pid_file;
	unsigned preserve_fds;
	bool no_pivot, no_keyring, detach, joining;   /* joining: exec */
	bool held;                        /* command and environment come later (held.h) */
	bool systemd;                     /* the control group is a scope of systemd */
	bool keep_terminal;               /* no console socket: the runtime serves the terminal */
	/* descriptors */
	int channel[2];                   /* 0: the parent's, 1: the child's */
	int start;                        /* listening socket of `start` */
	int console;                      /* connected: gets the terminal */
	int listener;                     /* connected: gets the seccomp notifications */
	int terminal;                     /* keep_terminal: the parent's side of it */
	bool placed;                      /* the child knows that it is in its control groups */
	bool mounted;                     /* the parent knows that its root is mounted */
	pid_t pid;
};

/* namespaces.c: a child in the namespaces of the spec (or, joining, in those of
 * the container); it runs main() and must not return.  Its PID as the host sees it. */
pid_t launch_spawn(struct launch *l, void (*main)(struct launch *l), struct error *err);
/* In the parent: write the ID mappings of a new user namespace. */
bool launch_map_ids(const struct launch *l, struct error *err);
bool write_id_maps(pid_t pid, const struct id_maps *uids, const struct id_maps *gids, struct error *err);

/* init.c: the first process of a container, and that of `exec`. */
void launch_init_main(struct launch *l);
void launch_exec_main(struct launch *l);

/* process.c: become the process. These run inside the container. */
const char *process_find(const struct spec_process *p, char path[4096], struct error *err);
bool process_limits(const struct spec_process *p, pid_t pid, struct error *err);      /* by the parent */
bool process_become(struct launch *l, struct error *err);   /* everything up to execve() */
bool process_prepare_env(struct launch *l);                 /* HOME */

/* process_attributes.c */
bool process_attributes(const struct launch *l, struct error *err);

/* terminal.c: a new terminal becomes 0, 1 and 2; its other side is sent away. */
bool terminal_open(struct launch *l, struct error *err);
/* Before the process runs: signals wait for terminal_serve(), which passes them on. */
void terminal_hold_signals(void);
/* Serve it to our own terminal or pipes until `pid` ends; its wait status. */
int terminal_serve(int master, pid_t pid);

/* seccomp.c */
bool seccomp_compile(struct arena *a, const struct spec_seccomp *s, struct launch *l, struct error *err);
bool seccomp_apply(struct launch *l, struct error *err);

/* sysctl.c */
bool sysctl_apply(const struct spec *s, struct error *err);

/* hooks.c: run them in order with the container's state; `what` for errors. */
bool hooks_run(const spec_hooks *h, const char *what, struct container *c, const char *status, pid_t pid,
	bool go_on, struct error *err);

#endif
