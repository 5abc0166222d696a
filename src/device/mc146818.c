/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Motorola MC146818A real-time clock and 128 bytes of CMOS RAM, ports
 * 0x70/0x71, ISA IRQ 8.  Time is the machine's clock plus an offset that
 * changes when the guest sets the clock; while the SET bit is on, the
 * registers themselves hold it.
 *
 * The update cycle is the first 244 us before each second: UIP is up then
 * (datasheet, figure 14: time is safe to read for 244 us after UIP is seen low).
 */
#include <time.h>

#include "device/chipset.h"
#include "machine/machine.h"

enum { SEC, SEC_ALARM, MINUTE, MIN_ALARM, HOUR, HOUR_ALARM, WDAY, MDAY, MONTH, YEAR,
       REG_A, REG_B, REG_C, REG_D, CENTURY = 0x32 };
enum { A_UIP = 0x80, B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10,
       B_BINARY = 4, B_24H = 2, C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10,
       D_VALID = 0x80 };
#define SECOND 1000000000ull
#define UIP_NS 244000u

struct mc146818 {
	struct device dev;
	uint8_t index;
	uint8_t cmos[128];
	uint8_t initial[128];     /* what creation put there, for resets */
	int64_t offset;           /* RTC time - (wall base + machine time), ns */
	uint64_t periodic_next;   /* machine ns */
	bool detached;            /* the HPET has IRQ 8 */
	struct clock_timer periodic, second;
	struct irq_line irq;
};

static int64_t rtc_now(const struct mc146818 *r)
{
	const struct machine_clock *c = r->dev.machine->clock;
	return clock_wall_base(c) + (int64_t)clock_now(c) + r->offset;
}

