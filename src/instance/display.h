/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --display none, headless, or vnc[:[ADDR:]PORT][,password-file=FILE][,tls=DIR]. */
#ifndef INSTANCE_DISPLAY_H
#define INSTANCE_DISPLAY_H

#include "instance/open.h"

bool display_check(const char *text, struct error *err);
/* The screen, its listening socket and its picture, into `o`. */
bool display_open(struct opened *o, const char *text, struct error *err);
/* The first message to the VNC server, before it starts: what to show. */
bool display_setup(const struct opened *o, int channel, struct error *err);

#endif
