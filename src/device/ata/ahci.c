/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SATA controller of Intel's ICH9 (8086:2922) at 1f.2: AHCI 1.3.1 with six
 * ports, 32 slots each, native queueing.
 *
 * Threading: registers and slots under a lock of its own, a leaf below the board
 * lock; command lists are worked through on the I/O loop's thread, which hands
 * requests to the disk without the lock.  A port that is stopped or reset while
 * requests run bumps its generation: their ends are then ignored, and their
 * slots are not used again before.
 */
#include "device/ata/ahci.h"

#include <pthread.h>
#include <stdio.h>

#include "device/ata/ata.h"
#include "device/chipset.h"
#include "device/pci_regs.h"
#include "machine/machine.h"

enum { PORTS = 6, SLOTS = 32, MAX_SEGMENTS = 256, ABAR_SIZE = 0x1000 };
enum { CAP = 0x00, GHC = 0x04, IS = 0x08, PI = 0x0c, VS = 0x10 };
enum { GHC_RESET = 1, GHC_IE = 2 };
#define GHC_AE 0x80000000u
enum { P_CLB = 0x00, P_CLBU = 0x04, P_FB = 0x08, P_FBU = 0x0c, P_IS = 0x10, P_IE = 0x14,
       P_CMD = 0x18, P_TFD = 0x20, P_SIG = 0x24, P_SSTS = 0x28, P_SCTL = 0x2c, P_SERR = 0x30,
       P_SACT = 0x34, P_CI = 0x38 };
enum { CMD_ST = 1, CMD_SPIN = 2, CMD_POWER = 4, CMD_CLO = 8, CMD_FRE = 0x10, CMD_FR = 0x4000,
       CMD_CR = 0x8000, CMD_ATAPI = 1 << 24 };
#define CMD_WRITABLE 0xf3000017u
enum { PIS_D2H = 1, PIS_PIO = 2, PIS_SDB = 8, PIS_CONNECT = 0x40 };
#define PIS_HOST_BUS BIT(29)
#define PIS_TASKFILE BIT(30)
enum { FIS_PIO = 0x20, FIS_D2H = 0x40, FIS_SDB = 0x58 };
enum { HEADER_ATAPI = 0x20, HEADER_WRITE = 0x40 };

struct ahci;
struct port;

struct slot {
	struct port *port;
	bool active;              /* the disk works for it */
	uint32_t generation;
	uint32_t header[2];       /* DW0, DW1 of the command header */
	uint64_t header_gpa, table;
	struct ata_command cmd;
	struct disk_request request;
	unsigned segments;
	struct iovec iov[MAX_SEGMENTS];
	uint64_t gpa[MAX_SEGMENTS];
};

struct port {
	struct ahci *ahci;
	unsigned index;
	struct ata_drive *drive;  /* NULL: nothing plugged in */
	uint64_t clb, fb;
	uint32_t is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
	bool halted;              /* after an error, until ST is cleared */
	bool soft_reset;          /* SRST has been seen */
	uint32_t generation;
	unsigned running;
	bool running_queued;
	struct slot *slot;        /* SLOTS of them, where there is a drive */
};

struct ahci {
	struct pci_function fn;
	pthread_mutex_t lock;
	uint32_t ghc, is;
	bool work_posted, drained;
	struct port port[PORTS];
};

static struct memory *guest(const struct port *p) { return p->ahci->fn.dev.machine->memory; }

/* --- interrupts ------------------------------------------------------------------ */
/* requires: lock */
static void update_irq(struct ahci *a)
{
	for (unsigned i = 0; i < PORTS; i++)
		if (a->port[i].is & a->port[i].ie)
			a->is |= (uint32_t)BIT(i);
	pci_intx(&a->fn, a->ghc & GHC_IE && a->is);
}

