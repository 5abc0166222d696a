/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 82093AA I/O APIC with 24 inputs, and the EOI register of the later
 * ones (version 0x20).  ISA IRQ 0 comes in at input 2 (see the MADT).
 *
 * Threading: a leaf lock; lines may be driven from any thread.  Polarity bits
 * are kept but have no effect: a line's level here means "asserted".
 */
#include <pthread.h>

#include "base/trace.h"
#include "device/chipset.h"
#include "machine/machine.h"
#include "engine/lapic.h"

enum { PINS = 24, IOAPIC_VERSION = 0x20 };

/* A redirection entry (82093AA 3.2.4). */
#define RTE_VECTOR 0xffull
#define RTE_MODE_SHIFT 8
#define RTE_LOGICAL BIT(11)
#define RTE_REMOTE_IRR BIT(14)
#define RTE_LEVEL BIT(15)
#define RTE_MASKED BIT(16)
#define RTE_READONLY (BIT(12) | RTE_REMOTE_IRR)
#define RTE_WRITABLE (0xff0000000001ffffull & ~RTE_READONLY)

struct ioapic {
	struct device dev;
	pthread_mutex_t lock;
	uint8_t id, index;
	uint32_t lines;           /* levels */
	uint64_t rte[PINS];
};

static void deliver(struct ioapic *a, unsigned pin)
{
	uint64_t e = a->rte[pin];
	unsigned mode = e >> RTE_MODE_SHIFT & 7;
	if (e & RTE_LEVEL)
		a->rte[pin] |= RTE_REMOTE_IRR;
	if (mode == 7)
		return;   /* ExtINT: the 8259's vector comes through LINT0 here */
	trace2(irq_line, pin, 1);
	lapic_deliver(a->dev.machine, (uint32_t)(e >> 56), e & RTE_LOGICAL, mode,
		      (uint8_t)(e & RTE_VECTOR), e & RTE_LEVEL, false);
}

/* Engines with local APICs of their own must know which vectors are level ones. */
static void tell_engine(struct ioapic *a, unsigned pin)
{
	struct machine *m = a->dev.machine;
	uint64_t e = a->rte[pin];
	if (m->engine->route)
		m->engine->route(m, pin, 0xfee00000u | (e >> 56) << 12 | (e >> 11 & 1) << 2,
				 (uint32_t)(e & 0x7ff) | BIT(14) | (uint32_t)(e & RTE_LEVEL), e & RTE_MASKED);
}

/* A level input that is high and not yet taken is sent. */
static void service_level(struct ioapic *a, unsigned pin)
{
	uint64_t e = a->rte[pin];
	if ((e & RTE_LEVEL) && !(e & (RTE_MASKED | RTE_REMOTE_IRR)) && a->lines >> pin & 1)
		deliver(a, pin);
}

void ioapic_set(struct machine *m, unsigned pin, bool level)
{
	struct ioapic *a = m->board_data->ioapic;
	if (pin >= PINS)
		return;
	pthread_mutex_lock(&a->lock);
	bool rising = level && !(a->lines >> pin & 1);
	a->lines = level ? a->lines | (uint32_t)BIT(pin) : a->lines & ~(uint32_t)BIT(pin);
	if (a->rte[pin] & RTE_LEVEL)
		service_level(a, pin);
	else if (rising && !(a->rte[pin] & RTE_MASKED))
		deliver(a, pin);
	pthread_mutex_unlock(&a->lock);
}

static void eoi_locked(struct ioapic *a, uint8_t vector)
{
	for (unsigned i = 0; i < PINS; i++) {
		if ((a->rte[i] & RTE_VECTOR) != vector || !(a->rte[i] & RTE_REMOTE_IRR))
			continue;
		a->rte[i] &= ~RTE_REMOTE_IRR;
		service_level(a, i);
	}
}

void ioapic_eoi(struct machine *m, uint8_t vector)
{
	struct ioapic *a = m->board_data->ioapic;
	pthread_mutex_lock(&a->lock);
	eoi_locked(a, vector);
	pthread_mutex_unlock(&a->lock);
}

static uint32_t read_register(const struct ioapic *a)
{
	switch (a->index) {
	case 0:
	case 2:
		return (uint32_t)a->id << 24;
	case 1:
		return IOAPIC_VERSION | (PINS - 1) << 16;
	}
	unsigned pin = (a->index - 0x10u) / 2;
	if (a->index < 0x10 || pin >= PINS)
		return 0;
	return (uint32_t)(a->rte[pin] >> (a->index & 1 ? 32 : 0));
}

static void write_entry(struct ioapic *a, unsigned pin, bool high, uint32_t v)
{
	uint64_t old = a->rte[pin], e = old;
	if (high)
		e = (e & 0xffffffffull) | (uint64_t)v << 32;
	else
		e = (e & ~0xffffffffull) | v;
	e = (e & RTE_WRITABLE) | (old & RTE_READONLY);
	if (!(e & RTE_LEVEL))
		e &= ~RTE_REMOTE_IRR;   /* how an OS without EOI register clears it */
	a->rte[pin] = e;
	tell_engine(a, pin);
	service_level(a, pin);
}

static void write_register(struct ioapic *a, uint32_t v)
{
	unsigned pin = (a->index - 0x10u) / 2;
	if (a->index == 0)
		a->id = v >> 24 & 0xf;
	else if (a->index >= 0x10 && pin < PINS)
		write_entry(a, pin, a->index & 1, v);
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ioapic *a = opaque;
	pthread_mutex_lock(&a->lock);
	uint32_t v = offset == 0 ? a->index : offset == 0x10 ? read_register(a) : 0;
	pthread_mutex_unlock(&a->lock);
	return v;
}

static void ioapic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct ioapic *a = opaque;
	pthread_mutex_lock(&a->lock);
	if (offset == 0)
		a->index = (uint8_t)value;
	else if (offset == 0x10)
		write_register(a, (uint32_t)value);
	else if (offset == 0x40)
		eoi_locked(a, (uint8_t)value);
	pthread_mutex_unlock(&a->lock);
}

static void ioapic_reset(struct device *d)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);
	a->id = a->index = 0;
	for (unsigned i = 0; i < PINS; i++)
		a->rte[i] = RTE_MASKED;
}

static void ioapic_loaded(struct device *d)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);
	for (unsigned i = 0; i < PINS; i++)
		tell_engine(a, i);
}

static bool ioapic_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);
	xfer_u8_max(s, &a->id, 0xf);
	xfer_u8(s, &a->index);
	xfer_u32(s, &a->lines);
	for (unsigned i = 0; i < PINS; i++) {
		xfer_u64(s, &a->rte[i]);
		a->rte[i] &= RTE_WRITABLE | RTE_READONLY;
	}
	return state_ok(s);
}

static void ioapic_destroy(struct device *d)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static const struct io_ops mmio_ops = { ioapic_read, ioapic_write, 4, 4, true };
static const struct device_ops ioapic_ops = {
	.name = "ioapic", .version = 1, .reset = ioapic_reset, .xfer = ioapic_xfer, .loaded = ioapic_loaded,
	.destroy = ioapic_destroy,
};

bool ioapic_create(struct machine *m, struct error *err)
{
	struct ioapic *a = xnew(struct ioapic);
	pthread_mutex_init(&a->lock, NULL);
	m->board_data->ioapic = a;
	device_add(m, &a->dev, &ioapic_ops, "ioapic");
	ioapic_reset(&a->dev);
	memory_add_io(m->memory, "ioapic", BOARD_IOAPIC, 0x1000, 10, &mmio_ops, a);
	return true;
}
