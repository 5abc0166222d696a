/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI, modern only (virtio 1.2 4.1).  BAR 0 holds the common
 * configuration, the ISR byte and the device's own configuration; BAR 1 the
 * MSI-X tables; BAR 2 the notify addresses, which take no lock.  The PCI
 * configuration access capability reaches the same registers.
 *
 * Threads: registers under the board lock; interrupts are raised from any
 * thread, so the ISR byte and INTA# move together under `lock`.
 */
#include "device/virtio/virtio.h"

#include "machine/machine.h"

enum { BAR_REGS = 0, BAR_MSIX = 1, BAR_NOTIFY = 2 };
enum { REGS_COMMON = 0, REGS_ISR = 0x1000, REGS_DEVICE = 0x2000, REGS_SIZE = 0x4000 };
enum { COMMON_SIZE = 0x3c, NOTIFY_MULTIPLIER = 4, NO_VECTOR = 0xffff };
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI };   /* virtio 1.2 4.1.4 */
enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

struct virtio_pci {
	struct virtio_transport t;        /* first */
	struct device_ops dev_ops;        /* per device: the name differs */
	uint32_t device_select, driver_select;
	uint16_t queue_select, config_vector;
	unsigned access_cap;              /* offset of the PCI access capability */
	pthread_mutex_t lock;
	uint8_t isr;
};

static struct virtio_device *from_dev(struct device *d)
{
	return container_of(container_of(d, struct pci_function, dev), struct virtio_device, pci);
}

static struct virtio_pci *pci_of(struct virtio_device *d)
{
	return container_of(d->transport, struct virtio_pci, t);
}

/* --- interrupts ----------------------------------------------------------- */

static void interrupt(struct virtio_device *d, uint16_t vector, uint8_t isr)
{
	struct virtio_pci *t = pci_of(d);
	if (pci_msix_enabled(&d->pci)) {
		if (vector != NO_VECTOR)
			pci_msix_raise(&d->pci, vector);
		return;
	}
	pthread_mutex_lock(&t->lock);
	t->isr |= isr;
	pci_intx(&d->pci, true);
	pthread_mutex_unlock(&t->lock);
}

static void signal_queue(struct virtqueue *vq)
{
	interrupt(vq->vdev, vq->vector, ISR_QUEUE);
}

static void signal_config(struct virtio_device *d)
{
	interrupt(d, pci_of(d)->config_vector, ISR_CONFIG);
}

static uint8_t isr_take(struct virtio_device *d)
{
	struct virtio_pci *t = pci_of(d);
	pthread_mutex_lock(&t->lock);
	uint8_t isr = t->isr;
	t->isr = 0;
	pci_intx(&d->pci, false);
	pthread_mutex_unlock(&t->lock);
	return isr;
}

/* --- the common configuration (virtio 1.2 4.1.4.3) ------------------------ */

static struct virtqueue *selected(struct virtio_device *d)
{
	unsigned q = pci_of(d)->queue_select;
	return q < d->ops->queues ? &d->vq[q] : NULL;
}

static void common_image(struct virtio_device *d, uint8_t *b)
{
	struct virtio_pci *t = pci_of(d);
	uint64_t offered = virtio_offered(d);
	memset(b, 0, COMMON_SIZE + 4);
	le32_put(b + 0x00, t->device_select);
	le32_put(b + 0x04, t->device_select < 2 ? offered >> 32 * t->device_select : 0);
	le32_put(b + 0x08, t->driver_select);
	le32_put(b + 0x0c, t->driver_select < 2 ? d->features >> 32 * t->driver_select : 0);
	le16_put(b + 0x10, t->config_vector);
	le16_put(b + 0x12, d->ops->queues);
	b[0x14] = d->status;
	b[0x15] = d->config_generation;
	le16_put(b + 0x16, t->queue_select);
	const struct virtqueue *vq = selected(d);
	if (!vq)
		return;
	le16_put(b + 0x18, vq->size);
	le16_put(b + 0x1a, vq->vector);
	le16_put(b + 0x1c, vq->ready);
	le16_put(b + 0x1e, vq->index);
	le64_put(b + 0x20, vq->desc);
	le64_put(b + 0x28, vq->avail);
	le64_put(b + 0x30, vq->used);
}

