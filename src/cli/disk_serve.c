/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme disk serve: a disk, or one of its snapshots, over NBD, until a signal comes.
 * A jailed child serves: a thread a client; the image is what they share.
 */
#include "cli/disk.h"
#include "base/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "disk/nbd.h"
#include "jail/jail.h"

enum { CLIENTS_MAX = 64 };

#define TARGET struct serve_options
struct serve_options { char *socket, *listen, *snapshot, *bitmap, *name, *format, *jail; bool readonly; };
#include "cli/table.h"

static const struct cli_option serve_options[] = {
	TEXT("--socket", "PATH", socket, "a Unix socket to listen on"),
	TEXT("--listen", "[ADDR:]PORT", listen, "a TCP port (default address 127.0.0.1)"),
	FLAG("--readonly", readonly, "nobody may write"),
	TEXT("--snapshot", "NAME", snapshot, "the disk as it was then, read-only"),
	TEXT("--bitmap", "NAME", bitmap, "offer it as the context qemu:dirty-bitmap:NAME"),
	TEXT("--name", "EXPORT", name, "what clients call it (default: nothing)"),
	TEXT("--format", "FORMAT", format, "of the file (default: by its first bytes)"),
	TEXT("--jail", "auto|require|none", jail, "what clients send is read in a jail (default: what the host grants)"),
	{ NULL }
};

struct server {
	struct nbd_export export;
	pthread_mutex_t lock;
	pthread_cond_t gone;
	int client[CLIENTS_MAX];          /* -1: free */
	unsigned clients;
};
struct client { struct server *server; unsigned index; };

static void *serve_client(void *opaque)
{
	struct client c = *(struct client *)opaque;
	struct server *s = c.server;
	free(opaque);
	int fd = s->client[c.index];
	nbd_serve(&s->export, fd);
	pthread_mutex_lock(&s->lock);
	s->client[c.index] = -1;
	s->clients--;
	close(fd);
	pthread_cond_broadcast(&s->gone);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void accept_client(struct server *s, int listener)
{
	pthread_t thread;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	pthread_mutex_lock(&s->lock);
	unsigned i = 0;
	while (i < CLIENTS_MAX && s->client[i] >= 0)
		i++;
	struct client *c = i < CLIENTS_MAX ? xnew(struct client) : NULL;
	if (c) {
		*c = (struct client){ s, i };
		s->client[i] = fd;
		s->clients++;
	}
	if (c && !pthread_create(&thread, NULL, serve_client, c)) {
		pthread_detach(thread);
	} else {
		close(fd);
		if (c) {
			s->client[i] = -1;
			s->clients--;
		}
		free(c);
	}
	pthread_mutex_unlock(&s->lock);
}

/* Clients that are connected lose their connection, not what they have flushed. */
static void end_clients(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (s->client[i] >= 0)
			shutdown(s->client[i], SHUT_RDWR);
	while (s->clients)
		pthread_cond_wait(&s->gone, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

/* Until the other end of `leash` is let go. */
static void run(struct server *s, int listener, int leash)
{
	struct pollfd p[2] = { { .fd = listener, .events = POLLIN }, { .fd = leash, .events = POLLIN } };
	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents)
			break;
		if (p[0].revents)
			accept_client(s, listener);
	}
	end_clients(s);
}

static int listen_unix(const char *path, struct error *err)
{
	mode_t old = umask(0177);
	int fd = unix_listen(path, SOCK_STREAM, 16), e = errno;
	umask(old);
	return fd >= 0 ? fd : error_minus(err, e, "cannot listen on '%s'", path);
}

static int listen_tcp(const char *text, struct error *err)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	auto_free char *host = xstrdup(text);
	char *colon = strrchr(host, ':');
	uint64_t port;
	int one = 1;
	if (colon)
		*colon = 0;
	if ((colon && inet_pton(AF_INET, host, &a.sin_addr) != 1) ||
	    !parse_u64(colon ? colon + 1 : host, 1, 65535, &port))
		return error_minus(err, 0, "'%s' is not [ADDR:]PORT", text);
	a.sin_port = htons((uint16_t)port);
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 16))
		return error_minus(err, errno, "cannot listen on '%s'", text);
	return move_fd(&fd);
}

