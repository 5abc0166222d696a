/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel of micro-VMs that run images, and the initial RAM disk for it: abyme-init
 * and the modules it needs, where they are not built in.
 */
#ifndef INSTANCE_MICROVM_KERNEL_H
#define INSTANCE_MICROVM_KERNEL_H

#include "base/error.h"

/* The kernel that was given, the newest of /boot, or that of scripts/kernel.sh: a path, to
 * be freed. */
char *microvm_kernel_find(const char *given, struct error *err);
/* A descriptor of the RAM disk, -1. */
int microvm_initrd(const char *kernel, struct error *err);

#endif
