/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CD-ROM drives: the packet commands of MMC-5 and SPC-3 that firmware and
 * operating systems send to a drive with one data track.  Errors leave sense
 * data behind, which the host asks for next.
 */
#include "device/ata/ata.h"

enum { SENSE_NOT_READY = 2, SENSE_ILLEGAL = 5, SENSE_ATTENTION = 6 };
enum { ASC_BAD_COMMAND = 0x20, ASC_OUT_OF_RANGE = 0x21, ASC_BAD_FIELD = 0x24,
       ASC_MEDIUM_CHANGED = 0x28, ASC_NO_MEDIUM = 0x3a, ASC_LOCKED = 0x53 };
enum { LEAD_OUT = 0xaa };

static uint32_t be24(const uint8_t *p) { return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2]; }
static uint32_t be32(const uint8_t *p) { return be32toh(le32_get(p)); }
static uint16_t be16(const uint8_t *p) { return be16toh(le16_get(p)); }
static void put_be32(uint8_t *p, uint32_t v) { le32_put(p, htobe32(v)); }
static void put_be16(uint8_t *p, uint16_t v) { le16_put(p, htobe16(v)); }

static bool present(const struct ata_drive *d) { return d->disk && !d->open; }

static uint32_t blocks(const struct ata_drive *d)
{
	return (uint32_t)MIN(d->info.size / CD_SECTOR, UINT32_MAX);
}

static void check_condition(struct ata_drive *d, struct ata_command *c, uint8_t key, uint8_t asc)
{
	d->sense_key = key;
	d->asc = asc;
	c->transfer = ATA_NO_DATA;
	c->status = ATA_ST_READY | ATA_ST_ERR;
	c->error = (uint8_t)(key << 4) | ATA_ERR_ABORT;
	c->count = 3;                     /* interrupt reason: status */
}

static void good(struct ata_command *c)
{
	c->status = ATA_ST_READY;
	c->count = 3;
}

static void answer(struct ata_command *c, uint32_t len, uint32_t max)
{
	ata_buffer(c, len, max);
	c->status = ATA_ST_READY;
	c->count = 3;
}

/* --- commands ------------------------------------------------------------------ */
static void test_ready(struct ata_drive *d, struct ata_command *c) { good(c); }

static void request_sense(struct ata_drive *d, struct ata_command *c)
{
	memset(c->data, 0, 18);
	c->data[0] = 0x70;
	c->data[2] = d->sense_key;
	c->data[7] = 10;
	c->data[12] = d->asc;
	d->sense_key = d->asc = 0;
	answer(c, 18, c->packet[4]);
}

static void inquiry(struct ata_drive *d, struct ata_command *c)
{
	if (c->packet[1] & 1) {           /* vital product data: none */
		check_condition(d, c, SENSE_ILLEGAL, ASC_BAD_FIELD);
		return;
	}
	memset(c->data, 0, 36);
	c->data[0] = 5;                   /* CD-ROM */
	c->data[1] = 0x80;                /* removable */
	c->data[3] = 0x21;
	c->data[4] = 31;
	memcpy(c->data + 8, "Abyme   CD-ROM          1   ", 28);
	answer(c, 36, be16(c->packet + 3));
}

static void read_capacity(struct ata_drive *d, struct ata_command *c)
{
	put_be32(c->data, blocks(d) ? blocks(d) - 1 : 0);
	put_be32(c->data + 4, CD_SECTOR);
	answer(c, 8, 8);
}

static void read_blocks(struct ata_drive *d, struct ata_command *c, uint32_t lba, uint32_t n)
{
	if (lba > blocks(d) || n > blocks(d) - lba || n > UINT32_MAX / CD_SECTOR) {
		check_condition(d, c, SENSE_ILLEGAL, ASC_OUT_OF_RANGE);
		return;
	}
	good(c);
	if (!n)
		return;
	c->transfer = ATA_DISK;
	c->op = DISK_READ;
	c->offset = (uint64_t)lba * CD_SECTOR;
	c->length = n * CD_SECTOR;
}

static void read_10(struct ata_drive *d, struct ata_command *c)
{
	read_blocks(d, c, be32(c->packet + 2), be16(c->packet + 7));
}

static void read_12(struct ata_drive *d, struct ata_command *c)
{
	read_blocks(d, c, be32(c->packet + 2), be32(c->packet + 6));
}

