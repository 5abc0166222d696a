/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-vnc --jail MODE: the VNC server of one machine, started by its keeper with
 * the channel as descriptor 3, the ready pipe as 4 and the socket as 5.
 */
#include "display/vnc.h"

#include <signal.h>
#include <stdio.h>

enum { CHANNEL_FD = 3, READY_FD = 4, LISTEN_FD = 5 };

int main(int argc, char **argv)
{
	struct jail jail = { .role = JAIL_VNC };
	if (argc != 3 || strcmp(argv[1], "--jail") || !jail_mode_parse(argv[2], &jail.mode)) {
		fprintf(stderr, "abyme-vnc: it is started by abyme, not by hand\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	jail_from_env(&jail);
	return vnc_main(LISTEN_FD, CHANNEL_FD, READY_FD, &jail);
}
