/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 82077AA floppy disk controller (ports 0x3f0..0x3f5, 0x3f7, IRQ 6, DMA
 * channel 2; datasheet 290166) with up to two drives.  Data moves by DMA, as all
 * drivers of a PC have it; programmed I/O ends a command as an overrun would.
 *
 * Under the board lock; images are read and written by the I/O loop, up to a
 * cylinder at a time, through a buffer that is not the guest's.
 */
#include <errno.h>

#include "device/chipset.h"
#include "device/drives.h"
#include "device/i8237.h"
#include "disk/disk.h"
#include "machine/machine.h"

enum { PORTS = 0x3f0, IRQ = 6, DMA = 2, DRIVES = 2, SECTOR = 512, HEADS = 2, MAX_SECTORS = 36 };
enum { R_STATUS_A, R_STATUS_B, R_OUTPUT, R_TAPE, R_MAIN, R_FIFO, R_INPUT = 7 };
enum { DOR_RUN = 4, DOR_IRQ = 8, MSR_BUSY = 0x10, MSR_TO_HOST = 0x40, MSR_READY = 0x80, DSR_RESET = 0x80 };
enum { ST0_SEEK = 0x20, ST0_ABNORMAL = 0x40, ST0_INVALID = 0x80, ST0_READY_CHANGED = 0xc0 };
enum { ST1_NO_ADDRESS = 1, ST1_PROTECTED = 2, ST1_NO_DATA = 4, ST1_OVERRUN = 0x10, ST1_CRC = 0x20 };
enum { CMD_MASK = 0x1f, CMD_MT = 0x80 };
enum { READ = 0x06, WRITE = 0x05, READ_DELETED = 0x0c, WRITE_DELETED = 0x09, VERIFY = 0x16, FORMAT = 0x0d,
       READ_ID = 0x0a, SENSE_INTERRUPT = 0x08, SEEK = 0x0f, RECALIBRATE = 0x07 };

/* What fits into which drive; `type` is CMOS's word for it. */
static const struct floppy_format { uint8_t type, rate, cylinders, sectors; } formats[] = {
	{ 4, 0, 80, 18 }, { 4, 2, 80, 9 }, { 5, 3, 80, 36 }, { 2, 0, 80, 15 }, { 1, 2, 40, 9 },
};

struct floppy_drive {
	struct i82077 *fdc;
	bool exists;
	uint8_t type;
	struct disk *disk;        /* NULL: empty */
	struct disk_info info;
	const struct floppy_format *format;
	uint8_t cylinder;
	bool changed;             /* the line of the DIR: until a step with a medium */
};

struct i82077 {
	struct device dev;
	struct irq_line irq;
	struct floppy_drive drive[DRIVES];
	uint8_t dor, rate;
	uint8_t command[16], ncommand, want;      /* bytes so far, bytes it has */
	uint8_t result[16], nresult, at;
	uint8_t st0, interrupts;  /* SENSE INTERRUPT's answer, how many are owed after a reset */
	uint8_t specify[2], configure[3], perpendicular;
	bool busy, locked, raised, drained;
	/* what runs: `length` bytes of the image from `offset` */
	bool wanted, running;
	uint32_t generation, request_generation;
	uint32_t offset, length, bytes;
	struct disk_request request;
	struct iovec iov;
	uint8_t buffer[HEADS * MAX_SECTORS * SECTOR];
};

static struct i82077 *from_device(struct device *d) { return container_of(d, struct i82077, dev); }

static struct floppy_drive *selected(struct i82077 *f)
{
	struct floppy_drive *d = &f->drive[f->command[1] & 1];
	return !(f->command[1] & 2) && d->exists ? d : NULL;
}

/* --- interrupts, results -------------------------------------------------------- */
static void set_irq(struct i82077 *f, bool raised)
{
	f->raised = raised;
	irq_set(&f->irq, raised && f->dor & DOR_IRQ);
}

static void finish(struct i82077 *f, unsigned n)
{
	f->nresult = (uint8_t)n;
	f->at = f->ncommand = 0;
	f->busy = false;
}

/* The seven bytes that end a transfer. */
static void result(struct i82077 *f, uint8_t st0, uint8_t st1, uint8_t st2)
{
	f->result[0] = st0 | (f->command[1] & 7);
	f->result[1] = st1;
	f->result[2] = st2;
	memcpy(f->result + 3, f->command + 2, 4);
	finish(f, 7);
	set_irq(f, true);
}

