/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NVMe controller's registers (3.1) and its life.
 *
 * Threading: registers under a lock of its own, a leaf below the board lock;
 * queues are worked through on the I/O loop's thread, which hands requests to the
 * disk without the lock.  A controller that is disabled while requests run bumps
 * its generation: their ends are then ignored, and CSTS.RDY stays until the last
 * has ended, as the guest's memory is theirs so long (3.1.6).
 */
#include "device/nvme/nvme.h"

#include <stdio.h>

#include "device/drives.h"
#include "machine/machine.h"

enum { CAP = 0x00, CAP_HIGH = 0x04, VS = 0x08, INTMS = 0x0c, INTMC = 0x10, CC = 0x14, CSTS = 0x1c,
       AQA = 0x24, ASQ = 0x28, ACQ = 0x30, DOORBELLS = 0x1000, BAR_SIZE = 0x4000, MSIX_BAR = 4 };
enum { CC_EN = 1, CC_SHN = 0xc000, CSTS_RDY = 1, CSTS_CFS = 2, CSTS_SHUT = 8 };
enum { CAP_LOW = 20 << 24 | 1 << 16 | (NVME_ENTRIES - 1), CAP_NVM = 1 << 5 };

static struct nvme *from_device(struct device *d) { return container_of(d, struct nvme, fn.dev); }

struct memory *nvme_memory(const struct nvme *n) { return n->fn.dev.machine->memory; }

/* --- registers ------------------------------------------------------------------- */
/* requires: lock */
static void disable(struct nvme *n)
{
	n->generation++;
	n->ready = n->shut_down = n->failed = false;
	n->events = 0;
	memset(n->sq, 0, sizeof(n->sq));
	memset(n->cq, 0, sizeof(n->cq));
	nvme_update_irq(n);
}

/* The admin queues come from registers; only 4 KiB pages and the NVM command set
 * are offered (3.1.5). */
static void enable(struct nvme *n)
{
	uint32_t sq = (n->aqa & 0xfff) + 1, cq = (n->aqa >> 16 & 0xfff) + 1;
	n->failed = n->cc & 0x7f0 || sq < 2 || cq < 2 || sq > NVME_ENTRIES || cq > NVME_ENTRIES;
	if (n->failed)
		return;
	n->cq[0] = (struct nvme_cq){ .live = true, .interrupts = true, .phase = true,
				     .base = ALIGN_DOWN(n->acq, PAGE_SIZE), .size = cq };
	n->sq[0] = (struct nvme_sq){ .live = true, .base = ALIGN_DOWN(n->asq, PAGE_SIZE), .size = sq };
	n->ready = true;
}

static void write_cc(struct nvme *n, uint32_t v)
{
	bool was = n->cc & CC_EN;
	n->cc = v & 0x00fffff1;
	if (was && !(v & CC_EN))
		disable(n);
	else if (!was && v & CC_EN)
		enable(n);
	n->shut_down = v & CC_SHN;
}

static void set_half(uint64_t *reg, bool high, uint32_t v)
{
	*reg = high ? (*reg & UINT32_MAX) | (uint64_t)v << 32 : (*reg & ~(uint64_t)UINT32_MAX) | v;
}

static void write_register(struct nvme *n, uint32_t at, uint32_t v)
{
	switch (at) {
	case INTMS:
		n->masked |= v;
		break;
	case INTMC:
		n->masked &= ~v;
		break;
	case CC:
		write_cc(n, v);
		break;
	case AQA:
		n->aqa = v & 0x0fff0fff;
		break;
	case ASQ: case ASQ + 4:
		set_half(&n->asq, at & 4, v);
		break;
	case ACQ: case ACQ + 4:
		set_half(&n->acq, at & 4, v);
		break;
	default:
		if (at >= DOORBELLS)
			nvme_doorbell(n, (at - DOORBELLS) / 4, v & 0xffff);
	}
	nvme_update_irq(n);
}

static uint32_t read_register(const struct nvme *n, uint32_t at)
{
	switch (at) {
	case CAP: return CAP_LOW;
	case CAP_HIGH: return CAP_NVM;
	case VS: return 0x00010400;
	case INTMS: case INTMC: return n->masked;
	case CC: return n->cc;
	case CSTS:
		return (n->ready || (n->running && !(n->cc & CC_EN)) ? CSTS_RDY : 0) |
		       (n->failed ? CSTS_CFS : 0) | (n->shut_down ? CSTS_SHUT : 0);
	case AQA: return n->aqa;
	case ASQ: return (uint32_t)n->asq;
	case ASQ + 4: return (uint32_t)(n->asq >> 32);
	case ACQ: return (uint32_t)n->acq;
	case ACQ + 4: return (uint32_t)(n->acq >> 32);
	}
	return 0;
}

static uint64_t nvme_read(void *opaque, uint64_t at, unsigned size)
{
	struct nvme *n = opaque;
	pthread_mutex_lock(&n->lock);
	uint32_t v = read_register(n, (uint32_t)at);
	pthread_mutex_unlock(&n->lock);
	return v;
}

static void nvme_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct nvme *n = opaque;
	pthread_mutex_lock(&n->lock);
	write_register(n, (uint32_t)at, (uint32_t)value);
	pthread_mutex_unlock(&n->lock);
}

