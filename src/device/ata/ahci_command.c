/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens in a command slot of the SATA controller (AHCI 1.3.1 5.5): the
 * command list is read, the drive asked, data pinned and moved, and a FIS tells
 * the end.
 */
#include "device/ata/ahci_port.h"

#include "machine/machine.h"

enum { FIS_PIO = 0x20, FIS_D2H = 0x40, FIS_SDB = 0x58 };
enum { HEADER_ATAPI = 0x20 };

static struct memory *guest(const struct ahci_port *p) { return p->ahci->fn.dev.machine->memory; }

/* --- FISes to the host (SATA 2.6 10.3) --------------------------------------------- */
static void put_fis(struct ahci_port *p, unsigned at, const uint8_t *fis, unsigned len)
{
	if (p->cmd & AHCI_CMD_FRE)
		memory_dma_write(guest(p), p->fb + at, fis, len);
}

static void task_file(uint8_t *fis, const struct ata_command *c)
{
	fis[2] = c->status;
	fis[3] = c->error;
	fis[4] = (uint8_t)c->lba;
	fis[5] = (uint8_t)(c->lba >> 8);
	fis[6] = (uint8_t)(c->lba >> 16);
	fis[7] = c->device;
	fis[8] = (uint8_t)(c->lba >> 24);
	fis[9] = (uint8_t)(c->lba >> 32);
	fis[10] = (uint8_t)(c->lba >> 40);
	fis[12] = (uint8_t)c->count;
	fis[13] = (uint8_t)(c->count >> 8);
}

static void set_task_file(struct ahci_port *p, const struct ata_command *c)
{
	p->tfd = c->status | (uint32_t)c->error << 8;
	if (c->status & ATA_ST_ERR) {
		p->is |= PIS_TASKFILE;
		p->halted = true;
	}
}

static void send_d2h(struct ahci_port *p, const struct ata_command *c)
{
	uint8_t fis[20] = { 0x34, 0x40 };
	task_file(fis, c);
	put_fis(p, FIS_D2H, fis, sizeof(fis));
	p->is |= PIS_D2H;
	set_task_file(p, c);
}

static void send_pio_setup(struct ahci_port *p, const struct ata_command *c)
{
	uint8_t fis[20] = { 0x5f, 0x60 };
	task_file(fis, c);
	fis[2] |= ATA_ST_DRQ;
	fis[15] = c->status;
	le16_put(fis + 16, (uint16_t)c->length);
	put_fis(p, FIS_PIO, fis, sizeof(fis));
	p->is |= PIS_PIO;
	set_task_file(p, c);
}

static void send_set_bits(struct ahci_port *p, const struct ata_command *c)
{
	uint8_t fis[8] = { 0xa1, 0x40, c->status & 0x77, c->error };
	le32_put(fis + 4, (uint32_t)BIT(c->tag));
	put_fis(p, FIS_SDB, fis, sizeof(fis));
	p->is |= PIS_SDB;
	set_task_file(p, c);
	if (!(c->status & ATA_ST_ERR))
		p->sact &= ~(uint32_t)BIT(c->tag);
}

void ahci_send_signature(struct ahci_port *p)
{
	struct ata_command c = { .lba = ata_signature(p->drive) >> 8, .count = 1, .error = 1,
				 .status = p->drive->cdrom ? ATA_ST_SEEK : ATA_ST_READY | ATA_ST_SEEK };
	uint8_t fis[20] = { 0x34, 0 };
	task_file(fis, &c);
	put_fis(p, FIS_D2H, fis, sizeof(fis));
	p->sig = ata_signature(p->drive);
	p->tfd = c.status | (uint32_t)c.error << 8;
}

/* --- moving data -------------------------------------------------------------------- */
static void unpin(struct ahci_slot *s)
{
	for (unsigned i = 0; i < s->segments; i++)
		if (s->cmd.op == DISK_READ || s->cmd.transfer == ATA_BUFFER_IN)
			mem_unpin_write(guest(s->port), s->gpa[i], s->iov[i].iov_len);
	s->segments = 0;
}

static bool pin_one(struct ahci_slot *s, uint64_t gpa, size_t n, bool to_guest)
{
	const void *p = to_guest ? mem_pin_write(guest(s->port), gpa, n)
				 : mem_pin_read(guest(s->port), gpa, n);
	if (!p)
		return false;
	s->gpa[s->segments] = gpa;
	s->iov[s->segments++] = (struct iovec){ .iov_base = (void *)(uintptr_t)p, .iov_len = n };
	return true;
}

/* Pin the first `want` bytes of the command's scatter list (AHCI 4.2.3.3). */
static bool pin_list(struct ahci_slot *s, uint32_t want, bool to_guest)
{
	unsigned entries = s->header[0] >> 16;
	for (unsigned i = 0; i < entries && want; i++) {
		uint8_t e[16];
		memory_dma_read(guest(s->port), s->table + 0x80 + i * 16ull, e, sizeof(e));
		uint32_t n = MIN((le32_get(e + 12) & 0x3fffff) + 1, want);
		if (s->segments == AHCI_MAX_SEGMENTS || !pin_one(s, le64_get(e), n, to_guest))
			return false;
		want -= n;
	}
	return !want;
}

static void copy_in(struct ahci_slot *s)
{
	uint32_t done = 0;
	for (unsigned i = 0; i < s->segments; i++) {
		memcpy(s->iov[i].iov_base, s->cmd.data + done, s->iov[i].iov_len);
		done += (uint32_t)s->iov[i].iov_len;
	}
}

