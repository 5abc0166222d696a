/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-scsi (virtio 1.2 5.6): one host adapter, a disk a target, LUN 0 each.
 * Disks neither come nor go while the machine runs, so that the event queue's
 * buffers stay where they are.
 */
#include "device/virtio/virtio.h"

#include <stdio.h>

#include "device/virtio/scsi_disk.h"
#include "machine/machine.h"

enum { CONTROL, EVENT, REQUEST, QUEUES, QUEUE = 128, CONFIG_SIZE = 36, HEADER = 51, RESPONSE = 108,
       SENSE_MAX = 96, TARGETS = CONFIG_MAX_DISKS, HEAD_PIECES = 4 };
enum { RESP_OK = 0, RESP_OVERRUN = 1, RESP_BAD_TARGET = 3, RESP_FAILURE = 9, T_TASK = 0, T_NOTIFY_QUERY = 1,
       T_NOTIFY = 2, TASK_SIZE = 24, NOTIFY_SIZE = 16 };

struct virtio_scsi;

struct scsi_request {
	struct virtio_scsi *scsi;
	struct scsi_request *next;
	struct virtq_chain c;
	struct iovec head[HEAD_PIECES];   /* where the response goes */
	unsigned nhead;
	const struct scsi_disk *disk;
	struct scsi_command cmd;
	struct disk_request dr;
};

struct virtio_scsi {
	struct virtio_device v;
	unsigned disks;
	struct scsi_disk disk[TARGETS];
	struct scsi_request *spare;
	bool full;
	struct virtq_chain control;
};

/* --- requests ------------------------------------------------------------------- */
static void finish(struct scsi_request *r, uint8_t response)
{
	struct virtio_scsi *s = r->scsi;
	bool sense = response == RESP_OK && r->cmd.status == SCSI_CHECK;
	uint8_t b[RESPONSE] = { 0 };
	size_t want = r->cmd.transfer == SCSI_DISK && r->cmd.op == DISK_READ ? r->cmd.bytes : r->cmd.length;
	size_t moved = response == RESP_OK && !r->cmd.status ? want : 0;
	if (sense)
		memcpy(b + 12, r->cmd.sense, SCSI_SENSE);
	le32_put(b, sense ? SCSI_SENSE : 0);
	b[10] = response == RESP_OK ? r->cmd.status : 0;
	b[11] = response;
	buf_to_iov(r->head, r->nhead, 0, b, sizeof(b));
	virtq_push(r->c.vq, &r->c, (uint32_t)(RESPONSE + moved));
	virtq_signal(&s->v.vq[REQUEST]);
	r->next = s->spare;
	s->spare = r;
	if (s->full && !s->v.drained) {
		s->full = false;
		virtio_kick(&s->v, REQUEST);
	}
}

static void disk_done(struct disk_request *dr, int result)
{
	struct scsi_request *r = container_of(dr, struct scsi_request, dr);
	scsi_finish(&r->cmd, result);
	finish(r, RESP_OK);
}

/* The command's data is the beginning of what the driver has laid out. */
static bool submit(struct scsi_request *r)
{
	bool in = r->cmd.op == DISK_READ;
	struct virtq_chain *c = &r->c;
	size_t have = r->cmd.op == DISK_FLUSH ? 0 : in ? c->in_len - RESPONSE : c->out_len - HEADER;
	if (r->cmd.bytes > have)
		return false;
	unsigned n = in ? c->nin : c->nout;
	n = iov_trim_back(in ? c->in : c->out, n, have - r->cmd.bytes);
	r->dr = (struct disk_request){ .op = r->cmd.op, .offset = r->cmd.offset, .length = r->cmd.bytes,
				       .iov = in ? c->in : c->out, .niov = n, .done = disk_done };
	if (r->cmd.op == DISK_FLUSH)
		r->dr.niov = 0;
	disk_submit(r->disk->disk, &r->dr);
	return true;
}

/* Remember where the response goes before the iovecs are trimmed to the data. */
static bool take_head(struct scsi_request *r)
{
	size_t left = RESPONSE;
	for (r->nhead = 0; left && r->nhead < HEAD_PIECES && r->nhead < r->c.nin; r->nhead++) {
		r->head[r->nhead] = r->c.in[r->nhead];
		r->head[r->nhead].iov_len = MIN(r->c.in[r->nhead].iov_len, left);
		left -= r->head[r->nhead].iov_len;
	}
	return !left;
}

static const struct scsi_disk *target(const struct virtio_scsi *s, const uint8_t lun[8])
{
	bool zero = (lun[2] & 0x3f) == 0 && !lun[3];
	return lun[0] == 1 && lun[1] < s->disks && zero ? &s->disk[lun[1]] : NULL;
}

static void start(struct scsi_request *r)
{
	struct virtq_chain *c = &r->c;
	uint8_t h[HEADER];
	if (iov_to_buf(c->out, c->nout, 0, h, HEADER) < HEADER || c->in_len < RESPONSE || !take_head(r)) {
		virtq_drop(c->vq, c);
		virtio_broken(&r->scsi->v, "a SCSI request has no header or no room for its response");
		r->next = r->scsi->spare;
		r->scsi->spare = r;
		return;
	}
	c->nout = iov_trim_front(&c->out, c->nout, HEADER);
	c->nin = iov_trim_front(&c->in, c->nin, RESPONSE);
	memcpy(r->cmd.cdb, h + 19, SCSI_CDB);
	r->cmd.status = SCSI_GOOD;
	r->cmd.transfer = SCSI_NO_DATA;
	r->cmd.length = 0;
	r->disk = target(r->scsi, h);
	if (!r->disk) {
		finish(r, RESP_BAD_TARGET);
		return;
	}
	scsi_execute(r->disk, &r->cmd);
	if (r->cmd.transfer == SCSI_DISK) {
		if (!submit(r))
			finish(r, RESP_OVERRUN);
		return;
	}
	r->cmd.length = (uint32_t)buf_to_iov(c->in, c->nin, 0, r->cmd.data, r->cmd.length);
	finish(r, RESP_OK);
}

