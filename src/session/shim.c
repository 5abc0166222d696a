/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The program's side of a session: see shim.h.  Single-threaded; signals come through a
 * signalfd.  The programs are children of the runtime, which ends: as a subreaper we get them.
 */
#include "session/shim.h"
#include "base/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "container/channel.h"
#include "container/launch.h"
#include "container/passwd.h"
#include "container/root_path.h"

enum { MAX_WORDS = 4096, INPUT_ROOM = 64 << 10, STATUS_NOT_STARTED = 125 };

struct program {
	const struct shim *shim;
	int sock, signals;
	pid_t pid;
	bool terminal, ended;
	bool copies;                  /* files: nobody but the other side wants it */
	int status;                   /* of wait() */
	int in[2], out[2], errors[2]; /* pipes: 0 read, 1 write */
	int console;                  /* listens for the terminal */
	int master;                   /* the terminal */
	char socket[40], pid_file[40];
	bool talking;                 /* the other side is there */
	uint8_t input[INPUT_ROOM];    /* what the program has not taken yet */
	size_t input_used;
	bool input_ends;
	struct frames frames;
};

/* ---- the runtime ---- */

static NORETURN void exec_oci(const struct shim *s, const char *const *words, const int stdio[3])
{
	const char *argv[MAX_WORDS + 8] = { "abyme-oci", "--root", s->records };
	unsigned n = 3;
	int kept[3];
	sigset_t none;
	if (s->systemd)
		argv[n++] = "--systemd-cgroup";
	for (unsigned i = 0; words[i] && n < MAX_WORDS + 6; i++)
		argv[n++] = words[i];
	for (int i = 0; i < 3; i++)      /* first out of the way of 0, 1, 2 */
		kept[i] = stdio[i] >= 0 ? fcntl(stdio[i], F_DUPFD_CLOEXEC, 3) : open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 3; i++)
		dup2(kept[i], i);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execv(s->oci, (char *const *)argv);
	dprintf(2, "cannot start %s: %s\n", s->oci, strerror(errno));
	_exit(127);
}

static int wait_for(pid_t pid)
{
	int status = wait_child(pid);
	return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run_oci(const struct shim *s, const char *const *words, const int stdio[3])
{
	pid_t pid = fork();
	if (!pid)
		exec_oci(s, words, stdio);
	return wait_for(pid);
}

static char *read_all(int fd)
{
	size_t n = 0, room = 4096;
	char *text = xmalloc(room);
	for (ssize_t r; (r = read(fd, text + n, room - n - 1)) > 0; ) {
		n += (size_t)r;
		if (n + 1 == room && room < MiB)
			text = xrealloc(text, room *= 2);
	}
	text[n] = 0;
	return text;
}

int shim_oci(const struct shim *s, const char *const *words, char **output)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC))
		return -1;
	pid_t pid = fork();
	if (!pid)
		exec_oci(s, words, (const int[3]){ -1, fds[1], fds[1] });
	close(fds[1]);
	*output = read_all(fds[0]);
	close(fds[0]);
	return wait_for(pid);
}

const char *shim_sentence(char *said)
{
	static const char who[] = "abyme-oci: ";
	said[strcspn(said, "\n")] = 0;
	said += strncmp(said, who, strlen(who)) ? 0 : strlen(who);
	return *said ? said : "the container runtime failed";
}

/* ---- making ---- */

static bool listen_console(struct program *p, int dir, struct error *err)
{
	snprintf(p->socket, sizeof(p->socket), ".console-%d", (int)getpid());
	p->console = unix_listen_at(dir, p->socket, SOCK_STREAM, 1);
	return p->console >= 0 || error_set(err, errno, "cannot make a socket for the terminal");
}

static bool take_terminal(struct program *p, struct error *err)
{
	struct pollfd q = { p->console, POLLIN, 0 };
	auto_close int line = poll(&q, 1, 0) > 0 ? accept4(p->console, NULL, NULL, SOCK_CLOEXEC) : -1;
	return line >= 0 ? terminal_receive(line, &p->master, err) : error_set(err, 0, "the container did not send its terminal");
}