static void interrupt(struct i82077 *f, uint8_t st0)
{
	f->st0 = st0;
	f->interrupts = 1;
	set_irq(f, true);
	finish(f, 0);
}

/* --- media ------------------------------------------------------------------------ */
/* The smallest format that holds the image, of this drive's type (0: any). */
static const struct floppy_format *format_of(uint64_t size, uint8_t type)
{
	const struct floppy_format *best = NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
		const struct floppy_format *f = &formats[i];
		uint32_t room = (uint32_t)f->cylinders * HEADS * f->sectors;
		if ((type && f->type != type) || room * (uint64_t)SECTOR < size)
			continue;
		if (!best || room < (uint32_t)best->cylinders * HEADS * best->sectors)
			best = f;
	}
	return best;
}

static bool insert(struct floppy_drive *d, struct disk *disk, struct error *err)
{
	struct disk_info info = { 0 };
	const struct floppy_format *format = NULL;
	if (disk) {
		disk_get_info(disk, &info);
		format = format_of(info.size, d->type);
		if (!format)
			return error_set(err, 0, "an image of %llu bytes does not fit on a floppy of this drive",
					 (unsigned long long)info.size);
	}
	d->disk = disk;
	d->info = info;
	d->format = format;
	d->changed = true;
	return true;
}

static bool change(void *opaque, struct disk *disk, bool force, struct error *err)
{
	struct floppy_drive *d = opaque;
	struct disk *old = d->disk;
	if (!insert(d, disk, err))
		return false;
	if (old)
		disk_close(old);
	return true;
}

/* A medium whose data rate is the one that is set. */
static bool readable(const struct i82077 *f, const struct floppy_drive *d)
{
	return d && d->disk && d->format->rate == f->rate;
}

/* --- transfers -------------------------------------------------------------------- */
static bool writes(const struct i82077 *f)
{
	uint8_t c = f->command[0] & CMD_MASK;
	return c == WRITE || c == WRITE_DELETED || c == FORMAT;
}

static void end_transfer(struct i82077 *f);

static void disk_done(struct i82077 *f, int error)
{
	if (error)
		result(f, ST0_ABNORMAL, ST1_CRC, ST1_CRC);
	else
		end_transfer(f);
}

static void request_done(struct disk_request *r, int error)
{
	struct i82077 *f = r->opaque;
	board_lock(f->dev.machine);
	f->running = false;
	if (f->request_generation == f->generation)
		disk_done(f, error);
	board_unlock(f->dev.machine);
}

/* What the image is too short for reads as zeros and is not written. */
static uint32_t in_image(const struct i82077 *f, const struct floppy_drive *d)
{
	return f->offset >= d->info.size ? 0 : (uint32_t)MIN((uint64_t)f->length, d->info.size - f->offset);
}

/* I/O loop. */
static void submit(void *opaque)
{
	struct i82077 *f = opaque;
	struct machine *m = f->dev.machine;
	board_lock(m);
	struct floppy_drive *d = selected(f);
	bool go = f->wanted && !f->running && !f->drained;
	if (go) {
		uint32_t n = d && d->disk ? in_image(f, d) : 0;
		f->wanted = false;
		if (!n) {
			go = false;
			disk_done(f, d && d->disk && !writes(f) ? 0 : -EIO);
		} else {
			f->running = true;
			f->request_generation = f->generation;
			f->iov = (struct iovec){ f->buffer, n };
			f->request = (struct disk_request){
				.op = writes(f) ? DISK_WRITE : DISK_READ, .offset = f->offset, .length = n,
				.iov = &f->iov, .niov = 1, .done = request_done, .opaque = f,
			};
		}
	}
	board_unlock(m);
	if (go)
		disk_submit(d->disk, &f->request);
}

static void want_disk(struct i82077 *f)
{
	f->wanted = true;
	loop_post(f->dev.machine->loop, submit, f);
}

/* The address after the last sector, as the result tells it. */
static void advance(struct i82077 *f, uint32_t sectors)
{
	uint8_t *c = f->command + 2, last = f->command[6];
	for (; sectors; sectors--) {
		if (c[2]++ < last)
			continue;
		c[2] = 1;
		if (f->command[0] & CMD_MT) {
			c[1] ^= 1;
			f->command[1] ^= 4;
		}
		if (!(f->command[0] & CMD_MT) || !(c[1] & 1))
			c[0]++;
	}
}

