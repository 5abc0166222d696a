/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Administration: queues made and deleted, identification, features, logs (5.). */
#include "device/nvme/nvme.h"

#include "device/pci_regs.h"
#include "machine/machine.h"

enum { DELETE_SQ = 0, CREATE_SQ = 1, GET_LOG = 2, DELETE_CQ = 4, CREATE_CQ = 5, IDENTIFY = 6, ABORT = 8,
       SET_FEATURES = 9, GET_FEATURES = 10, ASYNC_EVENT = 12, NS_ATTACH_LIST = 2, NS_DESCRIPTORS = 3 };
enum { F_POWER = 2, F_TEMPERATURE = 4, F_WRITE_CACHE = 6, F_QUEUES = 7, F_COALESCING = 8, F_VECTOR = 9,
       F_ATOMICITY = 10, F_EVENTS = 11 };
enum { ONCS_DSM = 4, ONCS_ZEROES = 8 };

static void put_text(uint8_t *p, size_t n, const char *text)
{
	memset(p, ' ', n);
	memcpy(p, text, MIN(strlen(text), n));
}

static void identify_controller(const struct nvme *n, uint8_t *p)
{
	le16_put(p, le16_get(n->fn.config + PCI_VENDOR));
	le16_put(p + 2, le16_get(n->fn.config + PCI_SUB_VENDOR));
	put_text(p + 4, 20, n->serial);
	put_text(p + 24, 40, "Abyme NVMe disk");
	put_text(p + 64, 8, "1");
	p[72] = 6;                        /* arbitration burst */
	p[77] = NVME_TRANSFER_SHIFT;
	le32_put(p + 80, 0x00010400);
	p[111] = 1;                       /* an I/O controller */
	p[256] = 0;                       /* no optional admin commands */
	p[258] = 3;                       /* aborts at a time */
	p[259] = NVME_EVENTS - 1;
	p[260] = 3;                       /* firmware slot 1, read-only */
	p[261] = 2;                       /* log pages take an offset's upper half */
	le16_put(p + 266, 343);
	le16_put(p + 268, 373);
	p[512] = 0x66;                    /* entry sizes: 64 and 16 bytes */
	p[513] = 0x44;
	le32_put(p + 516, 1);
	le16_put(p + 520, ONCS_ZEROES | (n->info.discard ? ONCS_DSM : 0));
	p[525] = 1;                       /* a volatile write cache */
	strcpy((char *)p + 768, "nqn.2026-01.org.abyme:nvme:");
	strcat((char *)p + 768, n->serial);
	le16_put(p + 2048, 2500);         /* power state 0: 25 W */
}

static void identify_namespace(const struct nvme *n, uint8_t *p)
{
	uint64_t blocks = n->info.size / NVME_BLOCK;
	for (unsigned i = 0; i < 3; i++)
		le64_put(p + i * 8, blocks);
	p[24] = n->info.discard;          /* thin */
	p[33] = 1;                        /* deallocated blocks read as zero */
	p[99] = n->info.readonly;         /* write protected */
	p[130] = 9;                       /* format 0: 512 bytes */
}

static uint16_t identify(struct nvme *n, const struct nvme_command *c)
{
	uint8_t p[4096] = { 0 };
	switch (c->dw[0] & 0xff) {
	case 0:
		if (c->nsid == 1)
			identify_namespace(n, p);
		else if (c->nsid != UINT32_MAX)
			return NVME_BAD_NAMESPACE;
		break;
	case 1:
		identify_controller(n, p);
		break;
	case NS_ATTACH_LIST:
		if (c->nsid >= UINT32_MAX - 1)
			return NVME_BAD_NAMESPACE;
		le32_put(p, c->nsid < 1);
		break;
	case NS_DESCRIPTORS:
		if (c->nsid != 1)
			return NVME_BAD_NAMESPACE;
		p[0] = 3;                 /* a UUID */
		p[1] = 16;
		memcpy(p + 4, n->fn.dev.machine->config->uuid, 16);
		p[19] ^= (uint8_t)n->fn.devfn;
		break;
	default:
		return NVME_BAD_FIELD;
	}
	return nvme_answer(n, c, p, sizeof(p)) ? NVME_OK : NVME_BAD_PRP;
}

/* --- queues ---------------------------------------------------------------------- */
static uint16_t create_cq(struct nvme *n, const struct nvme_command *c)
{
	uint32_t id = c->dw[0] & 0xffff, size = (c->dw[0] >> 16) + 1, vector = c->dw[1] >> 16;
	if (!id || id >= NVME_QUEUES || n->cq[id].live)
		return NVME_BAD_QID;
	if (size < 2 || size > NVME_ENTRIES)
		return NVME_BAD_SIZE;
	if (!(c->dw[1] & 1) || c->prp[0] & PAGE_MASK)
		return NVME_BAD_FIELD;
	if (vector >= NVME_QUEUES)
		return NVME_BAD_VECTOR;
	n->cq[id] = (struct nvme_cq){ .live = true, .interrupts = c->dw[1] & 2, .phase = true,
				      .base = c->prp[0], .size = size, .vector = vector };
	return NVME_OK;
}

