/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting helpers: see helpers.h.  A helper gets its channel as descriptor 3,
 * a pipe to say that it is ready (or why not) as 4, what it serves as 5, and
 * nothing else.
 */
#include "instance/helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { CHANNEL_FD = 3, READY_FD = 4, SERVE_FD = 5, FIRST_FREE = 10, MAX_ARGS = 160 };

int helper_open(const char *program, struct error *err)
{
	static const char *const places[] = { "", "../libexec/abyme/" };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return error_minus(err, errno, "cannot find out where this program is installed");
	self[n] = 0;
	char *slash = strrchr(self, '/');
	for (unsigned i = 0; slash && i < ARRAY_SIZE(places); i++) {
		auto_free char *path = xasprintf("%.*s/%s%s", (int)(slash - self), self, places[i], program);
		int fd = open(path, O_PATH | O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	return error_minus(err, 0, "the helper program '%s' is missing: install it next to abyme or in "
			   "../libexec/abyme", program);
}

/* dup2 in any order is safe only once all sources are above the targets. */
static NORETURN void exec_helper(int program, char *const argv[], const struct jail *jail, int channel,
				 int ready, int serve)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	channel = fcntl(channel, F_DUPFD, FIRST_FREE);
	ready = fcntl(ready, F_DUPFD, FIRST_FREE);
	serve = serve >= 0 ? fcntl(serve, F_DUPFD, FIRST_FREE) : -1;
	program = fcntl(program, F_DUPFD_CLOEXEC, FIRST_FREE);
	dup2(channel, CHANNEL_FD);
	dup2(ready, READY_FD);
	if (serve >= 0)
		dup2(serve, SERVE_FD);
	const int keep[] = { CHANNEL_FD, READY_FD, serve >= 0 ? SERVE_FD : -1, program };
	jail_close_fds(keep, ARRAY_SIZE(keep));
	char granted[32];
	char *const env[] = { (char *)jail_env(jail, granted), NULL };
	fexecve(program, argv, env);
	struct error e;
	error_set(&e, errno, "cannot run the helper '%s'", argv[0]);
	fd_write_full(READY_FD, e.text, strlen(e.text));
	_exit(127);
}

/* One byte 'R', or a sentence and end of file. */
static bool wait_ready(int fd, const char *program, struct error *err)
{
	char text[400];
	size_t n = 0;
	for (ssize_t r; n < sizeof(text) - 1 && (r = read(fd, text + n, sizeof(text) - 1 - n)) != 0; ) {
		if (r < 0 && errno != EINTR)
			break;
		n += r > 0 ? (size_t)r : 0;
		if (text[0] == 'R')
			return true;
	}
	text[n] = 0;
	return error_set(err, 0, "%s%s", n ? text : program, n ? "" : " died while starting");
}

static bool start(struct helpers *h, const char *program, char *const argv[], struct jail *jail,
		  int channel, int serve, struct error *err)
{
	int ready[2];
	auto_close int exe = helper_open(program, err);
	if (exe < 0)
		return false;
	if (pipe2(ready, O_CLOEXEC))
		return error_set(err, errno, "cannot create a pipe");
	pid_t pid = jail_fork(jail, err);
	if (pid == 0)
		exec_helper(exe, argv, jail, channel, ready[1], serve);
	close(ready[1]);
	bool ok = pid > 0;
	if (ok) {
		h->list[h->count++] = (struct helper){ pid, program };
		ok = wait_ready(ready[0], program, err);
	}
	close(ready[0]);
	return ok;
}

static const char *const mode_words[] = { "none", "auto", "require" };

static bool start_net(struct helpers *h, struct net_config *net, const struct definition *d, bool first,
		      enum jail_mode mode, struct error *err)
{
	char *argv[MAX_ARGS] = { "abyme-net-user", "--jail", (char *)mode_words[mode] };
	struct jail jail = { .mode = mode, .role = JAIL_NET_USER };
	int pair[2];
	unsigned n = 3;
	for (unsigned i = 0; first && i < d->npublish && n + 2 < MAX_ARGS; i++) {
		argv[n++] = "--publish";
		argv[n++] = d->publish[i];
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return error_set(err, errno, "cannot create the network channel");
	net->fd = pair[0];
	bool ok = start(h, argv[0], argv, &jail, pair[1], -1, err);
	close(pair[1]);
	return ok;
}

static bool start_share(struct helpers *h, struct share_config *share, int root, enum jail_mode mode,
			struct error *err)
{
	char *argv[] = { "abyme-9p", "--jail", (char *)mode_words[mode], share->readonly ? "--readonly" : NULL,
			 NULL };
	struct jail jail = { .mode = mode, .role = JAIL_9P };
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return error_set(err, errno, "cannot create the channel of share '%s'", share->tag);
	share->fd = pair[0];
	bool ok = start(h, argv[0], argv, &jail, pair[1], root, err);
	close(pair[1]);
	return ok;
}

/* The debugger's server gets the listening socket; the machine its channel. */
static bool start_gdb(struct helpers *h, struct machine_config *c, enum jail_mode mode, struct error *err)
{
	char *argv[] = { "abyme-gdb", "5", "3", (char *)mode_words[mode], NULL };
	struct jail jail = { .mode = mode, .role = JAIL_GDB };
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "cannot create the debug channel");
	bool ok = start(h, argv[0], argv, &jail, pair[1], c->gdb_fd, err);
	close(pair[1]);
	close(c->gdb_fd);
	c->gdb_fd = pair[0];
	return ok;
}

bool helpers_start(struct helpers *h, struct opened *o, const struct definition *d,
		   enum jail_mode jail, struct error *err)
{
	struct machine_config *c = &o->config;
	h->count = 0;
	for (unsigned i = 0; i < c->nnets; i++)
		if (!start_net(h, &c->net[i], d, i == 0, jail, err))
			return false;
	for (unsigned i = 0; i < c->nshares; i++) {
		if (!start_share(h, &c->share[i], o->share_root[i], jail, err))
			return false;
		close(o->share_root[i]);
	}
	return c->gdb_fd < 0 || start_gdb(h, c, jail, err);
}

void helpers_kill(struct helpers *h)
{
	for (unsigned i = 0; i < h->count; i++)
		if (h->list[i].pid > 0)
			kill(h->list[i].pid, SIGKILL);
	for (unsigned i = 0; i < h->count; i++)
		if (h->list[i].pid > 0)
			waitpid(h->list[i].pid, NULL, 0);
	h->count = 0;
}
