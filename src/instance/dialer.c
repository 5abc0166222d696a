/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls of a guest's over vsock: see dialer.h. */
#include "instance/dialer.h"

#include <stdio.h>
#include <sys/socket.h>

#include "base/fdpass.h"

static void line_ready(void *opaque, int events)
{
	struct dialer *d = opaque;
	uint32_t ports[2];
	ssize_t n;
	while ((n = recv(d->line, ports, sizeof(ports), MSG_DONTWAIT)) == sizeof(ports)) {
		char file[32];
		struct error err;
		snprintf(file, sizeof(file), "vsock/sock_%u", ports[0]);
		auto_close int fd = instance_dial(d->instance, file, &err);
		/* a machine that does not listen to answers waits for ever: its own doing */
		fd_pass(d->line, ports, sizeof(ports), fd);
	}
	if (n == 0)
		loop_fd_events(d->watch, 0);
}

void dialer_start(struct dialer *d, struct loop *l, const struct instance *i, int line)
{
	*d = (struct dialer){ .instance = i, .line = line };
	d->watch = loop_fd_add(l, line, LOOP_READ, line_ready, d);
}
