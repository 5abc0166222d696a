/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 8254 programmable interval timer (231164-005), three channels at
 * 1.193182 MHz on ports 0x40..0x43, and port 0x61: gate 2, speaker and the
 * refresh toggle.  Channel 0 drives ISA IRQ 0 unless the HPET has taken it.
 *
 * Nothing ticks: counts and outputs are computed from machine time, and one
 * timer raises IRQ 0 at each rising edge of channel 0.
 */
#include "device/chipset.h"
#include "machine/machine.h"

#define PIT_HZ 1193182u

enum access { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

struct channel {
	uint8_t mode;             /* 0..5 */
	bool bcd, gate;
	uint8_t access;           /* enum access */
	bool write_high, read_high;   /* ACCESS_BOTH: the high byte is next */
	uint8_t write_low;
	bool null_count;          /* programmed, no count yet */
	bool triggered;           /* modes 1 and 5: the gate has risen */
	uint32_t count;           /* 1..0x10000 ticks */
	uint64_t start;           /* machine ns when counting began */
	uint32_t stopped;         /* elapsed ticks held while gate is low */
	bool latched, status_latched;
	uint16_t latch;
	uint8_t status;
};

struct i8254 {
	struct device dev;
	struct channel ch[3];
	bool speaker, detached;
	uint64_t due;             /* machine ns of the next edge; UINT64_MAX: none */
	struct clock_timer timer;
	struct irq_line irq;
};

static uint64_t ticks_of(uint64_t ns) { return muldiv64(ns, PIT_HZ, 1000000000u); }
static uint64_t ns_of(uint64_t ticks) { return muldiv64(ticks, 1000000000u, PIT_HZ) + 1; }

static bool gate_stops(const struct channel *c) { return c->mode != 1 && c->mode != 5; }
static bool periodic(const struct channel *c) { return c->mode == 2 || c->mode == 3; }

static uint64_t elapsed(const struct channel *c, uint64_t now)
{
	if (c->null_count || (!gate_stops(c) && !c->triggered))
		return 0;
	if (!c->gate && gate_stops(c))
		return c->stopped;
	return now > c->start ? ticks_of(now - c->start) : 0;
}

static uint32_t to_bcd(uint32_t v)
{
	return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12;
}

static uint32_t from_bcd(uint32_t v)
{
	return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 + (v >> 12 & 15) * 1000;
}

/* The counting element's value now. */
static uint16_t current(const struct channel *c, uint64_t now)
{
	uint64_t t = elapsed(c, now);
	uint32_t wrap = c->bcd ? 10000 : 0x10000, v;
	if (c->mode == 2)
		v = c->count - (uint32_t)(t % c->count);
	else if (c->mode == 3)    /* counts down by two, twice a period */
		v = (c->count - (uint32_t)(t * 2 % c->count)) & ~1u;
	else
		v = (c->count + wrap - (uint32_t)(t % wrap)) % wrap;
	return (uint16_t)(c->bcd ? to_bcd(v % 10000) : v);
}

static bool output(const struct channel *c, uint64_t now)
{
	uint64_t t = elapsed(c, now);
	switch (c->mode) {
	case 0:
		return !c->null_count && t >= c->count;
	case 1:
		return !c->triggered || t >= c->count;
	case 2:
		return c->null_count || !c->gate || t % c->count != c->count - 1;
	case 3:
		return c->null_count || !c->gate || t % c->count < (c->count + 1) / 2;
	default:
		return c->null_count || t != c->count;
	}
}

/* Ticks from the start to the next rising edge after `t`; 0: none. */
static uint64_t next_edge(const struct channel *c, uint64_t t)
{
	if (c->null_count || (!c->gate && gate_stops(c)))
		return 0;
	if (periodic(c))
		return (t / c->count + 1) * c->count;
	if (!gate_stops(c) && !c->triggered)
		return 0;
	uint64_t edge = c->count + (c->mode >= 4);
	return t < edge ? edge : 0;
}

/* `due` stays until IRQ 0 has been raised: a save in between loses nothing. */
static void set_due(struct i8254 *p, uint64_t due)
{
	p->due = due;
	if (due == UINT64_MAX)
		clock_timer_cancel(&p->timer);
	else
		clock_timer_set(&p->timer, due);
}

static void arm(struct i8254 *p)
{
	struct channel *c = &p->ch[0];
	uint64_t t = elapsed(c, clock_now(p->dev.machine->clock));
	uint64_t edge = next_edge(c, t);
	set_due(p, edge && !p->detached ? c->start + ns_of(edge) : UINT64_MAX);
}

static void update_irq(struct i8254 *p)
{
	if (!p->detached)
		irq_set(&p->irq, output(&p->ch[0], clock_now(p->dev.machine->clock)));
}

static void timer_fired(void *opaque)
{
	struct i8254 *p = opaque;
	board_lock(p->dev.machine);
	if (p->due <= clock_now(p->dev.machine->clock)) {
		irq_set(&p->irq, false);
		irq_set(&p->irq, true);
		arm(p);
	}
	board_unlock(p->dev.machine);
}

static void load_count(struct i8254 *p, struct channel *c, uint16_t raw)
{
	uint32_t v = c->bcd ? from_bcd(raw) : raw;
	c->count = v ? v : c->bcd ? 10000 : 0x10000;
	c->null_count = false;
	c->start = clock_now(p->dev.machine->clock);
	c->stopped = 0;
	if (c == &p->ch[0]) {
		update_irq(p);
		arm(p);
	}
}

static void write_counter(struct i8254 *p, struct channel *c, uint8_t v)
{
	if (c->access == ACCESS_LOW) {
		load_count(p, c, v);
	} else if (c->access == ACCESS_HIGH) {
		load_count(p, c, (uint16_t)(v << 8));
	} else if (!c->write_high) {
		c->write_low = v;
		c->write_high = true;
		if (c->mode == 0)
			c->null_count = true;   /* counting stops at the first byte */
	} else {
		c->write_high = false;
		load_count(p, c, (uint16_t)(v << 8 | c->write_low));
	}
}

static void latch_count(struct channel *c, uint64_t now)
{
	if (!c->latched)
		c->latch = current(c, now);
	c->latched = true;
}

static void latch_status(struct channel *c, uint64_t now)
{
	if (!c->status_latched)
		c->status = (uint8_t)(output(c, now) << 7 | c->null_count << 6 | c->access << 4 |
				      c->mode << 1 | c->bcd);
	c->status_latched = true;
}

static void write_control(struct i8254 *p, uint8_t v)
{
	uint64_t now = clock_now(p->dev.machine->clock);
	unsigned n = v >> 6;
	if (n == 3) {             /* read-back: active-low bits */
		for (unsigned i = 0; i < 3; i++) {
			if (!(v >> (i + 1) & 1))
				continue;
			if (!(v & 0x20))
				latch_count(&p->ch[i], now);
			if (!(v & 0x10))
				latch_status(&p->ch[i], now);
		}
		return;
	}
	struct channel *c = &p->ch[n];
	if (!(v >> 4 & 3)) {
		latch_count(c, now);
		return;
	}
	bool gate = c->gate;
	*c = (struct channel){ .gate = gate, .access = v >> 4 & 3, .count = 0x10000,
			       .mode = (v >> 1 & 7) > 5 ? (v >> 1 & 3) : (v >> 1 & 7),
			       .bcd = v & 1, .null_count = true };
	if (n == 0) {
		update_irq(p);
		arm(p);
	}
}

static uint8_t read_counter(struct i8254 *p, struct channel *c)
{
	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	uint16_t v = c->latched ? c->latch : current(c, clock_now(p->dev.machine->clock));
	bool high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_high);
	if (c->access == ACCESS_BOTH)
		c->read_high = !c->read_high;
	if (c->access != ACCESS_BOTH || high)
		c->latched = false;
	return (uint8_t)(high ? v >> 8 : v);
}

