/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Terminals: the container's process opens one of its own devpts, keeps the slave
 * and sends the master away; `run` and `exec` without a console socket serve it
 * to the caller's terminal.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <termios.h>

#include "container/channel.h"
#include "container/kernel.h"
#include "container/launch.h"
#include "container/root_path.h"

/* The image may have put anything at /dev/ptmx: only a devpts will do. */
static int open_master(int root, struct error *err)
{
	struct statfs fs;
	int fd = root_open(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY);
	if (fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == DEVPTS_SUPER_MAGIC)
		return fd;
	if (fd >= 0)
		close(fd);
	return error_minus(err, fd < 0 ? errno : 0, "a terminal needs a devpts mounted at /dev/pts");
}

/* /dev/console is the terminal. */
static bool bind_console(int root, int slave, struct error *err)
{
	auto_close int tree = mount_clone(slave, "", false);
	auto_close int target = tree < 0 ? -1 : root_make(root, "dev/console", false, err);
	if (tree < 0 || target < 0)
		return tree >= 0 ? false : error_set(err, errno, "cannot copy the terminal's mount");
	return mount_attach(tree, target) || error_set(err, errno, "cannot mount /dev/console");
}

static bool become_controlling(int slave, const struct spec_process *p, struct error *err)
{
	struct winsize w = { .ws_row = (unsigned short)p->console.height, .ws_col = (unsigned short)p->console.width };
	if (p->console.height && p->console.width)
		ioctl(slave, TIOCSWINSZ, &w);
	if (ioctl(slave, TIOCSCTTY, 0))
		return error_set(err, errno, "cannot take the terminal");
	for (int i = 0; i < 3; i++)
		if (dup2(slave, i) < 0)
			return error_set(err, errno, "cannot take the terminal");
	return true;
}

bool terminal_open(struct launch *l, struct error *err)
{
	int unlock = 0;
	char name[40];
	unsigned number;
	auto_close int root = l->rootfs.fd >= 0 ? fcntl(l->rootfs.fd, F_DUPFD_CLOEXEC, 3) : open("/", O_PATH | O_CLOEXEC);
	auto_close int master = open_master(root, err);
	if (master < 0)
		return false;
	if (ioctl(master, TIOCSPTLCK, &unlock) || ioctl(master, TIOCGPTN, &number))
		return error_set(err, errno, "cannot unlock the terminal");
	auto_close int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return error_set(err, errno, "cannot open the terminal");
	if (fchown(slave, l->process->user.uid, (gid_t)-1) && errno != EPERM && errno != EINVAL)
		return error_set(err, errno, "cannot give the terminal to the user");
	if (!l->joining && !bind_console(root, slave, err))
		return false;
	int n = snprintf(name, sizeof(name), "/dev/pts/%u", number);
	if (!send_descriptor(l->console, master, name, (size_t)n))
		return error_set(err, errno, "cannot send the terminal to the console socket");
	return become_controlling(slave, l->process, err);
}

bool terminal_receive(int socket, int *master, struct error *err)
{
	union { char room[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
	char text[64];
	struct iovec iov = { text, sizeof(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room) };
	ssize_t n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (!h || h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(sizeof(int)))
		return error_set(err, 0, "the container did not send its terminal");
	memcpy(master, CMSG_DATA(h), sizeof(int));
	return true;
}

static struct termios saved;

static bool make_raw(int fd)
{
	struct termios t;
	if (tcgetattr(fd, &saved))
		return false;
	t = saved;
	cfmakeraw(&t);
	return !tcsetattr(fd, TCSAFLUSH, &t);
}

static void copy_size(int from, int to)
{
	struct winsize w;
	if (!ioctl(from, TIOCGWINSZ, &w))
		ioctl(to, TIOCSWINSZ, &w);
}

/* false: the other side is gone */
static bool pump(int from, int to)
{
	char data[4096];
	ssize_t n = read(from, data, sizeof(data));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	return n > 0 && fd_write_full(to, data, (size_t)n);
}

static void drain(int master)
{
	struct pollfd p = { .fd = master, .events = POLLIN };
	while (poll(&p, 1, 0) > 0 && (p.revents & POLLIN) && pump(master, 1))
		;
}

static void on_signal(int sigs, int master, pid_t pid, bool *ended)
{
	struct signalfd_siginfo info;
	while (read(sigs, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGWINCH)
			copy_size(0, master);
		else if (info.ssi_signo == SIGCHLD)
			*ended = true;
		else
			kill(pid, (int)info.ssi_signo);
	}
}

static int reap(pid_t pid, int *status)
{
	pid_t got;
	do
		got = waitpid(pid, status, WNOHANG);
	while (got < 0 && errno == EINTR);
	return got == pid || got < 0;
}

static sigset_t hold_signals(void)
{
	sigset_t set;
	sigfillset(&set);
	sigdelset(&set, SIGTTOU);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return set;
}

void terminal_hold_signals(void)
{
	hold_signals();
}

int terminal_serve(int master, pid_t pid)
{
	sigset_t set = hold_signals();
	int status = 0;
	bool raw = master >= 0 && make_raw(0);
	int sigs = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	struct pollfd p[3] = { { sigs, POLLIN, 0 }, { master, POLLIN, 0 }, { master >= 0 ? 0 : -1, POLLIN, 0 } };
	if (master >= 0)
		copy_size(0, master);
	for (bool ended = true; !(ended && reap(pid, &status)); ) {
		ended = false;
		poll(p, 3, -1);
		if (p[0].revents)
			on_signal(sigs, master, pid, &ended);
		if (p[1].revents && !pump(master, 1))
			p[1].fd = -1;
		if (p[2].revents && !pump(0, master))
			p[2].fd = -1;
	}
	if (master >= 0)
		drain(master);
	if (raw)
		tcsetattr(0, TCSAFLUSH, &saved);
	close(sigs);
	return status;
}
