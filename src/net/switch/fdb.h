/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where stations are: (VLAN, MAC) to port, learned from source addresses, aged.
 * A fixed pool: what does not fit is not learned, and flooded.  Keyed hashing,
 * so that nobody can choose addresses that collide.
 */
#ifndef NET_SWITCH_FDB_H
#define NET_SWITCH_FDB_H

#include "base/util.h"

enum { FDB_ENTRIES = 16384, FDB_NONE = 0xffff };

struct fdb_entry { uint64_t key; uint32_t seen; uint16_t port; uint16_t next; };
struct fdb {
	uint64_t secret;
	uint16_t bucket[FDB_ENTRIES];
	uint16_t free, used;
	struct fdb_entry entry[FDB_ENTRIES];
};

void fdb_init(struct fdb *t, uint64_t secret);
static inline uint64_t fdb_key(uint16_t vid, uint64_t mac) { return (uint64_t)vid << 48 | mac; }
struct fdb_entry *fdb_find(struct fdb *t, uint64_t key);
struct fdb_entry *fdb_add(struct fdb *t, uint64_t key);    /* NULL: full */
/* Forget what was last seen before `before`, all of a port (FDB_NONE: of none);
 * calls gone(port) for each. */
void fdb_expire(struct fdb *t, uint32_t before, uint16_t port, void (*gone)(void *, uint16_t), void *opaque);

#endif
