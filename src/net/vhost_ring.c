/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Split queues (virtio 1.2 2.7), the driver's side: see vhost.h.  A slot is a
 * descriptor with a buffer of its own.  What is written for the back end is never
 * read back; of the used ring each value is read once and checked:
 *   1 no more elements come back than are lent
 *   2 only a slot that is lent comes back, once
 *   3 with no more bytes than its buffer has
 */
#include "net/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { DESC_WRITE = 2, NO_INTERRUPT = 1, NO_NOTIFY = 1, ELEMENT = 8, DESC = 16 };
enum { AVAIL_AT = 4096 - 512, USED_AT = 4096 };
_Static_assert(VHOST_SLOTS * DESC <= AVAIL_AT && 6 + 2 * VHOST_SLOTS <= 512, "a ring's layout");

static void put16(uint8_t *p, uint16_t v)
{
	atomic_store_explicit((_Atomic uint16_t *)(void *)p, htole16(v), memory_order_release);
}

static uint16_t get16(const uint8_t *p)
{
	return le16toh(atomic_load_explicit((const _Atomic uint16_t *)(const void *)p, memory_order_acquire));
}

bool vhost_memory_make(struct vhost_memory *m, struct error *err)
{
	*m = (struct vhost_memory){ .fd = memfd_create("abyme-vhost", MFD_CLOEXEC | MFD_ALLOW_SEALING) };
	if (m->fd < 0 || ftruncate(m->fd, VHOST_MEMORY) || fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return error_set(err, errno, "cannot create the memory of a vhost-user port");
	m->map = mmap(NULL, VHOST_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	if (m->map == MAP_FAILED) {
		m->map = NULL;
		return error_set(err, errno, "cannot map the memory of a vhost-user port");
	}
	for (unsigned i = 0; i < VHOST_RINGS; i++) {
		uint8_t *p = m->map + i * VHOST_RING_SIZE;
		m->ring[i].map = m->map;
		m->ring[i].desc = p;
		m->ring[i].avail = p + AVAIL_AT;
		m->ring[i].used = p + USED_AT;
		m->ring[i].data = m->map + VHOST_RINGS * VHOST_RING_SIZE + (size_t)i * VHOST_SLOTS * VHOST_BUFFER;
	}
	return true;
}

void vhost_memory_free(struct vhost_memory *m)
{
	if (m->map)
		munmap(m->map, VHOST_MEMORY);
	if (m->fd >= 0)
		close(m->fd);
	*m = (struct vhost_memory){ .fd = -1 };
}

static void reset(struct vhost_ring *r)
{
	memset(r->desc, 0, VHOST_RING_SIZE);
	r->next = r->seen = 0;
	r->nfree = 0;
	r->broken = false;
	memset(r->lent, 0, sizeof(r->lent));
	for (unsigned i = VHOST_SLOTS; i-- > 0; )
		r->free[r->nfree++] = (uint16_t)i;
}

void vhost_memory_reset(struct vhost_memory *m)
{
	for (unsigned i = 0; i < VHOST_RINGS; i++)
		reset(&m->ring[i]);
	for (int slot; (slot = vhost_ring_take(&m->ring[VHOST_RX])) >= 0; )
		vhost_ring_lend(&m->ring[VHOST_RX], (unsigned)slot, VHOST_BUFFER, true);
	vhost_ring_arm(&m->ring[VHOST_TX], false);
}

int vhost_ring_take(struct vhost_ring *r)
{
	return r->nfree ? r->free[--r->nfree] : -1;
}

uint8_t *vhost_ring_buffer(struct vhost_ring *r, unsigned slot)
{
	return r->data + (size_t)slot * VHOST_BUFFER;
}

void vhost_ring_lend(struct vhost_ring *r, unsigned slot, uint32_t len, bool writable)
{
	uint8_t *d = r->desc + (size_t)slot * DESC;
	le64_put(d, (uint64_t)(vhost_ring_buffer(r, slot) - r->map));
	le32_put(d + 8, len);
	le16_put(d + 12, writable ? DESC_WRITE : 0);
	le16_put(d + 14, 0);
	r->lent[slot] = true;
	le16_put(r->avail + 4 + 2 * (r->next % VHOST_SLOTS), (uint16_t)slot);
	put16(r->avail + 2, ++r->next);
}

int vhost_ring_next(struct vhost_ring *r, uint32_t *len)
{
	uint16_t waiting = get16(r->used + 2) - r->seen;
	if (r->broken || !waiting)
		return -1;
	const uint8_t *e = r->used + 4 + ELEMENT * (r->seen % VHOST_SLOTS);
	uint32_t slot = le32_get(e);
	*len = le32_get(e + 4);
	if (waiting > VHOST_SLOTS || slot >= VHOST_SLOTS || !r->lent[slot] || *len > VHOST_BUFFER) {
		r->broken = true;
		return -1;
	}
	r->seen++;
	r->lent[slot] = false;
	return (int)slot;
}

void vhost_ring_return(struct vhost_ring *r, unsigned slot)
{
	r->free[r->nfree++] = (uint16_t)slot;
}

bool vhost_ring_arm(struct vhost_ring *r, bool on)
{
	put16(r->avail, on ? 0 : NO_INTERRUPT);
	atomic_thread_fence(memory_order_seq_cst);
	return !on || r->broken || get16(r->used + 2) == r->seen;
}

bool vhost_ring_wants_kick(const struct vhost_ring *r)
{
	atomic_thread_fence(memory_order_seq_cst);
	return !(get16(r->used) & NO_NOTIFY);
}
