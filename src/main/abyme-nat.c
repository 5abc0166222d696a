/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-nat [--jail MODE]: the way out of a network of kind nat, started by the
 * network's keeper with the control channel as descriptor 3 and the ready pipe
 * as 4 (jail/spawn.h).
 */
#include "net/nat.h"

#include <signal.h>
#include <stdio.h>

enum { KEEPER_FD = 3, READY_FD = 4 };

int main(int argc, char **argv)
{
	struct nat_options o = { .keeper_fd = KEEPER_FD, .ready_fd = READY_FD,
				 .jail = { .role = JAIL_NET_USER, .mode = JAIL_AUTO } };
	signal(SIGPIPE, SIG_IGN);
	jail_from_env(&o.jail);
	if (argc == 3 && !strcmp(argv[1], "--jail") && jail_mode_parse(argv[2], &o.jail.mode))
		return nat_main(&o);
	fprintf(stderr, "abyme-nat: it is started by abyme, not by hand\n");
	return 2;
}
