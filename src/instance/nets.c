/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ties of a machine's network interfaces: see nets.h. */
#include "instance/nets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "base/log.h"
#include "base/socket.h"
#include "net/message.h"

enum { RETRY_MS = 500, SETUP_MS = 60000 };

static struct net_tie *tie_new(struct net_ties *t, int line)
{
	struct net_tie *e = &t->tie[t->n++];
	*e = (struct net_tie){ .ring = { -1, -1, -1 }, .line = line, .all = t };
	return e;
}

/* ---- a network ---- */

static void fill_join(struct network_join *j, const struct definition *d, unsigned index, const char *instance, bool publish)
{
	const struct def_net *from = &d->nets[index];
	unsigned same = 0;      /* interfaces before it on the same network */
	for (const struct def_net *n = d->nets; n < from; n++)
		same += !strcmp(n->name, from->name);
	*j = (struct network_join){ .network = from->name, .instance = instance, .index = same, .mac = from->mac,
				    .ip = from->ip, .vlan = from->vlan, .trunk = from->trunk, .limits = from->limits,
				    .publish = (const char *const *)d->publish, .npublish = publish ? d->npublish : 0 };
}

bool net_tie_join(struct net_ties *t, struct net_config *net, const struct definition *d, unsigned index,
		  const char *instance, bool publish, struct error *err)
{
	struct network_join j;
	struct network_joined joined;
	fill_join(&j, d, index, instance, publish);
	if (!network_join_ring(&j, NULL, &joined, err))
		return false;
	struct net_tie *e = tie_new(t, joined.lease);
	e->join = j;
	e->joined = joined;
	e->ring = net->ring = joined.ring;
	return true;
}

static void retry_later(struct net_ties *t)
{
	const struct itimerspec in = { .it_value = { .tv_nsec = RETRY_MS * 1000000l } };
	timerfd_settime(t->timer, 0, &in, NULL);
}

static void lease_ready(void *opaque, int events);

static void join_again(struct net_tie *e)
{
	struct network_joined joined;
	struct error err = { 0 };
	if (network_join_ring(&e->join, &e->ring, &joined, &err)) {
		ring_fds_close(&joined.ring);      /* the same ones, received again */
		e->line = joined.lease;
		e->watch = loop_fd_add(e->all->loop, e->line, LOOP_READ, lease_ready, e);
		return;
	}
	log_warn("%s; the guest's link stays down", err.text);
	struct network *n = network_open(e->join.network, NULL);
	e->ended = !n;                             /* it was removed */
	network_close(n);
	if (!e->ended)
		retry_later(e->all);
}

static void timer_ready(void *opaque, int events)
{
	struct net_ties *t = opaque;
	uint64_t n;
	ssize_t got UNUSED = read(t->timer, &n, sizeof(n));
	for (unsigned i = 0; i < t->n; i++)
		if (t->tie[i].line < 0 && !t->tie[i].ended)
			join_again(&t->tie[i]);
}

/* The network's keeper says that it ends for good, or has died. */
static void lease_ready(void *opaque, int events)
{
	struct net_tie *e = opaque;
	struct message m;
	if (message_receive(e->line, &m, NULL) && m.body) {
		e->ended |= !strcmp(message_text(m.body, "event", ""), "ended");
		message_free(&m);
		return;
	}
	loop_fd_del(e->watch);
	close(move_fd(&e->line));
	ring_set_link(&e->ring, false);
	if (!e->ended)
		retry_later(e->all);
}

/* ---- vhost-user ---- */

static int dial(const char *path, struct error *err)
{
	int fd = unix_connect(path, SOCK_STREAM | SOCK_NONBLOCK);
	if (fd >= 0 && !fcntl(fd, F_SETFL, 0))
		return fd;
	close_fd(&fd);
	return error_minus(err, errno, "cannot connect to the vhost-user back end '%s'", path);
}

static void channel_ready(void *opaque, int events)
{
	struct net_tie *e = opaque;
	struct message m;
	if (!message_receive(e->line, &m, NULL) || !m.body) {
		loop_fd_del(e->watch);
		close(move_fd(&e->line));
		ring_set_link(&e->ring, false);
		log_warn("the process of the vhost-user back end '%s' has gone: the guest's link is down", e->socket);
		return;
	}
	message_free(&m);
	struct error err = { 0 };
	auto_close int fd = dial(e->socket, &err);
	message_send(e->line, fd >= 0 ? json_object() : json_pack("{s:s}", "error", err.text), &fd, fd >= 0, NULL);
}

bool net_tie_vhost(struct net_ties *t, struct net_config *net, const char *name, int channel, struct error *err)
{
	struct net_tie *e = tie_new(t, channel);
	struct message m;
	e->socket = name + strlen(NET_VHOST);
	if (!ring_make(&e->ring, err))
		return false;
	net->ring = e->ring;
	auto_close int fd = dial(e->socket, err);
	const int fds[] = { e->ring.memory, e->ring.to_switch, e->ring.to_port, fd };
	if (fd < 0)
		return false;
	bool ok = message_call(e->line, json_pack("{s:s}", "op", "setup"), fds, ARRAY_SIZE(fds), &m, SETUP_MS, err);
	if (ok)
		message_free(&m);
	else
		error_prefix(err, "'%s'", e->socket);
	return ok;
}

void net_ties_watch(struct net_ties *t, struct loop *l)
{
	t->loop = l;
	t->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	loop_fd_add(l, t->timer, LOOP_READ, timer_ready, t);
	for (unsigned i = 0; i < t->n; i++)
		t->tie[i].watch = loop_fd_add(l, t->tie[i].line, LOOP_READ, t->tie[i].socket ? channel_ready : lease_ready,
					      &t->tie[i]);
}
