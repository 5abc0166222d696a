/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme cp: files between this host and a container, whichever its wall. On the other side the
 * shim beside the program (session/shim.h) packs or unpacks a tar stream; on this one a child does.
 */
#include "cli/name.h"
#include "cli/session.h"
#include "container/copy.h"
#include "container/json.h"
#include "instance/container_rest.h"
#include "instance/store.h"
#include "session/frame.h"
#include "session/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define ROOT_NAME "_"             /* what the copied file is called on the way */
enum { SAID_MOST = 400 };

struct cp_options { bool archive, follow; };
#define TARGET struct cp_options
#include "cli/table.h"

static const struct cli_option cp_options[] = {
	FLAG("--archive", archive, "keep owners (where we may) and set-ID bits"),
	FLAG("-a", archive, "the same"),
	FLAG("--follow-link", follow, "copy what the link SOURCE leads to"),
	FLAG("-L", follow, "the same"),
	{ NULL }
};

/* One end: of an instance, of this host, or a tar stream ("-"). */
struct place { char *instance, *path; bool stream; };

/* NAME:PATH, unless it cannot be a name. */
static struct place place_of(const char *word)
{
	const char *colon = *word == '/' || *word == '.' ? NULL : strchr(word, ':');
	return (struct place){ .instance = colon ? strndup(word, (size_t)(colon - word)) : NULL,
		.path = xstrdup(colon ? colon + 1 : word), .stream = !strcmp(word, "-") };
}

static void place_free(struct place *p)
{
	free(p->instance);
	free(p->path);
}

/* Of a container: from "/", without "..", as Docker takes it. What was a directory, is. */
static char *absolute(const char *path)
{
	char *clean = xmalloc(strlen(path) + 3), *end = clean;
	bool directory = true;
	for (const char *p = path; *p; ) {
		size_t n = strcspn(p, "/");
		bool up = n == 2 && !memcmp(p, "..", 2), stay = !n || (n == 1 && *p == '.');
		if (up)
			while (end > clean && *--end != '/')
				;
		else if (!stay)
			end += sprintf(end, "/%.*s", (int)n, p);
		directory = up || stay || p[n] == '/';
		p += n + (p[n] == '/');
	}
	strcpy(end, directory ? "/" : "");
	return clean;
}

/* The last part; "": a directory's content is meant. */
static char *base_name(const char *path)
{
	size_t n;
	const char *last = path_last(path, &n);
	char *name = strndup(last, n);
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		*name = 0;
	return name;
}

static bool send_request(int fd, const struct cp_options *o, bool out, const char *path, const char *name, struct error *err)
{
	struct json_out j = { 0 };
	json_open(&j, NULL, '{');
	json_put_str(&j, "copy", out ? "out" : "in");
	json_put_str(&j, "path", path);
	if (name)
		json_put_str(&j, "name", name);
	json_put_bool(&j, "follow", out && o->follow);
	json_put_bool(&j, "owners", !out && o->archive);
	json_close(&j, '}');
	bool ok = (j.length <= FRAME_MAX && frame_send(fd, FRAME_START, j.text, j.length)) || error_set(err, 0, "the instance does not listen");
	json_out_free(&j);
	return ok;
}

/* ---- this side ---- */

static NORETURN void copy_here(const struct place *p, const struct cp_options *o, bool out, const char *name, int stream)
{
	struct error err = { 0 };
	auto_free char *here = getcwd(NULL, 0);
	auto_free char *path = *p->path == '/' ? xstrdup(p->path) : xasprintf("%s/%s", here ? here : "", p->path);
	auto_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const struct copy c = { .root = root, .path = path, .name = out ? ROOT_NAME : name, .follow = o->follow, .owners = o->archive,
		.confined = true };
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (out)
		signal(SIGPIPE, SIG_DFL);      /* who reads has a better reason to end */
	_exit((out ? copy_out : copy_in)(&c, stream, &err) ? 0 : cli_fail(&err));
}

/* Our standard output, or input, becomes a pipe to the child. */
static pid_t start_here(const struct place *p, const struct cp_options *o, bool out, const char *name, struct error *err)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC))
		return error_minus(err, errno, "cannot create a pipe");
	pid_t pid = fork();
	if (!pid) {
		close(fds[!out]);      /* the end that is our parent's: it must see the other's end */
		copy_here(p, o, out, name, fds[out]);
	}
	dup2(fds[!out], !out);
	close(fds[0]);
	close(fds[1]);
	return pid >= 0 ? pid : error_minus(err, errno, "cannot start a process");
}