static void end_transfer(struct i82077 *f)
{
	uint8_t c = f->command[0] & CMD_MASK;
	if (!writes(f) && c != VERIFY)
		i8237_move(f->dev.machine, DMA, true, f->buffer, f->bytes);
	if (c != FORMAT)
		advance(f, f->length / SECTOR);
	result(f, 0, 0, 0);
}

/* Sectors from this one to the end of the track, or of both heads' tracks. */
static uint32_t sectors_left(const struct i82077 *f, const struct floppy_drive *d)
{
	uint32_t last = MIN(f->command[6], d->format->sectors), first = f->command[4];
	if (!first || first > last)
		return 0;
	bool both = f->command[0] & CMD_MT && !(f->command[3] & 1);
	return last - first + 1 + (both ? last : 0);
}

static bool addressed(const struct i82077 *f, const struct floppy_drive *d)
{
	return f->command[2] == d->cylinder && f->command[2] < d->format->cylinders && f->command[3] < HEADS &&
	       f->command[5] == 2;
}

static void start_transfer(struct i82077 *f)
{
	struct floppy_drive *d = selected(f);
	bool out = writes(f), verify = (f->command[0] & CMD_MASK) == VERIFY;
	uint32_t left = readable(f, d) && addressed(f, d) ? sectors_left(f, d) : 0;
	uint32_t wanted = verify ? left * SECTOR : i8237_wanted(f->dev.machine, DMA, !out);
	f->bytes = MIN(wanted, left * SECTOR);
	f->length = ALIGN_UP(f->bytes, SECTOR);
	if (!readable(f, d)) {
		result(f, ST0_ABNORMAL, ST1_NO_ADDRESS, 0);
	} else if (!left) {
		result(f, ST0_ABNORMAL, ST1_NO_DATA, 0);
	} else if (out && d->info.readonly) {
		result(f, ST0_ABNORMAL, ST1_PROTECTED, 0);
	} else if (!f->bytes) {
		result(f, ST0_ABNORMAL, ST1_OVERRUN, 0);
	} else {
		f->offset = ((f->command[2] * 2u + f->command[3]) * d->format->sectors + f->command[4] - 1u) * SECTOR;
		memset(f->buffer, 0, f->length);
		if (out)
			i8237_move(f->dev.machine, DMA, false, f->buffer, f->bytes);
		want_disk(f);
	}
}

/* FORMAT TRACK: the ids that DMA brings are taken for those of the format. */
static void format_track(struct i82077 *f)
{
	struct floppy_drive *d = selected(f);
	uint32_t n = i8237_wanted(f->dev.machine, DMA, false);
	if (!readable(f, d) || f->command[2] != 2 || f->command[3] > d->format->sectors ||
	    d->cylinder >= d->format->cylinders) {
		result(f, ST0_ABNORMAL, ST1_NO_ADDRESS, 0);
		return;
	}
	if (d->info.readonly) {
		result(f, ST0_ABNORMAL, ST1_PROTECTED, 0);
		return;
	}
	i8237_move(f->dev.machine, DMA, false, f->buffer, MIN(n, f->command[3] * 4u));
	f->offset = (d->cylinder * 2u + (f->command[1] >> 2 & 1)) * d->format->sectors * SECTOR;
	f->length = f->command[3] * (uint32_t)SECTOR;
	memset(f->buffer, f->command[5], f->length);
	want_disk(f);
}

/* --- other commands ------------------------------------------------------------------ */
static void seek(struct i82077 *f, uint8_t cylinder)
{
	struct floppy_drive *d = selected(f);
	uint8_t unit = f->command[1] & 7;
	if (d) {
		d->cylinder = cylinder;
		d->changed = !d->disk;
	}
	/* a drive that is not there never says that it is at cylinder 0 */
	interrupt(f, d ? ST0_SEEK | unit : ST0_SEEK | ST0_ABNORMAL | 0x10 | unit);
}

static void read_id(struct i82077 *f)
{
	struct floppy_drive *d = selected(f);
	bool ok = readable(f, d) && d->cylinder < d->format->cylinders;
	f->command[2] = d ? d->cylinder : 0;
	f->command[3] = f->command[1] >> 2 & 1;
	f->command[4] = 1;
	f->command[5] = 2;
	result(f, ok ? 0 : ST0_ABNORMAL, ok ? 0 : ST1_NO_ADDRESS, 0);
}