static uint64_t pit_read(void *opaque, uint64_t port, unsigned size)
{
	struct i8254 *p = opaque;
	return port < 3 ? read_counter(p, &p->ch[port]) : 0xff;
}

static void pit_write(void *opaque, uint64_t port, uint64_t value, unsigned size)
{
	struct i8254 *p = opaque;
	if (port < 3)
		write_counter(p, &p->ch[port], (uint8_t)value);
	else
		write_control(p, (uint8_t)value);
}

static void set_gate(struct i8254 *p, struct channel *c, bool gate)
{
	uint64_t now = clock_now(p->dev.machine->clock);
	if (gate == c->gate)
		return;
	if (!gate)
		c->stopped = (uint32_t)MIN(elapsed(c, now), UINT32_MAX);
	c->gate = gate;
	if (!gate)
		return;
	c->triggered = true;
	bool resume = c->mode == 0 || c->mode == 4;
	c->start = resume ? now - MIN(now, ns_of(c->stopped)) : now;
}

static uint64_t port61_read(void *opaque, uint64_t port, unsigned size)
{
	struct i8254 *p = opaque;
	uint64_t now = clock_now(p->dev.machine->clock);
	return (uint64_t)(p->ch[2].gate | p->speaker << 1 | (now / 15085 & 1) << 4 |
			  output(&p->ch[2], now) << 5);
}