/* ---- the other ---- */

/* It has said why; what comes from a guest is shown with printable characters only. */
static void tell_other(int said)
{
	struct error err = { 0 };
	char text[SAID_MOST] = "";
	ssize_t n UNUSED = pread(said, text, sizeof(text) - 1, 0);
	text[strcspn(text, "\n")] = 0;
	for (char *p = text; *p; p++)
		*p = *p >= ' ' && *p < 0x7f ? *p : '?';
	error_set(&err, 0, "%s", *text ? shim_sentence(text) : "the copy was broken off");
	cli_fail(&err);
}

static void broken_pipe(int sig) { _exit(STATUS_FAILED); }

/* Pass the stream on; its errors go to `said`. */
static enum session_end join(int fd, bool out, int said, int *status, struct error *err)
{
	const struct session s = { .fd = fd, .input = !out, .keep_signals = true };
	auto_close int errors = dup(2);
	signal(SIGPIPE, out ? broken_pipe : SIG_IGN);
	dup2(said, 2);
	enum session_end end = session_join(&s, status, err);
	dup2(errors, 2);
	return end;
}

/* A child that failed has said so, and then what the other side says is but the consequence. */
static int run_both(int fd, pid_t pid, bool out)
{
	struct error err = { 0 };
	auto_close int said = memfd_create("said", MFD_CLOEXEC);
	int there = 0;
	enum session_end end = join(fd, out, said, &there, &err);
	bool failed = end != SESSION_EXIT || there;
	if (failed && pid && out)
		kill(pid, SIGKILL);
	close(out);
	int here = pid ? wait_child(pid) : 0;
	if (failed && !(WIFEXITED(here) && WEXITSTATUS(here))) {
		if (end == SESSION_EXIT)
			tell_other(said);
		else
			cli_fail(end == SESSION_FAILED ? &err : (error_set(&err, 0, "the connection to the instance was lost"), &err));
	}
	return failed || here ? STATUS_FAILED : 0;
}

/* Its shim; of an image's instance that does not run one that comes for this alone: its process. */
static int reach(struct instance *i, pid_t *resting, struct error *err)
{
	struct definition *d = instance_keeper(i) ? NULL : instance_definition(i, err);
	bool rests = d && definition_isolation(d) != ISOLATION_VM;
	int fd = rests ? container_rest(i, d, resting, err) : instance_connect(i, "exec.sock", err);
	definition_free(d);
	return fd;
}

static int copy(const struct place *from, const struct place *to, const struct cp_options *o, struct error *err)
{
	const bool out = from->instance;
	const struct place *there = out ? from : to, *here = out ? to : from;
	auto_free char *name = base_name(from->path);
	const char *asked = here->stream ? (out ? name : NULL) : out ? ROOT_NAME : name;
	struct instance *i = instance_open(there->instance, err);
	pid_t resting = 0;
	int fd = i ? reach(i, &resting, err) : -1;
	auto_free char *path = absolute(there->path);
	bool ok = fd >= 0 && send_request(fd, o, out, path, asked, err);
	pid_t pid = ok && !here->stream ? start_here(here, o, !out, name, err) : 0;
	int status = ok && pid >= 0 ? run_both(fd, pid, out) : cli_fail(err);
	close_fd(&fd);
	if (resting > 0)              /* until it has let go of the instance */
		wait_child(resting);
	instance_close(i);
	return status;
}

static bool check(const struct place *from, const struct place *to, struct error *err)
{
	if (!from->instance == !to->instance)
		return error_set(err, 0, from->instance ? "between two instances files go by way of the host" :
				 "one of both must be of an instance: NAME:PATH");
	if (!*from->path && !from->instance)
		return error_set(err, 0, "there is nothing to copy");
	return !to->stream || !isatty(1) || error_set(err, 0, "the archive would go to the terminal: redirect it");
}

int verb_cp(int argc, char **argv)
{
	struct cp_options o = { 0 };
	struct error err = { 0 };
	const char *words[2] = { NULL };
	const struct cli_group groups[] = { { cp_options, &o }, { NULL } };
	int status = cli_parse(groups, argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	struct place from = place_of(words[0]), to = place_of(words[1]);
	status = check(&from, &to, &err) ? copy(&from, &to, &o, &err) : cli_usage(&err);
	place_free(&from);
	place_free(&to);
	return status;
}
