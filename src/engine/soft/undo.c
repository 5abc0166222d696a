/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bytes that stores replaced: a log that grows with them. */
#include "engine/soft/mmu.h"

enum { STORES_FIRST = 1024, BYTES_FIRST = 1 << 16 };

static void make_room(struct undo_log *u, unsigned size)
{
	if (u->n == u->store_room) {
		u->store_room = MAX(2 * u->store_room, (unsigned)STORES_FIRST);
		u->store = xrealloc(u->store, u->store_room * sizeof(*u->store));
	}
	if (u->byte_room - u->bytes < size) {
		u->byte_room = MAX(2 * u->byte_room, (unsigned)BYTES_FIRST) + size;
		u->old = xrealloc(u->old, u->byte_room);
	}
}

void undo_add(struct undo_log *u, uint8_t *host, unsigned size)
{
	struct undo_store *last;

	make_room(u, size);
	memcpy(u->old + u->bytes, host, size);
	last = u->store + u->n;
	if (u->n > u->joined_from && last[-1].host + last[-1].size == host)
		last[-1].size += size;
	else
		u->store[u->n++] = (struct undo_store){ .host = host, .size = size, .at = u->bytes };
	u->bytes += size;
}

void undo_free(struct undo_log *u)
{
	free(u->store);
	free(u->old);
}
