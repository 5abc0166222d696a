/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-9p [--jail MODE] [--readonly]: serves the directory at descriptor 5 as
 * 9P2000.L over the stream at descriptor 3, after it has said on descriptor 4
 * that it is ready, or why not.  Started by the keeper, not by hand.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "jail/jail.h"
#include "share/p9.h"

enum { CHANNEL_FD = 3, READY_FD = 4, ROOT_FD = 5 };

static bool parse(int argc, char **argv, struct jail *jail, bool *readonly, struct error *err)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--readonly"))
			*readonly = true;
		else if (strcmp(argv[i], "--jail") || ++i >= argc || !jail_mode_parse(argv[i], &jail->mode))
			return error_set(err, 0, "abyme-9p is started by 'abyme run --share', not by hand");
	}
	return true;
}

/* The descriptors a server needs, then the walls. */
static int enter(struct jail *jail, struct error *err)
{
	int proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return error_minus(err, errno, "a share needs /proc to be mounted");
	raise_descriptor_limit();      /* a fid is one */
	umask(0);
	jail_from_env(jail);      /* the namespaces we were started in */
	return jail_root(jail, NULL, err) && jail_seal(jail, err) ? proc : -1;
}

int main(int argc, char **argv)
{
	struct jail jail = { .mode = JAIL_AUTO, .role = JAIL_9P };
	struct error err = { 0 };
	struct stat st;
	bool readonly = false;
	int proc = -1;
	signal(SIGPIPE, SIG_IGN);
	if (parse(argc, argv, &jail, &readonly, &err) && fstat(ROOT_FD, &st))
		error_set(&err, errno, "abyme-9p is started by 'abyme run --share', not by hand");
	else if (!err.text[0])
		proc = enter(&jail, &err);
	if (proc < 0) {
		if (!fd_write_full(READY_FD, err.text, strlen(err.text)))
			fprintf(stderr, "%s\n", err.text);
		return 2;
	}
	if (!fd_write_full(READY_FD, "R", 1))
		return 1;
	close(READY_FD);
	fcntl(CHANNEL_FD, F_SETFL, fcntl(CHANNEL_FD, F_GETFL) & ~O_NONBLOCK);
	struct p9_server *s = p9_server_new(ROOT_FD, proc, readonly);
	p9_serve_stream(s, CHANNEL_FD);
	p9_server_free(s);
	return 0;
}