/* --- FISes to the host (SATA 2.6 10.3) --------------------------------------------- */
static void put_fis(struct port *p, unsigned at, const uint8_t *fis, unsigned len)
{
	if (p->cmd & CMD_FRE)
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

static void set_task_file(struct port *p, const struct ata_command *c)
{
	p->tfd = c->status | (uint32_t)c->error << 8;
	if (c->status & ATA_ST_ERR) {
		p->is |= PIS_TASKFILE;
		p->halted = true;
	}
}

static void send_d2h(struct port *p, const struct ata_command *c)
{
	uint8_t fis[20] = { 0x34, 0x40 };
	task_file(fis, c);
	put_fis(p, FIS_D2H, fis, sizeof(fis));
	p->is |= PIS_D2H;
	set_task_file(p, c);
}

static void send_pio_setup(struct port *p, const struct ata_command *c)
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

static void send_set_bits(struct port *p, const struct ata_command *c)
{
	uint8_t fis[8] = { 0xa1, 0x40, c->status & 0x77, c->error };
	le32_put(fis + 4, (uint32_t)BIT(c->tag));
	put_fis(p, FIS_SDB, fis, sizeof(fis));
	p->is |= PIS_SDB;
	set_task_file(p, c);
	if (!(c->status & ATA_ST_ERR))
		p->sact &= ~(uint32_t)BIT(c->tag);
}

/* The first FIS after a reset: who is there. */
static void send_signature(struct port *p)
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
static void unpin(struct slot *s)
{
	for (unsigned i = 0; i < s->segments; i++)
		if (s->cmd.op == DISK_READ || s->cmd.transfer == ATA_BUFFER_IN)
			mem_unpin_write(guest(s->port), s->gpa[i], s->iov[i].iov_len);
	s->segments = 0;
}

static bool pin_one(struct slot *s, uint64_t gpa, size_t n, bool to_guest)
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
static bool pin_list(struct slot *s, uint32_t want, bool to_guest)
{
	unsigned entries = s->header[0] >> 16;
	for (unsigned i = 0; i < entries && want; i++) {
		uint8_t e[16];
		memory_dma_read(guest(s->port), s->table + 0x80 + i * 16ull, e, sizeof(e));
		uint32_t n = MIN((le32_get(e + 12) & 0x3fffff) + 1, want);
		if (s->segments == MAX_SEGMENTS || !pin_one(s, le64_get(e), n, to_guest))
			return false;
		want -= n;
	}
	return !want;
}

static void copy_in(struct slot *s)
{
	uint32_t done = 0;
	for (unsigned i = 0; i < s->segments; i++) {
		memcpy(s->iov[i].iov_base, s->cmd.data + done, s->iov[i].iov_len);
		done += (uint32_t)s->iov[i].iov_len;
	}
}

/* --- commands ------------------------------------------------------------------------- */
/* requires: lock */
static void complete(struct slot *s)
{
	struct port *p = s->port;
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
static void control(struct slot *s, uint8_t device_control)
{
	struct port *p = s->port;
	bool srst = device_control & 4;
	if (p->soft_reset && !srst) {
		ata_reset(p->drive);
		send_signature(p);
	}
	p->soft_reset = srst;
	p->ci &= ~(uint32_t)BIT(s - p->slot);
}

static void bus_error(struct slot *s)
{
	unpin(s);
	ata_abort(&s->cmd);
	s->port->is |= PIS_HOST_BUS;
	complete(s);
}

static void request_done(struct disk_request *r, int result);

/* Have the disk do it; it is submitted after the lock is gone. */
static void prepare_disk(struct slot *s)
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
static bool start(struct slot *s)
{
	struct port *p = s->port;
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

static struct slot *next_slot(struct port *p)
{
	if (!p->drive || !(p->cmd & CMD_ST) || p->halted || (p->running && !p->running_queued))
		return NULL;
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *s = &p->slot[i];
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
	for (unsigned i = 0; i < PORTS && !a->drained; i++) {
		for (struct slot *s; (s = next_slot(&a->port[i])); ) {
			if (!start(s))
				continue;
			pthread_mutex_unlock(&a->lock);
			disk_submit(s->port->drive->disk, &s->request);
			pthread_mutex_lock(&a->lock);
		}
	}
	update_irq(a);
	pthread_mutex_unlock(&a->lock);
}

/* requires: lock */
static void post_work(struct ahci *a)
{
	if (a->work_posted)
		return;
	a->work_posted = true;
	loop_post(a->fn.dev.machine->loop, work, a);
}

static void request_done(struct disk_request *r, int result)
{
	struct slot *s = r->opaque;
	struct port *p = s->port;
	pthread_mutex_lock(&p->ahci->lock);
	unpin(s);
	s->active = false;
	p->running--;
	if (s->generation == p->generation) {
		ata_finish(p->drive, &s->cmd, result);
		complete(s);
		update_irq(p->ahci);
	}
	if (p->ci)
		post_work(p->ahci);
	pthread_mutex_unlock(&p->ahci->lock);
}

/* --- registers --------------------------------------------------------------------------- */
/* requires: lock */
static void stop(struct port *p)
{
	p->ci = p->sact = 0;
	p->halted = false;
	p->generation++;
}

static void port_reset(struct port *p)
{
	stop(p);
	p->soft_reset = false;
	p->tfd = 0x7f;
	p->sig = UINT32_MAX;
	p->ssts = p->drive ? 0x113 : 0;
	if (!p->drive)
		return;
	ata_reset(p->drive);
	send_signature(p);
	p->serr |= 1u << 26;              /* device presence exchanged */
	p->is |= PIS_CONNECT;
}

static void write_cmd(struct port *p, uint32_t v)
{
	bool had_fre = p->cmd & CMD_FRE;
	if (!(v & CMD_ST) && p->cmd & CMD_ST)
		stop(p);
	if (v & CMD_CLO)
		p->tfd &= ~(uint32_t)(ATA_ST_BUSY | ATA_ST_DRQ);
	p->cmd = (v & CMD_WRITABLE & ~0xf0000000u) | (v & CMD_ST ? CMD_CR : 0) |
		 (v & CMD_FRE ? CMD_FR : 0) | (p->drive && p->drive->cdrom ? CMD_ATAPI : 0);
	if (!had_fre && v & CMD_FRE && p->drive && !p->ci && p->sig == ata_signature(p->drive) &&
	    p->tfd >> 8 == 1)
		send_signature(p);        /* it had waited for a place to go */
}

static void write_sctl(struct port *p, uint32_t v)
{
	if ((p->sctl & 15) == 1 && !(v & 15))
		port_reset(p);
	if ((v & 15) == 1 && p->drive)
		p->ssts = 0;
	p->sctl = v;
}

static void write_port(struct port *p, unsigned reg, uint32_t v)
{
	switch (reg) {
	case P_CLB:
		p->clb = (p->clb & ~0xffffffffull) | (v & ~0x3ffu);
		break;
	case P_CLBU:
		p->clb = (p->clb & 0xffffffff) | (uint64_t)v << 32;
		break;
	case P_FB:
		p->fb = (p->fb & ~0xffffffffull) | (v & ~0xffu);
		break;
	case P_FBU:
		p->fb = (p->fb & 0xffffffff) | (uint64_t)v << 32;
		break;
	case P_IS:
		p->is &= ~v;
		break;
	case P_IE:
		p->ie = v & 0xfdc000ff;
		break;
	case P_CMD:
		write_cmd(p, v);
		break;
	case P_SCTL:
		write_sctl(p, v);
		break;
	case P_SERR:
		p->serr &= ~v;
		if (!(p->serr & 1u << 26))
			p->is &= ~(uint32_t)PIS_CONNECT;
		break;
	case P_SACT:
		if (p->cmd & CMD_ST)
			p->sact |= v;
		break;
	case P_CI:
		if (p->cmd & CMD_ST)
			p->ci |= v;
	}
	if (p->ci)
		post_work(p->ahci);
}

static uint32_t read_port(const struct port *p, unsigned reg)
{
	const uint32_t r[] = {
		(uint32_t)p->clb, (uint32_t)(p->clb >> 32), (uint32_t)p->fb, (uint32_t)(p->fb >> 32),
		p->is, p->ie, p->cmd, 0, p->tfd, p->sig, p->ssts, p->sctl, p->serr, p->sact, p->ci,
	};
	return reg / 4 < ARRAY_SIZE(r) ? r[reg / 4] : 0;
}

static void hba_reset(struct ahci *a)
{
	a->ghc = GHC_AE;
	a->is = 0;
	for (unsigned i = 0; i < PORTS; i++) {
		struct port *p = &a->port[i];
		p->clb = p->fb = 0;
		p->is = p->ie = p->serr = p->sctl = 0;
		p->cmd = CMD_SPIN | CMD_POWER | (p->drive && p->drive->cdrom ? CMD_ATAPI : 0);
		port_reset(p);
	}
}

static void write_host(struct ahci *a, unsigned reg, uint32_t v)
{
	if (reg == GHC) {
		if (v & GHC_RESET)
			hba_reset(a);
		else
			a->ghc = GHC_AE | (v & GHC_IE);
	} else if (reg == IS) {
		a->is &= ~v;
	}
}

static uint32_t read_host(const struct ahci *a, unsigned reg)
{
	switch (reg) {
	case CAP:   /* 64-bit, NCQ, 3 Gb/s, AHCI only, slots, ports */
		return 0x80000000u | 1u << 30 | 2u << 20 | 1u << 18 | (SLOTS - 1) << 8 | (PORTS - 1);
	case GHC:
		return a->ghc;
	case IS:
		return a->is;
	case PI:
		return (1u << PORTS) - 1;
	case VS:
		return 0x00010300;
	}
	return 0;
}

static uint64_t ahci_read(void *opaque, uint64_t at, unsigned size)
{
	struct ahci *a = opaque;
	pthread_mutex_lock(&a->lock);
	uint32_t v = at < 0x100 ? read_host(a, (unsigned)at) :
		     at < 0x100 + PORTS * 0x80 ? read_port(&a->port[(at - 0x100) / 0x80], at & 0x7f) : 0;
	pthread_mutex_unlock(&a->lock);
	return v;
}

static void ahci_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct ahci *a = opaque;
	pthread_mutex_lock(&a->lock);
	if (at < 0x100)
		write_host(a, (unsigned)at, (uint32_t)value);
	else if (at < 0x100 + PORTS * 0x80)
		write_port(&a->port[(at - 0x100) / 0x80], at & 0x7f, (uint32_t)value);
	update_irq(a);
	pthread_mutex_unlock(&a->lock);
}

/* --- device -------------------------------------------------------------------------------- */
static struct ahci *from_device(struct device *d) { return container_of(d, struct ahci, fn.dev); }

/* What runs must have ended before memory is given to somebody else. */
static void finish_running(struct ahci *a)
{
	for (unsigned i = 0; i < PORTS; i++)
		if (a->port[i].drive)
			disk_drain(a->port[i].drive->disk);
}

static void ahci_drain(struct device *d)
{
	struct ahci *a = from_device(d);
	pthread_mutex_lock(&a->lock);
	a->drained = true;
	pthread_mutex_unlock(&a->lock);
	finish_running(a);
}

static void ahci_undrain(struct device *d)
{
	struct ahci *a = from_device(d);
	pthread_mutex_lock(&a->lock);
	a->drained = false;
	post_work(a);
	pthread_mutex_unlock(&a->lock);
}

static void ahci_reset(struct device *d)
{
	struct ahci *a = from_device(d);
	finish_running(a);
	pthread_mutex_lock(&a->lock);
	hba_reset(a);
	update_irq(a);
	pthread_mutex_unlock(&a->lock);
	pci_function_reset(&a->fn);
}

static void xfer_port(struct port *p, struct state *s)
{
	xfer_check_u64(s, p->drive != NULL, "a drive at a SATA port");
	xfer_u64(s, &p->clb);
	xfer_u64(s, &p->fb);
	uint32_t *regs[] = { &p->is, &p->ie, &p->cmd, &p->tfd, &p->sig, &p->ssts, &p->sctl,
			     &p->serr, &p->sact, &p->ci };
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		xfer_u32(s, regs[i]);
	xfer_bool(s, &p->halted);
	xfer_bool(s, &p->soft_reset);
	if (p->drive)
		ata_xfer(p->drive, s);
}

static bool ahci_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct ahci *a = from_device(d);
	pci_xfer(&a->fn, s);
	xfer_u32(s, &a->ghc);
	xfer_u32(s, &a->is);
	for (unsigned i = 0; i < PORTS && state_ok(s); i++)
		xfer_port(&a->port[i], s);
	return state_ok(s);
}

static void ahci_destroy(struct device *d)
{
	struct ahci *a = from_device(d);
	for (unsigned i = 0; i < PORTS; i++) {
		if (a->port[i].drive)
			disk_close(a->port[i].drive->disk);
		free(a->port[i].drive);
		free(a->port[i].slot);
	}
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static const struct io_ops ahci_io = { ahci_read, ahci_write, 4, 4, true };
static const struct device_ops ahci_ops = {
	.name = "ahci", .version = 1, .reset = ahci_reset, .xfer = ahci_xfer,
	.loaded = ahci_undrain, .drain = ahci_drain, .undrain = ahci_undrain, .destroy = ahci_destroy,
};

static void plug(struct ahci *a, unsigned index, const struct ahci_drive *from)
{
	struct port *p = &a->port[index];
	p->drive = xnew(struct ata_drive);
	p->drive->disk = from->disk;
	p->drive->cdrom = from->cdrom;
	disk_get_info(from->disk, &p->drive->info);
	snprintf(p->drive->serial, sizeof(p->drive->serial), "abyme-sata-%u", index);
	p->slot = xcalloc(SLOTS, sizeof(*p->slot));
	for (unsigned i = 0; i < SLOTS; i++)
		p->slot[i].port = p;
}

bool ahci_create(struct machine *m, const struct ahci_drive *drives, unsigned n, struct error *err)
{
	static const struct pci_ids ids = { 0x8086, 0x2922, 0x1af4, 0x1100, 0x01060102 };
	if (n > PORTS)
		return error_set(err, 0, "a machine has at most %d SATA drives, not %u", PORTS, n);
	struct ahci *a = xnew(struct ahci);
	pthread_mutex_init(&a->lock, NULL);
	if (!pci_function_init_at(m, &a->fn, AHCI_DEVFN, &ids, &ahci_ops, "ahci", err)) {
		free(a);
		return false;
	}
	for (unsigned i = 0; i < PORTS; i++) {
		a->port[i].ahci = a;
		a->port[i].index = i;
	}
	for (unsigned i = 0; i < n; i++)
		plug(a, i, &drives[i]);
	a->fn.config[PCI_INT_PIN] = 1;
	pci_bar_add(&a->fn, 5, ABAR_SIZE, 0, &ahci_io, a);
	pthread_mutex_lock(&a->lock);
	hba_reset(a);
	pthread_mutex_unlock(&a->lock);
	return true;
}
