/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New connections for NBD disks: see redial.h. */
#include "instance/redial.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdpass.h"
#include "disk/nbd.h"
#include "jail/jail.h"

static NORETURN void attempt(const struct redial *r)
{
	struct nbd_connection c;
	struct nbd_answer a = { 0 };
	struct error err;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	loop_forget();
	jail_close_fds(&r->line, 1);          /* or it would hold the machine's consoles and disks */
	bool ok = nbd_connect(r->uri, &c, &err);
	if (ok)
		a = (struct nbd_answer){ .size = c.size, .flags = c.flags };
	fd_pass(r->line, &a, sizeof(a), ok ? c.fd : -1);
	_exit(0);
}

static void asked(void *opaque, int events)
{
	struct redial *r = opaque;
	char word;
	ssize_t n = recv(r->line, &word, 1, MSG_DONTWAIT);
	pid_t pid = n == 1 ? fork() : 1;
	if (pid == 0)
		attempt(r);
	if (pid < 0)
		fd_pass(r->line, &(struct nbd_answer){ 0 }, sizeof(struct nbd_answer), -1);
	if (n == 0)
		loop_fd_events(r->watch, 0);
}

void redial_start(struct redial *r, struct loop *l, const char *uri, int line)
{
	*r = (struct redial){ .uri = uri, .line = line };
	r->watch = loop_fd_add(l, line, LOOP_READ, asked, r);
}
