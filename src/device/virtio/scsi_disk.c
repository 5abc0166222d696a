/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI disks (SPC-4, SBC-3): the commands that firmware and operating systems
 * send to a disk of 512-byte blocks.  Nothing here waits.
 */
#include "device/virtio/scsi_disk.h"

#include "base/util.h"

enum { KEY_MEDIUM = 3, KEY_ILLEGAL = 5, KEY_PROTECT = 7 };
enum { ASC_READ = 0x11, ASC_WRITE = 0x0c, ASC_OPCODE = 0x20, ASC_RANGE = 0x21, ASC_FIELD = 0x24, ASC_PROTECTED = 0x27 };

static uint16_t be16(const uint8_t *p) { return be16toh(le16_get(p)); }
static uint32_t be32(const uint8_t *p) { return be32toh(le32_get(p)); }
static uint64_t be64(const uint8_t *p) { return be64toh(le64_get(p)); }
static void put_be16(uint8_t *p, uint16_t v) { le16_put(p, htobe16(v)); }
static void put_be32(uint8_t *p, uint32_t v) { le32_put(p, htobe32(v)); }
static void put_be64(uint8_t *p, uint64_t v) { le64_put(p, htobe64(v)); }

static uint64_t blocks(const struct scsi_disk *d) { return d->info.size / SCSI_BLOCK; }

static void check(struct scsi_command *c, uint8_t key, uint8_t asc)
{
	c->transfer = SCSI_NO_DATA;
	c->status = SCSI_CHECK;
	memset(c->sense, 0, sizeof(c->sense));
	c->sense[0] = 0x70;
	c->sense[2] = key;
	c->sense[7] = SCSI_SENSE - 8;
	c->sense[12] = asc;
}

static void answer(struct scsi_command *c, uint32_t len, uint32_t allowed)
{
	c->transfer = SCSI_ANSWER;
	c->length = MIN(len, allowed);
}

/* --- who it is ---------------------------------------------------------------- */
static uint32_t vital_page(const struct scsi_disk *d, uint8_t page, uint8_t *p)
{
	static const uint8_t pages[] = { 0x00, 0x80, 0x83, 0xb0 };
	size_t n = strlen(d->serial);
	switch (page) {
	case 0x00:
		memcpy(p + 4, pages, sizeof(pages));
		return sizeof(pages);
	case 0x80:
		memcpy(p + 4, d->serial, n);
		return (uint32_t)n;
	case 0x83:                        /* T10 vendor and serial number, ASCII */
		p[4] = 2;
		p[5] = 1;
		p[7] = (uint8_t)(8 + n);
		memcpy(p + 8, "Abyme   ", 8);
		memcpy(p + 16, d->serial, n);
		return (uint32_t)(12 + n);
	case 0xb0:
		put_be32(p + 8, 0xffff);  /* blocks a transfer */
		return 0x3c;
	}
	return 0;
}

static void inquiry(const struct scsi_disk *d, struct scsi_command *c)
{
	uint16_t allowed = be16(c->cdb + 3);
	if (c->cdb[1] & 1) {
		uint32_t n = vital_page(d, c->cdb[2], c->data);
		c->data[1] = c->cdb[2];
		put_be16(c->data + 2, (uint16_t)n);
		if (n)
			answer(c, n + 4, allowed);
		else
			check(c, KEY_ILLEGAL, ASC_FIELD);
		return;
	}
	c->data[2] = 5;
	c->data[3] = 2;
	c->data[4] = 31;
	c->data[7] = 2;                   /* queues commands */
	memcpy(c->data + 8, "Abyme   SCSI disk       1   ", 28);
	answer(c, 36, allowed);
}

static void capacity_10(const struct scsi_disk *d, struct scsi_command *c)
{
	put_be32(c->data, (uint32_t)MIN(blocks(d) - 1, (uint64_t)UINT32_MAX));
	put_be32(c->data + 4, SCSI_BLOCK);
	answer(c, 8, 8);
}

static void capacity_16(const struct scsi_disk *d, struct scsi_command *c)
{
	if ((c->cdb[1] & 31) != 0x10) {
		check(c, KEY_ILLEGAL, ASC_FIELD);
		return;
	}
	put_be64(c->data, blocks(d) - 1);
	put_be32(c->data + 8, SCSI_BLOCK);
	c->data[13] = 3;                  /* 4 KiB physical blocks */
	answer(c, 32, be32(c->cdb + 10));
}

