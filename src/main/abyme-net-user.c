/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-net-user: the user network of one machine, started by its keeper with
 * the frame channel as descriptor 3 and the ready pipe as 4 (instance/helpers.c).
 *     abyme-net-user --jail MODE [--publish SPEC]...
 */
#include "net/user.h"

#include <signal.h>
#include <stdio.h>

enum { FRAME_FD = 3, READY_FD = 4, MAX_PUBLISH = 64 };

static bool parse(int argc, char **argv, struct net_user_options *o, struct publish *publish, struct error *err)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--jail") && jail_mode_parse(argv[i + 1], &o->jail.mode))
			continue;
		if (strcmp(argv[i], "--publish") || o->npublish == MAX_PUBLISH)
			return error_set(err, 0, "unknown option '%s'", argv[i]);
		if (!publish_parse(argv[i + 1], &publish[o->npublish++], err))
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static struct publish publish[MAX_PUBLISH];
	struct net_user_options o = { .frame_fd = FRAME_FD, .ready_fd = READY_FD, .publish = publish,
				      .jail = { .role = JAIL_NET_USER } };
	struct error err = { 0 };
	signal(SIGPIPE, SIG_IGN);
	jail_from_env(&o.jail);
	if (parse(argc, argv, &o, publish, &err))
		return net_user_main(&o);
	fprintf(stderr, "abyme-net-user: %s (it is started by abyme, not by hand)\n", err.text);
	return 2;
}