static void sense_drive(struct i82077 *f)
{
	const struct floppy_drive *d = selected(f);
	f->result[0] = 0x28 | (f->command[1] & 7) | (d && !d->cylinder ? 0x10 : 0) |
		       (d && d->disk && d->info.readonly ? 0x40 : 0);
	finish(f, 1);
}

static void sense_interrupt(struct i82077 *f)
{
	if (!f->interrupts) {
		f->result[0] = ST0_INVALID;
		finish(f, 1);
		return;
	}
	bool after_reset = (f->st0 & ST0_READY_CHANGED) == ST0_READY_CHANGED;
	uint8_t unit = after_reset ? (uint8_t)(4 - f->interrupts) : f->st0 & 3;
	f->result[0] = after_reset ? ST0_READY_CHANGED | unit : f->st0;
	f->result[1] = unit < DRIVES ? f->drive[unit].cylinder : 0;
	f->interrupts--;
	set_irq(f, false);
	finish(f, 2);
}

static void dump_registers(struct i82077 *f)
{
	uint8_t *r = f->result;
	memset(r, 0, 10);
	r[0] = f->drive[0].cylinder;
	r[1] = f->drive[1].cylinder;
	memcpy(r + 4, f->specify, 2);
	r[7] = (uint8_t)(f->locked << 7 | (f->perpendicular & 0x7f));
	memcpy(r + 8, f->configure + 1, 2);
	finish(f, 10);
}

static void one_byte(struct i82077 *f, uint8_t v)
{
	f->result[0] = v;
	finish(f, 1);
}

/* Length of the command that begins with this byte; 0: there is none. */
static uint8_t length_of(uint8_t first)
{
	static const uint8_t exact[][2] = { { 0x03, 3 }, { 0x04, 2 }, { 0x07, 2 }, { 0x08, 1 }, { 0x0e, 1 }, { 0x0f, 3 },
		{ 0x10, 1 }, { 0x12, 2 }, { 0x13, 4 }, { 0x14, 1 }, { 0x94, 1 }, { 0x18, 1 }, { 0x8f, 3 }, { 0xcf, 3 } };
	static const uint8_t masked[][2] = { { READ, 9 }, { WRITE, 9 }, { READ_DELETED, 9 }, { WRITE_DELETED, 9 },
		{ VERIFY, 9 }, { FORMAT, 6 }, { READ_ID, 2 } };
	for (unsigned i = 0; i < ARRAY_SIZE(exact); i++)
		if (exact[i][0] == first)
			return exact[i][1];
	for (unsigned i = 0; i < ARRAY_SIZE(masked); i++)
		if (masked[i][0] == (first & CMD_MASK))
			return masked[i][1];
	return 0;
}

static void run_control(struct i82077 *f)
{
	const uint8_t *c = f->command;
	const struct floppy_drive *d = selected(f);
	switch (c[0]) {
	case 0x03:
		memcpy(f->specify, c + 1, 2);
		finish(f, 0);
		break;
	case 0x04:
		sense_drive(f);
		break;
	case RECALIBRATE:
		seek(f, 0);
		break;
	case SENSE_INTERRUPT:
		sense_interrupt(f);
		break;
	case 0x0e:
		dump_registers(f);
		break;
	case SEEK:
		seek(f, c[2]);
		break;
	case 0x8f: case 0xcf:                 /* relative: out, in */
		seek(f, (uint8_t)(c[0] == 0xcf ? (d ? d->cylinder : 0) + c[2] : (d ? d->cylinder : 0) - c[2]));
		break;
	case 0x10:
		one_byte(f, 0x90);            /* enhanced controller */
		break;
	case 0x12:
		f->perpendicular = c[1];
		finish(f, 0);
		break;
	case 0x13:
		memcpy(f->configure, c + 1, 3);
		finish(f, 0);
		break;
	case 0x14: case 0x94:
		f->locked = c[0] & 0x80;
		one_byte(f, (uint8_t)(f->locked << 4));
		break;
	default:
		one_byte(f, 0x41);            /* PART ID: 82078 and later answer; stepping 1 */
	}
}

static void run(struct i82077 *f)
{
	f->busy = true;
	switch (f->command[0] & CMD_MASK) {
	case READ: case WRITE: case READ_DELETED: case WRITE_DELETED: case VERIFY:
		start_transfer(f);
		break;
	case FORMAT:
		format_track(f);
		break;
	case READ_ID:
		read_id(f);
		break;
	default:
		run_control(f);
	}
}