/* READ CD: only the user data of data sectors. */
static void read_cd(struct ata_drive *d, struct ata_command *c)
{
	if ((c->packet[9] & 0xf8) == 0x10)
		read_blocks(d, c, be32(c->packet + 2), be24(c->packet + 6));
	else
		check_condition(d, c, SENSE_ILLEGAL, ASC_BAD_FIELD);
}

static void put_address(uint8_t *p, bool msf, uint32_t lba)
{
	put_be32(p, lba);
	if (msf) {
		lba += 150;
		p[1] = (uint8_t)(lba / 75 / 60);
		p[2] = (uint8_t)(lba / 75 % 60);
		p[3] = (uint8_t)(lba % 75);
	}
}

static void put_track(uint8_t *p, uint8_t track, bool msf, uint32_t lba)
{
	memset(p, 0, 8);
	p[1] = 0x14;                      /* data track */
	p[2] = track;
	put_address(p + 4, msf, lba);
}

static void read_toc(struct ata_drive *d, struct ata_command *c)
{
	bool msf = c->packet[1] & 2;
	unsigned format = c->packet[2] & 15 ? c->packet[2] & 15 : c->packet[9] >> 6, len = 4;
	uint8_t first = c->packet[6];
	if (format > 1) {
		check_condition(d, c, SENSE_ILLEGAL, ASC_BAD_FIELD);
		return;
	}
	if (format == 1 || first <= 1) {
		put_track(c->data + len, 1, msf, 0);
		len += 8;
	}
	if (format == 0) {
		put_track(c->data + len, LEAD_OUT, msf, blocks(d));
		len += 8;
	}
	put_be16(c->data, (uint16_t)(len - 2));
	c->data[2] = c->data[3] = 1;
	answer(c, len, be16(c->packet + 7));
}

/* Page 0x2a: what the drive can do; nothing much. */
static void mode_sense(struct ata_drive *d, struct ata_command *c)
{
	unsigned page = c->packet[2] & 0x3f;
	memset(c->data, 0, 64);
	unsigned len = 8;
	if (page == 0x2a || page == 0x3f) {
		uint8_t *p = c->data + len;
		p[0] = 0x2a;
		p[1] = 18;
		p[4] = 0x70;
		p[6] = 0x29;              /* tray, can lock and eject */
		put_be16(p + 8, 706);
		put_be16(p + 12, 0);
		put_be16(p + 14, 706);
		len += 20;
	} else if (page != 1) {
		check_condition(d, c, SENSE_ILLEGAL, ASC_BAD_FIELD);
		return;
	}
	put_be16(c->data, (uint16_t)(len - 2));
	answer(c, len, be16(c->packet + 7));
}

/* Profiles: CD-ROM (8) up to its size, DVD-ROM (0x10) above. */
static void get_configuration(struct ata_drive *d, struct ata_command *c)
{
	uint16_t current = !present(d) ? 0 : blocks(d) > 450000 ? 0x10 : 0x08;
	memset(c->data, 0, 40);
	put_be16(c->data + 6, current);
	c->data[10] = 0x03;               /* feature 0: profile list */
	c->data[11] = 8;
	put_be16(c->data + 12, 0x10);
	c->data[14] = current == 0x10;
	put_be16(c->data + 16, 0x08);
	c->data[18] = current == 0x08;
	put_be16(c->data + 20, 1);        /* feature 1: core, ATAPI */
	c->data[22] = 0x0b;
	c->data[23] = 8;
	put_be32(c->data + 24, 2);
	put_be32(c->data, 32 - 4);
	answer(c, 32, be16(c->packet + 7));
}

static void event_status(struct ata_drive *d, struct ata_command *c)
{
	if (!(c->packet[1] & 1)) {        /* asynchronous: not here */
		check_condition(d, c, SENSE_ILLEGAL, ASC_BAD_FIELD);
		return;
	}
	bool media = c->packet[4] & 0x10;
	memset(c->data, 0, 8);
	put_be16(c->data, media ? 6 : 2);
	c->data[2] = media ? 4 : 0x80;    /* media class, or none */
	c->data[3] = 0x10;
	if (media) {
		c->data[4] = d->event;
		c->data[5] = (uint8_t)(present(d) << 1 | d->open);
		d->event = CD_NO_EVENT;
	}
	answer(c, media ? 8 : 4, be16(c->packet + 7));
}

static void prevent_removal(struct ata_drive *d, struct ata_command *c)
{
	d->locked = c->packet[4] & 1;
	good(c);
}

