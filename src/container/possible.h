/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CONTAINER_POSSIBLE_H
#define CONTAINER_POSSIBLE_H

#include "base/error.h"

/* Namespaces and mounts in them, for who calls; false: why not. */
bool container_possible(struct error *err);

#endif