static void command_byte(struct i82077 *f, uint8_t v)
{
	if (f->busy || f->at < f->nresult)
		return;
	if (!f->ncommand) {
		set_irq(f, f->raised && v == SENSE_INTERRUPT);
		memset(f->command, 0, sizeof(f->command));
		f->want = length_of(v);
		if (!f->want) {
			one_byte(f, ST0_INVALID);
			return;
		}
	}
	f->command[f->ncommand++] = v;
	if (f->ncommand == f->want)
		run(f);
}

static uint8_t result_byte(struct i82077 *f)
{
	if (f->at >= f->nresult)
		return 0;
	set_irq(f, false);
	return f->result[f->at++];
}

/* --- registers -------------------------------------------------------------------------- */
/* Ends what runs; afterwards four interrupts tell of four drives (polling). */
static void controller_reset(struct i82077 *f)
{
	f->generation++;
	f->wanted = false;
	finish(f, 0);
	f->rate = 2;
	if (!f->locked)
		memset(f->configure, 0, sizeof(f->configure));
	set_irq(f, false);
}

static void controller_run(struct i82077 *f)
{
	f->st0 = ST0_READY_CHANGED;
	f->interrupts = 4;
	set_irq(f, true);
}

static void write_output(struct i82077 *f, uint8_t v)
{
	uint8_t old = f->dor;
	f->dor = v;
	if (old & DOR_RUN && !(v & DOR_RUN))
		controller_reset(f);
	else if (!(old & DOR_RUN) && v & DOR_RUN)
		controller_run(f);
	else
		set_irq(f, f->raised);
}

static uint64_t fdc_read(void *opaque, uint64_t at, unsigned size)
{
	struct i82077 *f = opaque;
	const struct floppy_drive *d = &f->drive[f->dor & 1];
	switch (at) {
	case R_STATUS_A:
		return f->raised ? 0x80 : 0;
	case R_STATUS_B:
		return 0xc0 | (f->dor & 1) << 5;
	case R_OUTPUT:
		return f->dor;
	case R_MAIN:
		if (!(f->dor & DOR_RUN))
			return 0;
		return f->busy ? MSR_BUSY : MSR_READY | (f->at < f->nresult ? MSR_TO_HOST | MSR_BUSY :
							 f->ncommand ? MSR_BUSY : 0);
	case R_FIFO:
		return result_byte(f);
	case R_INPUT:                         /* of the drive whose motor runs */
		return f->dor >> (4 + (f->dor & 3)) & 1 && (f->dor & 3) < DRIVES && d->exists && d->changed ? 0x80 : 0;
	}
	return 0;
}

static void fdc_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct i82077 *f = opaque;
	uint8_t v = (uint8_t)value;
	if (at == R_OUTPUT) {
		write_output(f, v);
	} else if (at == R_MAIN) {            /* data rate select */
		if (v & DSR_RESET) {
			controller_reset(f);
			controller_run(f);
		}
		f->rate = v & 3;
	} else if (at == R_INPUT) {           /* configuration control */
		f->rate = v & 3;
	} else if (at == R_FIFO && f->dor & DOR_RUN) {
		command_byte(f, v);
	}
}

static uint64_t input_read(void *opaque, uint64_t at, unsigned size) { return fdc_read(opaque, R_INPUT, size); }

static void input_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	fdc_write(opaque, R_INPUT, value, size);
}

/* --- device -------------------------------------------------------------------------------- */
static void i82077_reset(struct device *d)
{
	struct i82077 *f = from_device(d);
	f->dor = 0;
	f->locked = false;
	f->interrupts = 0;
	controller_reset(f);
	for (unsigned i = 0; i < DRIVES; i++) {
		f->drive[i].cylinder = 0;
		f->drive[i].changed = true;
	}
}

static void i82077_drain(struct device *d)
{
	struct i82077 *f = from_device(d);
	board_lock(d->machine);
	f->drained = true;
	board_unlock(d->machine);
	for (unsigned i = 0; i < DRIVES; i++)
		if (f->drive[i].disk)
			disk_drain(f->drive[i].disk);
}

static void i82077_undrain(struct device *d)
{
	struct i82077 *f = from_device(d);
	f->drained = false;
	loop_post(d->machine->loop, submit, f);
}

