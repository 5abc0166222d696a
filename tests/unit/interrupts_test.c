/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 8259 pair and the I/O APIC, driven through ports, memory and lines. */
#include "board_fixture.h"

static void init_pair(void)
{
	outb(0x20, 0x11); outb(0x21, 0x20); outb(0x21, 4); outb(0x21, 1);
	outb(0xa0, 0x11); outb(0xa1, 0x28); outb(0xa1, 2); outb(0xa1, 1);
	outb(0x21, 0);
	outb(0xa1, 0);
}

static struct machine *pair(void)
{
	struct machine *m = fixture_new(2 * MiB);
	fixture_controllers(m);
	init_pair();
	return m;
}

static void edge_is_latched_and_taken(void **unused)
{
	struct machine *m = pair();
	i8259_set(m, 4, true);
	i8259_set(m, 4, false);           /* a pulse is not lost */
	assert_true(i8259_pending(m));
	assert_int_equal(fx.kicks, 1);
	assert_int_equal(i8259_ack(m), 0x24);
	assert_false(i8259_pending(m));
	outb(0x20, 0x0b);
	assert_int_equal(inb(0x20), 0x10);   /* in service */
	outb(0x20, 0x20);
	assert_int_equal(inb(0x20), 0);
	fixture_free(m);
}

static void priority_and_nesting(void **unused)
{
	struct machine *m = pair();
	i8259_set(m, 5, true);
	i8259_set(m, 1, true);
	assert_int_equal(i8259_ack(m), 0x21);
	assert_false(i8259_pending(m));      /* 5 waits for 1 */
	outb(0x20, 0x20);
	assert_int_equal(i8259_ack(m), 0x25);
	i8259_set(m, 0, true);               /* higher: interrupts the handler of 5 */
	assert_int_equal(i8259_ack(m), 0x20);
	outb(0x20, 0x60);
	outb(0x20, 0x65);                    /* specific EOIs */
	outb(0x20, 0x0b);
	assert_int_equal(inb(0x20), 0);
	fixture_free(m);
}

static void cascade_and_mask(void **unused)
{
	struct machine *m = pair();
	outb(0xa1, 0x10);
	i8259_set(m, 12, true);
	assert_false(i8259_pending(m));
	outb(0xa1, 0);
	assert_int_equal(i8259_ack(m), 0x2c);
	outb(0xa0, 0x20);
	outb(0x20, 0x20);
	assert_int_equal(i8259_ack(m), -1);
	fixture_free(m);
}

static void level_follows_the_line(void **unused)
{
	struct machine *m = pair();
	outb(0x4d1, 0xff);
	assert_int_equal(inb(0x4d1), 0xde);  /* IRQ 8 and 13 stay edge */
	i8259_set(m, 10, true);
	assert_int_equal(i8259_ack(m), 0x2a);
	outb(0xa0, 0x20);
	outb(0x20, 0x20);
	assert_true(i8259_pending(m));       /* still high: again */
	i8259_set(m, 10, false);
	assert_false(i8259_pending(m));
	fixture_free(m);
}

static void poll_mode_and_rotation(void **unused)
{
	struct machine *m = pair();
	i8259_set(m, 3, true);
	outb(0x20, 0x0c);
	assert_int_equal(inb(0x20), 0x83);
	outb(0x20, 0xa0);                    /* rotate on EOI: 3 is lowest now */
	i8259_set(m, 3, false);
	i8259_set(m, 3, true);
	i8259_set(m, 7, true);
	assert_int_equal(i8259_ack(m), 0x27);
	fixture_state_round_trip(m->devices);
	fixture_free(m);
}

/* --- I/O APIC ---------------------------------------------------------------- */
static void set_entry(unsigned pin, uint32_t high, uint32_t low)
{
	mmio_out(BOARD_IOAPIC, 0x11 + pin * 2);
	mmio_out(BOARD_IOAPIC + 0x10, high);
	mmio_out(BOARD_IOAPIC, 0x10 + pin * 2);
	mmio_out(BOARD_IOAPIC + 0x10, low);
}

static uint32_t entry_low(unsigned pin)
{
	mmio_out(BOARD_IOAPIC, 0x10 + pin * 2);
	return mmio_in(BOARD_IOAPIC + 0x10);
}

static void ioapic_edge(void **unused)
{
	struct machine *m = pair();
	mmio_out(BOARD_IOAPIC, 1);
	assert_int_equal(mmio_in(BOARD_IOAPIC + 0x10), 0x170020);
	assert_int_equal(entry_low(4), 0x10000);
	set_entry(4, 0, 0x34);
	ioapic_set(m, 4, true);
	ioapic_set(m, 4, true);
	assert_int_equal(fx.messages, 1);
	assert_int_equal(fx.last_vector, 0x34);
	ioapic_set(m, 4, false);
	ioapic_set(m, 4, true);
	assert_int_equal(fx.messages, 2);
	fixture_free(m);
}

static void ioapic_level(void **unused)
{
	struct machine *m = pair();
	set_entry(16, 0, 0x8041);
	ioapic_set(m, 16, true);
	assert_int_equal(fx.messages, 1);
	assert_true(entry_low(16) & 0x4000);
	ioapic_eoi(m, 0x41);                 /* still high: sent again */
	assert_int_equal(fx.messages, 2);
	ioapic_set(m, 16, false);
	ioapic_eoi(m, 0x41);
	assert_int_equal(fx.messages, 2);
	assert_false(entry_low(16) & 0x4000);
	set_entry(16, 0, 0x18041);
	ioapic_set(m, 16, true);             /* masked: sent when unmasked */
	assert_int_equal(fx.messages, 2);
	set_entry(16, 0, 0x8041);
	assert_int_equal(fx.messages, 3);
	ioapic_set(m, 16, false);
	mmio_out(BOARD_IOAPIC + 0x40, 0x41); /* the EOI register */
	assert_false(entry_low(16) & 0x4000);
	fixture_state_round_trip(m->devices->next);
	fixture_free(m);
}

static void isa_zero_is_input_two(void **unused)
{
	struct machine *m = pair();
	struct irq_line line = board_gsi(m, 0);
	set_entry(2, 0, 0x30);
	irq_set(&line, true);
	assert_int_equal(fx.last_vector, 0x30);
	assert_int_equal(i8259_ack(m), 0x20);
	fixture_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edge_is_latched_and_taken),
		cmocka_unit_test(priority_and_nesting),
		cmocka_unit_test(cascade_and_mask),
		cmocka_unit_test(level_follows_the_line),
		cmocka_unit_test(poll_mode_and_rotation),
		cmocka_unit_test(ioapic_edge),
		cmocka_unit_test(ioapic_level),
		cmocka_unit_test(isa_zero_is_input_two),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
