/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client's end of a session: see session.h. */
#include "cli/session.h"
#include "session/frame.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

enum { ESCAPE = 0x1d };   /* Ctrl-] */

struct client {
	const struct session *s;
	int signals;
	bool raw, input_open, escaped, done;
	enum session_end end;
	int status;
	sigset_t old_mask;
	struct termios saved;
	struct error *err;
	struct frames frames;
};

static void finish(struct client *c, enum session_end end, int status)
{
	c->done = true;
	c->end = end;
	c->status = status;
}

static void send_size(struct client *c)
{
	struct winsize w;
	uint8_t data[4];
	if (!c->s->tty || ioctl(1, TIOCGWINSZ, &w) || !w.ws_row)
		return;
	le16_put(data, w.ws_row);
	le16_put(data + 2, w.ws_col);
	frame_send(c->s->fd, FRAME_SIZE, data, sizeof(data));
}

static void set_up(struct client *c)
{
	static const int passed[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH };
	sigset_t set;
	sigemptyset(&set);
	for (unsigned i = 0; i < ARRAY_SIZE(passed); i++)
		if (!c->s->keep_signals || passed[i] == SIGWINCH)
			sigaddset(&set, passed[i]);
	sigprocmask(SIG_BLOCK, &set, &c->old_mask);
	c->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	c->input_open = c->s->input;
	c->raw = c->s->tty && c->s->input && isatty(0) && !tcgetattr(0, &c->saved);
	if (c->raw) {
		struct termios raw = c->saved;
		cfmakeraw(&raw);
		tcsetattr(0, TCSADRAIN, &raw);
	}
	send_size(c);
}

static void tear_down(struct client *c)
{
	if (c->raw)
		tcsetattr(0, TCSADRAIN, &c->saved);
	close(c->signals);
	sigprocmask(SIG_SETMASK, &c->old_mask, NULL);
}

static void command(struct client *c, char key)
{
	static const char help[] = "\r\nCtrl-] then: d detach, k kill, Ctrl-] send Ctrl-]\r\n";
	c->escaped = false;
	if (key == 'd')
		finish(c, SESSION_DETACHED, 0);
	else if (key == 'k')
		finish(c, SESSION_KILL, 0);
	else if (key == ESCAPE)
		frame_send(c->s->fd, FRAME_INPUT, &key, 1);
	else
		fd_write_full(2, help, sizeof(help) - 1);
}

static void read_input(struct client *c)
{
	char buf[16384];
	ssize_t n = read(0, buf, sizeof(buf));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		c->input_open = false;
		frame_send(c->s->fd, FRAME_INPUT, NULL, 0);
		return;
	}
	if (!c->raw) {
		frame_send(c->s->fd, FRAME_INPUT, buf, (size_t)n);
		return;
	}
	for (ssize_t i = 0, from = 0; i <= n && !c->done; i++) {
		if (i < n && !c->escaped && buf[i] != ESCAPE)
			continue;
		if (i > from && !c->escaped)
			frame_send(c->s->fd, FRAME_INPUT, buf + from, (size_t)(i - from));
		if (i < n && c->escaped)
			command(c, buf[i]);
		else if (i < n)
			c->escaped = true;
		from = i + 1;
	}
}

static void take(struct client *c, const struct frame *f)
{
	switch (f->kind) {
	case FRAME_OUTPUT:
	case FRAME_ERRORS:
		if (!c->s->quiet)
			fd_write_full(f->kind == FRAME_OUTPUT ? 1 : 2, f->data, f->n);
		break;
	case FRAME_EXIT:
		finish(c, SESSION_EXIT, (int)frame_u32(f));
		break;
	case FRAME_FAILED:
		error_set(c->err, 0, "%.*s", (int)MIN(f->n, (size_t)400), (const char *)f->data);
		finish(c, SESSION_FAILED, 0);
		break;
	default:
		break;
	}
}

static void read_frames(struct client *c)
{
	struct frame f;
	int more = 0, n = frames_fill(&c->frames, c->s->fd);
	while (!c->done && (more = frames_next(&c->frames, &f)) > 0)
		take(c, &f);
	if (!c->done && (!n || more < 0 || (n < 0 && errno != EINTR && errno != EAGAIN)))
		finish(c, SESSION_LOST, 0);
}

static void read_signal(struct client *c)
{
	struct signalfd_siginfo info;
	if (read(c->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH)
		send_size(c);
	else if (!frame_send_u32(c->s->fd, FRAME_SIGNAL, info.ssi_signo))
		finish(c, SESSION_SIGNAL, (int)info.ssi_signo);
}

enum session_end session_join(const struct session *s, int *status, struct error *err)
{
	struct client *c = xnew(struct client);
	c->s = s;
	c->err = err;
	set_up(c);
	while (!c->done) {
		struct pollfd p[] = {
			{ c->signals, POLLIN, 0 }, { s->fd, POLLIN, 0 }, { c->input_open ? 0 : -1, POLLIN, 0 },
		};
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[0].revents)
			read_signal(c);
		if (p[1].revents && !c->done)
			read_frames(c);
		if (p[2].revents && !c->done)
			read_input(c);
	}
	tear_down(c);
	enum session_end end = c->end;
	*status = c->status;
	free(c);
	return end;
}
