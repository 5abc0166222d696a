/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The firmware configuration device (QEMU, docs/specs/fw_cfg.rst; SeaBIOS,
 * OVMF and Linux know it): selector at port 0x510, data at 0x511, DMA at 0x514
 * (big-endian).  Contents are constant after creation, but for files that the
 * guest may write, which travel in the state.
 */
#include "device/fw_cfg.h"

#include <stdio.h>

#include "device/chipset.h"
#include "machine/machine.h"

enum { MAX_ITEMS = 48, NAME_LEN = 56, ENTRY = 64, PORTS = 12 };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };
enum { ID_TRADITIONAL = 1, ID_DMA = 2 };
#define DMA_MAX (256 * MiB)

struct item {
	unsigned key;
	uint8_t *data;
	size_t len;
	bool writable;
	void (*written)(struct machine *m, const uint8_t *data);
	void (*make)(struct machine *m, uint8_t *data);
};

struct fw_cfg {
	struct device dev;
	struct item item[MAX_ITEMS];
	unsigned items, files;
	uint8_t directory[4 + MAX_ITEMS * ENTRY];
	uint16_t selected;
	uint32_t offset;
	uint64_t dma;             /* high half waits for the low one */
};

/* --- contents ----------------------------------------------------------------- */
static struct item *new_item(struct fw_cfg *f, unsigned key, const void *data, size_t len)
{
	if (f->items == MAX_ITEMS)
		return &f->item[MAX_ITEMS - 1];   /* the board adds fewer */
	struct item *i = &f->item[f->items++];
	*i = (struct item){ .key = key, .len = len, .data = xcalloc(1, len) };
	if (data)
		memcpy(i->data, data, len);
	return i;
}

void fw_cfg_add(struct machine *m, unsigned key, const void *data, size_t len)
{
	new_item(m->board_data->fw_cfg, key, data, len);
}

static struct item *new_file(struct machine *m, const char *name, const void *data, size_t len)
{
	struct fw_cfg *f = m->board_data->fw_cfg;
	unsigned key = FW_CFG_FIRST_FILE + f->files;
	uint8_t *e = f->directory + 4 + f->files++ * ENTRY;
	le32_put(e, htobe32((uint32_t)len));
	le16_put(e + 4, htobe16((uint16_t)key));
	snprintf((char *)e + 8, NAME_LEN, "%s", name);
	le32_put(f->directory, htobe32(f->files));
	return new_item(f, key, data, len);
}

void fw_cfg_add_file(struct machine *m, const char *name, const void *data, size_t len)
{
	new_file(m, name, data, len);
}

void fw_cfg_add_writable(struct machine *m, const char *name, size_t len,
			 void (*written)(struct machine *m, const uint8_t *data))
{
	struct item *i = new_file(m, name, NULL, len);
	i->writable = true;
	i->written = written;
}

void fw_cfg_add_made(struct machine *m, const char *name, size_t len,
		     void (*make)(struct machine *m, uint8_t *data))
{
	new_file(m, name, NULL, len)->make = make;
}

/* --- access --------------------------------------------------------------------- */
static struct item *find(struct fw_cfg *f)
{
	for (unsigned i = 0; i < f->items; i++)
		if (f->item[i].key == f->selected)
			return &f->item[i];
	return NULL;
}

static void select_item(struct fw_cfg *f, uint16_t key)
{
	f->selected = key & 0xbfff;       /* bit 14 once meant "write" */
	f->offset = 0;
	struct item *i = find(f);
	if (i && i->make)
		i->make(f->dev.machine, i->data);
}

/* The next bytes of the selected item, zeroes after its end. */
static void read_bytes(struct fw_cfg *f, uint8_t *to, size_t n)
{
	struct item *i = find(f);
	size_t len = f->selected == FW_CFG_DIRECTORY ? 4 + f->files * (size_t)ENTRY : i ? i->len : 0;
	const uint8_t *data = f->selected == FW_CFG_DIRECTORY ? f->directory : i ? i->data : NULL;
	size_t have = f->offset < len ? MIN(len - f->offset, n) : 0;
	if (have)
		memcpy(to, data + f->offset, have);
	memset(to + have, 0, n - have);
	f->offset += (uint32_t)MIN(n, UINT32_MAX - f->offset);
}

static void dma_read(struct fw_cfg *f, uint64_t gpa, uint32_t len)
{
	uint8_t buf[4096];
	for (uint32_t n; len; len -= n, gpa += n) {
		n = MIN(len, (uint32_t)sizeof(buf));
		read_bytes(f, buf, n);
		memory_write(f->dev.machine->memory, gpa, buf, n);
	}
}