static void xfer_drive(struct floppy_drive *d, struct state *s)
{
	xfer_check_u64(s, d->exists, "a floppy drive");
	xfer_check_u64(s, d->info.size, "the size of the floppy");
	xfer_u8(s, &d->cylinder);
	xfer_bool(s, &d->changed);
}

/* A transfer that waits is checked as when it began: by the buffer's size and the disk. */
static bool i82077_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct i82077 *f = from_device(d);
	for (unsigned i = 0; i < DRIVES; i++)
		xfer_drive(&f->drive[i], s);
	uint8_t *bytes[] = { &f->dor, &f->rate, &f->want, &f->st0, &f->perpendicular };
	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
		xfer_u8(s, bytes[i]);
	xfer_bytes(s, f->command, sizeof(f->command));
	xfer_u8_max(s, &f->ncommand, 9);
	xfer_bytes(s, f->result, sizeof(f->result));
	xfer_u8_max(s, &f->nresult, sizeof(f->result));
	xfer_u8_max(s, &f->at, f->nresult);
	xfer_u8_max(s, &f->interrupts, 4);
	xfer_bytes(s, f->specify, sizeof(f->specify));
	xfer_bytes(s, f->configure, sizeof(f->configure));
	bool *flags[] = { &f->busy, &f->locked, &f->raised, &f->wanted };
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		xfer_bool(s, flags[i]);
	xfer_u32_max(s, &f->offset, UINT32_MAX / 2);
	xfer_u32_max(s, &f->length, sizeof(f->buffer));
	xfer_u32_max(s, &f->bytes, f->length);
	xfer_bytes(s, f->buffer, state_ok(s) && f->wanted ? f->length : 0);
	if (f->ncommand >= MAX(f->want, (uint8_t)1) && f->ncommand)
		state_fail(s, "a floppy command has too many bytes");
	if (f->length % SECTOR || f->offset % SECTOR)
		state_fail(s, "a floppy transfer is not of whole sectors");
	return state_ok(s);
}

static void i82077_loaded(struct device *d)
{
	set_irq(from_device(d), from_device(d)->raised);
	i82077_undrain(d);
}

static void i82077_destroy(struct device *d)
{
	struct i82077 *f = from_device(d);
	for (unsigned i = 0; i < DRIVES; i++)
		if (f->drive[i].disk)
			disk_close(f->drive[i].disk);
	free(f);
}

static const struct io_ops fdc_io = { fdc_read, fdc_write, 1, 1 };
static const struct io_ops input_io = { input_read, input_write, 1, 1 };
static const struct device_ops i82077_ops = {
	.name = "i82077", .version = 1, .reset = i82077_reset, .xfer = i82077_xfer, .loaded = i82077_loaded,
	.drain = i82077_drain, .undrain = i82077_undrain, .destroy = i82077_destroy,
};

static bool plug(struct i82077 *f, unsigned i, const struct floppy_config *from, struct error *err)
{
	struct floppy_drive *d = &f->drive[i];
	struct disk_info info = { 0 };
	d->fdc = f;
	d->exists = true;
	if (from->disk)
		disk_get_info(from->disk, &info);
	const struct floppy_format *format = format_of(info.size, 0);
	d->type = from->disk && format ? format->type : formats[0].type;
	if (!insert(d, from->disk, err))
		return false;
	media_register(f->dev.machine, from->index, change, d);
	return true;
}

bool i82077_create(struct machine *m, const struct floppy_config *drives, unsigned n, struct error *err)
{
	if (n > DRIVES)
		return error_set(err, 0, "a machine has at most %d floppy drives, not %u", DRIVES, n);
	struct i82077 *f = xnew(struct i82077);
	f->irq = board_gsi(m, IRQ);
	device_add(m, &f->dev, &i82077_ops, "i82077");
	for (unsigned i = 0; i < n; i++)
		if (!plug(f, i, &drives[i], err))
			return false;
	mc146818_set_cmos(m, 0x10, (uint8_t)(f->drive[0].type << 4 | f->drive[1].type));
	m->board_data->floppies = n;
	memory_add_io(m->ports, "fdc", PORTS, 6, 0, &fdc_io, f);
	/* 0x3f6 is the IDE controller's */
	memory_add_io(m->ports, "fdc-input", PORTS + R_INPUT, 1, 0, &input_io, f);
	i82077_reset(&f->dev);
	return true;
}