static void write_features(struct virtio_device *d, uint32_t v)
{
	unsigned shift = 32 * pci_of(d)->driver_select;
	if (d->status & VIRTIO_STATUS_FEATURES_OK || shift > 32)
		return;
	d->features = (d->features & ~(0xffffffffull << shift)) | (uint64_t)v << shift;
}

/* A vector that does not exist reads back as none (virtio 1.2 4.1.5.1.2). */
static uint16_t checked_vector(const struct virtio_device *d, uint64_t v)
{
	return v <= d->ops->queues ? v : NO_VECTOR;
}

static void write_half(uint64_t *field, unsigned shift, unsigned size, uint64_t v)
{
	if (size == 4)
		*field = (*field & ~(0xffffffffull << shift)) | v << shift;
}

static void write_queue(struct virtio_device *d, unsigned off, unsigned size, uint64_t v)
{
	struct virtqueue *vq = selected(d);
	if (!vq)
		return;
	if (off == 0x1a && size == 2)
		vq->vector = checked_vector(d, v);
	if (vq->ready)
		return;                   /* what the loop reads stands still */
	switch (off) {
	case 0x18: vq->size = size == 2 ? v : vq->size; break;
	case 0x1c:
		if (size == 2 && v == 1)
			virtio_queue_enable(vq);
		break;
	case 0x20: case 0x24: write_half(&vq->desc, off == 0x24 ? 32 : 0, size, v); break;
	case 0x28: case 0x2c: write_half(&vq->avail, off == 0x2c ? 32 : 0, size, v); break;
	case 0x30: case 0x34: write_half(&vq->used, off == 0x34 ? 32 : 0, size, v); break;
	}
}

static void common_write(struct virtio_device *d, unsigned off, unsigned size, uint64_t v)
{
	struct virtio_pci *t = pci_of(d);
	static const struct { uint8_t off, size; } fields[] = {
		{ 0x00, 4 }, { 0x08, 4 }, { 0x0c, 4 }, { 0x10, 2 }, { 0x14, 1 }, { 0x16, 2 },
	};
	if (off >= 0x18) {
		if (!d->resetting)
			write_queue(d, off, size, v);
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		if (fields[i].off == off && fields[i].size != size)
			return;
	switch (off) {
	case 0x00: t->device_select = v; break;
	case 0x08: t->driver_select = MIN(v, 2u); break;
	case 0x0c: write_features(d, v); break;
	case 0x10: t->config_vector = checked_vector(d, v); break;
	case 0x14: virtio_write_status(d, v); break;
	case 0x16: t->queue_select = v; break;
	}
}

/* --- BARs ----------------------------------------------------------------- */

static uint64_t device_read(struct virtio_device *d, unsigned off, unsigned size)
{
	uint8_t b[8] = { 0 };
	if (off + size <= d->ops->config_size && d->ops->config_read)
		d->ops->config_read(d, off, b, size);
	return le64_get(b);
}

static void device_write(struct virtio_device *d, unsigned off, unsigned size, uint64_t v)
{
	uint8_t b[8];
	le64_put(b, v);
	if (off + size <= d->ops->config_size && d->ops->config_write)
		d->ops->config_write(d, off, b, size);
}

static uint64_t regs_read(void *opaque, uint64_t off, unsigned size)
{
	struct virtio_device *d = opaque;
	uint8_t b[COMMON_SIZE + 4 + 8];
	if (off == REGS_ISR)
		return isr_take(d);
	if (off >= REGS_DEVICE)
		return device_read(d, off - REGS_DEVICE, size);
	if (off + size > COMMON_SIZE + 4)
		return 0;
	common_image(d, b);
	return le64_get(b + off) & (BIT(8 * size) - 1);
}

static void regs_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
	struct virtio_device *d = opaque;
	if (off >= REGS_DEVICE)
		device_write(d, off - REGS_DEVICE, size, v);
	else if (off < REGS_ISR)
		common_write(d, off, size, v);
}