static bool dma_write(struct fw_cfg *f, uint64_t gpa, uint32_t len)
{
	struct item *i = find(f);
	if (!i || !i->writable || f->offset > i->len || len > i->len - f->offset)
		return false;
	memory_read(f->dev.machine->memory, gpa, i->data + f->offset, len);
	f->offset += len;
	i->written(f->dev.machine, i->data);
	return true;
}

static bool dma_run(struct fw_cfg *f, uint32_t control, uint32_t len, uint64_t gpa)
{
	if (control & DMA_SELECT)
		select_item(f, (uint16_t)(control >> 16));
	if (len > DMA_MAX)
		return false;
	if (control & DMA_WRITE)
		return dma_write(f, gpa, len);
	if (control & DMA_READ)
		dma_read(f, gpa, len);
	else if (control & DMA_SKIP)
		f->offset += MIN(len, UINT32_MAX - f->offset);
	return true;
}

static void dma_start(struct fw_cfg *f)
{
	struct memory *mem = f->dev.machine->memory;
	uint8_t req[16];
	uint64_t at = f->dma;
	f->dma = 0;
	memory_read(mem, at, req, sizeof(req));
	bool ok = dma_run(f, be32toh(le32_get(req)), be32toh(le32_get(req + 4)),
			  be64toh(le64_get(req + 8)));
	le32_put(req, ok ? 0 : htobe32(DMA_ERROR));
	memory_write(mem, at, req, 4);
}

static uint64_t fw_cfg_read(void *opaque, uint64_t at, unsigned size)
{
	struct fw_cfg *f = opaque;
	static const char signature[8] = "QEMU CFG";
	uint8_t v[4] = { 0 };
	if (at >= 4 && at + size <= 12)
		memcpy(v, signature + at - 4, size);
	else if (at == 1 && size == 1)
		read_bytes(f, v, 1);
	return le32_get(v);
}

static void fw_cfg_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct fw_cfg *f = opaque;
	if (at == 0 && size == 2) {
		select_item(f, (uint16_t)value);
	} else if (at == 4 && size == 4) {
		f->dma = (uint64_t)be32toh((uint32_t)value) << 32;
	} else if (at == 8 && size == 4) {
		f->dma |= be32toh((uint32_t)value);
		dma_start(f);
	}
}

static void fw_cfg_reset(struct device *d)
{
	struct fw_cfg *f = container_of(d, struct fw_cfg, dev);
	f->selected = 0;
	f->offset = 0;
	f->dma = 0;
}

static bool fw_cfg_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct fw_cfg *f = container_of(d, struct fw_cfg, dev);
	xfer_u16(s, &f->selected);
	xfer_u32(s, &f->offset);
	xfer_u64(s, &f->dma);
	for (unsigned i = 0; i < f->items; i++)
		if (f->item[i].writable)
			xfer_bytes(s, f->item[i].data, f->item[i].len);
	return state_ok(s);
}

static void fw_cfg_destroy(struct device *d)
{
	struct fw_cfg *f = container_of(d, struct fw_cfg, dev);
	for (unsigned i = 0; i < f->items; i++)
		free(f->item[i].data);
	free(f);
}

static const struct io_ops fw_cfg_io = { fw_cfg_read, fw_cfg_write, 1, 4 };
static const struct device_ops fw_cfg_ops = {
	.name = "fw-cfg", .version = 1, .reset = fw_cfg_reset, .xfer = fw_cfg_xfer,
	.destroy = fw_cfg_destroy,
};

bool fw_cfg_create(struct machine *m, struct error *err)
{
	struct fw_cfg *f = xnew(struct fw_cfg);
	uint8_t id[4], cpus[2], size[8];
	m->board_data->fw_cfg = f;
	device_add(m, &f->dev, &fw_cfg_ops, "fw-cfg");
	memory_add_io(m->ports, "fw-cfg", BOARD_FWCFG, PORTS, 0, &fw_cfg_io, f);
	le32_put(id, ID_TRADITIONAL | ID_DMA);
	le16_put(cpus, (uint16_t)m->config->vcpus);
	le64_put(size, m->config->memory);
	fw_cfg_add(m, FW_CFG_SIGNATURE, "QEMU", 4);
	fw_cfg_add(m, FW_CFG_ID, id, sizeof(id));
	fw_cfg_add(m, FW_CFG_UUID, m->config->uuid, 16);
	fw_cfg_add(m, FW_CFG_RAM_SIZE, size, sizeof(size));
	fw_cfg_add(m, FW_CFG_CPUS, cpus, sizeof(cpus));
	fw_cfg_add(m, FW_CFG_MAX_CPUS, cpus, sizeof(cpus));
	return true;
}
