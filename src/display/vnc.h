/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VNC server of one machine's screen, in a process of its own. */
#ifndef DISPLAY_VNC_H
#define DISPLAY_VNC_H

#include "base/error.h"
#include "jail/jail.h"

/* listen_fd: listening TCP socket; channel_fd: display/viewer.h, SETUP first.
 * Says on ready_fd that it is ready, or why not; returns the exit status. */
int vnc_main(int listen_fd, int channel_fd, int ready_fd, struct jail *jail);

#endif
