/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of stations: see fdb.h. */
#include "net/switch/fdb.h"

static unsigned hash(const struct fdb *t, uint64_t key)
{
	uint64_t h = (key ^ t->secret) * 0x9e3779b97f4a7c15ull;
	h = (h ^ h >> 29 ^ t->secret << 7) * 0xbf58476d1ce4e5b9ull;
	return (unsigned)(h >> 40) & (FDB_ENTRIES - 1);
}

void fdb_init(struct fdb *t, uint64_t secret)
{
	t->secret = secret | 1;
	t->used = 0;
	memset(t->bucket, 0xff, sizeof(t->bucket));
	for (unsigned i = 0; i < FDB_ENTRIES; i++)
		t->entry[i].next = (uint16_t)(i + 1 < FDB_ENTRIES ? i + 1 : FDB_NONE);
	t->free = 0;
}

struct fdb_entry *fdb_find(struct fdb *t, uint64_t key)
{
	for (uint16_t i = t->bucket[hash(t, key)]; i != FDB_NONE; i = t->entry[i].next)
		if (t->entry[i].key == key)
			return &t->entry[i];
	return NULL;
}

struct fdb_entry *fdb_add(struct fdb *t, uint64_t key)
{
	uint16_t i = t->free, *b = &t->bucket[hash(t, key)];
	if (i == FDB_NONE)
		return NULL;
	t->free = t->entry[i].next;
	t->used++;
	t->entry[i] = (struct fdb_entry){ .key = key, .next = *b };
	*b = i;
	return &t->entry[i];
}

void fdb_expire(struct fdb *t, uint32_t before, uint16_t port, void (*gone)(void *, uint16_t), void *opaque)
{
	for (unsigned b = 0; b < FDB_ENTRIES; b++)
		for (uint16_t *link = &t->bucket[b]; *link != FDB_NONE; ) {
			uint16_t i = *link;
			struct fdb_entry *e = &t->entry[i];
			if ((int32_t)(e->seen - before) >= 0 && e->port != port) {
				link = &e->next;
				continue;
			}
			*link = e->next;
			e->next = t->free;
			t->free = i;
			t->used--;
			gone(opaque, e->port);
		}
}
