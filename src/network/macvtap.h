/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A macvtap interface over one of this host's, in passthru mode: what comes in there is
 * the network's alone, and what goes out has its members' MAC addresses.
 */
#ifndef NETWORK_MACVTAP_H
#define NETWORK_MACVTAP_H

#include "base/error.h"
#include "base/util.h"

/* Its descriptor, to be read and written as a TAP's; -1: error. `dir` is the network's: the interface
 * is named after it and outlives the descriptor; a device node that /dev does not have
 * is made there, for a moment. */
int macvtap_open(const char *lower, int dir, struct error *err);
void macvtap_remove(int dir);

#endif
