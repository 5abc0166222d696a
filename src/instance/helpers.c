/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting helpers: see helpers.h. */
#include "instance/helpers.h"
#include "instance/display.h"
#include "network/client.h"

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
	o->config.viewer_fd = pair[0];
	return ok;
}

/* A port on a network; the lease is held as long as the keeper lives. */
static bool join_net(struct helpers *h, struct net_config *net, const struct definition *d, const struct def_net *from,
		     const char *name, bool first, struct error *err)
{
	unsigned index = 0;      /* among those on the same network */
	for (const struct def_net *n = d->nets; n < from; n++)
		index += !strcmp(n->name, from->name);
	struct network_join j = { .network = from->name, .instance = name, .index = index, .mac = from->mac,
				  .ip = from->ip, .vlan = from->vlan, .trunk = from->trunk,
				  .publish = (const char *const *)d->publish, .npublish = first ? d->npublish : 0 };
	struct network_joined joined;
	if (!network_join_ring(&j, NULL, &joined, err))
		return false;
	net->ring = joined.ring;
	h->lease[h->nleases++] = joined.lease;
	return true;
}

static bool start_nets(struct helpers *h, struct machine_config *c, const struct definition *d, const char *name,
		       enum jail_mode jail, struct error *err)
{
	for (unsigned i = 0, n = 0; i < d->nnets && n < c->nnets; i++) {
		const struct def_net *from = &d->nets[i];
		if (!strcmp(from->name, "none"))
			continue;
		bool ok = !strcmp(from->name, "user") ? start_net(h, &c->net[n], d, n == 0, jail, err) :
			join_net(h, &c->net[n], d, from, name, n == 0, err);
		if (!ok)
			return false;
		n++;
	}
	return true;
}

bool helpers_start(struct helpers *h, struct opened *o, const struct definition *d, const char *name,
		   enum jail_mode jail, struct error *err)
{
	struct machine_config *c = &o->config;
	h->count = h->nleases = 0;
	if (!start_nets(h, c, d, name, jail, err))
		return false;
	for (unsigned i = 0; i < c->nshares; i++) {
		if (!start_share(h, &c->share[i], o->share_root[i], jail, err))
			return false;
		close(o->share_root[i]);
	}
	return (o->vnc_listen < 0 || start_vnc(h, o, jail, err)) &&
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
