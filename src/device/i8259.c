/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 8259A interrupt controllers, the PC's cascaded pair with edge/level
 * control registers (ports 0x20, 0xa0, 0x4d0).  Datasheet 231468-003.
 *
 * Threading: a leaf lock of its own, so that any thread may drive a line;
 * `intr` is read without it.  Invariant: after each call, intr says whether
 * the master's INTR output is high.
 */
#include <pthread.h>

#include "device/chipset.h"
#include "machine/machine.h"

enum { CASCADE = 2 };

struct chip {
	struct i8259 *pair;
	bool master;
	uint8_t irr, imr, isr, lines, elcr, elcr_mask;
	uint8_t base;             /* vector of input 0 */
	uint8_t lowest;           /* input of lowest priority */
	uint8_t init_step;        /* next ICW expected at the odd port: 0 none, 2..4 */
	bool icw4, single, auto_eoi, rotate_aeoi, special_mask, fully_nested;
	bool poll, read_isr;
};

struct i8259 {
	struct device dev;
	pthread_mutex_t lock;
	struct chip chip[2];
	_Atomic bool intr;
};

/* Rank of the best set bit, 0 = highest priority; 8 = none. */
static unsigned best_rank(const struct chip *c, uint8_t mask)
{
	unsigned rank = 0;
	while (rank < 8 && !(mask >> ((c->lowest + 1u + rank) & 7) & 1))
		rank++;
	return rank;
}

/* The input that wants service now, or -1. */
static int chip_request(const struct chip *c)
{
	unsigned want = best_rank(c, c->irr & (uint8_t)~c->imr);
	if (want == 8)
		return -1;
	uint8_t busy = c->isr;
	if (c->special_mask)
		busy &= (uint8_t)~c->imr;
	if (c->fully_nested && c->master)
		busy &= (uint8_t)~BIT(CASCADE);
	return want < best_rank(c, busy) ? (int)((c->lowest + 1u + want) & 7) : -1;
}

static void chip_line(struct chip *c, unsigned input, bool level)
{
	uint8_t bit = (uint8_t)BIT(input);
	bool rising = level && !(c->lines & bit);
	c->lines = level ? c->lines | bit : c->lines & (uint8_t)~bit;
	if (c->elcr & bit)
		c->irr = level ? c->irr | bit : c->irr & (uint8_t)~bit;
	else if (rising)
		c->irr |= bit;    /* stays latched until taken, as a pulse must */
}

/* Carry the slave's output to the master and the master's to INTR. */
static void update(struct i8259 *p)
{
	bool slave = chip_request(&p->chip[1]) >= 0;
	struct chip *c = &p->chip[0];
	c->lines = slave ? c->lines | BIT(CASCADE) : c->lines & (uint8_t)~BIT(CASCADE);
	c->irr = slave ? c->irr | BIT(CASCADE) : c->irr & (uint8_t)~BIT(CASCADE);
	bool intr = chip_request(c) >= 0, was = atomic_exchange(&p->intr, intr);
	if (!intr || was)
		return;
	struct machine *m = p->dev.machine;
	for (unsigned i = 0; i < m->nvcpus; i++)
		vcpu_request(m->vcpus[i], REQ_INTERRUPT);
}

void i8259_set(struct machine *m, unsigned irq, bool level)
{
	struct i8259 *p = m->board_data->pic;
	if (irq >= 16 || irq == CASCADE)
		return;
	pthread_mutex_lock(&p->lock);
	chip_line(&p->chip[irq >> 3], irq & 7, level);
	update(p);
	pthread_mutex_unlock(&p->lock);
}

bool i8259_pending(struct machine *m)
{
	return atomic_load_explicit(&m->board_data->pic->intr, memory_order_acquire);
}

static void chip_take(struct chip *c, unsigned input)
{
	uint8_t bit = (uint8_t)BIT(input);
	if (!c->auto_eoi)
		c->isr |= bit;
	else if (c->rotate_aeoi)
		c->lowest = (uint8_t)input;
	if (!(c->elcr & bit))
		c->irr &= (uint8_t)~bit;
}

/* One INTA cycle; with nothing pending it answers input 7 (spurious). */
static int chip_ack(struct chip *c)
{
	int input = chip_request(c);
	if (input < 0)
		return 7;
	chip_take(c, (unsigned)input);
	return input;
}

int i8259_ack(struct machine *m)
{
	struct i8259 *p = m->board_data->pic;
	pthread_mutex_lock(&p->lock);
	int vector = -1;
	if (chip_request(&p->chip[0]) >= 0) {
		int input = chip_ack(&p->chip[0]);
		vector = input == CASCADE ? p->chip[1].base + chip_ack(&p->chip[1])
					  : p->chip[0].base + input;
	}
	update(p);
	pthread_mutex_unlock(&p->lock);
	return vector;
}

static void write_icw1(struct chip *c, uint8_t v)
{
	c->imr = c->isr = 0;
	c->irr = c->lines & c->elcr;   /* edges must come again */
	c->lowest = 7;
	c->auto_eoi = c->rotate_aeoi = c->special_mask = c->fully_nested = false;
	c->poll = c->read_isr = false;
	c->single = v & 2;
	c->icw4 = v & 1;
	c->init_step = 2;
}

/* OCW2: end of interrupt and rotation. */
static void write_ocw2(struct chip *c, uint8_t v)
{
	bool rotate = v & 0x80, specific = v & 0x40, eoi = v & 0x20;
	unsigned level = v & 7;
	if (!eoi) {
		if (rotate && specific)
			c->lowest = (uint8_t)level;
		else if (!specific)
			c->rotate_aeoi = rotate;
		return;
	}
	if (!specific) {
		unsigned rank = best_rank(c, c->isr);
		if (rank == 8)
			return;
		level = (c->lowest + 1u + rank) & 7;
	}
	c->isr &= (uint8_t)~BIT(level);
	if (rotate)
		c->lowest = (uint8_t)level;
}

