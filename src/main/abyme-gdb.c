/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-gdb LISTEN_FD CHANNEL_FD [JAIL]: the debugger's server, started by the
 * keeper; it says on descriptor 4 that it is ready.
 */
#include <signal.h>
#include <stdio.h>

#include "base/util.h"
#include "gdb/gdb.h"
#include "jail/jail.h"

enum { READY_FD = 4 };

static bool enter(const char *mode, struct error *err)
{
	struct jail jail = { .mode = JAIL_NONE, .role = JAIL_GDB };
	if (mode && !jail_mode_parse(mode, &jail.mode))
		return error_set(err, 0, "'%s' is not a jail mode", mode);
	jail_from_env(&jail);
	return jail_root(&jail, NULL, err) && jail_seal(&jail, err);
}

int main(int argc, char **argv)
{
	uint64_t listen_fd, channel_fd;
	struct error err = { 0 };
	if (argc < 3 || argc > 4 || !parse_u64(argv[1], 0, 1 << 20, &listen_fd) ||
	    !parse_u64(argv[2], 0, 1 << 20, &channel_fd)) {
		fprintf(stderr, "abyme-gdb: started by 'abyme run --gdb', not by hand\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	bool ok = enter(argv[3], &err);
	if (argc == 4) {
		fd_write_full(READY_FD, ok ? "R" : err.text, ok ? 1 : strlen(err.text));
		close(READY_FD);
	}
	return ok ? gdb_main((int)listen_fd, (int)channel_fd) : 1;
}