/* --- commands ------------------------------------------------------------------------- */
/* requires: lock */
static void complete(struct ahci_slot *s)
{
	struct ahci_port *p = s->port;
	struct ata_command *c = &s->cmd;
	bool failed = c->status & ATA_ST_ERR;
	uint8_t moved[4];
	le32_put(moved, failed ? 0 : c->length);
	memory_dma_write(guest(p), s->header_gpa + 4, moved, sizeof(moved));
	if (c->queued)
		send_set_bits(p, c);
	else if (c->pio && !failed && c->transfer != ATA_NO_DATA && c->op == DISK_READ)
		send_pio_setup(p, c);
	else
		send_d2h(p, c);
	if (!failed || c->queued)
		p->ci &= ~(uint32_t)BIT(s - p->slot);
}

static void parse_fis(struct ata_command *c, const uint8_t *f, bool packet, const uint8_t *acmd)
{
	*c = (struct ata_command){
		.command = f[2], .device = f[7], .op = DISK_READ,
		.feature = (uint16_t)(f[3] | f[11] << 8), .count = (uint16_t)(f[12] | f[13] << 8),
		.lba = f[4] | (uint64_t)f[5] << 8 | (uint64_t)f[6] << 16 |
		       (uint64_t)f[8] << 24 | (uint64_t)f[9] << 32 | (uint64_t)f[10] << 40,
	};
	if (packet)
		memcpy(c->packet, acmd, sizeof(c->packet));
}

/* A control FIS: the end of a software reset gives the signature. */
static void control(struct ahci_slot *s, uint8_t device_control)
{
	struct ahci_port *p = s->port;
	bool srst = device_control & 4;
	if (p->soft_reset && !srst) {
		ata_reset(p->drive);
		ahci_send_signature(p);
	}
	p->soft_reset = srst;
	p->ci &= ~(uint32_t)BIT(s - p->slot);
}

static void bus_error(struct ahci_slot *s)
{
	unpin(s);
	ata_abort(&s->cmd);
	s->port->is |= PIS_HOST_BUS;
	complete(s);
}

static void request_done(struct disk_request *r, int result);

/* Have the disk do it; it is submitted after the lock is gone. */
static void prepare_disk(struct ahci_slot *s)
{
	struct ata_command *c = &s->cmd;
	s->request = (struct disk_request){
		.op = c->op, .offset = c->offset, .length = c->length, .iov = s->iov,
		.niov = s->segments, .done = request_done, .opaque = s,
	};
	s->active = true;
	s->generation = s->port->generation;
	s->port->running++;
	s->port->running_queued = c->queued;
	if (c->queued)
		s->port->ci &= ~(uint32_t)BIT(s - s->port->slot);
}

/* requires: lock. True: the caller has a request to submit. */
static bool start(struct ahci_slot *s)
{
	struct ahci_port *p = s->port;
	uint8_t header[32], table[0x50];
	s->header_gpa = p->clb + (uint64_t)(s - p->slot) * 32;
	memory_dma_read(guest(p), s->header_gpa, header, sizeof(header));
	s->header[0] = le32_get(header);
	s->table = le64_get(header + 8) & ~0x7full;
	memory_dma_read(guest(p), s->table, table, sizeof(table));
	s->segments = 0;
	if (!(table[1] & 0x80)) {
		control(s, table[15]);
		return false;
	}
	parse_fis(&s->cmd, table, s->header[0] & HEADER_ATAPI, table + 0x40);
	ata_execute(p->drive, &s->cmd);
	bool to_guest = s->cmd.transfer == ATA_BUFFER_IN || s->cmd.op == DISK_READ;
	if (s->cmd.transfer != ATA_NO_DATA && !pin_list(s, s->cmd.length, to_guest)) {
		bus_error(s);
		return false;
	}
	if (s->cmd.transfer == ATA_DISK) {
		prepare_disk(s);
		return true;
	}
	if (s->cmd.transfer == ATA_BUFFER_IN)
		copy_in(s);
	unpin(s);
	complete(s);
	return false;
}

static struct ahci_slot *next_slot(struct ahci_port *p)
{
	if (!p->drive || !(p->cmd & AHCI_CMD_ST) || p->halted || (p->running && !p->running_queued))
		return NULL;
	for (unsigned i = 0; i < AHCI_SLOTS; i++) {
		struct ahci_slot *s = &p->slot[i];
		bool queued = p->sact >> i & 1;
		if (p->ci >> i & 1 && !s->active && (!p->running || queued))
			return s;
	}
	return NULL;
}

/* Loop thread. */
static void work(void *opaque)
{
	struct ahci *a = opaque;
	pthread_mutex_lock(&a->lock);
	a->work_posted = false;
	for (unsigned i = 0; i < AHCI_PORTS && !a->drained; i++) {
		for (struct ahci_slot *s; (s = next_slot(&a->port[i])); ) {
			if (!start(s))
				continue;
			pthread_mutex_unlock(&a->lock);
			disk_submit(s->port->drive->disk, &s->request);
			pthread_mutex_lock(&a->lock);
		}
	}
	ahci_update_irq(a);
	pthread_mutex_unlock(&a->lock);
}

void ahci_post_work(struct ahci *a)
{
	if (a->work_posted)
		return;
	a->work_posted = true;
	loop_post(a->fn.dev.machine->loop, work, a);
}

static void request_done(struct disk_request *r, int result)
{
	struct ahci_slot *s = r->opaque;
	struct ahci_port *p = s->port;
	pthread_mutex_lock(&p->ahci->lock);
	unpin(s);
	s->active = false;
	p->running--;
	if (s->generation == p->generation) {
		ata_finish(p->drive, &s->cmd, result);
		complete(s);
		ahci_update_irq(p->ahci);
	}
	if (p->ci)
		ahci_post_work(p->ahci);
	pthread_mutex_unlock(&p->ahci->lock);
}
