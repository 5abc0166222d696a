/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system calls a role may make. */
#ifndef JAIL_SECCOMP_H
#define JAIL_SECCOMP_H

#include "jail/jail.h"

/* On every thread of the process. Needs no_new_privs. */
bool seccomp_install(enum jail_role role);

#endif