static void report_luns(const struct scsi_disk *d, struct scsi_command *c)
{
	put_be32(c->data, 8);
	answer(c, 16, be32(c->cdb + 6));
}

/* The caching page: a write cache is on. */
static void mode_sense(const struct scsi_disk *d, struct scsi_command *c)
{
	bool ten = c->cdb[0] == 0x5a;
	unsigned page = c->cdb[2] & 0x3f, head = ten ? 8 : 4, n = head;
	if (page != 8 && page != 0x3f) {
		check(c, KEY_ILLEGAL, ASC_FIELD);
		return;
	}
	c->data[n] = 8;
	c->data[n + 1] = 18;
	c->data[n + 2] = 4;
	n += 20;
	c->data[ten ? 3 : 2] = d->info.readonly ? 0x80 : 0;
	if (ten)
		put_be16(c->data, (uint16_t)(n - 2));
	else
		c->data[0] = (uint8_t)(n - 1);
	answer(c, n, ten ? be16(c->cdb + 7) : c->cdb[4]);
}

static void request_sense(const struct scsi_disk *d, struct scsi_command *c)
{
	c->data[0] = 0x70;
	c->data[7] = SCSI_SENSE - 8;
	answer(c, SCSI_SENSE, c->cdb[4]);
}

static void nothing(const struct scsi_disk *d, struct scsi_command *c) { }

/* --- data --------------------------------------------------------------------- */
static void move(const struct scsi_disk *d, struct scsi_command *c, bool write, uint64_t lba, uint64_t n)
{
	if (lba > blocks(d) || n > blocks(d) - lba)
		check(c, KEY_ILLEGAL, ASC_RANGE);
	else if (write && d->info.readonly)
		check(c, KEY_PROTECT, ASC_PROTECTED);
	if (c->status || !n)
		return;
	c->transfer = SCSI_DISK;
	c->op = write ? DISK_WRITE : DISK_READ;
	c->offset = lba * SCSI_BLOCK;
	c->bytes = n * SCSI_BLOCK;
}

/* The opcode's top bits tell the size of the command, its low bits which it is. */
static void read_write(const struct scsi_disk *d, struct scsi_command *c)
{
	const uint8_t *b = c->cdb;
	bool write = (b[0] & 15) == 10;
	switch (b[0] >> 5) {
	case 0:
		move(d, c, write, (uint64_t)(b[1] & 31) << 16 | be16(b + 2), b[4] ? b[4] : 256);
		break;
	case 1:
		move(d, c, write, be32(b + 2), be16(b + 7));
		break;
	case 4:
		move(d, c, write, be64(b + 2), be32(b + 10));
		break;
	default:
		move(d, c, write, be32(b + 2), be32(b + 6));
	}
}

static void flush(const struct scsi_disk *d, struct scsi_command *c)
{
	c->transfer = SCSI_DISK;
	c->op = DISK_FLUSH;
}

static const struct { uint8_t opcode; void (*run)(const struct scsi_disk *d, struct scsi_command *c); } commands[] = {
	{ 0x00, nothing }, { 0x03, request_sense }, { 0x08, read_write }, { 0x0a, read_write }, { 0x12, inquiry },
	{ 0x1a, mode_sense }, { 0x1b, nothing }, { 0x1e, nothing }, { 0x25, capacity_10 }, { 0x28, read_write },
	{ 0x2a, read_write }, { 0x2f, nothing }, { 0x35, flush }, { 0x5a, mode_sense }, { 0x88, read_write },
	{ 0x8a, read_write }, { 0x8f, nothing }, { 0x91, flush }, { 0x9e, capacity_16 }, { 0xa0, report_luns },
	{ 0xa8, read_write }, { 0xaa, read_write },
};

void scsi_execute(const struct scsi_disk *d, struct scsi_command *c)
{
	c->transfer = SCSI_NO_DATA;
	c->status = SCSI_GOOD;
	c->length = 0;
	c->offset = c->bytes = 0;
	memset(c->data, 0, sizeof(c->data));
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].opcode == c->cdb[0]) {
			commands[i].run(d, c);
			return;
		}
	check(c, KEY_ILLEGAL, ASC_OPCODE);
}

void scsi_finish(struct scsi_command *c, int result)
{
	if (result)
		check(c, KEY_MEDIUM, c->op == DISK_READ ? ASC_READ : ASC_WRITE);
}