/* --- device ---------------------------------------------------------------------- */
static void nvme_drain(struct device *d)
{
	struct nvme *n = from_device(d);
	pthread_mutex_lock(&n->lock);
	n->drained = true;
	pthread_mutex_unlock(&n->lock);
	disk_drain(n->disk);
}

static void nvme_undrain(struct device *d)
{
	struct nvme *n = from_device(d);
	pthread_mutex_lock(&n->lock);
	n->drained = false;
	nvme_post(n);
	pthread_mutex_unlock(&n->lock);
}

static void nvme_reset(struct device *d)
{
	struct nvme *n = from_device(d);
	disk_drain(n->disk);
	pthread_mutex_lock(&n->lock);
	n->cc = n->aqa = n->masked = 0;
	n->asq = n->acq = 0;
	n->write_cache = true;
	disable(n);
	pthread_mutex_unlock(&n->lock);
	pci_function_reset(&n->fn);
}

static void xfer_sq(struct nvme_sq *q, struct state *s)
{
	xfer_bool(s, &q->live);
	xfer_u64(s, &q->base);
	xfer_u32_max(s, &q->size, NVME_ENTRIES);
	xfer_u32_max(s, &q->head, q->size ? q->size - 1 : 0);
	xfer_u32_max(s, &q->tail, q->size ? q->size - 1 : 0);
	xfer_u32_max(s, &q->cq, NVME_QUEUES - 1);
	if (q->live && q->size < 2)
		state_fail(s, "a submission queue has no entries");
}

static void xfer_cq(struct nvme_cq *q, struct state *s)
{
	bool *flags[] = { &q->live, &q->interrupts, &q->phase, &q->raised };
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		xfer_bool(s, flags[i]);
	xfer_u64(s, &q->base);
	xfer_u32_max(s, &q->size, NVME_ENTRIES);
	xfer_u32_max(s, &q->head, q->size ? q->size - 1 : 0);
	xfer_u32_max(s, &q->tail, q->size ? q->size - 1 : 0);
	xfer_u32_max(s, &q->vector, NVME_QUEUES - 1);
	if (q->live && q->size < 2)
		state_fail(s, "a completion queue has no entries");
}

static bool nvme_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct nvme *n = from_device(d);
	xfer_check_u64(s, n->info.size, "the size of an NVMe disk");
	pci_xfer(&n->fn, s);
	uint32_t *regs[] = { &n->cc, &n->aqa, &n->masked };
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		xfer_u32(s, regs[i]);
	xfer_u64(s, &n->asq);
	xfer_u64(s, &n->acq);
	bool *flags[] = { &n->ready, &n->shut_down, &n->failed, &n->write_cache };
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		xfer_bool(s, flags[i]);
	for (unsigned i = 0; i < NVME_QUEUES && state_ok(s); i++) {
		xfer_sq(&n->sq[i], s);
		xfer_cq(&n->cq[i], s);
	}
	xfer_u8_max(s, &n->events, NVME_EVENTS);
	for (unsigned i = 0; i < NVME_EVENTS; i++)
		xfer_u16(s, &n->event[i]);
	return state_ok(s);
}

static void nvme_loaded(struct device *d)
{
	struct nvme *n = from_device(d);
	pthread_mutex_lock(&n->lock);
	nvme_update_irq(n);
	pthread_mutex_unlock(&n->lock);
	nvme_undrain(d);
}

static void nvme_destroy(struct device *d)
{
	struct nvme *n = from_device(d);
	disk_close(n->disk);
	pthread_mutex_destroy(&n->lock);
	free(n->requests);
	free(n);
}

static const struct io_ops nvme_io_ops = { nvme_read, nvme_write, 4, 4, true };
static const struct device_ops nvme_ops = {
	.name = "nvme", .version = 1, .reset = nvme_reset, .xfer = nvme_xfer, .loaded = nvme_loaded,
	.drain = nvme_drain, .undrain = nvme_undrain, .destroy = nvme_destroy,
};

static struct nvme *nvme_new(struct disk *disk, unsigned index)
{
	struct nvme *n = xnew(struct nvme);
	pthread_mutex_init(&n->lock, NULL);
	n->disk = disk;
	n->write_cache = true;
	disk_get_info(disk, &n->info);
	snprintf(n->serial, sizeof(n->serial), "abyme-nvme-%u", index);
	n->requests = xcalloc(NVME_REQUESTS, sizeof(*n->requests));
	for (unsigned i = 0; i < NVME_REQUESTS; i++) {
		n->requests[i].nvme = n;
		n->requests[i].next = i + 1 < NVME_REQUESTS ? &n->requests[i + 1] : NULL;
	}
	n->spare = n->requests;
	return n;
}

bool nvme_create(struct machine *m, struct disk *disk, unsigned index, struct error *err)
{
	static const struct pci_ids ids = { 0x1b36, 0x0010, 0x1af4, 0x1100, 0x01080202 };
	struct nvme *n = nvme_new(disk, index);
	char id[16];
	snprintf(id, sizeof(id), "nvme.%u", index);
	if (!pci_function_init(m, &n->fn, -1, &ids, &nvme_ops, id, err)) {
		free(n->requests);
		free(n);
		return false;
	}
	pci_bar_add(&n->fn, 0, BAR_SIZE, PCI_BAR_64, &nvme_io_ops, n);
	pci_msix_add(&n->fn, MSIX_BAR, NVME_QUEUES);
	return true;
}