static void new_medium(struct ata_drive *d)
{
	d->event = present(d) ? CD_NEW_MEDIUM : CD_REMOVAL;
	d->sense_key = SENSE_ATTENTION;
	d->asc = ASC_MEDIUM_CHANGED;
}

/* START STOP UNIT: only the tray moves. */
static void start_stop(struct ata_drive *d, struct ata_command *c)
{
	bool load = c->packet[4] & 1, eject = (c->packet[4] & 3) == 2;
	if (eject && d->locked) {
		check_condition(d, c, SENSE_ILLEGAL, ASC_LOCKED);
		return;
	}
	if (eject) {
		d->open = true;
	} else if (load && d->open) {
		d->open = false;
		new_medium(d);
	}
	good(c);
}

bool atapi_change(struct ata_drive *d, struct disk *disk, bool force, struct error *err)
{
	if (d->locked && present(d) && !force) {
		d->event = CD_EJECT_REQUEST;
		return error_set(err, 0, "the guest has locked the drive: it is asked to let go of the medium; "
				 "--force takes it all the same");
	}
	if (d->disk)
		disk_close(d->disk);
	d->disk = disk;
	d->info = (struct disk_info){ 0 };
	if (disk)
		disk_get_info(disk, &d->info);
	d->open = !disk;
	d->locked = false;
	new_medium(d);
	return true;
}

static void disc_information(struct ata_drive *d, struct ata_command *c)
{
	memset(c->data, 0, 34);
	put_be16(c->data, 32);
	c->data[2] = 0x0e;                /* complete, last session complete */
	c->data[3] = c->data[4] = c->data[5] = c->data[6] = 1;
	c->data[7] = 0x20;
	answer(c, 34, be16(c->packet + 7));
}

static const struct {
	uint8_t opcode;
	bool in_attention;                /* allowed while unit attention is pending */
	bool medium;                      /* needs one */
	void (*run)(struct ata_drive *d, struct ata_command *c);
} packets[] = {
	{ 0x00, false, true, test_ready }, { 0x03, true, false, request_sense }, { 0x12, true, false, inquiry },
	{ 0x1b, false, false, start_stop }, { 0x1e, false, false, prevent_removal },
	{ 0x25, false, true, read_capacity }, { 0x28, false, true, read_10 }, { 0xa8, false, true, read_12 },
	{ 0xbe, false, true, read_cd }, { 0x2b, false, true, test_ready }, { 0x43, false, true, read_toc },
	{ 0x46, true, false, get_configuration }, { 0x4a, true, false, event_status },
	{ 0x51, false, true, disc_information }, { 0x5a, false, false, mode_sense },
	{ 0xbb, false, false, test_ready },
};

void atapi_packet(struct ata_drive *d, struct ata_command *c)
{
	for (unsigned i = 0; i < ARRAY_SIZE(packets); i++) {
		if (packets[i].opcode != c->packet[0])
			continue;
		if (d->sense_key == SENSE_ATTENTION && !packets[i].in_attention)
			check_condition(d, c, SENSE_ATTENTION, d->asc);
		else if (packets[i].medium && !present(d))
			check_condition(d, c, SENSE_NOT_READY, ASC_NO_MEDIUM);
		else
			packets[i].run(d, c);
		return;
	}
	check_condition(d, c, SENSE_ILLEGAL, ASC_BAD_COMMAND);
}

void atapi_identify(struct ata_drive *d, struct ata_command *c)
{
	uint8_t *p = c->data;
	const struct { uint8_t word; uint16_t value; } words[] = {
		{ 0, 0x85c0 }, { 49, BIT(11) | BIT(9) | BIT(8) }, { 53, 6 }, { 63, 7 }, { 64, 3 },
		{ 65, 120 }, { 66, 120 }, { 67, 120 }, { 68, 120 }, { 76, 2 }, { 80, 0xf0 },
		{ 82, BIT(14) | BIT(9) | BIT(4) }, { 83, BIT(14) }, { 84, BIT(14) },
		{ 85, BIT(14) | BIT(9) | BIT(4) }, { 87, BIT(14) }, { 88, 0x203f },
	};
	memset(p, 0, ATA_SECTOR);
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		le16_put(p + words[i].word * 2, words[i].value);
	ata_put_string(p, 10, 10, d->serial);
	ata_put_string(p, 23, 4, "1");
	ata_put_string(p, 27, 20, "Abyme CD-ROM");
	c->pio = true;
	ata_buffer(c, ATA_SECTOR, ATA_SECTOR);
}
