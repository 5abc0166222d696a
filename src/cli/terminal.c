/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The terminal's side of a console: see terminal.h. */
#include "cli/terminal.h"
#include "base/util.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>

enum { ESCAPE = 0x1d };   /* Ctrl-] */

struct terminal {
	int console, signals, stop;
	bool tty, input_open, escaped, done;
	enum terminal_end end;
	int signal;
	sigset_t old_mask;
	struct termios saved;
};

static void raw_mode(struct terminal *t)
{
	t->tty = isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &t->saved);
	if (!t->tty)
		return;
	struct termios raw = t->saved;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static void restore(struct terminal *t)
{
	if (t->tty)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &t->saved);
	sigprocmask(SIG_SETMASK, &t->old_mask, NULL);
	close(t->signals);
}

static void take_signals(struct terminal *t)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &t->old_mask);
	t->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void finish(struct terminal *t, enum terminal_end end)
{
	t->done = true;
	t->end = end;
}

static void to_console(struct terminal *t, const char *p, size_t n)
{
	while (n) {
		ssize_t r = send(t->console, p, n, MSG_NOSIGNAL);
		if (r < 0 && errno != EINTR)
			return;
		p += r > 0 ? r : 0;
		n -= r > 0 ? (size_t)r : 0;
	}
}

static void command(struct terminal *t, char c)
{
	static const char help[] = "\r\nCtrl-] then: d detach, k kill the machine, Ctrl-] send Ctrl-]\r\n";
	t->escaped = false;
	if (c == 'd')
		finish(t, TERMINAL_DETACHED);
	else if (c == 'k')
		finish(t, TERMINAL_KILL);
	else if (c == ESCAPE)
		to_console(t, &c, 1);
	else
		fd_write_full(STDERR_FILENO, help, sizeof(help) - 1);
}

static void read_input(struct terminal *t)
{
	char buf[1024];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
	if (n <= 0) {
		t->input_open = n < 0 && (errno == EINTR || errno == EAGAIN);
		return;
	}
	if (!t->tty) {
		to_console(t, buf, (size_t)n);
		return;
	}
	for (ssize_t i = 0; i < n && !t->done; i++) {
		if (t->escaped)
			command(t, buf[i]);
		else if (buf[i] == ESCAPE)
			t->escaped = true;
		else
			to_console(t, &buf[i], 1);
	}
}

/* False: the console has nothing more, now or ever. */
static bool read_console(struct terminal *t, int flags)
{
	char buf[16384];
	ssize_t n = recv(t->console, buf, sizeof(buf), flags);
	if (n < 0 && errno == EINTR)
		return true;
	if (n > 0)
		fd_write_full(STDOUT_FILENO, buf, (size_t)n);
	if (n == 0)
		finish(t, TERMINAL_CLOSED);
	return n > 0;
}

static void read_signal(struct terminal *t)
{
	struct signalfd_siginfo info;
	if (read(t->signals, &info, sizeof(info)) != sizeof(info))
		return;
	t->signal = (int)info.ssi_signo;
	finish(t, TERMINAL_SIGNAL);
}

static void stopped(struct terminal *t)
{
	while (!t->done && read_console(t, MSG_DONTWAIT))
		;
	finish(t, TERMINAL_CLOSED);
}

enum terminal_end terminal_join(int console_fd, int stop_fd, int *signal)
{
	struct terminal t = { .console = console_fd, .stop = stop_fd, .input_open = true };
	take_signals(&t);
	raw_mode(&t);
	while (!t.done) {
		struct pollfd p[] = {
			{ .fd = t.signals, .events = POLLIN },
			{ .fd = console_fd, .events = POLLIN },
			{ .fd = t.input_open ? STDIN_FILENO : -1, .events = POLLIN },
			{ .fd = stop_fd, .events = POLLIN },
		};
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[0].revents)
			read_signal(&t);
		if (p[1].revents && !t.done)
			read_console(&t, 0);
		if (p[2].revents && !t.done)
			read_input(&t);
		if (p[3].revents && !t.done)
			stopped(&t);
	}
	restore(&t);
	*signal = t.signal;
	return t.end;
}