static void write_ocw3(struct chip *c, uint8_t v)
{
	c->poll = v & 4;
	if (v & 2)
		c->read_isr = v & 1;
	if (v & 0x40)
		c->special_mask = v & 0x20;
}

static void write_odd(struct chip *c, uint8_t v)
{
	switch (c->init_step) {
	case 2:
		c->base = v & 0xf8;
		c->init_step = !c->single ? 3 : c->icw4 ? 4 : 0;
		break;
	case 3:
		c->init_step = c->icw4 ? 4 : 0;
		break;
	case 4:
		c->fully_nested = v & 0x10;
		c->auto_eoi = v & 2;
		c->init_step = 0;
		break;
	default:
		c->imr = v;
	}
}

static void i8259_write(void *opaque, uint64_t port, uint64_t value, unsigned size)
{
	struct chip *c = opaque;
	uint8_t v = (uint8_t)value;
	pthread_mutex_lock(&c->pair->lock);
	if (port & 1)
		write_odd(c, v);
	else if (v & 0x10)
		write_icw1(c, v);
	else if (v & 8)
		write_ocw3(c, v);
	else
		write_ocw2(c, v);
	update(c->pair);
	pthread_mutex_unlock(&c->pair->lock);
}

static uint8_t read_chip(struct chip *c, bool odd)
{
	if (c->poll) {
		c->poll = false;
		int input = chip_request(c);
		if (input < 0)
			return 0;
		chip_take(c, (unsigned)input);
		return 0x80 | (uint8_t)input;
	}
	return odd ? c->imr : c->read_isr ? c->isr : c->irr;
}

static uint64_t i8259_read(void *opaque, uint64_t port, unsigned size)
{
	struct chip *c = opaque;
	pthread_mutex_lock(&c->pair->lock);
	uint8_t v = read_chip(c, port & 1);
	update(c->pair);
	pthread_mutex_unlock(&c->pair->lock);
	return v;
}

static uint64_t elcr_read(void *opaque, uint64_t port, unsigned size)
{
	struct i8259 *p = opaque;
	return p->chip[port & 1].elcr;
}

static void set_elcr(struct chip *c, uint8_t v)
{
	pthread_mutex_lock(&c->pair->lock);
	c->elcr = v & c->elcr_mask;
	c->irr = (c->irr & (uint8_t)~c->elcr) | (c->lines & c->elcr);
	update(c->pair);
	pthread_mutex_unlock(&c->pair->lock);
}

void i8259_set_level(struct machine *m, uint16_t irqs)
{
	set_elcr(&m->board_data->pic->chip[0], (uint8_t)irqs);
	set_elcr(&m->board_data->pic->chip[1], (uint8_t)(irqs >> 8));
}

static void elcr_write(void *opaque, uint64_t port, uint64_t value, unsigned size)
{
	struct i8259 *p = opaque;
	set_elcr(&p->chip[port & 1], (uint8_t)value);
}

static void i8259_reset(struct device *d)
{
	struct i8259 *p = container_of(d, struct i8259, dev);
	for (unsigned i = 0; i < 2; i++) {
		struct chip *c = &p->chip[i];
		uint8_t lines = c->lines;
		*c = (struct chip){ .pair = p, .master = i == 0, .lines = lines, .lowest = 7,
				    .elcr_mask = i == 0 ? 0xf8 : 0xde };
	}
	p->intr = false;
}

static void xfer_chip(struct chip *c, struct state *s)
{
	uint8_t *regs[] = { &c->irr, &c->imr, &c->isr, &c->lines, &c->elcr, &c->base };
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		xfer_u8(s, regs[i]);
	xfer_u8_max(s, &c->lowest, 7);
	xfer_u8_max(s, &c->init_step, 4);
	bool *flags[] = { &c->icw4, &c->single, &c->auto_eoi, &c->rotate_aeoi,
			  &c->special_mask, &c->fully_nested, &c->poll, &c->read_isr };
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		xfer_bool(s, flags[i]);
	c->elcr &= c->elcr_mask;
}

static bool i8259_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct i8259 *p = container_of(d, struct i8259, dev);
	xfer_chip(&p->chip[0], s);
	xfer_chip(&p->chip[1], s);
	return state_ok(s);
}

static void i8259_loaded(struct device *d)
{
	update(container_of(d, struct i8259, dev));
}

static void i8259_destroy(struct device *d)
{
	struct i8259 *p = container_of(d, struct i8259, dev);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static const struct io_ops chip_ops = { i8259_read, i8259_write, 1, 1, true };
static const struct io_ops elcr_ops = { elcr_read, elcr_write, 1, 1, true };
static const struct device_ops i8259_ops = {
	.name = "i8259", .version = 1, .reset = i8259_reset, .xfer = i8259_xfer,
	.loaded = i8259_loaded, .destroy = i8259_destroy,
};

bool i8259_create(struct machine *m, struct error *err)
{
	struct i8259 *p = xnew(struct i8259);
	pthread_mutex_init(&p->lock, NULL);
	m->board_data->pic = p;
	device_add(m, &p->dev, &i8259_ops, "i8259");
	i8259_reset(&p->dev);
	memory_add_io(m->ports, "pic-master", 0x20, 2, 0, &chip_ops, &p->chip[0]);
	memory_add_io(m->ports, "pic-slave", 0xa0, 2, 0, &chip_ops, &p->chip[1]);
	memory_add_io(m->ports, "pic-elcr", 0x4d0, 2, 0, &elcr_ops, p);
	return true;
}