static bool make_pipes(struct program *p, struct error *err)
{
	if (pipe2(p->in, O_CLOEXEC) || pipe2(p->out, O_CLOEXEC) || pipe2(p->errors, O_CLOEXEC))
		return error_set(err, errno, "cannot create pipes");
	return true;
}

/* The runtime's own words came where the program's errors would have come. */
static bool failed(struct program *p, struct error *err)
{
	close_fd(&p->errors[1]);
	close_fd(&p->out[1]);
	auto_free char *text = read_all(p->errors[0]);
	return error_set(err, 0, "%s", shim_sentence(text));
}

static bool read_pid(struct program *p, int dir, struct error *err)
{
	char text[16] = "";
	uint64_t pid = 0;
	auto_close int fd = openat(dir, p->pid_file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || !parse_u64(text, 1, INT32_MAX, &pid))
		return error_set(err, 0, "the container runtime told no PID");
	p->pid = (pid_t)pid;
	return true;
}

/* The others are the child's, which has them. */
static void keep_our_ends(struct program *p)
{
	close_fd(&p->in[0]);
	close_fd(&p->out[1]);
	close_fd(&p->errors[1]);
	fcntl(p->in[1], F_SETFL, O_NONBLOCK);
}

/* create, or exec --detach: with our streams, or a terminal that it sends. */
static bool launch(struct program *p, const char *const *words, unsigned n, struct error *err)
{
	const char *all[MAX_WORDS];
	char socket[4200], pid_file[4200];
	auto_close int dir = open(p->shim->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(p->pid_file, sizeof(p->pid_file), ".pid-%d", (int)getpid());
	if (dir < 0 || !make_pipes(p, err) || (p->terminal && !listen_console(p, dir, err)))
		return dir >= 0 ? false : error_set(err, errno, "cannot open the bundle");
	snprintf(socket, sizeof(socket), "%s/%s", p->shim->bundle, p->socket);
	snprintf(pid_file, sizeof(pid_file), "%s/%s", p->shim->bundle, p->pid_file);
	unsigned k = 0;
	all[k++] = words[0];
	all[k++] = "--pid-file";
	all[k++] = pid_file;
	if (p->terminal) {
		all[k++] = "--console-socket";
		all[k++] = socket;
	}
	for (unsigned i = 1; i < n && k < MAX_WORDS - 1; i++)
		all[k++] = words[i];
	all[k] = NULL;
	int status = run_oci(p->shim, all, (const int[3]){ p->terminal ? -1 : p->in[0], p->terminal ? -1 : p->out[1], p->errors[1] });
	bool ok = !status ? read_pid(p, dir, err) && (!p->terminal || take_terminal(p, err)) : failed(p, err);
	unlinkat(dir, p->pid_file, 0);
	if (p->terminal)
		unlinkat(dir, p->socket, 0);
	close_fd(&p->console);
	keep_our_ends(p);
	if (p->terminal) {
		close_fd(&p->in[1]);
		close_fd(&p->out[0]);
		close_fd(&p->errors[0]);
	}
	return ok;
}

/* ---- pumping ---- */

static int input_fd(const struct program *p) { return p->terminal ? p->master : p->in[1]; }

static void push_input(struct program *p)
{
	int fd = input_fd(p);
	ssize_t n = p->input_used && fd >= 0 ? write(fd, p->input, p->input_used) : 0;
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		n = (ssize_t)p->input_used;      /* nobody reads it any more */
	if (fd < 0)
		n = (ssize_t)p->input_used;
	if (n > 0) {
		memmove(p->input, p->input + n, p->input_used - (size_t)n);
		p->input_used -= (size_t)n;
	}
	if (!p->input_used && p->input_ends && !p->terminal)
		close_fd(&p->in[1]);
}

static void set_size(struct program *p, const struct frame *f)
{
	struct winsize w = { 0 };
	if (f->n != 4 || p->master < 0)
		return;
	w.ws_row = le16_get(f->data);
	w.ws_col = le16_get(f->data + 2);
	ioctl(p->master, TIOCSWINSZ, &w);
}

static void obey(struct program *p, const struct frame *f)
{
	uint32_t sig = frame_u32(f);
	switch (f->kind) {
	case FRAME_INPUT:
		if (p->terminal && !f->n && p->input_used < INPUT_ROOM)
			p->input[p->input_used++] = 4;      /* ^D */
		p->input_ends |= !f->n;
		memcpy(p->input + p->input_used, f->data, MIN(f->n, INPUT_ROOM - p->input_used));
		p->input_used += MIN(f->n, INPUT_ROOM - p->input_used);
		push_input(p);
		break;
	case FRAME_SIZE:
		set_size(p, f);
		break;
	case FRAME_SIGNAL:
		if (sig && sig < _NSIG)
			kill(p->pid, (int)sig);
		break;
	default:
		break;
	}
}

/* A frame is taken only when its data has room. */
static void read_frames(struct program *p)
{
	struct frame f;
	int more;
	while (!p->input_used && (more = frames_next(&p->frames, &f)) > 0)
		obey(p, &f);
}

static void read_socket(struct program *p)
{
	int n = frames_fill(&p->frames, p->sock);
	if (!n || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		p->talking = false;
		return;
	}
	read_frames(p);
}

/* False: nothing more will come. */
static bool pass_output(struct program *p, int *fd, enum frame_kind kind)
{
	static char buf[FRAME_MAX];
	ssize_t n = read(*fd, buf, sizeof(buf));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n > 0) {
		p->talking = p->talking && frame_send(p->sock, kind, buf, (size_t)n);
		return true;
	}
	close_fd(fd);
	return false;
}

