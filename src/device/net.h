/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network cards that are not virtio's. Each owns its peer. */
#ifndef DEVICE_NET_H
#define DEVICE_NET_H

#include "base/error.h"

struct machine;
struct net_port;

/* Intel 82540EM; `index` tells several apart in the saved state. */
bool e1000_create(struct machine *m, unsigned index, struct net_port *peer, const uint8_t mac[6],
		  struct error *err);

#endif
