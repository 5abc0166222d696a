/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * National Semiconductor NS16550A UART on COM1 (0x3f8, IRQ 4) or COM2 (0x2f8,
 * IRQ 3), datasheet SNLS378, over a stream descriptor.  The line has no speed:
 * a byte is sent as soon as it is written.
 *
 * Output goes through a ring that the I/O loop empties, so that no vCPU waits
 * for the host; a full ring keeps THRE low until the reader catches up.  Input
 * is read only while the receive FIFO has room.  All under the board lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "device/chipset.h"
#include "machine/machine.h"

enum { IER_RX = 1, IER_TX = 2, IER_LINE = 4, IER_MODEM = 8 };
enum { IIR_NONE = 1, IIR_TX = 2, IIR_RX = 4, IIR_LINE = 6, IIR_TIMEOUT = 12, IIR_MODEM = 0,
       IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4 };
enum { LCR_DLAB = 0x80, MCR_OUT2 = 8, MCR_LOOP = 0x10 };
enum { LSR_READY = 1, LSR_OVERRUN = 2, LSR_BREAK = 0x10, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_DCD = 0x80 };
enum { RX_SIZE = 16, TX_SIZE = 4096, TX_ROOM = 16, SERVE_NS = 500000 };

struct ns16550 {
	struct device dev;
	uint8_t ier, fcr, lcr, mcr, lsr, msr, scratch;
	uint16_t divisor;
	bool thre_int;            /* "transmitter empty" waits to be seen */
	uint8_t rx[RX_SIZE];
	uint8_t rx_head, rx_count;
	uint8_t tx[TX_SIZE];
	uint32_t tx_head, tx_count;
	int fd;                   /* -1: nothing is connected */
	bool hung_up;             /* no more input */
	bool serving;             /* the timer is set, or the loop waits for the host */
	struct loop_fd *watch;
	struct clock_timer serve_timer;
	struct irq_line irq;
};

static unsigned rx_limit(const struct ns16550 *u) { return u->fcr & FCR_ENABLE ? RX_SIZE : 1; }

static unsigned rx_trigger(const struct ns16550 *u)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };
	return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

static uint8_t interrupt_id(const struct ns16550 *u)
{
	if ((u->ier & IER_LINE) && (u->lsr & (LSR_OVERRUN | LSR_BREAK)))
		return IIR_LINE;
	if ((u->ier & IER_RX) && u->rx_count)   /* the time-out is immediate */
		return u->rx_count >= rx_trigger(u) ? IIR_RX : IIR_TIMEOUT;
	if ((u->ier & IER_TX) && u->thre_int)
		return IIR_TX;
	if ((u->ier & IER_MODEM) && (u->msr & 0xf))
		return IIR_MODEM;
	return IIR_NONE;
}

static void update(struct ns16550 *u)
{
	bool room = TX_SIZE - u->tx_count >= TX_ROOM;
	if (room && !(u->lsr & LSR_THRE))
		u->thre_int = true;
	u->lsr = (u->lsr & (LSR_OVERRUN | LSR_BREAK)) | (u->rx_count ? LSR_READY : 0) |
		 (room ? LSR_THRE | LSR_TEMT : 0);
	irq_set(&u->irq, interrupt_id(u) != IIR_NONE);
}

static void rx_push(struct ns16550 *u, uint8_t byte)
{
	if (u->rx_count >= rx_limit(u)) {
		u->lsr |= LSR_OVERRUN;
		return;
	}
	u->rx[(u->rx_head + u->rx_count++) % RX_SIZE] = byte;
}

