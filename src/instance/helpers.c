/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting helpers: see helpers.h. */
#include "instance/helpers.h"
#include "device/tpm/swtpm.h"
#include "instance/display.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { MAX_ARGS = 160 };

static bool start(struct helpers *h, const char *program, char *const argv[], struct jail *jail,
		  int channel, int serve, struct error *err)
{
	pid_t pid = helper_spawn(program, argv, jail, channel, serve, err);
	if (pid > 0)
		h->list[h->count++] = (struct helper){ pid, program };
	return pid > 0;
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

/* The VNC server gets the listening socket; both sides, the picture. */
static bool start_vnc(struct helpers *h, struct opened *o, enum jail_mode mode, struct error *err)
{
	char *argv[] = { "abyme-vnc", "--jail", (char *)mode_words[mode], NULL };
	struct jail jail = { .mode = mode, .role = JAIL_VNC };
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "cannot create the screen's channel");
	bool ok = display_setup(o, pair[0], err) &&
		  start(h, argv[0], argv, &jail, pair[1], o->vnc_listen, err);
	close(pair[1]);
	close(o->vnc_listen);
	o->vnc_listen = -1;
	for (unsigned i = 0; i < ARRAY_SIZE(o->vnc_tls); i++)
		close_fd(&o->vnc_tls[i]);
	o->config.viewer_fd = pair[0];
	return ok;
}

/* swtpm, which makes a TPM of what is in the machine's directory. */
static bool start_tpm(struct helpers *h, struct opened *o, enum jail_mode mode, struct error *err)
{
	char *argv[] = { "abyme-tpm", "--jail", (char *)mode_words[mode], NULL };
	struct jail jail = { .mode = mode, .role = JAIL_TPM };
	int control[2], data[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control))
		return error_set(err, errno, "cannot create the TPM's channels");
	o->config.tpm_fd = control[0];
	bool ok = start(h, argv[0], argv, &jail, control[1], o->tpm_state, err);
	close(control[1]);
	close_fd(&o->tpm_state);
	if (ok && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, data))
		return error_set(err, errno, "cannot create the TPM's channels");
	if (!ok)
		return false;
	o->config.tpm_data_fd = data[0];
	ok = swtpm_set_data(control[0], data[1], err);
	close(data[1]);
	return ok;
}

/* A foreign back end, spoken to by a process that sees no guest RAM. */
static bool start_vhost(struct helpers *h, struct net_config *net, const char *name, enum jail_mode mode, struct error *err)
{
	char *argv[] = { "abyme-vhost-user", "--jail", (char *)mode_words[mode], NULL };
	struct jail jail = { .mode = mode, .role = JAIL_SWITCH };
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "cannot create the channel of '%s'", name);
	bool ok = start(h, argv[0], argv, &jail, pair[1], -1, err);
	close(pair[1]);
	if (!ok)
		close(pair[0]);
	return ok && net_tie_vhost(&h->ties, net, name, pair[0], err);
}

static bool start_nets(struct helpers *h, struct machine_config *c, const struct definition *d, const char *name,
		       enum jail_mode jail, struct error *err)
{
	bool publish = true;      /* on the first interface that can */
	for (unsigned i = 0, n = 0; i < d->nnets && n < c->nnets; i++) {
		const char *on = d->nets[i].name;
		if (!strcmp(on, "none"))
			continue;
		bool ok = !strcmp(on, "user") ? start_net(h, &c->net[n], d, publish, jail, err) :
			net_is_vhost(on) ? start_vhost(h, &c->net[n], on, jail, err) :
			net_tie_join(&h->ties, &c->net[n], d, i, name, publish, err);
		if (!ok)
			return false;
		publish &= net_is_vhost(on);
		n++;
	}
	return true;
}

bool helpers_start(struct helpers *h, struct opened *o, const struct definition *d, const char *name,
		   enum jail_mode jail, struct error *err)
{
	struct machine_config *c = &o->config;
	h->count = h->ties.n = 0;
	if (!start_nets(h, c, d, name, jail, err))
		return false;
	for (unsigned i = 0; i < c->nshares; i++) {
		if (!start_share(h, &c->share[i], o->share_root[i], jail, err))
			return false;
		close(o->share_root[i]);
	}
	return (o->tpm_state < 0 || start_tpm(h, o, jail, err)) &&
	       (o->vnc_listen < 0 || start_vnc(h, o, jail, err)) &&
	       (c->gdb_fd < 0 || start_gdb(h, c, jail, err));
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