static void port61_write(void *opaque, uint64_t port, uint64_t value, unsigned size)
{
	struct i8254 *p = opaque;
	set_gate(p, &p->ch[2], value & 1);
	p->speaker = value & 2;
}

void i8254_detach(struct machine *m, bool detached)
{
	struct i8254 *p = m->board_data->pit;
	if (p->detached == detached)
		return;
	p->detached = detached;
	if (!detached)
		update_irq(p);
	arm(p);
}

static void i8254_reset(struct device *d)
{
	struct i8254 *p = container_of(d, struct i8254, dev);
	for (unsigned i = 0; i < 3; i++)
		p->ch[i] = (struct channel){ .gate = i != 2, .access = ACCESS_BOTH, .mode = 3,
					     .count = 0x10000, .null_count = true };
	p->speaker = p->detached = false;
	set_due(p, UINT64_MAX);
	irq_set(&p->irq, false);
}

static void xfer_channel(struct channel *c, struct state *s)
{
	xfer_u8_max(s, &c->mode, 5);
	xfer_u8_max(s, &c->access, 3);
	bool *flags[] = { &c->bcd, &c->gate, &c->write_high, &c->read_high, &c->null_count,
			  &c->triggered, &c->latched, &c->status_latched };
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		xfer_bool(s, flags[i]);
	xfer_u8(s, &c->write_low);
	xfer_u32_max(s, &c->count, 0x10000);
	xfer_u64(s, &c->start);
	xfer_u32(s, &c->stopped);
	xfer_u16(s, &c->latch);
	xfer_u8(s, &c->status);
	if (!c->count)
		state_fail(s, "a timer channel has count 0");
}

static bool i8254_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct i8254 *p = container_of(d, struct i8254, dev);
	for (unsigned i = 0; i < 3; i++)
		xfer_channel(&p->ch[i], s);
	xfer_bool(s, &p->speaker);
	xfer_bool(s, &p->detached);
	xfer_u64(s, &p->due);
	return state_ok(s);
}

static void i8254_loaded(struct device *d)
{
	struct i8254 *p = container_of(d, struct i8254, dev);
	set_due(p, p->due);
}

static void i8254_destroy(struct device *d)
{
	struct i8254 *p = container_of(d, struct i8254, dev);
	clock_timer_cancel(&p->timer);
	free(p);
}

static const struct io_ops pit_ops = { pit_read, pit_write, 1, 1 };
static const struct io_ops port61_ops = { port61_read, port61_write, 1, 1 };
static const struct device_ops i8254_ops = {
	.name = "i8254", .version = 1, .reset = i8254_reset, .xfer = i8254_xfer,
	.loaded = i8254_loaded, .destroy = i8254_destroy,
};

bool i8254_create(struct machine *m, struct error *err)
{
	struct i8254 *p = xnew(struct i8254);
	m->board_data->pit = p;
	p->irq = board_gsi(m, 0);
	clock_timer_init(&p->timer, m->clock, timer_fired, p);
	device_add(m, &p->dev, &i8254_ops, "i8254");
	i8254_reset(&p->dev);
	memory_add_io(m->ports, "pit", 0x40, 4, 0, &pit_ops, p);
	memory_add_io(m->ports, "port61", 0x61, 1, 0, &port61_ops, p);
	return true;
}
