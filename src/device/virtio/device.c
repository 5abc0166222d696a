/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of a virtio device (virtio 1.2 2.1, 2.4, 3.1): negotiation, going
 * live, kicks, breaking, reset, drain, state.
 *
 * What must happen on the I/O loop thread is posted as bits of d->kicked: one
 * wake-up serves all kicks that arrive before the loop gets there.
 */
#include "device/virtio/virtio.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/trace.h"
#include "machine/machine.h"

enum { KICK_READY = 31, KICK_RESET = 30 };

static void run_kicks(void *opaque);

static void post(struct virtio_device *d, uint32_t bits)
{
	if (!atomic_fetch_or(&d->kicked, bits))
		loop_post(d->pci.dev.machine->loop, run_kicks, d);
}

void virtio_kick(struct virtio_device *d, unsigned q)
{
	trace2(virtio_kick, d->ops->device_id, q);
	post(d, BIT(q));
}

void virtio_id(struct machine *m, const struct virtio_ops *ops, char id[32])
{
	unsigned n = 0;
	for (struct device *d = m->devices; d; d = d->next)
		n += !strcmp(d->ops->name, ops->name);
	snprintf(id, 32, "%s.%u", ops->name, n);
}

bool virtio_init(struct machine *m, struct virtio_device *d,
		 const struct virtio_ops *ops, const char *id, struct error *err)
{
	return m->virtio_bus(m, d, ops, id, err);
}

static void kick_all(struct virtio_device *d)
{
	post(d, BIT(d->ops->queues) - 1);
}

static void finish_reset(struct virtio_device *d)
{
	board_lock(d->pci.dev.machine);
	if (d->resetting)
		virtio_reset(d);
	board_unlock(d->pci.dev.machine);
}

static void run_kicks(void *opaque)
{
	struct virtio_device *d = opaque;
	uint32_t bits = atomic_exchange(&d->kicked, 0);
	if (bits & BIT(KICK_RESET))
		finish_reset(d);
	if (bits & BIT(KICK_READY) && d->live && d->ops->ready)
		d->ops->ready(d);
	for (unsigned q = 0; q < d->ops->queues; q++)
		if (bits & BIT(q) && d->live && !d->drained && d->vq[q].ready)
			d->ops->notify(d, q);
}

/* What is posted comes first: a bell must not be heard before ops->ready. */
static void bell_rang(void *opaque, int events)
{
	struct virtqueue *vq = opaque;
	struct virtio_device *d = vq->vdev;
	uint64_t times;
	if (read(d->bell[vq->index].fd, &times, sizeof(times)) != sizeof(times))
		return;
	trace2(virtio_kick, d->ops->device_id, vq->index);
	atomic_fetch_or(&d->kicked, BIT(vq->index));
	run_kicks(d);
}

void virtio_bells_hang(struct virtio_device *d, struct mem_region *r, unsigned step)
{
	struct machine *m = d->pci.dev.machine;
	struct mem_bell bells[VIRTIO_MAX_QUEUES];
	unsigned n = 0;
	for (unsigned q = 0; q < d->ops->queues; q++) {
		int fd = memory_bell(m->memory);
		if (fd < 0)
			break;                /* the rest is told through `write`, as ever */
		d->bell[q].fd = fd;
		d->bell[q].watch = loop_fd_add(m->loop, fd, LOOP_READ, bell_rang, &d->vq[q]);
		bells[n++] = (struct mem_bell){ .offset = (uint64_t)q * step, .size = step ? 0 : 4,
						.value = step ? 0 : q, .fd = fd };
	}
	if (n)
		mem_region_bells(m->memory, r, bells, n);
}

void virtio_bells_take_down(struct virtio_device *d)
{
	for (unsigned q = 0; q < VIRTIO_MAX_QUEUES; q++) {
		if (!d->bell[q].watch)
			continue;
		loop_fd_del(d->bell[q].watch);
		close(d->bell[q].fd);
	}
}

uint64_t virtio_offered(const struct virtio_device *d)
{
	return d->ops->features | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_INDIRECT_DESC) |
	       BIT(VIRTIO_F_EVENT_IDX);
}

static bool features_good(const struct virtio_device *d)
{
	return !(d->features & ~virtio_offered(d)) && virtio_has(d, VIRTIO_F_VERSION_1);
}

static void go_live(struct virtio_device *d)
{
	d->used_since_reset = true;
	d->live = true;
	post(d, BIT(KICK_READY));
	kick_all(d);
}

static void begin_reset(struct virtio_device *d)
{
	if (!d->used_since_reset) {
		virtio_reset(d);          /* the loop has never seen it: done at once */
		return;
	}
	d->live = false;
	d->resetting = true;
	post(d, BIT(KICK_RESET));
}

