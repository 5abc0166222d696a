/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An NVMe controller with one namespace (NVM Express 1.4), shared by its files:
 * registers and life (nvme.c), queues (queue.c), administration (admin.c), reads and writes (io.c).
 */
#ifndef DEVICE_NVME_NVME_H
#define DEVICE_NVME_NVME_H

#include <pthread.h>

#include "device/pci.h"
#include "disk/disk.h"

enum { NVME_QUEUES = 17, NVME_ENTRIES = 1024, NVME_REQUESTS = 128, NVME_EVENTS = 4,
       NVME_TRANSFER_SHIFT = 5, NVME_SEGMENTS = (1 << NVME_TRANSFER_SHIFT) + 1, NVME_BLOCK = 512 };
#define NVME_TRANSFER_MAX ((uint32_t)PAGE_SIZE << NVME_TRANSFER_SHIFT)

/* Status field without the phase bit: type << 8 | code, DNR (4.6.1). */
enum { NVME_OK = 0, NVME_DNR = 0x4000, NVME_BAD_OPCODE = NVME_DNR | 0x01, NVME_BAD_FIELD = NVME_DNR | 0x02,
       NVME_TRANSFER_ERROR = 0x04, NVME_INTERNAL = 0x06, NVME_BAD_NAMESPACE = NVME_DNR | 0x0b,
       NVME_BAD_PRP = NVME_DNR | 0x13, NVME_LBA_RANGE = NVME_DNR | 0x80, NVME_BAD_CQ = NVME_DNR | 0x100,
       NVME_BAD_QID = NVME_DNR | 0x101, NVME_BAD_SIZE = NVME_DNR | 0x102,
       NVME_TOO_MANY_EVENTS = NVME_DNR | 0x105, NVME_BAD_VECTOR = NVME_DNR | 0x108, NVME_BAD_LOG = NVME_DNR | 0x109,
       NVME_NOT_DELETABLE = NVME_DNR | 0x10c, NVME_WRITE_FAULT = 0x280, NVME_READ_FAULT = 0x281,
       NVME_READ_ONLY = NVME_DNR | 0x182, NVME_HELD = 0xffff /* no completion now */ };

struct nvme_sq { bool live; uint64_t base; uint32_t size, head, tail, cq; };
struct nvme_cq {
	bool live, interrupts, phase, raised;     /* raised: its interrupt condition */
	uint64_t base;
	uint32_t size, head, tail, vector;
	uint32_t promised;        /* commands taken that will want an entry */
};

struct nvme_command {
	uint8_t opcode;
	uint16_t id;
	uint32_t nsid, dw[6];     /* dw[0] is CDW10 */
	uint64_t prp[2];
};

struct nvme;
struct nvme_request {
	struct nvme *nvme;
	struct nvme_request *next;
	uint32_t generation;      /* of the controller, when it was taken */
	unsigned sq;
	uint16_t id;
	bool to_guest, flush_after;
	struct disk_request dr;
	unsigned segments;
	struct iovec iov[NVME_SEGMENTS];
	uint64_t gpa[NVME_SEGMENTS];
	unsigned range, ranges;           /* of a deallocation */
	uint8_t list[PAGE_SIZE];
};

struct nvme {
	struct pci_function fn;
	pthread_mutex_t lock;     /* all below; a leaf under the board lock */
	struct disk *disk;
	struct disk_info info;
	char serial[21];
	uint32_t cc, aqa, masked, generation;
	uint64_t asq, acq;
	bool ready, shut_down, failed, work_posted, drained;
	bool write_cache;
	unsigned running;
	struct nvme_sq sq[NVME_QUEUES];
	struct nvme_cq cq[NVME_QUEUES];
	uint16_t event[NVME_EVENTS];      /* commands that wait for an event */
	uint8_t events;
	struct nvme_request *spare, *requests;
};

/* The guest's; nvme.c. */
struct memory *nvme_memory(const struct nvme *n);

/* queue.c; requires: lock */
void nvme_post(struct nvme *n);
void nvme_complete(struct nvme *n, unsigned sq, uint16_t id, uint32_t result, uint16_t status);
void nvme_update_irq(struct nvme *n);
void nvme_doorbell(struct nvme *n, unsigned index, uint32_t v);

/* Both on the loop's thread with the lock; a status, or NVME_HELD. */
uint16_t nvme_admin(struct nvme *n, const struct nvme_command *c, uint32_t *result);
uint16_t nvme_io(struct nvme *n, unsigned sq, const struct nvme_command *c, struct nvme_request **submit);
/* Copy to where the command's PRPs point; false: not RAM. */
bool nvme_answer(struct nvme *n, const struct nvme_command *c, const void *data, uint32_t len);

#endif
