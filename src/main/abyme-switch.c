/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-switch [--jail MODE]: the switch of one network, started by its keeper
 * with the control channel as descriptor 3 and the ready pipe as 4
 * (jail/spawn.h).
 */
#include "net/switch/serve.h"

#include <signal.h>
#include <stdio.h>

enum { KEEPER_FD = 3, READY_FD = 4 };

int main(int argc, char **argv)
{
	struct switch_options o = { .keeper_fd = KEEPER_FD, .ready_fd = READY_FD,
				    .jail = { .role = JAIL_SWITCH, .mode = JAIL_AUTO } };
	signal(SIGPIPE, SIG_IGN);
	jail_from_env(&o.jail);
	if (argc == 3 && !strcmp(argv[1], "--jail") && jail_mode_parse(argv[2], &o.jail.mode))
		return switch_main(&o);
	fprintf(stderr, "abyme-switch: it is started by abyme, not by hand\n");
	return 2;
}
