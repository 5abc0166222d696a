/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio 1.2: the device side.  A device is a struct virtio_device plus
 * const struct virtio_ops; the transports (virtio/pci.c, mmio.c) and the queue code
 * (virtio/queue.c) know no device.  A device that finds a malformed queue
 * calls virtio_broken(): it stops (DEVICE_NEEDS_RESET, virtio 1.2 2.1.2) and
 * nothing else is harmed.
 *
 * Threads: config and status under the board lock, on the vCPU's thread; queue
 * work and ops->ready, notify, reset, drain on the machine's I/O loop thread
 * (kicks are posted there).  A status write of 0 stops the device at once and
 * is finished by the loop; the driver reads 0 when it is (virtio 1.2 2.4.2).
 */
#ifndef DEVICE_VIRTIO_VIRTIO_H
#define DEVICE_VIRTIO_VIRTIO_H

#include <stdatomic.h>
#include <sys/uio.h>
#include "device/pci.h"

struct virtio_device;

enum { VIRTIO_QUEUE_MAX = 1024, VIRTIO_MAX_QUEUES = 8, VIRTIO_MAX_SEGS = 130 };
enum { VIRTIO_STATUS_ACKNOWLEDGE = 1, VIRTIO_STATUS_DRIVER = 2, VIRTIO_STATUS_DRIVER_OK = 4,
       VIRTIO_STATUS_FEATURES_OK = 8, VIRTIO_STATUS_NEEDS_RESET = 64, VIRTIO_STATUS_FAILED = 128 };
#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32

struct virtqueue {
	struct virtio_device *vdev;
	unsigned index;
	uint16_t size_max, size;
	_Atomic bool ready;
	uint16_t vector;                  /* MSI-X vector or 0xffff */
	uint64_t desc, avail, used;       /* GPAs */
	uint16_t last_avail, used_idx;    /* next to take, next to give */
	uint16_t signalled_used;          /* used_idx at the last virtq_signal */
};

/*
 * A chain taken from a queue: guest memory already pinned into iovecs (bounds
 * checked); `out` is what the device reads, `in` what it writes.  The device may
 * trim both in place: what has to be unpinned is remembered apart.  Not to be
 * copied or moved.
 */
struct virtq_pin { uint64_t gpa; uint32_t len; };
struct virtq_chain {
	struct virtqueue *vq;
	uint16_t head;
	unsigned nout, nin, npins;
	struct iovec *out, *in;             /* into iov[] */
	size_t out_len, in_len;
	struct iovec iov[VIRTIO_MAX_SEGS];
	struct virtq_pin pin[VIRTIO_MAX_SEGS];
};

struct virtio_ops {
	const char *name;                  /* "virtio-blk" */
	uint16_t device_id;                /* virtio 1.2 ch. 5 */
	uint32_t class_rev;
	uint32_t version;                  /* of the state record */
	uint64_t features;                 /* offered, besides the transport's own */
	unsigned queues;
	uint16_t queue_size;
	unsigned config_size;
	void (*config_read)(struct virtio_device *d, unsigned off, void *buf, unsigned n);
	void (*config_write)(struct virtio_device *d, unsigned off, const void *buf, unsigned n);
	/* DRIVER_OK: features are final, queues set up. May be NULL. */
	void (*ready)(struct virtio_device *d);
	/* The guest made buffers available on queue q. I/O loop thread. */
	void (*notify)(struct virtio_device *d, unsigned q);
	/* Give back or drop (virtq_drop) every chain that is held. May be NULL. */
	void (*reset)(struct virtio_device *d);
	bool (*xfer)(struct virtio_device *d, struct state *s, uint32_t version);
	void (*loaded)(struct virtio_device *d);
	void (*drain)(struct virtio_device *d);
	void (*undrain)(struct virtio_device *d);
	void (*destroy)(struct virtio_device *d);
};

/* What the bus does for a device: raise the interrupt of a queue or of a change of
 * configuration, from any thread; and forget what its registers selected. */
struct virtio_transport {
	void (*signal)(struct virtqueue *vq);
	void (*config_irq)(struct virtio_device *d);
	void (*reset)(struct virtio_device *d);
};

struct virtio_device {
	struct pci_function pci;           /* first; over MMIO only its `dev` is used */
	const struct virtio_ops *ops;
	uint64_t features;                 /* negotiated */
	_Atomic uint8_t status;
	_Atomic uint8_t config_generation;
	_Atomic bool live;                 /* DRIVER_OK, neither broken nor in reset */
	bool drained;                      /* between drain and undrain */
	bool used_since_reset, resetting;  /* board lock */
	_Atomic uint32_t kicked;           /* queues with work posted to the loop */
	unsigned held;                     /* chains popped and not given back */
	struct virtqueue vq[VIRTIO_MAX_QUEUES];
	struct virtio_bell { int fd; struct loop_fd *watch; } bell[VIRTIO_MAX_QUEUES];   /* watch NULL: none */
	struct virtio_transport *transport;
};

/* On the board's bus: PCI or MMIO. */
bool virtio_init(struct machine *m, struct virtio_device *d,
		 const struct virtio_ops *ops, const char *id, struct error *err);
