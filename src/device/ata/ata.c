/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ATA disks (ATA/ATAPI-7, with the NCQ commands of SATA 2.6): one table of
 * commands.  Nothing here waits: reads and writes are described and left to the
 * controller.
 */
#include "device/ata/ata.h"

#include <stdio.h>

enum { MULTIPLE_MAX = 16 };
#define LBA28_MAX 0x0fffffffull

void ata_abort(struct ata_command *c)
{
	c->transfer = ATA_NO_DATA;
	c->status = ATA_ST_READY | ATA_ST_SEEK | ATA_ST_ERR;
	c->error = ATA_ERR_ABORT;
}

static void done(struct ata_command *c)
{
	c->status = ATA_ST_READY | ATA_ST_SEEK;
}

/* Data of `len` bytes; the host wants `max` at most. */
void ata_buffer(struct ata_command *c, uint32_t len, uint32_t max)
{
	c->transfer = ATA_BUFFER_IN;
	c->length = MIN(len, max);
	done(c);
}

/* Text is padded with spaces, and its bytes are swapped in each word. */
void ata_put_string(uint8_t *identify, unsigned word, unsigned words, const char *text)
{
	for (unsigned i = 0; i < words * 2; i++)
		identify[word * 2 + (i ^ 1)] = (uint8_t)(*text ? *text++ : ' ');
}

/* --- commands ------------------------------------------------------------------ */
static void identify(struct ata_drive *d, struct ata_command *c)
{
	uint8_t *p = c->data;
	uint64_t sectors = d->info.size / ATA_SECTOR;
	const struct { uint8_t word; uint16_t value; } words[] = {
		{ 0, 0x0040 }, { 1, 16383 }, { 3, 16 }, { 6, 63 }, { 47, 0x8000 | MULTIPLE_MAX },
		{ 49, BIT(11) | BIT(9) | BIT(8) }, { 50, 0x4000 }, { 53, 6 },
		{ 59, d->multiple ? 0x100 | d->multiple : 0 }, { 63, 7 }, { 64, 3 }, { 65, 120 },
		{ 66, 120 }, { 67, 120 }, { 68, 120 }, { 75, 31 }, { 76, 0x0106 }, { 80, 0xf0 },
		{ 82, BIT(14) | BIT(5) }, { 83, BIT(14) | BIT(13) | BIT(12) | BIT(10) },
		{ 84, BIT(14) }, { 85, BIT(14) | BIT(5) }, { 86, BIT(13) | BIT(12) | BIT(10) },
		{ 87, BIT(14) }, { 88, 0x203f }, { 106, 0x4000 }, { 217, 1 },
	};
	memset(p, 0, ATA_SECTOR);
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		le16_put(p + words[i].word * 2, words[i].value);
	ata_put_string(p, 10, 10, d->serial);
	ata_put_string(p, 23, 4, "1");
	ata_put_string(p, 27, 20, "Abyme disk");
	le32_put(p + 120, (uint32_t)MIN(sectors, LBA28_MAX));
	le64_put(p + 200, sectors);
	c->pio = true;
	ata_buffer(c, ATA_SECTOR, ATA_SECTOR);
}

static void read_write(struct ata_drive *d, struct ata_command *c, bool write, uint32_t sectors)
{
	uint64_t total = d->info.size / ATA_SECTOR;
	if (write && d->info.readonly) {
		ata_abort(c);
	} else if (c->lba >= total || sectors > total - c->lba) {
		ata_abort(c);
		c->error = ATA_ERR_ID;
	} else {
		c->transfer = ATA_DISK;
		c->op = write ? DISK_WRITE : DISK_READ;
		c->offset = c->lba * ATA_SECTOR;
		c->length = sectors * ATA_SECTOR;
	}
}

static void rw28(struct ata_drive *d, struct ata_command *c, bool write, bool pio)
{
	uint32_t sectors = (uint8_t)c->count;
	c->lba = (c->lba & 0xffffff) | (uint64_t)(c->device & 15) << 24;
	c->pio = pio;
	read_write(d, c, write, sectors ? sectors : 256);
}

static void rw48(struct ata_drive *d, struct ata_command *c, bool write, bool pio)
{
	c->pio = pio;
	read_write(d, c, write, c->count ? c->count : 65536);
}

static void read_28(struct ata_drive *d, struct ata_command *c) { rw28(d, c, false, true); }
static void read_dma_28(struct ata_drive *d, struct ata_command *c) { rw28(d, c, false, false); }
static void write_28(struct ata_drive *d, struct ata_command *c) { rw28(d, c, true, true); }
static void write_dma_28(struct ata_drive *d, struct ata_command *c) { rw28(d, c, true, false); }
static void read_48(struct ata_drive *d, struct ata_command *c) { rw48(d, c, false, true); }
static void read_dma_48(struct ata_drive *d, struct ata_command *c) { rw48(d, c, false, false); }
static void write_48(struct ata_drive *d, struct ata_command *c) { rw48(d, c, true, true); }
static void write_dma_48(struct ata_drive *d, struct ata_command *c) { rw48(d, c, true, false); }

/* NCQ: the sector count is in the feature field, the tag in the count. */
static void queued(struct ata_drive *d, struct ata_command *c, bool write)
{
	c->queued = true;
	c->tag = c->count >> 3 & 31;
	read_write(d, c, write, c->feature ? c->feature : 65536);
}

static void read_queued(struct ata_drive *d, struct ata_command *c) { queued(d, c, false); }
static void write_queued(struct ata_drive *d, struct ata_command *c) { queued(d, c, true); }

