/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over MMIO (virtio 1.2 4.2), the bus of board `microvm`: a page of
 * registers and one interrupt a device, which the guest finds in the DSDT
 * (LNRO0005).  The interrupt is an edge: each cause sends one, none has to be
 * ended, and devices may share a line.
 *
 * Threads: registers under the board lock, but QueueNotify, which takes none;
 * interrupts are raised from any thread.
 */
#include "device/virtio/virtio.h"

#include "device/chipset.h"
#include "machine/machine.h"

enum { MAGIC = 0x74726976, VERSION = 2, VENDOR = 0x59424100 };
enum {
	R_MAGIC = 0, R_VERSION = 4, R_DEVICE = 8, R_VENDOR = 0xc, R_FEATURES = 0x10, R_FEATURES_SELECT = 0x14,
	R_DRIVER = 0x20, R_DRIVER_SELECT = 0x24, R_QUEUE_SELECT = 0x30, R_QUEUE_MAX = 0x34, R_QUEUE_SIZE = 0x38,
	R_QUEUE_READY = 0x44, R_NOTIFY = 0x50, R_ISR = 0x60, R_ACK = 0x64, R_STATUS = 0x70,
	R_DESC = 0x80, R_AVAIL = 0x90, R_USED = 0xa0, R_SHM = 0xb0, R_SHM_END = 0xc0, R_GENERATION = 0xfc,
	R_CONFIG = 0x100,
};
enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

struct virtio_mmio {
	struct virtio_transport t;        /* first */
	struct device_ops dev_ops;        /* per device: the name differs */
	uint32_t device_select, driver_select, queue_select;
	_Atomic uint32_t isr;
	struct irq_line line;
};

static struct virtio_mmio *mmio_of(struct virtio_device *d)
{
	return container_of(d->transport, struct virtio_mmio, t);
}

static struct virtio_device *from_dev(struct device *d)
{
	return container_of(container_of(d, struct pci_function, dev), struct virtio_device, pci);
}

/* --- interrupts ----------------------------------------------------------- */

static void interrupt(struct virtio_device *d, uint32_t cause)
{
	struct virtio_mmio *t = mmio_of(d);
	atomic_fetch_or(&t->isr, cause);
	irq_pulse(&t->line);
}

static void mmio_signal(struct virtqueue *vq) { interrupt(vq->vdev, ISR_QUEUE); }
static void mmio_config_irq(struct virtio_device *d) { interrupt(d, ISR_CONFIG); }

/* --- registers ------------------------------------------------------------ */

static struct virtqueue *selected(struct virtio_device *d)
{
	unsigned q = mmio_of(d)->queue_select;
	return q < d->ops->queues ? &d->vq[q] : NULL;
}

static uint32_t half(uint64_t v, uint32_t select)
{
	return select < 2 ? (uint32_t)(v >> 32 * select) : 0;
}

static uint32_t register_read(struct virtio_device *d, unsigned off)
{
	struct virtio_mmio *t = mmio_of(d);
	const struct virtqueue *vq = selected(d);
	switch (off) {
	case R_MAGIC: return MAGIC;
	case R_VERSION: return VERSION;
	case R_DEVICE: return d->ops->device_id;
	case R_VENDOR: return VENDOR;
	case R_FEATURES: return half(virtio_offered(d), t->device_select);
	case R_QUEUE_MAX: return vq ? vq->size_max : 0;
	case R_QUEUE_READY: return vq && vq->ready;
	case R_ISR: return t->isr;
	case R_STATUS: return d->status;
	case R_GENERATION: return d->config_generation;
	}
	/* no shared memory regions: length ~0 (virtio 1.2 4.2.2.1) */
	return off >= R_SHM && off < R_SHM_END ? UINT32_MAX : 0;
}

static void write_half(uint64_t *field, bool high, uint32_t v)
{
	*field = high ? (*field & UINT32_MAX) | (uint64_t)v << 32 : (*field & ~(uint64_t)UINT32_MAX) | v;
}

static void queue_ready(struct virtqueue *vq, uint32_t v)
{
	if (v == 1 && !vq->ready)
		virtio_queue_enable(vq);
	else if (!v)
		vq->ready = false;
}

/* What the loop reads stands still while the device is live. */
static void queue_write(struct virtio_device *d, unsigned off, uint32_t v)
{
	struct virtqueue *vq = selected(d);
	if (!vq || d->resetting || d->live)
		return;
	if (off == R_QUEUE_READY)
		queue_ready(vq, v);
	if (vq->ready)
		return;
	switch (off) {
	case R_QUEUE_SIZE: vq->size = (uint16_t)MIN(v, 0xffffu); break;
	case R_DESC: case R_DESC + 4: write_half(&vq->desc, off & 4, v); break;
	case R_AVAIL: case R_AVAIL + 4: write_half(&vq->avail, off & 4, v); break;
	case R_USED: case R_USED + 4: write_half(&vq->used, off & 4, v); break;
	}
}

static void features_write(struct virtio_device *d, uint32_t v)
{
	uint32_t select = mmio_of(d)->driver_select;
	if (!(d->status & VIRTIO_STATUS_FEATURES_OK) && select < 2)
		write_half(&d->features, select, v);
}

