/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk (virtio 1.2 5.2) over a struct disk.  A queue a vCPU, up to four, many
 * requests in flight; a kick's requests go down as one batch.  Framing is the driver's
 * choice: the header is the first 16 bytes of what can be read, the status the
 * last byte of what can be written.
 */
#include "device/virtio/virtio.h"

#include <errno.h>

#include "base/log.h"
#include "disk/disk.h"
#include "machine/machine.h"

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
enum { F_SEG_MAX = 2, F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9, F_TOPOLOGY = 10, F_MQ = 12, F_DISCARD = 13,
       F_WRITE_ZEROES = 14 };
enum { SECTOR = 512, HEADER = 16, ID_LEN = 20, CONFIG_SIZE = 60, QUEUE = 128, MAX_RANGES = 16,
       UNMAP = 1, MAX_QUEUES = 4 };
#define MAX_RANGE_SECTORS (1u << 22)         /* 2 GiB a discard or write-zeroes range */

struct virtio_blk {
	struct virtio_device v;
	struct virtio_ops ops;            /* of this disk: its features */
	struct disk *disk;
	struct disk_info info;
	char serial[ID_LEN];
	struct blk_request *spare;
	bool full;                        /* chains were left in the queues */
};

struct blk_range { uint64_t sector; uint32_t count, flags; };

struct blk_request {
	struct virtq_chain c;
	struct disk_request dr;
	struct virtio_blk *blk;
	struct blk_request *next;
	uint8_t *status;                  /* in guest memory */
	uint32_t written;
	unsigned range, nranges;
	struct blk_range ranges[MAX_RANGES];
};

static void finish(struct blk_request *r, uint8_t status)
{
	struct virtio_blk *b = r->blk;
	*r->status = status;
	virtq_push(r->c.vq, &r->c, r->written + 1);
	virtq_signal(r->c.vq);
	r->next = b->spare;
	b->spare = r;
	if (b->full && !b->v.drained) {
		b->full = false;
		for (unsigned q = 0; q < b->ops.queues; q++)
			virtio_kick(&b->v, q);
	}
}

static void next_range(struct blk_request *r);

static void disk_request_done(struct disk_request *dr, int result)
{
	struct blk_request *r = container_of(dr, struct blk_request, dr);
	if (result) {
		r->written = 0;
		finish(r, result == -EOPNOTSUPP ? S_UNSUPP : S_IOERR);
	} else if (r->range < r->nranges) {
		next_range(r);
	} else if (dr->op != DISK_READ && dr->op != DISK_FLUSH && !virtio_has(&r->blk->v, F_FLUSH)) {
		dr->op = DISK_FLUSH;      /* write-through: virtio 1.2 5.2.6.2 */
		disk_submit(r->blk->disk, dr);
	} else {
		finish(r, S_OK);
	}
}

static void submit(struct blk_request *r, enum disk_op op, uint64_t sector, uint64_t length)
{
	bool in = op == DISK_READ;
	if (sector > UINT64_MAX / SECTOR)
		return finish(r, S_IOERR);
	r->dr = (struct disk_request){
		.op = op, .offset = sector * SECTOR, .length = length, .unmap = r->dr.unmap,
		.iov = in ? r->c.in : r->c.out, .niov = in ? r->c.nin : r->c.nout,
		.done = disk_request_done,
	};
	disk_submit(r->blk->disk, &r->dr);
}

static void next_range(struct blk_request *r)
{
	struct blk_range *g = &r->ranges[r->range++];
	enum disk_op op = r->dr.op;
	if (g->count > MAX_RANGE_SECTORS)
		return finish(r, S_IOERR);
	r->dr.unmap = op == DISK_WRITE_ZEROES && g->flags & UNMAP;
	submit(r, op, g->sector, (uint64_t)g->count * SECTOR);
}

/* DISCARD, WRITE_ZEROES: an array of ranges, done one after the other. */
static void start_ranges(struct blk_request *r, enum disk_op op)
{
	uint8_t raw[16 * MAX_RANGES];
	size_t n = r->c.out_len - HEADER;
	if (!n || n % 16 || n > sizeof(raw))
		return finish(r, S_IOERR);
	iov_to_buf(r->c.out, r->c.nout, 0, raw, n);
	r->nranges = n / 16;
	for (unsigned i = 0; i < r->nranges; i++) {
		const uint8_t *p = raw + 16 * i;
		r->ranges[i] = (struct blk_range){ le64_get(p), le32_get(p + 8), le32_get(p + 12) };
		uint32_t known = op == DISK_WRITE_ZEROES ? UNMAP : 0;
		if (r->ranges[i].flags & ~known)
			return finish(r, S_UNSUPP);
	}
	r->dr.op = op;
	next_range(r);
}

static void get_id(struct blk_request *r)
{
	r->written = (uint32_t)buf_to_iov(r->c.in, r->c.nin, 0, r->blk->serial, ID_LEN);
	finish(r, S_OK);
}

