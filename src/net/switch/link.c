/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all links begin with: see link.h. */
#include "net/switch/link.h"

bool link_plug(struct link *l, struct sw *s, const struct link_request *r, const struct link_ops *ops,
	       const struct sw_link_ops *port_ops, struct error *err)
{
	l->ops = ops;
	l->port = sw_port_add(s, r->config, port_ops, l);
	return l->port || error_set(err, 0, "the switch has no port left");
}

bool link_begin(struct link *l, struct sw *s, const struct link_request *r, const struct link_ops *ops,
		const struct sw_link_ops *port_ops, struct error *err)
{
	if (r->nfds != 1)
		return error_set(err, 0, "this kind of port needs one descriptor");
	l->fd = r->fds[0];
	return link_plug(l, s, r, ops, port_ops, err);
}