/* Write what the host takes now; a host that is gone takes everything. */
static void tx_flush(struct ns16550 *u)
{
	while (u->tx_count) {
		uint32_t n = MIN(u->tx_count, TX_SIZE - u->tx_head);
		ssize_t r = u->fd < 0 ? (ssize_t)n : write(u->fd, u->tx + u->tx_head, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			return;
		if (r <= 0)
			r = (ssize_t)n;
		u->tx_head = (u->tx_head + (uint32_t)r) % TX_SIZE;
		u->tx_count -= (uint32_t)r;
	}
}

static void rx_fill(struct ns16550 *u)
{
	uint8_t buf[RX_SIZE];
	unsigned room = rx_limit(u) - MIN(u->rx_count, rx_limit(u));
	if (!room || u->fd < 0 || u->mcr & MCR_LOOP)
		return;
	ssize_t n = read(u->fd, buf, room);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		u->hung_up = true;
	for (ssize_t i = 0; i < n; i++)
		rx_push(u, buf[i]);
}

/* What the loop has to wait for. Loop thread. requires: board lock */
static void watch(struct ns16550 *u)
{
	bool room = u->rx_count < rx_limit(u) && !(u->mcr & MCR_LOOP);
	u->serving = u->tx_count;
	loop_fd_events(u->watch, (room && !u->hung_up ? LOOP_READ : 0) |
		       (u->tx_count ? LOOP_WRITE : 0));
}

static void fd_ready(void *opaque, int events)
{
	struct ns16550 *u = opaque;
	board_lock(u->dev.machine);
	if (events & LOOP_READ)
		rx_fill(u);
	if (events & LOOP_WRITE)
		tx_flush(u);
	update(u);
	watch(u);
	board_unlock(u->dev.machine);
}

static void serve(void *opaque)
{
	fd_ready(opaque, LOOP_WRITE);
}

/* Have the loop look at us soon: late enough to collect a line of output. */
static void serve_soon(struct ns16550 *u)
{
	if (u->serving)
		return;
	u->serving = true;
	clock_timer_set(&u->serve_timer, clock_now(u->dev.machine->clock) + SERVE_NS);
}

static void transmit(struct ns16550 *u, uint8_t byte)
{
	u->thre_int = false;
	if (u->mcr & MCR_LOOP) {
		rx_push(u, byte);
	} else if (u->fd >= 0 && u->tx_count < TX_SIZE) {
		u->tx[(u->tx_head + u->tx_count++) % TX_SIZE] = byte;
		serve_soon(u);
	}
	u->lsr &= (uint8_t)~LSR_THRE;   /* update() finds room: a new THRE interrupt */
	update(u);
}

static uint8_t receive(struct ns16550 *u)
{
	if (!u->rx_count)
		return 0;
	bool was_full = u->rx_count >= rx_limit(u);
	uint8_t v = u->rx[u->rx_head];
	u->rx_head = (u->rx_head + 1) % RX_SIZE;
	u->rx_count--;
	if (was_full && u->fd >= 0)
		serve_soon(u);
	update(u);
	return v;
}

/* The modem lines of a cable that is always plugged in, or of the loop. */
static void update_modem(struct ns16550 *u)
{
	uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD, m = u->mcr;
	if (m & MCR_LOOP)
		lines = (uint8_t)((m & 2) << 3 | (m & 1) << 5 | (m & 4) << 4 | (m & 8) << 4);
	uint8_t delta = (lines ^ u->msr) >> 4;
	if (lines & 0x40)
		delta &= (uint8_t)~4;   /* TERI reports the trailing edge only */
	u->msr = lines | (u->msr & 0xf) | delta;
}

static uint8_t read_iir(struct ns16550 *u)
{
	uint8_t id = interrupt_id(u);
	if (id == IIR_TX)
		u->thre_int = false;
	update(u);
	return id | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint64_t uart_read(void *opaque, uint64_t reg, unsigned size)
{
	struct ns16550 *u = opaque;
	bool dlab = u->lcr & LCR_DLAB;
	uint8_t v;
	switch (reg) {
	case 0:
		return dlab ? u->divisor & 0xff : receive(u);
	case 1:
		return dlab ? u->divisor >> 8 : u->ier;
	case 2:
		return read_iir(u);
	case 3:
		return u->lcr;
	case 4:
		return u->mcr;
	case 5:
		v = u->lsr;
		u->lsr &= (uint8_t)~(LSR_OVERRUN | LSR_BREAK);
		if (v & (LSR_OVERRUN | LSR_BREAK))
			update(u);
		return v;
	case 6:
		v = u->msr;
		u->msr &= 0xf0;
		if (v & 0xf)
			update(u);
		return v;
	}
	return u->scratch;
}

static void write_fcr(struct ns16550 *u, uint8_t v)
{
	if ((u->fcr ^ v) & FCR_ENABLE || v & FCR_CLEAR_RX)
		u->rx_count = 0;
	u->fcr = v & FCR_ENABLE ? v & 0xc9 : 0;
	serve_soon(u);
	update(u);
}

static void write_ier(struct ns16550 *u, uint8_t v)
{
	if (!(u->ier & IER_TX) && v & IER_TX && u->lsr & LSR_THRE)
		u->thre_int = true;
	u->ier = v & 0xf;
	update(u);
}

static void uart_write(void *opaque, uint64_t reg, uint64_t value, unsigned size)
{
	struct ns16550 *u = opaque;
	uint8_t v = (uint8_t)value;
	bool dlab = u->lcr & LCR_DLAB;
	switch (reg) {
	case 0:
		if (dlab)
			u->divisor = (u->divisor & 0xff00) | v;
		else
			transmit(u, v);
		break;
	case 1:
		if (dlab)
			u->divisor = (uint16_t)((u->divisor & 0xff) | v << 8);
		else
			write_ier(u, v);
		break;
	case 2:
		write_fcr(u, v);
		break;
	case 3:
		u->lcr = v;
		break;
	case 4:
		u->mcr = v & 0x1f;
		update_modem(u);
		serve_soon(u);
		update(u);
		break;
	case 7:
		u->scratch = v;
	}
}

static void ns16550_reset(struct device *d)
{
	struct ns16550 *u = container_of(d, struct ns16550, dev);
	u->ier = u->fcr = u->lcr = u->mcr = u->scratch = 0;
	u->rx_head = u->rx_count = 0;   /* output that was sent still goes out */
	u->lsr = LSR_THRE | LSR_TEMT;
	u->msr = MSR_CTS | MSR_DSR | MSR_DCD;
	u->divisor = 12;                /* 9600 baud */
	u->thre_int = false;
	update(u);
	if (u->fd >= 0)
		serve_soon(u);
}

static bool ns16550_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct ns16550 *u = container_of(d, struct ns16550, dev);
	uint8_t *regs[] = { &u->ier, &u->fcr, &u->lcr, &u->mcr, &u->lsr, &u->msr, &u->scratch };
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		xfer_u8(s, regs[i]);
	xfer_u16(s, &u->divisor);
	xfer_bool(s, &u->thre_int);
	xfer_u8_max(s, &u->rx_head, RX_SIZE - 1);
	xfer_u8_max(s, &u->rx_count, RX_SIZE);
	xfer_bytes(s, u->rx, RX_SIZE);
	xfer_u32_max(s, &u->tx_head, TX_SIZE - 1);
	xfer_u32_max(s, &u->tx_count, TX_SIZE);
	xfer_bytes(s, u->tx, TX_SIZE);
	return state_ok(s);
}

static void ns16550_loaded(struct device *d)
{
	struct ns16550 *u = container_of(d, struct ns16550, dev);
	u->serving = false;
	update(u);
	if (u->fd >= 0)
		serve_soon(u);
}

/* The last words of a guest are waited for, but not for ever. */
static void ns16550_drain(struct device *d)
{
	struct ns16550 *u = container_of(d, struct ns16550, dev);
	struct pollfd p = { .fd = u->fd, .events = POLLOUT };
	board_lock(d->machine);
	tx_flush(u);
	for (int tries = 0; u->tx_count && tries < 10; tries++) {
		poll(&p, 1, 100);
		tx_flush(u);
	}
	board_unlock(d->machine);
}

void ns16550_flush_all(struct machine *m)
{
	for (unsigned i = 0; i < ARRAY_SIZE(m->board_data->com); i++)
		if (m->board_data->com[i])
			ns16550_drain(m->board_data->com[i]);
}

static void ns16550_destroy(struct device *d)
{
	struct ns16550 *u = container_of(d, struct ns16550, dev);
	clock_timer_cancel(&u->serve_timer);
	loop_fd_del(u->watch);
	free(u);
}

static const struct io_ops uart_io = { uart_read, uart_write, 1, 1 };
static const struct device_ops ns16550_ops = {
	.name = "ns16550", .version = 1, .reset = ns16550_reset, .xfer = ns16550_xfer,
	.loaded = ns16550_loaded, .drain = ns16550_drain, .destroy = ns16550_destroy,
};

bool ns16550_create(struct machine *m, unsigned com, int fd, struct error *err)
{
	static const struct { uint16_t port; uint8_t irq; const char *id; } place[] = {
		{ 0x3f8, 4, "ns16550.com1" }, { 0x2f8, 3, "ns16550.com2" },
	};
	struct ns16550 *u = xnew(struct ns16550);
	u->fd = fd;
	u->irq = board_gsi(m, place[com].irq);
	clock_timer_init(&u->serve_timer, m->clock, serve, u);
	if (fd >= 0) {
		int flags = fcntl(fd, F_GETFL);
		if (flags >= 0)
			fcntl(fd, F_SETFL, flags | O_NONBLOCK);
		u->watch = loop_fd_add(m->loop, fd, 0, fd_ready, u);
		u->hung_up = !u->watch;   /* a plain file: output only */
	}
	device_add(m, &u->dev, &ns16550_ops, place[com].id);
	m->board_data->com[com] = &u->dev;
	ns16550_reset(&u->dev);
	memory_add_io(m->ports, place[com].id, place[com].port, 8, 0, &uart_io, u);
	return true;
}
