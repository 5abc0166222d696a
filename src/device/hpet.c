/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * High Precision Event Timer (IA-PC HPET specification 1.0a): a 64-bit counter
 * at 100 MHz and three comparators, timer 0 periodic, legacy replacement of
 * PIT and RTC interrupts.  The counter is machine time; one timer a comparator.
 */
#include "device/chipset.h"
#include "machine/machine.h"

enum { TIMERS = 3, TICK_NS = 10 };
enum { CFG_LEVEL = 2, CFG_INT = 4, CFG_PERIODIC = 8, CFG_CAN_PERIODIC = 0x10,
       CFG_CAN_64 = 0x20, CFG_SET_VALUE = 0x40, CFG_32BIT = 0x100 };
#define CFG_WRITABLE 0x3f4eull          /* level, int, periodic, value set, 32-bit, route */
#define ROUTES 0x00ff0104ull            /* GSI 2, 8, 16..23 */
enum { GEN_ENABLE = 1, GEN_LEGACY = 2 };

struct hpet_timer {
	struct hpet *hpet;
	unsigned index;
	uint64_t config, comparator, period;
	uint64_t due;             /* machine ns of the armed interrupt; UINT64_MAX: none */
	struct clock_timer timer;
};

struct hpet {
	struct device dev;
	uint64_t general, status;
	uint64_t counter;         /* value while halted; else value at `since` */
	uint64_t since;           /* machine ns when it was started */
	struct hpet_timer t[TIMERS];
};

static uint64_t count_now(const struct hpet *h)
{
	if (!(h->general & GEN_ENABLE))
		return h->counter;
	return h->counter + (clock_now(h->dev.machine->clock) - h->since) / TICK_NS;
}

static bool is_32bit(const struct hpet_timer *t) { return t->config & CFG_32BIT; }

static unsigned gsi_of(const struct hpet_timer *t)
{
	if ((t->hpet->general & GEN_LEGACY) && t->index < 2)
		return t->index ? 8 : 0;
	return t->config >> 9 & 31;
}

static void set_line(struct hpet_timer *t, bool level)
{
	unsigned gsi = gsi_of(t);
	struct irq_line l = board_gsi(t->hpet->dev.machine, gsi);
	if (gsi < 24)
		irq_set(&l, level);
}

/* `due` stays until the interrupt has been raised, so that a save between
 * expiry and callback loses nothing. */
static void set_due(struct hpet_timer *t, uint64_t due)
{
	t->due = due;
	if (due == UINT64_MAX)
		clock_timer_cancel(&t->timer);
	else
		clock_timer_set(&t->timer, due);
}

static void arm(struct hpet_timer *t)
{
	struct hpet *h = t->hpet;
	uint64_t delta = t->comparator - count_now(h);
	if (is_32bit(t))
		delta = (uint32_t)delta;
	if (!(h->general & GEN_ENABLE) || !(t->config & CFG_INT) || delta > INT64_MAX / TICK_NS)
		set_due(t, UINT64_MAX);   /* a comparator of the past waits for the wrap */
	else
		set_due(t, clock_now(h->dev.machine->clock) + delta * TICK_NS);
}

static void advance_period(struct hpet_timer *t)
{
	uint64_t now = count_now(t->hpet), behind = now - t->comparator;
	if (is_32bit(t))
		behind = (uint32_t)behind;
	if (!t->period)
		return;
	t->comparator += (behind / t->period + 1) * t->period;
	if (is_32bit(t))
		t->comparator = (uint32_t)t->comparator;
}

static void signal_timer(struct hpet_timer *t)
{
	if (!(t->config & CFG_INT))
		return;
	if (t->config & CFG_LEVEL) {
		t->hpet->status |= BIT(t->index);
		set_line(t, true);
	} else {
		set_line(t, true);
		set_line(t, false);
	}
}

static void timer_fired(void *opaque)
{
	struct hpet_timer *t = opaque;
	struct machine *m = t->hpet->dev.machine;
	board_lock(m);
	if (t->due <= clock_now(m->clock)) {
		t->due = UINT64_MAX;
		signal_timer(t);
		if (t->config & CFG_PERIODIC && t->period) {
			advance_period(t);
			arm(t);
		}
	}
	board_unlock(m);
}

static void arm_all(struct hpet *h)
{
	for (unsigned i = 0; i < TIMERS; i++)
		arm(&h->t[i]);
}

static void write_general(struct hpet *h, uint64_t v)
{
	uint64_t old = h->general;
	uint64_t count = count_now(h);
	h->general = v & (GEN_ENABLE | GEN_LEGACY);
	h->counter = count;
	h->since = clock_now(h->dev.machine->clock);
	if ((old ^ h->general) & GEN_LEGACY) {
		i8254_detach(h->dev.machine, h->general & GEN_LEGACY);
		mc146818_detach(h->dev.machine, h->general & GEN_LEGACY);
	}
	arm_all(h);
}

static void write_status(struct hpet *h, uint64_t v)
{
	uint64_t clear = v & h->status;
	h->status &= ~clear;
	for (unsigned i = 0; i < TIMERS; i++)
		if (clear >> i & 1)
			set_line(&h->t[i], false);
}

static void write_config(struct hpet_timer *t, uint64_t v)
{
	uint64_t old = t->config, writable = CFG_WRITABLE;
	if (t->index)
		writable &= ~(uint64_t)(CFG_PERIODIC | CFG_SET_VALUE);
	if ((old & CFG_INT) && t->hpet->status >> t->index & 1 && !(v & CFG_LEVEL)) {
		t->hpet->status &= ~BIT(t->index);
		set_line(t, false);
	}
	t->config = (old & ~writable) | (v & writable);
	if (!(ROUTES >> (t->config >> 9 & 31) & 1))
		t->config = (t->config & ~0x3e00ull) | (old & 0x3e00);
	if (is_32bit(t)) {
		t->comparator = (uint32_t)t->comparator;
		t->period = (uint32_t)t->period;
	}
	arm(t);
}