static void reap(struct program *p)
{
	struct signalfd_siginfo info;
	int status;
	while (read(p->signals, &info, sizeof(info)) == sizeof(info))
		;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0; )
		if (pid == p->pid) {
			p->ended = true;
			p->status = status;
		}
}

/* What is in the pipes when the program is gone; others that still hold them do not count. */
static void drain(struct program *p, int *fd, enum frame_kind kind)
{
	struct pollfd q = { *fd, POLLIN, 0 };
	while (*fd >= 0 && poll(&q, 1, 0) > 0 && pass_output(p, fd, kind))
		;
}

static void pump(struct program *p)
{
	while (!p->ended) {
		bool want_input = p->input_used && input_fd(p) >= 0;
		struct pollfd q[] = {
			{ p->signals, POLLIN, 0 },
			{ p->talking && !p->input_used ? p->sock : -1, POLLIN, 0 },
			{ p->terminal ? p->master : p->out[0], POLLIN, 0 },
			{ p->errors[0], POLLIN, 0 },
			{ want_input ? input_fd(p) : -1, POLLOUT, 0 },
		};
		if (poll(q, ARRAY_SIZE(q), -1) < 0)
			continue;
		if (q[4].revents) {
			push_input(p);
			read_frames(p);
		}
		if (q[1].revents)
			read_socket(p);
		if (q[2].revents)
			pass_output(p, p->terminal ? &p->master : &p->out[0], FRAME_OUTPUT);
		if (q[3].revents)
			pass_output(p, &p->errors[0], FRAME_ERRORS);
		if (q[0].revents)
			reap(p);
		if (p->copies && !p->talking && !p->ended)
			kill(p->pid, SIGKILL);
	}
	drain(p, p->terminal ? &p->master : &p->out[0], FRAME_OUTPUT);
	drain(p, &p->errors[0], FRAME_ERRORS);
}

static struct program *program_new(int sock, const struct shim *s)
{
	struct program *p = xnew(struct program);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	p->shim = s;
	p->sock = sock;
	p->talking = true;
	p->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	p->in[0] = p->in[1] = p->out[0] = p->out[1] = p->errors[0] = p->errors[1] = p->console = p->master = -1;
	return p;
}

