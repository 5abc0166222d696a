/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The init's listeners and what it does for each connection: see guest.h. */
#include "guest/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "container/schema.h"

static int held_listen;
static struct shim shim = { .oci = "/init", .records = GUEST_RECORDS, .bundle = GUEST_BUNDLE, .id = GUEST_PROGRAM, .leave = true };

/* ---- the host's first words ---- */

/* A name, a NUL, bytes that are appended. */
static bool take_file(const struct frame *f, struct error *err)
{
	const char *name = (const char *)f->data;
	size_t n = strnlen(name, f->n);
	if (!n || n == f->n || strchr(name, '/'))
		return error_set(err, 0, "this is no name of a file");
	auto_close int dir = open(GUEST_BUNDLE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0644);
	return (fd >= 0 && fd_write_full(fd, name + n + 1, f->n - n - 1)) || error_set(err, errno, "cannot write '%s'", name);
}

/* These are mounted in the container: the same files get new words. */
static void forget_names(void)
{
	static const char *const names[] = { "hosts", "hostname", "resolv.conf" };
	auto_close int dir = open(GUEST_BUNDLE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		auto_close int fd UNUSED = openat(dir, names[i], O_WRONLY | O_TRUNC | O_CLOEXEC);
	}
}

static void forget_files(void)
{
	unlink(GUEST_BUNDLE "/config.json");
	unlink(GUEST_BUNDLE "/limits.json");
	forget_names();
}

/* Files, then FRAME_START. */
static bool read_start(int sock, struct frames *in, struct frame *start, struct error *err)
{
	int more;
	for (;;) {
		while (!(more = frames_next(in, start)))
			if (frames_fill(in, sock) <= 0)
				return error_set(err, 0, "the request did not come");
		if (more > 0 && start->kind == FRAME_START)
			return true;
		if (more < 0 || start->kind != FRAME_FILE)
			return error_set(err, 0, "the request must come first");
		if (!take_file(start, err))
			return false;
	}
}

/* ---- the three ports ---- */

static void keep_disk(void *opaque) { sync(); }

/* What held the program has been told; the host, another one perhaps, calls again. */
static bool begin(void *opaque, struct error *err)
{
	int *sock = opaque;
	struct frames *in = xnew(struct frames);
	struct frame f;
	struct guest_setup s = { 0 };
	frame_send(*sock, FRAME_HELD, NULL, 0);
	int again = accept4(held_listen, NULL, NULL, SOCK_CLOEXEC);
	if (again < 0 || dup3(again, *sock, O_CLOEXEC) < 0)
		return error_set(err, errno, "the host did not call");
	close(again);
	forget_names();
	if (!read_start(*sock, in, &f, err) || !guest_begin((const char *)f.data, f.n, &s, err))
		return false;
	shim.early = in;
	shim.ended = s.keep ? keep_disk : NULL;
	return true;
}

static int serve_program(int sock)
{
	struct frames *in = xnew(struct frames);
	struct frame f;
	struct guest_setup s;
	struct error err = { 0 };
	forget_files();
	if (!read_start(sock, in, &f, &err) || !guest_set_up((const char *)f.data, f.n, &s, &err)) {
		frame_send(sock, FRAME_FAILED, err.text, strlen(err.text));
		return 1;
	}
	shim.terminal = s.terminal;
	shim.ended = s.keep ? keep_disk : NULL;
	shim.early = in;
	shim.held = s.held;
	shim.start = s.held ? begin : NULL;
	shim.opaque = &sock;
	return s.rest ? shim_rest(sock, &shim) : shim_main(sock, &shim);
}

static int serve_exec(int sock) { return shim_exec(sock, &shim); }

struct words { struct strings args; };
static const struct field words_fields[] = {
	FIELD_MUST(STRINGS, struct words, "args", args),
	{ NULL, FIELD_STR, false, 0, 0, NULL }
};

static int serve_runtime(int sock)
{
	struct frames *in = xnew(struct frames);
	struct arena a = { 0 };
	struct words w = { 0 };
	struct error err = { 0 };
	struct frame f;
	char *said = NULL;
	unlink(GUEST_BUNDLE "/limits.json");
	bool ok = read_start(sock, in, &f, &err);
	struct json *v = ok ? json_parse(&a, (const char *)f.data, f.n, "the request", &err) : NULL;
	if (!v || !schema_read(&a, v, "", words_fields, &w, &err) || !w.args.n) {
		frame_send(sock, FRAME_FAILED, err.text, strlen(err.text));
		return 1;
	}
	int status = shim_oci(&shim, w.args.v, &said);
	for (size_t n = said ? strlen(said) : 0, at = 0; at < n; at += FRAME_MAX)
		frame_send(sock, FRAME_OUTPUT, said + at, MIN(n - at, (size_t)FRAME_MAX));
	frame_send_u32(sock, FRAME_EXIT, status < 0 ? 255 : (uint32_t)status);
	return 0;
}

static const struct { unsigned port; int (*serve)(int sock); } services[] = {
	{ GUEST_PORT_PROGRAM, serve_program }, { GUEST_PORT_EXEC, serve_exec }, { GUEST_PORT_RUNTIME, serve_runtime },
};
enum { SERVICES = ARRAY_SIZE(services) };

/* ---- the loop ---- */

static int vsock_listen(unsigned port)
{
	const struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) || listen(fd, 16))
		guest_say("cannot listen on vsock", errno);
	return fd;
}

static void tell_awake(void)
{
	const struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = HOST_PORT_AWAKE };
	auto_close int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof(a)))
		guest_say("cannot call the host", errno);
}

static void accept_one(const int *listening, unsigned which)
{
	int sock = accept4(listening[which], NULL, NULL, SOCK_CLOEXEC);
	if (sock < 0)
		return;
	pid_t pid = fork();
	if (!pid) {
		for (unsigned i = 0; i < SERVICES; i++)
			close(listening[i]);
		_exit(services[which].serve(sock));
	}
	close(sock);
}

static void reap(int signals)
{
	struct signalfd_siginfo info;
	while (read(signals, &info, sizeof(info)) == sizeof(info))
		;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static int watch_children(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

NORETURN void guest_main(void)
{
	struct pollfd q[SERVICES + 1];
	int listening[SERVICES];
	guest_boot();
	for (unsigned i = 0; i < SERVICES; i++) {
		listening[i] = vsock_listen(services[i].port);
		q[i] = (struct pollfd){ listening[i], POLLIN, 0 };
	}
	held_listen = vsock_listen(GUEST_PORT_HELD);
	q[SERVICES] = (struct pollfd){ watch_children(), POLLIN, 0 };
	tell_awake();
	for (;;) {
		if (poll(q, ARRAY_SIZE(q), -1) < 0)
			continue;
		for (unsigned i = 0; i < SERVICES; i++)
			if (q[i].revents & POLLIN)
				accept_one(listening, i);
		if (q[SERVICES].revents)
			reap(q[SERVICES].fd);
	}
}