static void write_comparator(struct hpet_timer *t, uint64_t v)
{
	if (is_32bit(t))
		v = (uint32_t)v;
	/* 2.3.9.2.2: with the value-set bit only the accumulator changes */
	if (!(t->config & CFG_PERIODIC) || t->config & CFG_SET_VALUE)
		t->comparator = v;
	if (t->config & CFG_PERIODIC)
		t->period = v;
	t->config &= ~(uint64_t)CFG_SET_VALUE;
	arm(t);
}

static uint64_t read_quad(struct hpet *h, uint64_t offset)
{
	switch (offset) {
	case 0x00:
		return 0x80868001ull | (TIMERS - 1) << 8 | BIT(13) |
		       (uint64_t)TICK_NS * 1000000 << 32;
	case 0x10:
		return h->general;
	case 0x20:
		return h->status;
	case 0xf0:
		return count_now(h);
	}
	unsigned n = (unsigned)(offset - 0x100) / 0x20;
	if (offset < 0x100 || n >= TIMERS)
		return 0;
	return (offset & 0x1f) == 0 ? h->t[n].config : (offset & 0x1f) == 8 ? h->t[n].comparator : 0;
}

static void write_quad(struct hpet *h, uint64_t offset, uint64_t v)
{
	unsigned n = (unsigned)(offset - 0x100) / 0x20;
	if (offset == 0x10)
		write_general(h, v);
	else if (offset == 0x20)
		write_status(h, v);
	else if (offset == 0xf0 && !(h->general & GEN_ENABLE))
		h->counter = v;
	else if (offset >= 0x100 && n < TIMERS && (offset & 0x1f) == 0)
		write_config(&h->t[n], v);
	else if (offset >= 0x100 && n < TIMERS && (offset & 0x1f) == 8)
		write_comparator(&h->t[n], v);
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
	uint64_t v = read_quad(opaque, offset & ~7ull);
	return size == 8 ? v : (uint32_t)(v >> (offset & 4 ? 32 : 0));
}

static void hpet_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct hpet *h = opaque;
	if (size == 4) {
		bool high = offset & 4;
		uint64_t old = (offset & ~7ull) == 0x20 ? 0 : read_quad(h, offset & ~7ull);
		bool comparator = offset >= 0x100 && (offset & 0x18) == 8;
		if (high && comparator && (h->t[(offset - 0x100) / 0x20 % TIMERS].config & CFG_32BIT))
			return;
		value = high ? (old & 0xffffffff) | value << 32 : (old & ~0xffffffffull) | value;
	}
	write_quad(h, offset & ~7ull, value);
}

static void hpet_reset(struct device *d)
{
	struct hpet *h = container_of(d, struct hpet, dev);
	h->general = h->status = h->counter = h->since = 0;
	for (unsigned i = 0; i < TIMERS; i++) {
		struct hpet_timer *t = &h->t[i];
		set_due(t, UINT64_MAX);
		t->config = CFG_CAN_64 | (i ? 0 : CFG_CAN_PERIODIC) | ROUTES << 32;
		t->comparator = UINT64_MAX;
		t->period = 0;
	}
}

static bool hpet_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct hpet *h = container_of(d, struct hpet, dev);
	xfer_u64_max(s, &h->general, 3);
	xfer_u64_max(s, &h->status, BIT(TIMERS) - 1);
	xfer_u64(s, &h->counter);
	xfer_u64(s, &h->since);
	for (unsigned i = 0; i < TIMERS; i++) {
		struct hpet_timer *t = &h->t[i];
		xfer_u64(s, &t->config);
		t->config = (t->config & CFG_WRITABLE) | CFG_CAN_64 |
			    (i ? 0 : CFG_CAN_PERIODIC) | ROUTES << 32;
		xfer_u64(s, &t->comparator);
		xfer_u64(s, &t->period);
		xfer_u64(s, &t->due);
	}
	return state_ok(s);
}

static void hpet_loaded(struct device *d)
{
	struct hpet *h = container_of(d, struct hpet, dev);
	for (unsigned i = 0; i < TIMERS; i++)
		set_due(&h->t[i], h->t[i].due);
}

static void hpet_destroy(struct device *d)
{
	struct hpet *h = container_of(d, struct hpet, dev);
	for (unsigned i = 0; i < TIMERS; i++)
		clock_timer_cancel(&h->t[i].timer);
	free(h);
}

static const struct io_ops hpet_io = { hpet_read, hpet_write, 4, 8 };
static const struct device_ops hpet_ops = {
	.name = "hpet", .version = 1, .reset = hpet_reset, .xfer = hpet_xfer,
	.loaded = hpet_loaded, .destroy = hpet_destroy,
};

bool hpet_create(struct machine *m, struct error *err)
{
	struct hpet *h = xnew(struct hpet);
	for (unsigned i = 0; i < TIMERS; i++) {
		h->t[i].hpet = h;
		h->t[i].index = i;
		clock_timer_init(&h->t[i].timer, m->clock, timer_fired, &h->t[i]);
	}
	device_add(m, &h->dev, &hpet_ops, "hpet");
	hpet_reset(&h->dev);
	memory_add_io(m->memory, "hpet", BOARD_HPET, 0x400, 10, &hpet_io, h);
	return true;
}