static uint64_t notify_read(void *opaque, uint64_t off, unsigned size)
{
	return 0;
}

static void notify_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
	struct virtio_device *d = opaque;
	unsigned q = off / NOTIFY_MULTIPLIER;
	if (q < d->ops->queues && d->live)
		virtio_kick(d, q);
}

static const struct io_ops regs_ops = { regs_read, regs_write, .min = 1, .max = 4 };
static const struct io_ops notify_ops = { notify_read, notify_write, .min = 1, .max = 4, .lockless = true };

/* --- the PCI configuration access capability (virtio 1.2 4.1.4.9) --------- */

static uint8_t *access_cap(struct pci_function *f, unsigned offset, unsigned size)
{
	struct virtio_device *d = container_of(f, struct virtio_device, pci);
	unsigned data = pci_of(d)->access_cap + 16;
	return offset < data + 4 && offset + size > data ? f->config + data - 16 : NULL;
}

/* Where it points: false if nowhere. */
static bool access_target(const uint8_t *cap, unsigned *bar, uint32_t *off, uint32_t *len)
{
	*bar = cap[4];
	*off = le32_get(cap + 8);
	*len = le32_get(cap + 12);
	return (*len == 1 || *len == 2 || *len == 4) && !(*off & (*len - 1)) &&
	       ((*bar == BAR_REGS && *off < REGS_SIZE) || (*bar == BAR_NOTIFY && *off < PAGE_SIZE));
}

static void config_reading(struct pci_function *f, unsigned offset, unsigned size)
{
	uint8_t *cap = access_cap(f, offset, size);
	unsigned bar;
	uint32_t off, len;
	if (cap && access_target(cap, &bar, &off, &len))
		le32_put(cap + 16, bar == BAR_REGS ? regs_read(f, off, len) : 0);
}

static void config_written(struct pci_function *f, unsigned offset, unsigned size)
{
	uint8_t *cap = access_cap(f, offset, size);
	unsigned bar;
	uint32_t off, len;
	if (!cap || !access_target(cap, &bar, &off, &len))
		return;
	uint64_t v = le32_get(cap + 16) & (BIT(8 * len) - 1);
	(bar == BAR_REGS ? regs_write : notify_write)(f, off, v, len);
}

static void add_cap(struct virtio_device *d, uint8_t type, unsigned bar, uint32_t off, uint32_t len)
{
	unsigned size = type == CAP_NOTIFY || type == CAP_PCI ? 20 : 16;
	unsigned at = pci_cap_add(&d->pci, 0x09, size);       /* vendor-specific */
	uint8_t *cap = d->pci.config + at;
	cap[2] = size;
	cap[3] = type;
	cap[4] = bar;
	le32_put(cap + 8, off);
	le32_put(cap + 12, len);
	if (type == CAP_NOTIFY)
		le32_put(cap + 16, NOTIFY_MULTIPLIER);
	if (type == CAP_PCI) {
		pci_of(d)->access_cap = at;
		d->pci.wmask[at + 4] = 0xff;
		memset(d->pci.wmask + at + 8, 0xff, 12);
	}
}

/* --- as a device of the machine ------------------------------------------- */

static void registers_reset(struct virtio_device *d)
{
	struct virtio_pci *t = pci_of(d);
	t->device_select = t->driver_select = 0;
	t->queue_select = 0;
	t->config_vector = NO_VECTOR;
	isr_take(d);
}

static void pci_dev_reset(struct device *dev)
{
	struct virtio_device *d = from_dev(dev);
	virtio_reset(d);
	pci_function_reset(&d->pci);
}