static void start(struct blk_request *r)
{
	struct virtq_chain *c = &r->c;
	uint8_t header[HEADER];
	if (iov_to_buf(c->out, c->nout, 0, header, HEADER) < HEADER || !c->in_len) {
		virtq_drop(c->vq, c);
		virtio_broken(&r->blk->v, "a request has no header or no status byte");
		r->next = r->blk->spare;
		r->blk->spare = r;
		return;
	}
	struct iovec *last = &c->in[c->nin - 1];
	r->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	c->nout = iov_trim_front(&c->out, c->nout, HEADER);
	c->nin = iov_trim_back(c->in, c->nin, 1);
	uint32_t type = le32_get(header);
	uint64_t sector = le64_get(header + 8);
	switch (type) {
	case T_IN:
		r->written = (uint32_t)(c->in_len - 1);
		return submit(r, DISK_READ, sector, c->in_len - 1);
	case T_OUT: return submit(r, DISK_WRITE, sector, c->out_len - HEADER);
	case T_FLUSH: return submit(r, DISK_FLUSH, 0, 0);
	case T_GET_ID: return get_id(r);
	case T_DISCARD: return start_ranges(r, DISK_DISCARD);
	case T_WRITE_ZEROES: return start_ranges(r, DISK_WRITE_ZEROES);
	default: return finish(r, S_UNSUPP);
	}
}

/* NULL when enough are in flight. */
static struct blk_request *request_get(struct virtio_blk *b)
{
	struct blk_request *r = b->spare;
	if (r)
		b->spare = r->next;
	else if (b->v.held < QUEUE)
		r = xmalloc(sizeof(*r));
	if (!r)
		return NULL;
	r->blk = b;
	r->written = r->range = r->nranges = 0;
	r->dr.unmap = false;
	return r;
}

static void blk_notify(struct virtio_device *v, unsigned q)
{
	struct virtio_blk *b = container_of(v, struct virtio_blk, v);
	struct blk_request *r;
	disk_plug(b->disk);
	for (unsigned n = 0; n < 2 * QUEUE; n++) {
		if (!(r = request_get(b))) {
			b->full = true;
			break;
		}
		if (virtq_pop(&v->vq[q], &r->c) <= 0) {
			r->next = b->spare;
			b->spare = r;
			break;
		}
		start(r);
	}
	disk_unplug(b->disk);
	if (r && virtq_has_work(&v->vq[q]))
		virtio_kick(v, q);
}

static void blk_config(struct virtio_device *v, unsigned off, void *buf, unsigned n)
{
	struct virtio_blk *b = container_of(v, struct virtio_blk, v);
	uint8_t c[CONFIG_SIZE] = { 0 };
	le64_put(c, b->info.size / SECTOR);
	le32_put(c + 12, VIRTIO_MAX_SEGS - 2);                /* seg_max */
	le32_put(c + 20, SECTOR);                             /* blk_size */
	c[24] = 3;                                            /* 4 KiB physical blocks */
	le16_put(c + 34, (uint16_t)b->ops.queues);
	le32_put(c + 36, MAX_RANGE_SECTORS);
	le32_put(c + 40, MAX_RANGES);
	le32_put(c + 44, 8);                                  /* discard alignment, sectors */
	le32_put(c + 48, MAX_RANGE_SECTORS);
	le32_put(c + 52, MAX_RANGES);
	c[56] = 1;                                            /* write-zeroes may unmap */
	memcpy(buf, c + off, n);
}

static void blk_drain(struct virtio_device *v)
{
	disk_drain(container_of(v, struct virtio_blk, v)->disk);
}

static bool blk_xfer(struct virtio_device *v, struct state *s, uint32_t version)
{
	struct virtio_blk *b = container_of(v, struct virtio_blk, v);
	xfer_check_u64(s, b->info.size, "size of the disk");
	return state_ok(s);
}

static void blk_destroy(struct virtio_device *v)
{
	struct virtio_blk *b = container_of(v, struct virtio_blk, v);
	disk_close(b->disk);
	for (struct blk_request *r = b->spare, *next; r; r = next) {
		next = r->next;
		free(r);
	}
	free(b);
}

static const struct virtio_ops blk_ops = {
	.name = "virtio-blk", .device_id = 2, .class_rev = 0x01000001, .version = 1,
	.features = BIT(F_SEG_MAX) | BIT(F_BLK_SIZE) | BIT(F_FLUSH) | BIT(F_TOPOLOGY),
	.queues = 1, .queue_size = QUEUE, .config_size = CONFIG_SIZE,
	.config_read = blk_config, .notify = blk_notify, .reset = blk_drain, .xfer = blk_xfer,
	.drain = blk_drain, .destroy = blk_destroy,
};

bool virtio_blk_create(struct machine *m, struct disk *disk, const char *serial, struct error *err)
{
	struct virtio_blk *b = xnew(struct virtio_blk);
	char id[32];
	b->disk = disk;
	b->ops = blk_ops;
	disk_get_info(disk, &b->info);
	if (b->info.readonly)
		b->ops.features |= BIT(F_RO);
	else
		b->ops.features |= BIT(F_WRITE_ZEROES) | (b->info.discard ? BIT(F_DISCARD) : 0);
	b->ops.queues = m->nvcpus > 1 ? MIN(m->nvcpus, (unsigned)MAX_QUEUES) : 1;
	b->ops.features |= b->ops.queues > 1 ? BIT(F_MQ) : 0;
	strncpy(b->serial, serial ? serial : "", ID_LEN);     /* not terminated when full */
	virtio_id(m, &b->ops, id);
	if (virtio_init(m, &b->v, &b->ops, id, err))
		return true;
	free(b);
	return false;
}
