/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-tpm --jail MODE: goes into its jail and becomes swtpm there.  Started by a
 * machine's keeper with swtpm's control channel as descriptor 3, the ready pipe as 4
 * and the directory of the TPM's state as 5.  The jail has the program, the system's
 * libraries and that directory, nothing else.
 */
#include "jail/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

enum { READY_FD = 4, STATE_FD = 5 };
#define SWTPM "/usr/bin/swtpm"

static int fail(const struct error *err)
{
	fd_write_full(READY_FD, err->text, strlen(err->text));
	return 1;
}

/* Where there is no empty root, the directory is where we stand. */
static bool find_state(const struct jail *jail, const char **dir, struct error *err)
{
	*dir = jail->state_bound ? JAIL_STATE : ".";
	return jail->state_bound || !fchdir(STATE_FD) || error_set(err, errno, "cannot enter the TPM's directory");
}

static int become_swtpm(const char *dir)
{
	char state[32];
	snprintf(state, sizeof(state), "dir=%s,mode=0600", dir);
	char *const argv[] = { SWTPM, "socket", "--tpm2", "--tpmstate", state, "--ctrl", "type=unixio,clientfd=3", NULL };
	char *const env[] = { NULL };
	struct error err;
	execve(SWTPM, argv, env);
	error_set(&err, errno, "cannot run %s", SWTPM);
	fprintf(stderr, "abyme-tpm: %s\n", err.text);
	return 1;
}

int main(int argc, char **argv)
{
	static const char *const binds[][2] = {
		{ SWTPM, SWTPM }, { "/usr/lib", "/usr/lib" }, { "/lib", "/lib" }, { "/lib64", "/lib64" }, { NULL, NULL } };
	struct jail jail = { .role = JAIL_TPM, .state_fd = STATE_FD };
	struct error err;
	const char *dir;
	if (argc != 3 || strcmp(argv[1], "--jail") || !jail_mode_parse(argv[2], &jail.mode)) {
		fprintf(stderr, "abyme-tpm: it is started by abyme, not by hand\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	jail_from_env(&jail);
	if (!jail_root(&jail, binds, &err) || !find_state(&jail, &dir, &err) || !jail_seal(&jail, &err))
		return fail(&err);
	fd_write_full(READY_FD, "R", 1);
	close(READY_FD);
	close(STATE_FD);
	return become_swtpm(dir);
}
