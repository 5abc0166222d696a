/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Submission and completion queues (4.1, 4.6).  Commands are taken on the I/O
 * loop's thread, and only when their completion queue will have room: `promised`
 * counts entries that are owed.
 */
#include "device/nvme/nvme.h"

#include "machine/machine.h"

enum { COMMAND = 64, ENTRY = 16, ROUND = 64 };

/* --- interrupts ------------------------------------------------------------------ */
/* By wire all queues share vector 0, and INTMS masks it (3.1.3). */
void nvme_update_irq(struct nvme *n)
{
	bool level = false;
	for (unsigned i = 0; i < NVME_QUEUES; i++)
		level |= n->cq[i].live && n->cq[i].interrupts && n->cq[i].raised;
	pci_intx(&n->fn, level && !(n->masked & 1));
}

static void notify(struct nvme *n, struct nvme_cq *q)
{
	q->raised = true;
	if (!q->interrupts)
		return;
	if (pci_msix_enabled(&n->fn))
		pci_msix_raise(&n->fn, q->vector);
	else
		nvme_update_irq(n);
}

/* --- completions ------------------------------------------------------------------ */
void nvme_complete(struct nvme *n, unsigned sq, uint16_t id, uint32_t result, uint16_t status)
{
	struct nvme_cq *q = &n->cq[n->sq[sq].cq];
	uint8_t e[ENTRY] = { 0 };
	if (!n->sq[sq].live || !q->live)
		return;
	le32_put(e, result);
	le16_put(e + 8, (uint16_t)n->sq[sq].head);
	le16_put(e + 10, (uint16_t)sq);
	le16_put(e + 12, id);
	le16_put(e + 14, (uint16_t)(status << 1 | q->phase));
	uint64_t at = q->base + q->tail * (uint64_t)ENTRY;
	memory_dma_write(nvme_memory(n), at, e, 12);
	memory_dma_write(nvme_memory(n), at + 12, e + 12, 4);     /* the phase bit last */
	q->promised -= q->promised > 0;
	if (++q->tail == q->size) {
		q->tail = 0;
		q->phase = !q->phase;
	}
	notify(n, q);
}

static bool has_room(const struct nvme_cq *q)
{
	uint32_t used = (q->tail + q->size - q->head) % q->size;
	return used + q->promised < q->size - 1;
}

/* --- commands -------------------------------------------------------------------- */
static void read_command(struct nvme *n, struct nvme_sq *q, struct nvme_command *c)
{
	uint8_t b[COMMAND];
	memory_dma_read(nvme_memory(n), q->base + q->head * (uint64_t)COMMAND, b, sizeof(b));
	q->head = (q->head + 1) % q->size;
	c->opcode = b[0];
	c->id = le16_get(b + 2);
	c->nsid = le32_get(b + 4);
	c->prp[0] = le64_get(b + 24);
	c->prp[1] = le64_get(b + 32);
	for (unsigned i = 0; i < ARRAY_SIZE(c->dw); i++)
		c->dw[i] = le32_get(b + 40 + i * 4);
	if (b[1] & 0xc3)                  /* fused, or SGLs: not offered */
		c->opcode = 0xff;
}

static bool runnable(struct nvme *n, unsigned i)
{
	struct nvme_sq *q = &n->sq[i];
	return n->ready && !n->drained && q->live && q->head != q->tail && n->cq[q->cq].live &&
	       has_room(&n->cq[q->cq]) && pci_bus_master(&n->fn) && (!i || n->spare);
}

/* requires: lock, which is let go while the disk takes the request. */
static void run_one(struct nvme *n, unsigned i)
{
	struct nvme_command c;
	struct nvme_request *submit = NULL;
	uint32_t result = 0;
	read_command(n, &n->sq[i], &c);
	n->cq[n->sq[i].cq].promised++;
	uint16_t status = i ? nvme_io(n, i, &c, &submit) : nvme_admin(n, &c, &result);
	if (status != NVME_HELD)
		nvme_complete(n, i, c.id, result, status);
	if (!submit)
		return;
	pthread_mutex_unlock(&n->lock);
	disk_submit(n->disk, &submit->dr);
	pthread_mutex_lock(&n->lock);
}

static void work(void *opaque)
{
	struct nvme *n = opaque;
	pthread_mutex_lock(&n->lock);
	n->work_posted = false;
	bool more = false;
	for (unsigned i = 0; i < NVME_QUEUES; i++) {
		for (unsigned k = 0; k < ROUND && runnable(n, i); k++)
			run_one(n, i);
		more |= runnable(n, i);
	}
	if (more)
		nvme_post(n);
	pthread_mutex_unlock(&n->lock);
}

void nvme_post(struct nvme *n)
{
	if (n->work_posted)
		return;
	n->work_posted = true;
	loop_post(n->fn.dev.machine->loop, work, n);
}

/* Even: a submission queue's tail; odd: a completion queue's head (3.1.24, 25).
 * A value outside the queue is not taken. */
void nvme_doorbell(struct nvme *n, unsigned index, uint32_t v)
{
	unsigned i = index / 2;
	if (i >= NVME_QUEUES || !n->ready)
		return;
	struct nvme_sq *sq = &n->sq[i];
	struct nvme_cq *cq = &n->cq[i];
	if (!(index & 1) && sq->live && v < sq->size) {
		sq->tail = v;
	} else if (index & 1 && cq->live && v < cq->size) {
		cq->head = v;
		cq->raised = cq->head != cq->tail;
		nvme_update_irq(n);
	}
	nvme_post(n);
}
