/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runtime-spec config.md "POSIX-platform Hooks": programs with the state on their input. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "container/kernel.h"
#include "container/launch.h"

static NORETURN void run_hook(const struct spec_hook *h, int input)
{
	static const char *no_env[] = { NULL };
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	const char *argv[] = { h->path, NULL };
	if (dup2(input, 0) != 0)
		_exit(126);
	sys_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	execve(h->path, (char *const *)(h->args.n ? h->args.v : argv), (char *const *)(h->env.v ? h->env.v : no_env));
	fprintf(stderr, "%s: %s\n", h->path, strerror(errno));
	_exit(127);
}

/* Wait at most so many seconds (none: for ever), then kill. */
static int wait_hook(pid_t pid, int64_t seconds, bool *late)
{
	auto_close int fd = sys_pidfd_open(pid);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	*late = seconds > 0 && poll(&p, 1, (int)MIN(seconds * 1000, (int64_t)INT32_MAX)) == 0;
	if (*late)
		kill(pid, SIGKILL);
	return wait_child(pid);
}

static int state_file(struct container *c, const char *status, pid_t pid)
{
	struct json_out out = { 0 };
	container_state_json(c, status, pid, &out);
	int fd = memfd_create("state", MFD_CLOEXEC);
	bool ok = fd >= 0 && fd_pwrite_full(fd, out.text, out.length, 0);
	json_out_free(&out);
	return ok ? fd : -1;
}

static bool run_one(const struct spec_hook *h, const char *what, struct container *c, const char *status, pid_t pid,
	struct error *err)
{
	bool late;
	auto_close int input = state_file(c, status, pid);
	pid_t child = input < 0 ? -1 : fork();
	if (!child)
		run_hook(h, input);
	if (child < 0)
		return error_set(err, errno, "cannot run %s hook '%s'", what, h->path);
	int result = wait_hook(child, h->timeout.set ? h->timeout.v : 0, &late);
	if (late)
		return error_set(err, 0, "%s hook '%s' did not end within %d s", what, h->path, (int)h->timeout.v);
	if (WIFSIGNALED(result))
		return error_set(err, 0, "%s hook '%s' was ended by signal %d", what, h->path, WTERMSIG(result));
	return !result || error_set(err, 0, "%s hook '%s' failed with status %d", what, h->path, WEXITSTATUS(result));
}

bool hooks_run(const spec_hooks *h, const char *what, struct container *c, const char *status, pid_t pid,
	bool go_on, struct error *err)
{
	bool ok = true;
	for (unsigned i = 0; i < h->n && (ok || go_on); i++)
		ok = run_one(&h->v[i], what, c, status, pid, ok ? err : NULL) && ok;
	return ok;
}