bool virtio_pci_init(struct machine *m, struct virtio_device *d,
		     const struct virtio_ops *ops, const char *id, struct error *err);
bool virtio_mmio_init(struct machine *m, struct virtio_device *d,
		      const struct virtio_ops *ops, const char *id, struct error *err);

/* "virtio-blk.1": the next free id of that kind. */
void virtio_id(struct machine *m, const struct virtio_ops *ops, char id[32]);

/* Next available chain: 1 taken, 0 none (event-index re-check done), -1
 * malformed (the device is already broken). Pins guest memory. */
int virtq_pop(struct virtqueue *vq, struct virtq_chain *c);
/* The chain at `head` again, without taking it from the ring: one that was held
 * when the machine was saved. False: malformed, the device is broken. */
bool virtq_retake(struct virtqueue *vq, uint16_t head, struct virtq_chain *c);
/* Give it back with `written` bytes in its in-buffers; unpins. */
void virtq_push(struct virtqueue *vq, struct virtq_chain *c, uint32_t written);
/* Forget it: nothing was done, or the queue is gone (reset); unpins. */
void virtq_drop(struct virtqueue *vq, struct virtq_chain *c);
/* Put the last popped chain back, untouched: the next pop takes it again. */
void virtq_unpop(struct virtqueue *vq, struct virtq_chain *c);
/* Interrupt the driver if it wants to be. */
void virtq_signal(struct virtqueue *vq);
bool virtq_has_work(struct virtqueue *vq);
/* Call ops->notify for queue q soon, as if the guest had kicked; any thread. */
void virtio_kick(struct virtio_device *d, unsigned q);
void virtio_config_changed(struct virtio_device *d);
void virtio_broken(struct virtio_device *d, const char *why);
static inline bool virtio_has(const struct virtio_device *d, unsigned bit)
{ return d->features >> bit & 1; }

/* Between device.c (life of a device), queue.c and the transport. */
void virtio_write_status(struct virtio_device *d, uint8_t v);     /* board lock */
bool virtio_queue_enable(struct virtqueue *vq);                   /* board lock */
uint64_t virtio_offered(const struct virtio_device *d);
void virtio_reset(struct virtio_device *d);      /* I/O loop thread, board lock */
void virtio_drain(struct virtio_device *d);
void virtio_undrain(struct virtio_device *d);
void virtio_loaded(struct virtio_device *d);
/* Let the engine tell of kicks by eventfds, where it can: `step` bytes lie between the notify
 * addresses of two queues; 0: all have one, and the value tells which. Before the machine runs. */
void virtio_bells_hang(struct virtio_device *d, struct mem_region *r, unsigned step);
void virtio_bells_take_down(struct virtio_device *d);
bool virtio_xfer(struct virtio_device *d, struct state *s, uint32_t version);

/* Copy helpers over iovecs; return bytes copied. */
size_t iov_to_buf(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len);
size_t buf_to_iov(const struct iovec *iov, unsigned n, size_t offset, const void *buf, size_t len);

/* Drop `len` bytes at the front (the back) of an array, in place; returns how
 * many elements are left. */
unsigned iov_trim_front(struct iovec **iov, unsigned n, size_t len);
unsigned iov_trim_back(struct iovec *iov, unsigned n, size_t len);

/* The devices. Each owns what it is given. */
struct disk;
struct net_port;
bool virtio_blk_create(struct machine *m, struct disk *disk, const char *serial, struct error *err);
/* One host adapter for all of them. */
bool virtio_scsi_create(struct machine *m, struct disk *const *disks, unsigned n, struct error *err);
bool virtio_net_create(struct machine *m, struct net_port *peer, const uint8_t mac[6], struct error *err);
/* A screen of its own, instead of a VGA. */
bool virtio_input_create(struct machine *m, bool is_tablet, struct error *err);   /* else a keyboard */
bool virtio_gpu_create(struct machine *m, struct error *err);
bool virtio_rng_create(struct machine *m, struct error *err);
bool virtio_balloon_create(struct machine *m, struct error *err);
/* The balloon's size, and what the guest last told of its memory (virtio 1.2
 * 5.5.6.4, by tag; ~0 = not told); asks it for fresh figures. False: there is no
 * balloon. On the I/O loop thread. */
enum { BALLOON_STATS = 10 };
bool virtio_balloon_set(struct machine *m, uint64_t bytes);
bool virtio_balloon_get(struct machine *m, uint64_t *bytes, uint64_t stats[BALLOON_STATS]);
bool virtio_console_create(struct machine *m, int fd, struct error *err);
/* fd: stream to the helper that serves the tree (9p messages as they are). */
bool virtio_9p_create(struct machine *m, const char *tag, int fd, struct error *err);
/* listen_fd: unix socket of the host side, Firecracker's convention ("CONNECT
 * PORT\n" from the host); dial_fd: who connects for the guest (vsock_dial.c). */
bool virtio_vsock_create(struct machine *m, uint64_t cid, int listen_fd, int dial_fd, struct error *err);

#endif
