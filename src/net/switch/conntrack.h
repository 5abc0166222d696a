/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections that rules have let through: both directions of one pass without
 * being judged again.  A fixed pool; when it is full, new ones are judged frame
 * by frame.
 */
#ifndef NET_SWITCH_CONNTRACK_H
#define NET_SWITCH_CONNTRACK_H

#include "net/switch/frame.h"

enum { CONN_ENTRIES = 32768, CONN_NONE = 0xffff };

struct conn_key { struct addr a, b; uint16_t pa, pb, vid; uint8_t proto, pad; };
struct conn { struct conn_key key; uint32_t seen; uint16_t next; bool answered, closing, from_a; };
struct conntrack {
	uint64_t secret;
	uint16_t bucket[CONN_ENTRIES], free;
	unsigned used;
	struct conn entry[CONN_ENTRIES];
};

void conntrack_init(struct conntrack *t, uint64_t secret);
/* Part of a connection that is known; refreshes it. */
bool conntrack_known(struct conntrack *t, const struct frame *f, uint32_t now, bool dry);
void conntrack_add(struct conntrack *t, const struct frame *f, uint32_t now);
void conntrack_expire(struct conntrack *t, uint32_t now);

#endif
