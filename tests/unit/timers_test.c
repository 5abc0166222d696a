/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PIT, RTC, HPET and PM timer over a clock that the test sets. */
#include "board_fixture.h"

#define MS 1000000ull

static struct machine *board(void)
{
	struct machine *m = fixture_new(2 * MiB);
	fixture_controllers(m);
	assert_true(i8254_create(m, NULL) && mc146818_create(m, NULL) && hpet_create(m, NULL) &&
		    acpi_pm_create(m, NULL));
	outb(0x20, 0x11); outb(0x21, 0x20); outb(0x21, 4); outb(0x21, 1); outb(0x21, 0);
	outb(0xa0, 0x11); outb(0xa1, 0x28); outb(0xa1, 2); outb(0xa1, 1); outb(0xa1, 0);
	return m;
}

static struct device *device(struct machine *m, const char *id)
{
	struct device *d = m->devices;
	while (d && strcmp(d->id, id))
		d = d->next;
	assert_non_null(d);
	return d;
}

/* --- PIT ---------------------------------------------------------------------- */
static unsigned read_count(unsigned channel)
{
	outb(0x43, (uint8_t)(channel << 6));
	unsigned low = inb(0x40 + channel);
	return low | (unsigned)inb(0x40 + channel) << 8;
}

static void pit_counts_down(void **unused)
{
	struct machine *m = board();
	outb(0x43, 0x34);                    /* channel 0, both bytes, mode 2 */
	outb(0x40, 0x9c);
	outb(0x40, 0x2e);                    /* 11932 ticks: 10 ms */
	assert_int_equal(read_count(0), 11932);
	clock_set(m->clock, 5 * MS);
	assert_in_range(read_count(0), 5966, 5968);
	clock_set(m->clock, 12 * MS);
	assert_in_range(read_count(0), 9545, 9548);
	fixture_state_round_trip(device(m, "i8254"));
	fixture_free(m);
}

static void pit_interrupts(void **unused)
{
	struct machine *m = board();
	outb(0x43, 0x34);
	outb(0x40, 0x9c);
	outb(0x40, 0x2e);
	while (i8259_ack(m) >= 0)
		outb(0x20, 0x20);
	unsigned kicks = fx.kicks;
	assert_true(fixture_until(m, &fx.kicks, kicks));
	assert_int_equal(i8259_ack(m), 0x20);
	fixture_free(m);
}

static void pit_readback_and_gate(void **unused)
{
	struct machine *m = board();
	outb(0x61, 0);
	outb(0x43, 0xb0);                    /* channel 2, mode 0 */
	outb(0x42, 0xe8);
	outb(0x42, 0x03);
	outb(0x43, 0xe8);                    /* status of channel 2 */
	assert_int_equal(inb(0x42), 0x30);
	clock_set(m->clock, 10 * MS);
	assert_false(inb(0x61) & 0x20);      /* gated off: it does not count */
	outb(0x61, 1);
	assert_false(inb(0x61) & 0x20);
	clock_set(m->clock, 11 * MS);        /* 1000 ticks are 838 us */
	assert_true(inb(0x61) & 0x20);
	fixture_free(m);
}

/* --- RTC ---------------------------------------------------------------------- */
static uint8_t cmos(uint8_t index)
{
	outb(0x70, index);
	return inb(0x71);
}

static void set_cmos(uint8_t index, uint8_t v)
{
	outb(0x70, index);
	outb(0x71, v);
}

static void rtc_tells_the_time(void **unused)
{
	struct machine *m = board();
	clock_set_wall_base(m->clock, 951827696 * 1000000000ll);   /* 2000-02-29 12:34:56 */
	assert_int_equal(cmos(0), 0x56);
	assert_int_equal(cmos(2), 0x34);
	assert_int_equal(cmos(4), 0x12);
	assert_int_equal(cmos(6), 3);        /* Tuesday */
	assert_int_equal(cmos(7), 0x29);
	assert_int_equal(cmos(8), 0x02);
	assert_int_equal(cmos(9), 0x00);
	assert_int_equal(cmos(0x32), 0x20);
	clock_set(m->clock, 4000 * MS);
	assert_int_equal(cmos(0), 0x00);
	assert_int_equal(cmos(2), 0x35);
	set_cmos(0xb, 0x06);                 /* binary */
	clock_set(m->clock, 9999 * MS + 900000);
	assert_int_equal(cmos(0), 5);
	assert_true(cmos(0xa) & 0x80);       /* the next second is near */
	fixture_free(m);
}