void virtio_write_status(struct virtio_device *d, uint8_t v)
{
	if (d->resetting)
		return;                   /* the driver has to wait for 0 */
	if (!v) {
		begin_reset(d);
		return;
	}
	uint8_t old = d->status, add = v & ~old & ~VIRTIO_STATUS_NEEDS_RESET;
	if (add & VIRTIO_STATUS_FEATURES_OK && !features_good(d))
		add &= ~(VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
	if (!((old | add) & VIRTIO_STATUS_FEATURES_OK))
		add &= ~VIRTIO_STATUS_DRIVER_OK;
	old = atomic_fetch_or(&d->status, add);
	if (add & VIRTIO_STATUS_DRIVER_OK && !(old & VIRTIO_STATUS_NEEDS_RESET))
		go_live(d);
}

static bool queue_sound(const struct virtqueue *vq)
{
	/* virtio 1.2 2.7: alignments, and a size that is a power of two */
	return vq->size && vq->size <= vq->size_max && !(vq->size & (vq->size - 1)) &&
	       !(vq->desc & 15) && !(vq->avail & 1) && !(vq->used & 3);
}

bool virtio_queue_enable(struct virtqueue *vq)
{
	if (!queue_sound(vq)) {
		virtio_broken(vq->vdev, "a queue was enabled with a bad size or alignment");
		return false;
	}
	vq->last_avail = vq->used_idx = vq->signalled_used = 0;
	vq->ready = true;
	return true;
}

void virtio_broken(struct virtio_device *d, const char *why)
{
	d->live = false;
	uint8_t old = atomic_fetch_or(&d->status, VIRTIO_STATUS_NEEDS_RESET);
	if (old & VIRTIO_STATUS_NEEDS_RESET)
		return;
	log_guest("%s: the driver broke the rules, the device has stopped: %s", d->pci.dev.id, why);
	if (old & VIRTIO_STATUS_DRIVER_OK)
		d->transport->config_irq(d);
}

void virtio_config_changed(struct virtio_device *d)
{
	atomic_fetch_add(&d->config_generation, 1);
	if (d->live)
		d->transport->config_irq(d);
}

static void queue_reset(struct virtqueue *vq, uint16_t size_max)
{
	vq->ready = false;
	vq->size_max = vq->size = size_max;
	vq->vector = 0xffff;
	vq->desc = vq->avail = vq->used = 0;
	vq->last_avail = vq->used_idx = vq->signalled_used = 0;
}

void virtio_reset(struct virtio_device *d)
{
	d->live = false;
	if (d->used_since_reset && d->ops->reset)
		d->ops->reset(d);
	d->features = 0;
	for (unsigned q = 0; q < d->ops->queues; q++) {
		d->vq[q].vdev = d;
		d->vq[q].index = q;
		queue_reset(&d->vq[q], d->ops->queue_size);
	}
	d->transport->reset(d);
	d->used_since_reset = d->resetting = false;
	d->status = 0;                    /* last: the driver polls it */
}

void virtio_drain(struct virtio_device *d)
{
	if (atomic_load(&d->kicked) & BIT(KICK_RESET))
		finish_reset(d);
	d->drained = true;
	if (d->ops->drain)
		d->ops->drain(d);
}

void virtio_undrain(struct virtio_device *d)
{
	d->drained = false;
	if (d->ops->undrain)
		d->ops->undrain(d);
	kick_all(d);
}

void virtio_loaded(struct virtio_device *d)
{
	if (d->ops->loaded)
		d->ops->loaded(d);
	if (!d->live)
		return;
	post(d, BIT(KICK_READY));
	kick_all(d);                      /* a kick may have been lost with the old process */
}

static void xfer_queue(struct virtqueue *vq, struct state *s)
{
	bool ready = vq->ready;
	xfer_u16_max(s, &vq->size, vq->size_max);
	xfer_u16(s, &vq->vector);
	xfer_u64(s, &vq->desc);
	xfer_u64(s, &vq->avail);
	xfer_u64(s, &vq->used);
	xfer_u16(s, &vq->last_avail);
	xfer_u16(s, &vq->used_idx);
	xfer_u16(s, &vq->signalled_used);
	xfer_bool(s, &ready);
	if (ready && !queue_sound(vq))
		state_fail(s, "queue %u of '%s' is impossible", vq->index, vq->vdev->pci.dev.id);
	if (state_ok(s))
		vq->ready = ready;
}

bool virtio_xfer(struct virtio_device *d, struct state *s, uint32_t version)
{
	uint8_t status = d->status, generation = d->config_generation;
	xfer_u8(s, &status);
	xfer_u8(s, &generation);
	xfer_u64(s, &d->features);
	xfer_check_u64(s, d->ops->queues, "number of virtqueues");
	for (unsigned q = 0; q < d->ops->queues; q++)
		xfer_queue(&d->vq[q], s);
	if (status & VIRTIO_STATUS_FEATURES_OK && !features_good(d))
		state_fail(s, "'%s' was saved with features it does not have", d->pci.dev.id);
	if (!state_ok(s) || !state_loading(s))
		return state_ok(s);
	d->status = status;
	d->config_generation = generation;
	d->used_since_reset = status & VIRTIO_STATUS_DRIVER_OK;
	d->live = d->used_since_reset && !(status & VIRTIO_STATUS_NEEDS_RESET);
	return true;
}