static void register_write(struct virtio_device *d, unsigned off, uint32_t v)
{
	struct virtio_mmio *t = mmio_of(d);
	switch (off) {
	case R_FEATURES_SELECT: t->device_select = v; break;
	case R_DRIVER: features_write(d, v); break;
	case R_DRIVER_SELECT: t->driver_select = v; break;
	case R_QUEUE_SELECT: t->queue_select = v; break;
	case R_ACK: atomic_fetch_and(&t->isr, ~v); break;
	case R_STATUS: virtio_write_status(d, (uint8_t)v); break;
	default: queue_write(d, off, v);
	}
}

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
	struct virtio_device *d = opaque;
	uint8_t b[8] = { 0 };
	if (off < R_CONFIG)
		return size == 4 ? register_read(d, (unsigned)off) : 0;
	off -= R_CONFIG;
	if (off + size <= d->ops->config_size && d->ops->config_read)
		d->ops->config_read(d, (unsigned)off, b, size);
	return le64_get(b);
}

static void mmio_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
	struct virtio_device *d = opaque;
	uint8_t b[8];
	if (off < R_CONFIG) {
		if (size == 4)
			register_write(d, (unsigned)off, (uint32_t)v);
		return;
	}
	off -= R_CONFIG;
	le64_put(b, v);
	if (off + size <= d->ops->config_size && d->ops->config_write)
		d->ops->config_write(d, (unsigned)off, b, size);
}

static uint64_t notify_read(void *opaque, uint64_t off, unsigned size) { return 0; }

static void notify_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
	struct virtio_device *d = opaque;
	if (v < d->ops->queues && d->live)
		virtio_kick(d, (unsigned)v);
}

static const struct io_ops regs_ops = { mmio_read, mmio_write, .min = 1, .max = 4 };
static const struct io_ops notify_ops = { notify_read, notify_write, .min = 4, .max = 4, .lockless = true };

/* --- as a device of the machine ------------------------------------------- */

static void mmio_reset(struct virtio_device *d)
{
	struct virtio_mmio *t = mmio_of(d);
	t->device_select = t->driver_select = t->queue_select = 0;
	t->isr = 0;
}

static void dev_reset(struct device *dev) { virtio_reset(from_dev(dev)); }
static void dev_drain(struct device *dev) { virtio_drain(from_dev(dev)); }
static void dev_undrain(struct device *dev) { virtio_undrain(from_dev(dev)); }

static bool dev_xfer(struct device *dev, struct state *s, uint32_t version)
{
	struct virtio_device *d = from_dev(dev);
	struct virtio_mmio *t = mmio_of(d);
	uint32_t isr = t->isr;
	xfer_u32(s, &t->device_select);
	xfer_u32(s, &t->driver_select);
	xfer_u32(s, &t->queue_select);
	xfer_u32_max(s, &isr, ISR_QUEUE | ISR_CONFIG);
	t->isr = isr;
	return virtio_xfer(d, s, version) && (!d->ops->xfer || d->ops->xfer(d, s, version));
}

static void dev_loaded(struct device *dev)
{
	struct virtio_device *d = from_dev(dev);
	if (mmio_of(d)->isr)
		irq_pulse(&mmio_of(d)->line);     /* one too many does no harm */
	virtio_loaded(d);
}

static void dev_destroy(struct device *dev)
{
	struct virtio_device *d = from_dev(dev);
	struct virtio_mmio *t = mmio_of(d);
	d->live = false;
	virtio_bells_take_down(d);
	if (d->ops->destroy)
		d->ops->destroy(d);       /* frees d */
	free(t);
}

bool virtio_mmio_init(struct machine *m, struct virtio_device *d,
		      const struct virtio_ops *ops, const char *id, struct error *err)
{
	unsigned n = m->board_data->virtio_mmio;
	if (n == BOARD_VIRTIO_MMIO_MAX)
		return error_set(err, 0, "board microvm has room for %d virtio devices: take some away or use --board pc",
				 BOARD_VIRTIO_MMIO_MAX);
	struct virtio_mmio *t = xnew(struct virtio_mmio);
	t->t = (struct virtio_transport){ mmio_signal, mmio_config_irq, mmio_reset };
	t->dev_ops = (struct device_ops){
		.name = ops->name, .version = ops->version, .reset = dev_reset, .xfer = dev_xfer,
		.loaded = dev_loaded, .drain = dev_drain, .undrain = dev_undrain, .destroy = dev_destroy,
	};
	t->line = board_gsi(m, BOARD_VIRTIO_MMIO_GSI + n % BOARD_VIRTIO_MMIO_GSIS);
	d->ops = ops;
	d->transport = &t->t;
	device_add(m, &d->pci.dev, &t->dev_ops, id);
	uint64_t base = BOARD_VIRTIO_MMIO + n * PAGE_SIZE;
	memory_add_io(m->memory, id, base, PAGE_SIZE, 0, &regs_ops, d);
	struct mem_region *notify = memory_add_io(m->memory, id, base + R_NOTIFY, 4, 1, &notify_ops, d);
	m->board_data->virtio_mmio++;
	virtio_reset(d);
	virtio_bells_hang(d, notify, 0);
	return true;
}