static bool has_bitmap(struct image *i, const char *name, struct error *err)
{
	uint64_t n = 1;
	bool dirty;
	return !name || qcow2_bitmap_run(i, name, 0, &n, &dirty) ||
	       error_set(err, 0, "disk '%s' has no bitmap '%s' that can be trusted", i->path, name);
}

/* What clients send meets nothing but the image, in a process that can open nothing. */
static NORETURN void child(struct jail *jail, struct image *i, const struct serve_options *o, bool readonly, int listener,
			   int leash)
{
	struct server s = { .export = { i, o->name ? o->name : "", readonly, o->bitmap } };
	struct error err;
	pthread_mutex_init(&s.lock, NULL);
	pthread_cond_init(&s.gone, NULL);
	for (unsigned k = 0; k < CLIENTS_MAX; k++)
		s.client[k] = -1;
	if (!jail_root(jail, NULL, &err) || !jail_seal(jail, &err))
		_exit(cli_fail(&err));
	printf("serving %s\n", i->path);
	fflush(stdout);
	run(&s, listener, leash);
	image_close(i);
	_exit(0);
}

/* Until we are told to end, or the child has ended: it may also just have been stopped. */
static void wait_signal(int signals, pid_t child)
{
	struct signalfd_siginfo info;
	siginfo_t ended;
	do
		ended.si_pid = 0;
	while (fd_read_full(signals, &info, sizeof(info)) && info.ssi_signo == SIGCHLD &&
	       !waitid(P_PID, (id_t)child, &ended, WEXITED | WNOHANG | WNOWAIT) && !ended.si_pid);
}

/* The image is the child's from now on. Its status, when a signal or its end has come. */
static int serve_jailed(struct image *i, const struct serve_options *o, bool readonly, int listener, int signals,
			struct error *err)
{
	struct jail jail = { .role = JAIL_NBD, .mode = JAIL_AUTO };
	int leash[2];
	if (o->jail && !jail_mode_parse(o->jail, &jail.mode))
		return error_minus(err, 0, "jail '%s' is not known: use auto, require or none", o->jail);
	if (pipe2(leash, O_CLOEXEC))
		return error_minus(err, errno, "cannot create a pipe");
	pid_t pid = jail_fork(&jail, err);
	if (pid == 0) {
		close(leash[1]);
		child(&jail, i, o, readonly, listener, leash[0]);
	}
	close(leash[0]);
	if (pid > 0)
		wait_signal(signals, pid);
	close(leash[1]);
	int status = pid > 0 ? wait_child(pid) : -1;
	return pid < 0 ? -1 : WIFEXITED(status) ? WEXITSTATUS(status) : error_minus(err, 0, "the server died");
}

static int serve(const char *path, const struct serve_options *o, int signals, struct error *err)
{
	bool readonly = o->readonly || o->snapshot || o->bitmap;
	struct image *i = disk_tool_open(path, o->format, readonly, err);
	auto_close int listener = -1;
	if (i && (!o->snapshot || qcow2_snapshot_show(i, o->snapshot, err)) && has_bitmap(i, o->bitmap, err))
		listener = o->socket ? listen_unix(o->socket, err) : listen_tcp(o->listen, err);
	if (listener < 0) {
		image_close(i);
		return -1;
	}
	int status = serve_jailed(i, o, readonly, listener, signals, err);
	if (o->socket)
		unlink(o->socket);
	return status;
}

int disk_serve(int argc, char **argv)
{
	struct serve_options o = { 0 };
	const char *words[1];
	struct error err;
	sigset_t set;
	int status = cli_parse((struct cli_group[]){ { serve_options, &o }, { NULL } }, argc, argv, words, 1, 1);
	if (status >= 0)
		return status;
	if (!o.socket == !o.listen || (o.name && strlen(o.name) > 255)) {
		error_set(&err, 0, o.name && strlen(o.name) > 255 ? "the name of an export has at most 255 bytes" :
			  "where to serve it is missing: give either --socket PATH or --listen PORT");
		return cli_usage(&err);
	}
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	auto_close int signals = signalfd(-1, &set, SFD_CLOEXEC);
	status = serve(words[0], &o, signals, &err);
	return status < 0 ? cli_fail(&err) : status;
}