static bool pci_dev_xfer(struct device *dev, struct state *s, uint32_t version)
{
	struct virtio_device *d = from_dev(dev);
	struct virtio_pci *t = pci_of(d);
	if (!pci_xfer(&d->pci, s))
		return false;
	xfer_u32(s, &t->device_select);
	xfer_u32_max(s, &t->driver_select, 2);
	xfer_u16(s, &t->queue_select);
	xfer_u16(s, &t->config_vector);
	xfer_u8(s, &t->isr);
	if (!virtio_xfer(d, s, version))
		return false;
	t->config_vector = checked_vector(d, t->config_vector);
	for (unsigned q = 0; q < d->ops->queues; q++)
		d->vq[q].vector = checked_vector(d, d->vq[q].vector);
	return !d->ops->xfer || d->ops->xfer(d, s, version);
}

static void pci_dev_loaded(struct device *dev)
{
	struct virtio_device *d = from_dev(dev);
	pci_intx(&d->pci, pci_of(d)->isr && !pci_msix_enabled(&d->pci));
	virtio_loaded(d);
}

static void pci_dev_drain(struct device *dev) { virtio_drain(from_dev(dev)); }
static void pci_dev_undrain(struct device *dev) { virtio_undrain(from_dev(dev)); }

static void pci_dev_destroy(struct device *dev)
{
	struct virtio_device *d = from_dev(dev);
	struct virtio_pci *t = pci_of(d);
	d->live = false;
	virtio_bells_take_down(d);
	if (d->ops->destroy)
		d->ops->destroy(d);       /* frees d */
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct virtio_pci *transport_new(const struct virtio_ops *ops)
{
	struct virtio_pci *t = xnew(struct virtio_pci);
	pthread_mutex_init(&t->lock, NULL);
	t->t = (struct virtio_transport){ signal_queue, signal_config, registers_reset };
	t->dev_ops = (struct device_ops){
		.name = ops->name, .version = ops->version,
		.reset = pci_dev_reset, .xfer = pci_dev_xfer, .loaded = pci_dev_loaded,
		.drain = pci_dev_drain, .undrain = pci_dev_undrain, .destroy = pci_dev_destroy,
	};
	return t;
}

bool virtio_pci_init(struct machine *m, struct virtio_device *d,
		     const struct virtio_ops *ops, const char *id, struct error *err)
{
	struct pci_ids ids = { 0x1af4, 0x1040 + ops->device_id, 0x1af4, 0x1100, ops->class_rev };
	d->ops = ops;
	struct virtio_pci *t = transport_new(ops);
	d->transport = &t->t;
	if (!pci_function_init(m, &d->pci, -1, &ids, &t->dev_ops, id, err)) {
		free(t);
		return false;
	}
	pci_bar_add(&d->pci, BAR_REGS, REGS_SIZE, 0, &regs_ops, d);
	pci_bar_add(&d->pci, BAR_NOTIFY, PAGE_SIZE, 0, &notify_ops, d);
	add_cap(d, CAP_COMMON, BAR_REGS, REGS_COMMON, COMMON_SIZE + 4);
	add_cap(d, CAP_NOTIFY, BAR_NOTIFY, 0, PAGE_SIZE);
	add_cap(d, CAP_ISR, BAR_REGS, REGS_ISR, 1);
	if (ops->config_size)
		add_cap(d, CAP_DEVICE, BAR_REGS, REGS_DEVICE, ALIGN_UP(ops->config_size, 4u));
	add_cap(d, CAP_PCI, 0, 0, 0);
	pci_msix_add(&d->pci, BAR_MSIX, ops->queues + 1);
	d->pci.config_written = config_written;
	d->pci.config_reading = config_reading;
	virtio_reset(d);
	virtio_bells_hang(d, d->pci.bar[BAR_NOTIFY].region, NOTIFY_MULTIPLIER);
	return true;
}
