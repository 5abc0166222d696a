/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flash chip with UEFI's variables, below the firmware's code: Intel's
 * command set (CFI, JESD68.01; Intel 28F640 datasheet) in the part that
 * firmware uses: read array, status, identifier, program byte or word, program
 * a buffer, erase a block of 4 KiB.
 *
 * The contents live in memory; each program or erase is written through to the
 * machine's own file (--firmware uefi), so that they survive the machine.
 */
#include <errno.h>
#include <sys/stat.h>

#include "base/log.h"
#include "device/chipset.h"
#include "machine/machine.h"

enum { BLOCK = 4096, SIZE_MAX_FLASH = 1 << 20, BUFFER_MAX = 256 };
enum { CMD_ARRAY = 0xff, CMD_STATUS = 0x70, CMD_CLEAR = 0x50, CMD_ID = 0x90, CMD_CFI = 0x98,
       CMD_PROGRAM = 0x40, CMD_PROGRAM2 = 0x10, CMD_ERASE = 0x20, CMD_CONFIRM = 0xd0,
       CMD_BUFFER = 0xe8 };
enum { ST_READY = 0x80, ST_SEQUENCE = 0x30 };

struct pflash {
	struct device dev;
	uint8_t *data;
	uint32_t size;
	uint8_t command;          /* what reads answer, or what awaits its data */
	uint8_t status;
	uint16_t buffer_left;     /* bytes to come of a buffer program */
	bool buffer_sized;
};

static void write_through(struct pflash *f, uint32_t at, uint32_t n)
{
	int fd = f->dev.machine->config->nvram_fd;
	if (!fd_pwrite_full(fd, f->data + at, n, at))
		log_guest("cannot write the firmware's variables: %s", strerror(errno));
}

/* Programming can only clear bits. */
static void program(struct pflash *f, uint32_t at, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size && at + i < f->size; i++)
		f->data[at + i] &= (uint8_t)(value >> i * 8);
	write_through(f, at, MIN(size, f->size - at));
	f->status |= ST_READY;
}

static void erase(struct pflash *f, uint32_t at)
{
	at = ALIGN_DOWN(at, (uint32_t)BLOCK);
	memset(f->data + at, 0xff, BLOCK);
	write_through(f, at, BLOCK);
	f->status |= ST_READY;
}

static uint64_t flash_read(void *opaque, uint64_t at, unsigned size)
{
	struct pflash *f = opaque;
	uint64_t v = 0;
	if (f->command == CMD_ARRAY)
		memcpy(&v, f->data + at, size);
	else if (f->command == CMD_ID || f->command == CMD_CFI)
		v = at & 2 ? 0x18 : 0x89;
	else
		v = f->status;
	return le64toh(v);
}

static void start_command(struct pflash *f, uint8_t v)
{
	static const uint8_t known[] = { CMD_STATUS, CMD_ID, CMD_CFI, CMD_PROGRAM, CMD_PROGRAM2,
					 CMD_ERASE, CMD_BUFFER };
	f->command = CMD_ARRAY;
	if (v == CMD_CLEAR)
		f->status = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (v == known[i])
			f->command = v;
	if (v == CMD_BUFFER) {
		f->status |= ST_READY;
		f->buffer_sized = false;
	}
}

/* Count, data, confirmation (datasheet 11.3). */
static void buffer_step(struct pflash *f, uint32_t at, uint64_t value, unsigned size)
{
	if (!f->buffer_sized) {
		f->buffer_left = (uint16_t)MIN((value & 0xffff) + 1, (uint64_t)BUFFER_MAX);
		f->buffer_sized = true;
	} else if (f->buffer_left) {
		program(f, at, value, size);
		f->buffer_left -= (uint16_t)MIN(size, (unsigned)f->buffer_left);
	} else {
		f->command = CMD_STATUS;
	}
}

static void flash_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct pflash *f = opaque;
	switch (f->command) {
	case CMD_PROGRAM: case CMD_PROGRAM2:
		program(f, (uint32_t)at, value, size);
		f->command = CMD_STATUS;
		break;
	case CMD_ERASE:
		if ((uint8_t)value == CMD_CONFIRM)
			erase(f, (uint32_t)at);
		else
			f->status |= ST_SEQUENCE | ST_READY;
		f->command = CMD_STATUS;
		break;
	case CMD_BUFFER:
		buffer_step(f, (uint32_t)at, value, size);
		break;
	default:
		start_command(f, (uint8_t)value);
	}
}

static void pflash_reset(struct device *d)
{
	struct pflash *f = container_of(d, struct pflash, dev);
	f->command = CMD_ARRAY;
	f->status = ST_READY;
	f->buffer_left = 0;
	f->buffer_sized = false;
}

static bool pflash_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct pflash *f = container_of(d, struct pflash, dev);
	xfer_check_u64(s, f->size, "the size of the firmware's variable store");
	xfer_bytes(s, f->data, f->size);
	xfer_u8(s, &f->command);
	xfer_u8(s, &f->status);
	xfer_u16_max(s, &f->buffer_left, BUFFER_MAX);
	xfer_bool(s, &f->buffer_sized);
	return state_ok(s);
}

static void pflash_loaded(struct device *d)
{
	struct pflash *f = container_of(d, struct pflash, dev);
	write_through(f, 0, f->size);
}

static void pflash_destroy(struct device *d)
{
	struct pflash *f = container_of(d, struct pflash, dev);
	free(f->data);
	free(f);
}

static const struct io_ops flash_io = { flash_read, flash_write, 1, 8 };
static const struct device_ops pflash_ops = {
	.name = "pflash", .version = 1, .reset = pflash_reset, .xfer = pflash_xfer,
	.loaded = pflash_loaded, .destroy = pflash_destroy,
};

bool pflash_create(struct machine *m, uint64_t end, struct error *err)
{
	struct stat st;
	if (fstat(m->config->nvram_fd, &st))
		return error_set(err, errno, "cannot read the firmware's variables");
	if (!S_ISREG(st.st_mode) || st.st_size < BLOCK || st.st_size > SIZE_MAX_FLASH ||
	    st.st_size % BLOCK)
		return error_set(err, 0, "the firmware's variable store has an impossible size: "
				 "remove it to begin with a fresh one");
	struct pflash *f = xnew(struct pflash);
	f->size = (uint32_t)st.st_size;
	f->data = xmalloc(f->size);
	device_add(m, &f->dev, &pflash_ops, "pflash");
	pflash_reset(&f->dev);
	memory_add_io(m->memory, "pflash", end - f->size, f->size, 20, &flash_io, f);
	return fd_pread_full(m->config->nvram_fd, f->data, f->size, 0) ||
	       error_set(err, errno, "cannot read the firmware's variables");
}
