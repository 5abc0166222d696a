/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first process of a micro-VM that runs an image.  It loads the modules of its
 * initial RAM disk, listens on vsock (session/guest.h), tells the host that it is awake,
 * and then does for each connection what the keeper of a container does by itself: start
 * the program, a further one, or ask the runtime.  Everything here is inside: the host
 * trusts none of it.
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include "session/guest.h"
#include "session/shim.h"

NORETURN void guest_main(void);

/* boot.c: modules, a root that can be pivoted away from, the kernel's file systems. */
void guest_boot(void);
/* A line on the console: all that can be done where nobody listens yet. */
void guest_say(const char *what, int error);

/* setup.c: what the host said in FRAME_START, done: clock, root, volumes, network. */
struct guest_setup { bool terminal, keep, held, rest; };
bool guest_set_up(const char *text, size_t n, struct guest_setup *out, struct error *err);
/* The rest for one that was held, and its start. */
bool guest_begin(const char *text, size_t n, struct guest_setup *out, struct error *err);

/* link.c */
struct guest_net { const char *mac, *ip, *gateway; uint32_t prefix, mtu; };
bool guest_links_up(const struct guest_net *nets, unsigned n, struct error *err);

#endif