static int exit_code(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

static int tell_failure(struct program *p, const struct error *err)
{
	frame_send(p->sock, FRAME_FAILED, err->text, strlen(err->text));
	return STATUS_NOT_STARTED;
}

static void take_early(struct program *p)
{
	if (p->shim->early)
		p->frames = *p->shim->early;
}

/* From here on the program runs. */
static int serve(struct program *p)
{
	frame_send_u32(p->sock, FRAME_RUNNING, (uint32_t)p->pid);
	read_frames(p);
	pump(p);
	return exit_code(p->status);
}

static bool start(const struct shim *s, struct error *err)
{
	char *said = NULL;
	const char *const words[] = { "start", s->id, NULL };
	bool ok = !shim_oci(s, words, &said);
	if (!ok)
		error_set(err, 0, "%s", said ? shim_sentence(said) : "cannot call the container runtime");
	free(said);
	return ok;
}

static bool has_record(const struct shim *s)
{
	auto_free char *path = xasprintf("%s/%s", s->records, s->id);
	return !access(path, F_OK);
}

static void remove_container(const struct shim *s)
{
	const char *const words[] = { "delete", "--force", s->id, NULL };
	char *said = NULL;
	shim_oci(s, words, &said);
	free(said);
}

int shim_main(int sock, const struct shim *s)
{
	struct error err = { 0 };
	struct program *p = program_new(sock, s);
	const char *const create[] = { "create", "--bundle", s->bundle, s->held ? "--held" : s->id, s->id };
	int status;
	p->terminal = s->terminal;
	if (has_record(s))               /* what a sudden death may have left */
		remove_container(s);
	bool ok = launch(p, create, ARRAY_SIZE(create) - !s->held, &err) && (!s->created || s->created(p->pid, s->opaque, &err)) &&
		(s->start ? s->start(s->opaque, &err) : start(s, &err));
	take_early(p);
	status = ok ? serve(p) : tell_failure(p, &err);
	if (!s->leave)
		remove_container(s);
	if (s->ended)
		s->ended(s->opaque);
	if (ok)
		frame_send_u32(sock, FRAME_EXIT, (uint32_t)status);
	return status;
}

/* ---- exec ---- */

struct exec_request {
	struct strings args, env;
	const char *cwd, *user, *copy, *path, *name;
	bool terminal, detach, follow, owners;
};
static const struct field exec_fields[] = {
	FIELD(STRINGS, struct exec_request, "args", args),
	FIELD(STRINGS, struct exec_request, "env", env),
	FIELD(STR, struct exec_request, "cwd", cwd),
	FIELD(STR, struct exec_request, "user", user),
	FIELD(BOOL, struct exec_request, "terminal", terminal),
	FIELD(BOOL, struct exec_request, "detach", detach),
	FIELD(STR, struct exec_request, "copy", copy),
	FIELD(STR, struct exec_request, "path", path),
	FIELD(STR, struct exec_request, "name", name),
	FIELD(BOOL, struct exec_request, "follow", follow),
	FIELD(BOOL, struct exec_request, "owners", owners),
	{ NULL, FIELD_STR, false, 0, 0, NULL }
};

/* The first frame, which is all that may come before we answer. */
static bool read_request(struct program *p, struct arena *a, struct exec_request *r, struct error *err)
{
	struct frame f;
	int more;
	while (!(more = frames_next(&p->frames, &f)))
		if (frames_fill(&p->frames, p->sock) <= 0)
			return error_set(err, 0, "the request did not come");
	if (more < 0 || f.kind != FRAME_START)
		return error_set(err, 0, "the request must come first");
	const char *text = arena_copy(a, (const char *)f.data, f.n);
	struct json *v = json_parse(a, text, f.n, "the request", err);
	return v && schema_read(a, v, "", exec_fields, r, err) && (r->args.n || (r->copy && r->path) || error_set(err, 0, "there is no command"));
}

/* The user's IDs, as the container's own files have them. */
static bool exec_user(struct program *p, struct arena *a, const char *user, const char **word, struct strings *groups, struct error *err)
{
	struct passwd_user u;
	if (!passwd_find_in(p->shim->bundle, user, &u, err))
		return false;
	*word = arena_printf(a, "%u:%u", u.uid, u.gid);
	groups->v = arena_alloc(a, (u.ngroups + 1) * sizeof(*groups->v));
	for (groups->n = 0; groups->n < u.ngroups; groups->n++)
		groups->v[groups->n] = arena_printf(a, "%u", u.groups[groups->n]);
	return true;
}

static bool launch_exec(struct program *p, struct arena *a, const struct exec_request *r, struct error *err)
{
	const char *words[MAX_WORDS] = { "exec", "--detach" }, *user = NULL;
	struct strings groups = { 0 };
	unsigned n = 2;
	if (r->args.n + 2 * r->env.n + 200 > MAX_WORDS)
		return error_set(err, 0, "the command has too many words");
	if (r->user && !exec_user(p, a, r->user, &user, &groups, err))
		return false;
	const struct { const char *option, *value; } given[] = { { "--cwd", r->cwd }, { "--user", user } };
	for (unsigned i = 0; i < ARRAY_SIZE(given); i++)
		if (given[i].value) {
			words[n++] = given[i].option;
			words[n++] = given[i].value;
		}
	for (unsigned i = 0; i < groups.n; i++) {
		words[n++] = "--additional-gids";
		words[n++] = groups.v[i];
	}
	for (unsigned i = 0; i < r->env.n; i++) {
		words[n++] = "--env";
		words[n++] = r->env.v[i];
	}
	if (r->terminal)
		words[n++] = "--tty";
	words[n++] = p->shim->id;
	for (unsigned i = 0; i < r->args.n; i++)
		words[n++] = r->args.v[i];
	p->terminal = r->terminal;
	return launch(p, words, n, err);
}

/* The runtime itself reads or writes the stream. */
static bool launch_copy(struct program *p, const struct exec_request *r, struct error *err)
{
	const char *words[8] = { strcmp(r->copy, "in") ? "archive" : "extract" };
	unsigned n = 1;
	if (r->follow)
		words[n++] = "--follow";
	if (r->owners)
		words[n++] = "--owners";
	if (r->name) {
		words[n++] = "--name";
		words[n++] = r->name;
	}
	words[n++] = p->shim->id;
	words[n++] = r->path;
	p->copies = true;
	if (!make_pipes(p, err))
		return false;
	p->pid = fork();
	if (!p->pid)
		exec_oci(p->shim, words, (const int[3]){ p->in[0], p->out[1], p->errors[1] });
	keep_our_ends(p);
	return p->pid > 0 || error_set(err, errno, "cannot start a process");
}

int shim_exec(int sock, const struct shim *s)
{
	struct error err = { 0 };
	struct arena a = { 0 };
	struct exec_request r = { 0 };
	struct program *p = program_new(sock, s);
	int status;
	take_early(p);
	if (!read_request(p, &a, &r, &err) || !(r.copy ? launch_copy(p, &r, &err) : launch_exec(p, &a, &r, &err))) {
		status = tell_failure(p, &err);
	} else {
		if (r.detach) {
			frame_send_u32(sock, FRAME_RUNNING, (uint32_t)p->pid);
			frame_send_u32(sock, FRAME_EXIT, 0);
			p->talking = false;
			p->input_ends = true;
			push_input(p);
			shutdown(sock, SHUT_RDWR);
		}
		status = serve(p);
		if (s->ended)
			s->ended(s->opaque);
		frame_send_u32(sock, FRAME_EXIT, (uint32_t)status);
	}
	arena_free(&a);
	return status;
}

int shim_rest(int sock, const struct shim *s)
{
	struct error err = { 0 };
	struct program *p = program_new(sock, s);
	const char *const create[] = { "create", "--bundle", s->bundle, "--held", s->id };
	p->terminal = s->terminal;
	if (has_record(s))
		remove_container(s);
	int status = launch(p, create, ARRAY_SIZE(create), &err) ? shim_exec(sock, s) : tell_failure(p, &err);
	remove_container(s);
	return status;
}