static void rtc_can_be_set(void **unused)
{
	struct machine *m = board();
	clock_set_wall_base(m->clock, 0);
	set_cmos(0xb, 0x82);
	const uint8_t to[][2] = { { 0, 0x59 }, { 2, 0x59 }, { 4, 0x23 }, { 7, 0x31 }, { 8, 0x12 },
				  { 9, 0x99 }, { 0x32, 0x19 } };
	for (unsigned i = 0; i < ARRAY_SIZE(to); i++)
		set_cmos(to[i][0], to[i][1]);
	set_cmos(0xb, 0x02);
	assert_int_equal(cmos(0), 0x59);
	clock_set(m->clock, 1000 * MS);
	assert_int_equal(cmos(9), 0x00);
	assert_int_equal(cmos(0x32), 0x20);
	assert_int_equal(cmos(7), 0x01);
	fixture_state_round_trip(device(m, "mc146818"));
	fixture_free(m);
}

static void rtc_periodic_interrupt(void **unused)
{
	struct machine *m = board();
	set_cmos(0xb, 0x42);                 /* 1024 Hz */
	assert_true(fixture_until(m, &fx.kicks, fx.kicks));
	assert_int_equal(i8259_ack(m), 0x28);
	assert_int_equal(cmos(0xc), 0xc0);
	assert_int_equal(cmos(0xc), 0);
	fixture_free(m);
}

/* --- HPET --------------------------------------------------------------------- */
static void hpet_counts_and_interrupts(void **unused)
{
	struct machine *m = board();
	assert_int_equal(mmio_in(BOARD_HPET), 0x8086a201);
	assert_int_equal(mmio_in(BOARD_HPET + 4), 10000000);
	clock_set(m->clock, 1 * MS);
	assert_int_equal(mmio_in(BOARD_HPET + 0xf0), 0);
	mmio_out(BOARD_HPET + 0x10, 1);
	clock_set(m->clock, 2 * MS);
	assert_int_equal(mmio_in(BOARD_HPET + 0xf0), 100000);
	mmio_out(BOARD_HPET + 0x10, 3);      /* legacy: timer 0 is IRQ 0 */
	mmio_out(BOARD_HPET + 0x100, 0x104);
	mmio_out(BOARD_HPET + 0x108, 200000);
	while (i8259_ack(m) >= 0)
		outb(0x20, 0x20);
	assert_true(fixture_until(m, &fx.kicks, fx.kicks));
	assert_int_equal(i8259_ack(m), 0x20);
	fixture_state_round_trip(device(m, "hpet"));
	fixture_free(m);
}

static void hpet_periodic_level(void **unused)
{
	struct machine *m = board();
	mmio_out(BOARD_IOAPIC, 0x10 + 2 * 20);
	mmio_out(BOARD_IOAPIC + 0x10, 0x8051);
	mmio_out(BOARD_HPET + 0x10, 1);
	mmio_out(BOARD_HPET + 0x100, 20 << 9 | 0x14e);   /* GSI 20, level, periodic, set value */
	mmio_out(BOARD_HPET + 0x108, 100000);
	mmio_out(BOARD_HPET + 0x108, 100000);
	assert_true(fixture_until(m, &fx.messages, 0));
	assert_int_equal(fx.last_vector, 0x51);
	assert_int_equal(mmio_in(BOARD_HPET + 0x20), 1);
	mmio_out(BOARD_HPET + 0x20, 1);
	ioapic_eoi(m, 0x51);
	assert_true(fixture_until(m, &fx.messages, 1));
	fixture_free(m);
}

/* --- ACPI --------------------------------------------------------------------- */
static void pm_timer_and_power(void **unused)
{
	struct machine *m = board();
	clock_set(m->clock, 1000 * MS);
	assert_int_equal(in(BOARD_PM_BASE + 8, 4), 3579545);
	mmio_out(BOARD_IOAPIC, 0x10 + 2 * BOARD_SCI);
	mmio_out(BOARD_IOAPIC + 0x10, 0x8061);
	acpi_pm_power_button(m);
	assert_int_equal(fx.messages, 0);    /* not enabled yet */
	out(BOARD_PM_BASE + 2, 0x100, 2);
	assert_int_equal(fx.last_vector, 0x61);
	assert_int_equal(in(BOARD_PM_BASE, 2) & 0x100, 0x100);
	out(BOARD_PM_BASE, 0x100, 2);
	assert_int_equal(in(BOARD_PM_BASE, 2) & 0x100, 0);
	assert_int_equal(in(BOARD_PM_BASE + 4, 2), 1);   /* SCI_EN */
	out(BOARD_PM_BASE + 4, 0x2000, 2);
	assert_int_equal(fx.end, END_POWEROFF);
	fixture_state_round_trip(device(m, "acpi-pm"));
	fixture_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pit_counts_down),
		cmocka_unit_test(pit_interrupts),
		cmocka_unit_test(pit_readback_and_gate),
		cmocka_unit_test(rtc_tells_the_time),
		cmocka_unit_test(rtc_can_be_set),
		cmocka_unit_test(rtc_periodic_interrupt),
		cmocka_unit_test(hpet_counts_and_interrupts),
		cmocka_unit_test(hpet_periodic_level),
		cmocka_unit_test(pm_timer_and_power),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