static uint8_t encode(const struct mc146818 *r, unsigned v)
{
	return (uint8_t)(r->cmos[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static unsigned decode(const struct mc146818 *r, uint8_t v)
{
	return r->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t encode_hour(const struct mc146818 *r, unsigned h)
{
	if (r->cmos[REG_B] & B_24H)
		return encode(r, h);
	return encode(r, h % 12 ? h % 12 : 12) | (h >= 12 ? 0x80 : 0);
}

static unsigned decode_hour(const struct mc146818 *r, uint8_t v)
{
	if (r->cmos[REG_B] & B_24H)
		return decode(r, v);
	return decode(r, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

/* Registers from the running time; not while SET holds them. */
static void refresh(struct mc146818 *r)
{
	if (r->cmos[REG_B] & B_SET)
		return;
	int64_t ns = rtc_now(r);
	time_t t = (time_t)(ns / (int64_t)SECOND - (ns % (int64_t)SECOND < 0));
	struct tm tm;
	if (!gmtime_r(&t, &tm))
		return;
	uint8_t *c = r->cmos;
	c[SEC] = encode(r, (unsigned)tm.tm_sec);
	c[MINUTE] = encode(r, (unsigned)tm.tm_min);
	c[HOUR] = encode_hour(r, (unsigned)tm.tm_hour);
	c[WDAY] = encode(r, (unsigned)tm.tm_wday + 1);
	c[MDAY] = encode(r, (unsigned)tm.tm_mday);
	c[MONTH] = encode(r, (unsigned)tm.tm_mon + 1);
	unsigned year = (unsigned)(tm.tm_year + 1900) % 10000;
	c[YEAR] = encode(r, year % 100);
	c[CENTURY] = (uint8_t)(year / 1000 << 4 | year / 100 % 10);
}

/* The guest has set the clock: what the registers say is now. */
static void commit(struct mc146818 *r)
{
	const uint8_t *c = r->cmos;
	unsigned century = (c[CENTURY] >> 4) * 10u + (c[CENTURY] & 15);
	struct tm tm = {
		.tm_sec = (int)decode(r, c[SEC]), .tm_min = (int)decode(r, c[MINUTE]),
		.tm_hour = (int)decode_hour(r, c[HOUR]), .tm_mday = (int)decode(r, c[MDAY]),
		.tm_mon = (int)decode(r, c[MONTH]) - 1,
		.tm_year = (int)(century * 100 + decode(r, c[YEAR])) - 1900,
	};
	int64_t want = (int64_t)timegm(&tm) * (int64_t)SECOND;
	r->offset += want - rtc_now(r);
}

static void update_irq(struct mc146818 *r)
{
	uint8_t *c = r->cmos;
	bool on = c[REG_C] & c[REG_B] & (C_PF | C_AF | C_UF);
	c[REG_C] = on ? c[REG_C] | C_IRQF : c[REG_C] & (uint8_t)~C_IRQF;
	if (!r->detached)
		irq_set(&r->irq, on);
}

/* Period of the square wave in ns; 0 = off (datasheet table 5). */
static uint64_t period_ns(const struct mc146818 *r)
{
	unsigned rate = r->cmos[REG_A] & 15;
	if (!rate || (r->cmos[REG_A] & 0x70) > 0x20)
		return 0;
	if (rate < 3)
		rate += 7;
	return muldiv64(BIT(rate - 1), SECOND, 32768);
}

static void arm_periodic(struct mc146818 *r)
{
	uint64_t period = period_ns(r);
	if (!period || !(r->cmos[REG_B] & B_PIE)) {
		clock_timer_cancel(&r->periodic);
		return;
	}
	uint64_t now = clock_now(r->dev.machine->clock);
	if (r->periodic_next <= now)
		r->periodic_next += ((now - r->periodic_next) / period + 1) * period;
	if (r->periodic_next > now + period)
		r->periodic_next = now + period;
	clock_timer_set(&r->periodic, r->periodic_next);
}

static void periodic_fired(void *opaque)
{
	struct mc146818 *r = opaque;
	board_lock(r->dev.machine);
	r->cmos[REG_C] |= C_PF;
	update_irq(r);
	arm_periodic(r);
	board_unlock(r->dev.machine);
}

/* The once-a-second timer is needed for alarms and update-ended interrupts. */
static void arm_second(struct mc146818 *r)
{
	if (!(r->cmos[REG_B] & (B_AIE | B_UIE)) || (r->cmos[REG_B] & B_SET)) {
		clock_timer_cancel(&r->second);
		return;
	}
	int64_t into = rtc_now(r) % (int64_t)SECOND;
	if (into < 0)
		into += SECOND;
	clock_timer_set(&r->second, clock_now(r->dev.machine->clock) + SECOND - (uint64_t)into);
}

static bool alarm_matches(const struct mc146818 *r)
{
	static const uint8_t pair[3][2] = { { SEC_ALARM, SEC }, { MIN_ALARM, MINUTE },
					    { HOUR_ALARM, HOUR } };
	for (unsigned i = 0; i < 3; i++) {
		uint8_t want = r->cmos[pair[i][0]];
		if ((want & 0xc0) != 0xc0 && want != r->cmos[pair[i][1]])
			return false;
	}
	return true;
}

static void second_fired(void *opaque)
{
	struct mc146818 *r = opaque;
	board_lock(r->dev.machine);
	refresh(r);
	r->cmos[REG_C] |= C_UF | (alarm_matches(r) ? C_AF : 0);
	update_irq(r);
	arm_second(r);
	board_unlock(r->dev.machine);
}

static bool updating(const struct mc146818 *r)
{
	int64_t into = rtc_now(r) % (int64_t)SECOND;
	if (into < 0)
		into += SECOND;
	return !(r->cmos[REG_B] & B_SET) && (uint64_t)into >= SECOND - UIP_NS;
}

static uint8_t read_register(struct mc146818 *r)
{
	unsigned i = r->index;
	uint8_t v = r->cmos[i];
	if (i <= YEAR || i == CENTURY) {
		refresh(r);
		v = r->cmos[i];
	} else if (i == REG_A) {
		v |= updating(r) ? A_UIP : 0;
	} else if (i == REG_C) {
		r->cmos[REG_C] = 0;
		update_irq(r);
	}
	return v;
}

static void write_b(struct mc146818 *r, uint8_t v)
{
	bool was_set = r->cmos[REG_B] & B_SET;
	refresh(r);
	if (v & B_SET)
		v &= (uint8_t)~B_UIE;
	r->cmos[REG_B] = v;
	if (was_set && !(v & B_SET))
		commit(r);
	update_irq(r);
	arm_periodic(r);
	arm_second(r);
}

static void write_register(struct mc146818 *r, uint8_t v)
{
	unsigned i = r->index;
	bool is_time = i == CENTURY || (i <= YEAR && i != SEC_ALARM && i != MIN_ALARM &&
					i != HOUR_ALARM);
	if (i == REG_B) {
		write_b(r, v);
	} else if (i == REG_A) {
		r->cmos[i] = v & (uint8_t)~A_UIP;
		arm_periodic(r);
	} else if (is_time) {
		refresh(r);
		r->cmos[i] = v;
		if (!(r->cmos[REG_B] & B_SET))
			commit(r);
		arm_second(r);
	} else if (i != REG_C && i != REG_D) {
		r->cmos[i] = v;
	}
}

static uint64_t rtc_read(void *opaque, uint64_t port, unsigned size)
{
	struct mc146818 *r = opaque;
	return port & 1 ? read_register(r) : 0xff;
}

static void rtc_write(void *opaque, uint64_t port, uint64_t value, unsigned size)
{
	struct mc146818 *r = opaque;
	if (port & 1)
		write_register(r, (uint8_t)value);
	else
		r->index = value & 0x7f;   /* bit 7 masks NMI: no source to mask */
}

void mc146818_detach(struct machine *m, bool detached)
{
	struct mc146818 *r = m->board_data->rtc;
	r->detached = detached;
	update_irq(r);
}

void mc146818_set_cmos(struct machine *m, unsigned index, uint8_t value)
{
	struct mc146818 *r = m->board_data->rtc;
	r->cmos[index & 0x7f] = r->initial[index & 0x7f] = value;
}

/* The chip has a battery: only interrupts and firmware's bytes are reset. */
static void mc146818_reset(struct device *d)
{
	struct mc146818 *r = container_of(d, struct mc146818, dev);
	for (unsigned i = REG_D + 1; i < 128; i++)
		r->cmos[i] = r->initial[i];
	r->cmos[REG_A] = 0x26;
	r->cmos[REG_B] = B_24H;
	r->cmos[REG_C] = 0;
	r->cmos[REG_D] = D_VALID;
	r->index = 0;
	r->detached = false;
	clock_timer_cancel(&r->periodic);
	clock_timer_cancel(&r->second);
	irq_set(&r->irq, false);
}

static bool mc146818_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct mc146818 *r = container_of(d, struct mc146818, dev);
	xfer_u8_max(s, &r->index, 0x7f);
	xfer_bytes(s, r->cmos, sizeof(r->cmos));
	xfer_i64(s, &r->offset);
	xfer_u64(s, &r->periodic_next);
	xfer_bool(s, &r->detached);
	return state_ok(s);
}

static void mc146818_loaded(struct device *d)
{
	struct mc146818 *r = container_of(d, struct mc146818, dev);
	arm_periodic(r);
	arm_second(r);
}

static void mc146818_destroy(struct device *d)
{
	struct mc146818 *r = container_of(d, struct mc146818, dev);
	clock_timer_cancel(&r->periodic);
	clock_timer_cancel(&r->second);
	free(r);
}

static const struct io_ops rtc_ops = { rtc_read, rtc_write, 1, 1 };
static const struct device_ops mc146818_ops = {
	.name = "mc146818", .version = 1, .reset = mc146818_reset, .xfer = mc146818_xfer,
	.loaded = mc146818_loaded, .destroy = mc146818_destroy,
};

bool mc146818_create(struct machine *m, struct error *err)
{
	struct mc146818 *r = xnew(struct mc146818);
	m->board_data->rtc = r;
	r->irq = board_gsi(m, 8);
	clock_timer_init(&r->periodic, m->clock, periodic_fired, r);
	clock_timer_init(&r->second, m->clock, second_fired, r);
	device_add(m, &r->dev, &mc146818_ops, "mc146818");
	mc146818_reset(&r->dev);
	memory_add_io(m->ports, "rtc", 0x70, 2, 0, &rtc_ops, r);
	return true;
}