static uint16_t create_sq(struct nvme *n, const struct nvme_command *c)
{
	uint32_t id = c->dw[0] & 0xffff, size = (c->dw[0] >> 16) + 1, cq = c->dw[1] >> 16;
	if (!id || id >= NVME_QUEUES || n->sq[id].live)
		return NVME_BAD_QID;
	if (!cq || cq >= NVME_QUEUES || !n->cq[cq].live)
		return NVME_BAD_CQ;
	if (size < 2 || size > NVME_ENTRIES)
		return NVME_BAD_SIZE;
	if (!(c->dw[1] & 1) || c->prp[0] & PAGE_MASK)
		return NVME_BAD_FIELD;
	n->sq[id] = (struct nvme_sq){ .live = true, .base = c->prp[0], .size = size, .cq = cq };
	return NVME_OK;
}

/* What the queue has running ends first: its memory is the guest's afterwards. */
static uint16_t delete_sq(struct nvme *n, const struct nvme_command *c)
{
	uint32_t id = c->dw[0] & 0xffff, generation = n->generation;
	if (!id || id >= NVME_QUEUES || !n->sq[id].live)
		return NVME_BAD_QID;
	pthread_mutex_unlock(&n->lock);
	disk_drain(n->disk);
	pthread_mutex_lock(&n->lock);
	if (generation != n->generation)
		return NVME_HELD;         /* reset meanwhile */
	n->sq[id].live = false;
	return NVME_OK;
}

static uint16_t delete_cq(struct nvme *n, const struct nvme_command *c)
{
	uint32_t id = c->dw[0] & 0xffff;
	if (!id || id >= NVME_QUEUES || !n->cq[id].live)
		return NVME_BAD_QID;
	for (unsigned i = 1; i < NVME_QUEUES; i++)
		if (n->sq[i].live && n->sq[i].cq == id)
			return NVME_NOT_DELETABLE;
	n->cq[id].live = false;
	nvme_update_irq(n);
	return NVME_OK;
}

/* --- the rest -------------------------------------------------------------------- */
static uint16_t features(struct nvme *n, const struct nvme_command *c, bool set, uint32_t *result)
{
	switch (c->dw[0] & 0xff) {
	case F_QUEUES:
		*result = (NVME_QUEUES - 2) << 16 | (NVME_QUEUES - 2);
		return NVME_OK;
	case F_WRITE_CACHE:
		if (set)
			n->write_cache = c->dw[1] & 1;
		*result = n->write_cache;
		return NVME_OK;
	case F_TEMPERATURE:
		*result = 343;
		return NVME_OK;
	case F_POWER: case F_COALESCING: case F_VECTOR: case F_ATOMICITY: case F_EVENTS: case 1: case 5:
		return NVME_OK;
	}
	return NVME_BAD_FIELD;
}

/* Error, health, firmware slot: nothing bad ever happened. */
static uint16_t get_log(struct nvme *n, const struct nvme_command *c)
{
	uint8_t p[4096] = { 0 };
	uint32_t dwords = ((c->dw[0] >> 16) | (c->dw[1] & 0xffff) << 16) + 1, page = c->dw[0] & 0xff;
	if (page < 1 || page > 3)
		return NVME_BAD_LOG;
	if (page == 2) {
		le16_put(p + 1, 313);     /* 40 degrees */
		p[3] = 100;
		p[4] = 10;
	} else if (page == 3) {
		p[0] = 1;
		put_text(p + 8, 8, "1");
	}
	if (c->dw[2] >= sizeof(p) || c->dw[3] || c->dw[2] % 4)
		return NVME_BAD_FIELD;
	uint32_t len = MIN(dwords, (uint32_t)sizeof(p) / 4) * 4, rest = (uint32_t)sizeof(p) - c->dw[2];
	return nvme_answer(n, c, p + c->dw[2], MIN(len, rest)) ? NVME_OK : NVME_BAD_PRP;
}

/* No event ever comes: the commands are kept. They must not hold entries of the
 * completion queue, or it would look full for ever. */
static uint16_t async_event(struct nvme *n, const struct nvme_command *c)
{
	if (n->events == NVME_EVENTS)
		return NVME_TOO_MANY_EVENTS;
	n->event[n->events++] = c->id;
	n->cq[0].promised--;
	return NVME_HELD;
}

uint16_t nvme_admin(struct nvme *n, const struct nvme_command *c, uint32_t *result)
{
	switch (c->opcode) {
	case DELETE_SQ: return delete_sq(n, c);
	case CREATE_SQ: return create_sq(n, c);
	case GET_LOG: return get_log(n, c);
	case DELETE_CQ: return delete_cq(n, c);
	case CREATE_CQ: return create_cq(n, c);
	case IDENTIFY: return identify(n, c);
	case ABORT:
		*result = 1;              /* not aborted: it will end by itself */
		return NVME_OK;
	case SET_FEATURES: return features(n, c, true, result);
	case GET_FEATURES: return features(n, c, false, result);
	case ASYNC_EVENT: return async_event(n, c);
	}
	return NVME_BAD_OPCODE;
}