/* NULL when enough are in flight. */
static struct scsi_request *request_get(struct virtio_scsi *s)
{
	struct scsi_request *r = s->spare;
	if (r)
		s->spare = r->next;
	else if (s->v.held < QUEUE)
		r = xmalloc(sizeof(*r));
	if (r)
		r->scsi = s;
	return r;
}

static void run_requests(struct virtio_scsi *s)
{
	for (unsigned n = 0; n < 2 * QUEUE; n++) {
		struct scsi_request *r = request_get(s);
		s->full = !r;
		if (!r)
			return;
		if (virtq_pop(&s->v.vq[REQUEST], &r->c) <= 0) {
			r->next = s->spare;
			s->spare = r;
			return;
		}
		start(r);
	}
	if (virtq_has_work(&s->v.vq[REQUEST]))
		virtio_kick(&s->v, REQUEST);
}

/* --- task management -------------------------------------------------------------- */
static void drain_disks(struct virtio_device *v)
{
	struct virtio_scsi *s = container_of(v, struct virtio_scsi, v);
	for (unsigned i = 0; i < s->disks; i++)
		disk_drain(s->disk[i].disk);
}

/* An abort or a reset is done when what ran has ended (5.6.6.2). */
static void run_control(struct virtio_scsi *s)
{
	struct virtq_chain *c = &s->control;
	while (virtq_pop(&s->v.vq[CONTROL], c) > 0) {
		uint8_t in[TASK_SIZE] = { 0 }, out[5] = { 0 };
		size_t n = iov_to_buf(c->out, c->nout, 0, in, sizeof(in)), len = 0;
		uint32_t type = le32_get(in);
		if (type == T_TASK && n >= TASK_SIZE) {
			drain_disks(&s->v);
			out[0] = target(s, in + 8) ? RESP_OK : RESP_BAD_TARGET;
			len = 1;
		} else if ((type == T_NOTIFY_QUERY || type == T_NOTIFY) && n >= NOTIFY_SIZE) {
			len = 5;
		} else {
			out[0] = RESP_FAILURE;
			len = 1;
		}
		len = buf_to_iov(c->in, c->nin, 0, out, len);
		virtq_push(c->vq, c, (uint32_t)len);
	}
	virtq_signal(&s->v.vq[CONTROL]);
}

static void scsi_notify(struct virtio_device *v, unsigned q)
{
	struct virtio_scsi *s = container_of(v, struct virtio_scsi, v);
	if (q == REQUEST)
		run_requests(s);
	else if (q == CONTROL)
		run_control(s);
}

/* --- device ----------------------------------------------------------------------- */
static void scsi_config(struct virtio_device *v, unsigned off, void *buf, unsigned n)
{
	struct virtio_scsi *s = container_of(v, struct virtio_scsi, v);
	uint8_t c[CONFIG_SIZE] = { 0 };
	le32_put(c, 1);                                       /* request queues */
	le32_put(c + 4, VIRTIO_MAX_SEGS - 4);
	le32_put(c + 8, 0xffff);                              /* sectors a transfer */
	le32_put(c + 12, QUEUE / 2);                          /* commands a disk */
	le32_put(c + 16, 16);                                 /* size of an event */
	le32_put(c + 20, SENSE_MAX);
	le32_put(c + 24, SCSI_CDB);
	le16_put(c + 30, (uint16_t)(s->disks - 1));           /* the last target */
	memcpy(buf, c + off, n);
}

static bool scsi_xfer(struct virtio_device *v, struct state *st, uint32_t version)
{
	struct virtio_scsi *s = container_of(v, struct virtio_scsi, v);
	xfer_check_u64(st, s->disks, "the number of SCSI disks");
	for (unsigned i = 0; i < s->disks; i++)
		xfer_check_u64(st, s->disk[i].info.size, "the size of a SCSI disk");
	return state_ok(st);
}

static void scsi_destroy(struct virtio_device *v)
{
	struct virtio_scsi *s = container_of(v, struct virtio_scsi, v);
	for (unsigned i = 0; i < s->disks; i++)
		disk_close(s->disk[i].disk);
	for (struct scsi_request *r = s->spare, *next; r; r = next) {
		next = r->next;
		free(r);
	}
	free(s);
}

static const struct virtio_ops scsi_ops = {
	.name = "virtio-scsi", .device_id = 8, .class_rev = 0x01000001, .version = 1,
	.queues = QUEUES, .queue_size = QUEUE, .config_size = CONFIG_SIZE, .config_read = scsi_config,
	.notify = scsi_notify, .reset = drain_disks, .xfer = scsi_xfer, .drain = drain_disks,
	.destroy = scsi_destroy,
};

bool virtio_scsi_create(struct machine *m, struct disk *const *disks, unsigned n, struct error *err)
{
	struct virtio_scsi *s = xnew(struct virtio_scsi);
	char id[32];
	for (s->disks = 0; s->disks < n; s->disks++) {
		struct scsi_disk *d = &s->disk[s->disks];
		d->disk = disks[s->disks];
		disk_get_info(d->disk, &d->info);
		snprintf(d->serial, sizeof(d->serial), "abyme-scsi-%u", s->disks);
	}
	virtio_id(m, &scsi_ops, id);
	if (virtio_init(m, &s->v, &scsi_ops, id, err))
		return true;
	free(s);
	return false;
}
