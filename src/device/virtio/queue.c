/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Split virtqueues (virtio 1.2 2.7): taking chains of descriptors and giving
 * them back.  Everything in the rings is hostile and may change while it is
 * read: each descriptor is copied out once, then checked, then used.
 *
 * Invariants:
 *   1 a chain handed out has at most VIRTIO_MAX_SEGS segments, all of them
 *     inside guest RAM and pinned; out segments come before in segments
 *   2 no walk takes more than VIRTIO_QUEUE_MAX steps, whatever the links say
 *   3 a broken queue touches guest memory no more
 * On the I/O loop thread only.
 */
#include "device/virtio/virtio.h"

#include "base/trace.h"
#include "machine/machine.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
enum { AVAIL_NO_INTERRUPT = 1 };

struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct desc_table { const uint8_t *host; uint32_t count; };

static struct memory *mem(const struct virtqueue *vq)
{
	return vq->vdev->pci.dev.machine->memory;
}

static int bad(struct virtqueue *vq, const char *why)
{
	virtio_broken(vq->vdev, why);
	return -1;
}

/* One 16-bit field of a ring; alignment was checked when the queue was enabled. */
static bool ring_load(struct virtqueue *vq, uint64_t gpa, uint16_t *v)
{
	const _Atomic uint16_t *p = mem_pin_read(mem(vq), gpa, 2);
	if (!p)
		return false;
	*v = le16toh(atomic_load_explicit(p, memory_order_acquire));
	return true;
}

static bool ring_store(struct virtqueue *vq, uint64_t gpa, uint16_t v)
{
	_Atomic uint16_t *p = mem_pin_write(mem(vq), gpa, 2);
	if (!p)
		return false;
	atomic_store_explicit(p, htole16(v), memory_order_release);
	mem_unpin_write(mem(vq), gpa, 2);
	return true;
}

static uint64_t used_event(const struct virtqueue *vq)   { return vq->avail + 4 + 2 * vq->size; }
static uint64_t avail_event(const struct virtqueue *vq)  { return vq->used + 4 + 8 * vq->size; }

/* How many chains wait: 0..size, or -1. */
static int available(struct virtqueue *vq)
{
	uint16_t idx;
	if (!ring_load(vq, vq->avail + 2, &idx))
		return bad(vq, "the available ring is not in RAM");
	uint16_t n = idx - vq->last_avail;
	return n <= vq->size ? n : bad(vq, "the available index runs ahead of the ring");
}

/* Nothing waits: ask for a kick at the next chain, then look again, for the
 * driver may have added it in between (virtio 1.2 2.7.7.2). */
static int available_rearm(struct virtqueue *vq)
{
	if (!virtio_has(vq->vdev, VIRTIO_F_EVENT_IDX))
		return 0;
	if (!ring_store(vq, avail_event(vq), vq->last_avail))
		return bad(vq, "the used ring is not in RAM");
	atomic_thread_fence(memory_order_seq_cst);
	return available(vq);
}

static bool table_get(const struct desc_table *t, uint32_t i, struct desc *d)
{
	if (i >= t->count)
		return false;
	uint8_t raw[16];
	memcpy(raw, t->host + 16ull * i, sizeof(raw));
	*d = (struct desc){ le64_get(raw), le32_get(raw + 8), le16_get(raw + 12), le16_get(raw + 14) };
	return true;
}

/* Invariant 1 for one descriptor. */
static const char *add_segment(struct virtq_chain *c, const struct desc *d)
{
	struct memory *m = mem(c->vq);
	bool in = d->flags & DESC_WRITE;
	if (!d->len)
		return NULL;
	if (!in && c->nin)
		return "a readable descriptor follows a writable one";
	if (c->nout + c->nin == VIRTIO_MAX_SEGS)
		return "a chain has too many descriptors";
	void *host = in ? mem_pin_write(m, d->addr, d->len) : (void *)mem_pin_read(m, d->addr, d->len);
	if (!host)
		return "a buffer is not in RAM";
	c->iov[c->nout + c->nin] = (struct iovec){ host, d->len };
	if (in) {
		c->pin[c->npins++] = (struct virtq_pin){ d->addr, d->len };
		c->nin++;
		c->in_len += d->len;
	} else {
		c->nout++;
		c->out_len += d->len;
	}
	return NULL;
}

static const char *enter_indirect(struct virtqueue *vq, const struct desc *d, struct desc_table *t)
{
	if (!virtio_has(vq->vdev, VIRTIO_F_INDIRECT_DESC))
		return "an indirect descriptor was not negotiated";
	if (d->flags & DESC_NEXT)
		return "an indirect descriptor has a successor";
	if (!d->len || d->len % 16 || d->len / 16 > 65536)
		return "an indirect table has an impossible size";
	t->host = mem_pin_read(mem(vq), d->addr, d->len);
	t->count = d->len / 16;
	return t->host ? NULL : "an indirect table is not in RAM";
}