static void flush(struct ata_drive *d, struct ata_command *c)
{
	if (d->cdrom) {
		done(c);                  /* nothing is ever written */
		return;
	}
	c->transfer = ATA_DISK;
	c->op = DISK_FLUSH;
}

static void set_multiple(struct ata_drive *d, struct ata_command *c)
{
	uint8_t n = (uint8_t)c->count;
	if (n > MULTIPLE_MAX || (n & (n - 1))) {
		ata_abort(c);
		return;
	}
	d->multiple = n;
	done(c);
}

/* Transfer modes and caches are granted: they change nothing here. */
static void set_features(struct ata_drive *d, struct ata_command *c)
{
	static const uint8_t known[] = { 0x02, 0x03, 0x55, 0x66, 0x82, 0xaa, 0xcc };
	for (unsigned i = 0; i < sizeof(known); i++)
		if ((uint8_t)c->feature == known[i]) {
			done(c);
			return;
		}
	ata_abort(c);
}

static void nothing(struct ata_drive *d, struct ata_command *c) { done(c); }

static void check_power(struct ata_drive *d, struct ata_command *c)
{
	c->count = 0xff;                  /* active */
	done(c);
}

static const struct {
	uint8_t command;
	bool cd;                          /* CD drives know it, too */
	void (*run)(struct ata_drive *d, struct ata_command *c);
} commands[] = {
	{ 0x20, false, read_28 }, { 0x21, false, read_28 }, { 0xc4, false, read_28 },
	{ 0xc8, false, read_dma_28 }, { 0xc9, false, read_dma_28 },
	{ 0x30, false, write_28 }, { 0x31, false, write_28 }, { 0xc5, false, write_28 },
	{ 0xca, false, write_dma_28 }, { 0xcb, false, write_dma_28 },
	{ 0x24, false, read_48 }, { 0x29, false, read_48 }, { 0x25, false, read_dma_48 },
	{ 0x34, false, write_48 }, { 0x39, false, write_48 }, { 0x35, false, write_dma_48 },
	{ 0x3d, false, write_dma_48 }, { 0x60, false, read_queued }, { 0x61, false, write_queued },
	{ 0xe7, true, flush }, { 0xea, true, flush }, { 0xc6, false, set_multiple },
	{ 0xef, true, set_features }, { 0xec, false, identify }, { 0xa1, true, atapi_identify },
	{ 0xa0, true, atapi_packet }, { 0x40, false, nothing }, { 0x42, false, nothing },
	{ 0x10, false, nothing }, { 0x70, false, nothing }, { 0x90, true, nothing },
	{ 0x91, false, nothing }, { 0xe0, true, nothing }, { 0xe1, true, nothing },
	{ 0xe2, true, nothing }, { 0xe3, true, nothing }, { 0xe6, true, nothing },
	{ 0xe5, true, check_power }, { 0x08, true, nothing },
};

void ata_execute(struct ata_drive *d, struct ata_command *c)
{
	c->transfer = ATA_NO_DATA;
	c->error = 0;
	c->pio = c->queued = false;
	c->length = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		if (commands[i].command != c->command || (d->cdrom && !commands[i].cd) ||
		    (!d->cdrom && (c->command & 0xfe) == 0xa0))
			continue;
		commands[i].run(d, c);
		return;
	}
	ata_abort(c);
}

void ata_finish(struct ata_drive *d, struct ata_command *c, int result)
{
	done(c);
	if (!result)
		return;
	ata_abort(c);
	c->error = d->cdrom ? 3 << 4 | ATA_ERR_ABORT : c->op == DISK_READ ? ATA_ERR_UNC : ATA_ERR_ABORT;
	d->sense_key = 3;                 /* medium error, unrecovered */
	d->asc = 0x11;
}

void ata_reset(struct ata_drive *d)
{
	d->multiple = 0;
	d->locked = false;
	d->sense_key = d->cdrom ? 6 : 0;  /* unit attention: reset occurred */
	d->asc = d->cdrom ? 0x29 : 0;
}

bool ata_xfer(struct ata_drive *d, struct state *s, uint32_t version)
{
	xfer_check_u64(s, d->info.size, "the size of the disk");
	xfer_check_u64(s, d->cdrom, "the kind of drive");
	xfer_u8_max(s, &d->multiple, MULTIPLE_MAX);
	xfer_bool(s, &d->locked);
	xfer_u8(s, &d->sense_key);
	xfer_u8(s, &d->asc);
	if (version >= 2) {
		xfer_bool(s, &d->open);
		xfer_u8_max(s, &d->event, CD_EVENTS - 1);
	}
	return state_ok(s);
}

struct ata_drive *ata_plug(struct disk *disk, bool cdrom, const char *id, unsigned index)
{
	struct ata_drive *d = xnew(struct ata_drive);
	d->disk = disk;
	d->cdrom = cdrom;
	if (disk)
		disk_get_info(disk, &d->info);
	snprintf(d->serial, sizeof(d->serial), "abyme-%s-%u", id, index);
	return d;
}

void ata_unplug(struct ata_drive *d)
{
	if (d && d->disk)
		disk_close(d->disk);
	free(d);
}

void ata_drain(struct ata_drive *d)
{
	if (d && d->disk)
		disk_drain(d->disk);
}

uint32_t ata_signature(const struct ata_drive *d)
{
	return d->cdrom ? 0xeb140101 : 0x00000101;
}
