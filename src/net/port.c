/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports and their connections (contract in port.h). */
#include "net/port.h"

#include "base/util.h"

void net_port_connect(struct net_port *a, struct net_port *b)
{
	a->peer = b;
	b->peer = a;
}

bool net_port_send(struct net_port *p, const struct iovec *iov, unsigned n, size_t len)
{
	struct net_port *to = p->peer;
	if (!to || !to->link_up || !p->link_up) {
		p->dropped++;
		return true;
	}
	if (!to->ops->receive(to, iov, n, len))
		return false;
	p->tx_frames++;
	p->tx_bytes += len - NET_HDR;
	to->rx_frames++;
	to->rx_bytes += len - NET_HDR;
	return true;
}

void net_port_room(struct net_port *p)
{
	if (p->peer && p->peer->ops->room)
		p->peer->ops->room(p->peer);
}

void net_port_link(struct net_port *p, bool up)
{
	p->link_up = up;
	if (p->peer && p->peer->ops->link)
		p->peer->ops->link(p->peer);
}

void net_port_caps(struct net_port *p, unsigned caps)
{
	if (p->peer && p->peer->ops->caps)
		p->peer->ops->caps(p->peer, caps);
}

void net_port_destroy(struct net_port *p)
{
	if (!p)
		return;
	if (p->peer)
		p->peer->peer = NULL;
	p->ops->destroy(p);
}