/* Follow the links from c->head; what is wrong, or NULL. */
static const char *walk(struct virtqueue *vq, struct virtq_chain *c)
{
	struct desc_table t = { mem_pin_read(mem(vq), vq->desc, 16ull * vq->size), vq->size };
	bool indirect = false;
	uint32_t i = c->head;
	const char *why = t.host ? NULL : "the descriptor table is not in RAM";
	for (unsigned steps = 0; !why; steps++) {
		struct desc d;
		if (steps > VIRTIO_QUEUE_MAX)                  /* invariant 2 */
			return "a chain of descriptors is a loop";
		if (!table_get(&t, i, &d))
			return "a descriptor index is outside its table";
		if (d.flags & DESC_INDIRECT) {
			why = indirect ? "indirect tables are nested" : enter_indirect(vq, &d, &t);
			indirect = true;
			i = 0;
			continue;
		}
		why = add_segment(c, &d);
		if (!(d.flags & DESC_NEXT))
			break;
		i = d.next;
	}
	return why;
}

static void unpin(struct virtqueue *vq, struct virtq_chain *c)
{
	for (unsigned i = 0; i < c->npins; i++)
		mem_unpin_write(mem(vq), c->pin[i].gpa, c->pin[i].len);
	c->npins = 0;
}

bool virtq_retake(struct virtqueue *vq, uint16_t head, struct virtq_chain *c)
{
	c->vq = vq;
	c->head = head;
	c->nout = c->nin = c->npins = 0;
	c->out_len = c->in_len = 0;
	const char *why = walk(vq, c);
	if (why) {
		unpin(vq, c);
		virtio_broken(vq->vdev, why);
		return false;
	}
	c->out = c->iov;
	c->in = c->iov + c->nout;
	vq->vdev->held++;
	return true;
}

int virtq_pop(struct virtqueue *vq, struct virtq_chain *c)
{
	if (!vq->ready || !vq->vdev->live)
		return 0;
	int n = available(vq);
	if (!n)
		n = available_rearm(vq);
	if (n <= 0)
		return n;
	uint16_t head;
	if (!ring_load(vq, vq->avail + 4 + 2 * (vq->last_avail % vq->size), &head))
		return bad(vq, "the available ring is not in RAM");
	if (!virtq_retake(vq, head, c))
		return -1;
	vq->last_avail++;
	return 1;
}

bool virtq_has_work(struct virtqueue *vq)
{
	return vq->ready && vq->vdev->live && available(vq) > 0;
}

void virtq_drop(struct virtqueue *vq, struct virtq_chain *c)
{
	unpin(vq, c);
	vq->vdev->held--;
}

void virtq_unpop(struct virtqueue *vq, struct virtq_chain *c)
{
	virtq_drop(vq, c);
	vq->last_avail--;
}

void virtq_push(struct virtqueue *vq, struct virtq_chain *c, uint32_t written)
{
	virtq_drop(vq, c);
	if (!vq->vdev->live)                                   /* invariant 3 */
		return;
	uint64_t gpa = vq->used + 4 + 8 * (vq->used_idx % vq->size);
	uint8_t *elem = mem_pin_write(mem(vq), gpa, 8);
	if (!elem) {
		bad(vq, "the used ring is not in RAM");
		return;
	}
	le32_put(elem, c->head);
	le32_put(elem + 4, written);
	mem_unpin_write(mem(vq), gpa, 8);
	ring_store(vq, vq->used + 2, ++vq->used_idx);
	trace3(virtio_done, vq->vdev->ops->device_id, vq->index, written);
}

/* Does the driver want to hear of it? virtio 1.2 2.7.7.1 */
static bool wants_interrupt(struct virtqueue *vq)
{
	uint16_t v, old = vq->signalled_used;
	vq->signalled_used = vq->used_idx;
	if (virtio_has(vq->vdev, VIRTIO_F_EVENT_IDX)) {
		if (!ring_load(vq, used_event(vq), &v))
			return false;
		return (uint16_t)(vq->used_idx - v - 1) < (uint16_t)(vq->used_idx - old);
	}
	return ring_load(vq, vq->avail, &v) && !(v & AVAIL_NO_INTERRUPT);
}

void virtq_signal(struct virtqueue *vq)
{
	if (!vq->vdev->live || vq->used_idx == vq->signalled_used)
		return;
	atomic_thread_fence(memory_order_seq_cst);             /* used index before used_event */
	if (wants_interrupt(vq))
		vq->vdev->transport->signal(vq);
}
