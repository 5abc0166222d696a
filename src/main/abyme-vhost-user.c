/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-vhost-user [--jail MODE]: one network interface of a machine on a foreign
 * vhost-user back end, started by the machine's keeper with the control channel as
 * descriptor 3 and the ready pipe as 4 (jail/spawn.h).
 */
#include "net/vhost.h"

#include <signal.h>
#include <stdio.h>

enum { KEEPER_FD = 3, READY_FD = 4 };

int main(int argc, char **argv)
{
	struct vhost_options o = { .keeper_fd = KEEPER_FD, .ready_fd = READY_FD,
				   .jail = { .role = JAIL_SWITCH, .mode = JAIL_AUTO } };
	signal(SIGPIPE, SIG_IGN);
	jail_from_env(&o.jail);
	if (argc == 3 && !strcmp(argv[1], "--jail") && jail_mode_parse(argv[2], &o.jail.mode))
		return vhost_main(&o);
	fprintf(stderr, "abyme-vhost-user: it is started by abyme, not by hand\n");
	return 2;
}
