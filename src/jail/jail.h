/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The jail of a process that meets hostile bytes: namespaces with an empty
 * root, no capabilities, no new privileges, a seccomp filter per role, limits,
 * and no descriptor but its own.  All of it works for an ordinary user; `auto`
 * takes what the host grants and says what is missing.
 */
#ifndef JAIL_JAIL_H
#define JAIL_JAIL_H

#include <sys/types.h>
#include "base/error.h"
#include "base/util.h"

enum jail_mode { JAIL_NONE, JAIL_AUTO, JAIL_REQUIRE };
enum jail_role { JAIL_MACHINE, JAIL_NET_USER, JAIL_9P, JAIL_GDB, JAIL_SWITCH, JAIL_NBD, JAIL_VNC, JAIL_TPM, JAIL_OVF };

/* What was granted; jail_describe() puts it in words. */
enum jail_part {
	JAIL_USERNS = 1, JAIL_NAMESPACES = 2, JAIL_NETNS = 4, JAIL_ROOT = 8,
	JAIL_CAPS = 16, JAIL_SECCOMP = 32, JAIL_UID = 64,
};

struct jail {
	enum jail_mode mode;
	enum jail_role role;
	unsigned granted;         /* enum jail_part bits */
	char missing[200];        /* sentence of what the host refused, or "" */
	int state_fd;             /* a directory to appear as JAIL_STATE in the empty root; 0: none */
	bool state_bound;         /* it does */
};
#define JAIL_STATE "/state"
enum { JAIL_NOBODY = 65534 };     /* whom root's jails run as */

bool jail_mode_parse(const char *text, enum jail_mode *mode);

/*
 * fork() into fresh namespaces (user, mount, pid, ipc, uts, and net unless the
 * role needs the host's network).  In the child: returns 0 when its identity is
 * mapped.  The child dies with its parent.  -1: error, nothing started.
 */
pid_t jail_fork(struct jail *j, struct error *err);

/* For a child that executes another program: what jail_fork() granted travels as
 * an environment entry, out in text[], and back into `j`. */
const char *jail_env(const struct jail *j, char text[32]);
void jail_from_env(struct jail *j);

/* A directory that a child's state_fd can be, whoever it becomes: its own tree where we
 * may make one, else the directory itself. */
int jail_tree(int dir);

/* In the child: an empty, read-only root; each bind (NULL-terminated pairs of
 * host path and absolute path inside) is put into it. */
bool jail_root(struct jail *j, const char *const (*binds)[2], struct error *err);

/* In the child, last: limits, capabilities gone, no_new_privs, the role's
 * seccomp filter on all threads. */
bool jail_seal(struct jail *j, struct error *err);

/* Close every descriptor but 0, 1, 2 and those in `keep` (entries < 0 ignored). */
void jail_close_fds(const int *keep, unsigned n);

/* "user, mount, pid namespaces; empty root; ..." */
void jail_describe(const struct jail *j, char text[200]);

#endif
