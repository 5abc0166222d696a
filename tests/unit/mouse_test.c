/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PS/2 mouse behind its controller: probing, the wheel, packets, a slow guest. */
#include "board_fixture.h"

#include "device/mouse.h"

static struct device *mouse;

static struct machine *board(void)
{
	struct machine *m = fixture_new(2 * MiB);
	fixture_controllers(m);
	assert_true(i8042_create(m, NULL) && mouse_create(m, NULL));
	for (mouse = m->devices; mouse->next; mouse = mouse->next)
		;
	return m;
}

static void expect(const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(inb(0x64) & 0x21, 0x21);
		assert_int_equal(inb(0x60), bytes[i]);
	}
	assert_int_equal(inb(0x64) & 1, 0);
}
#define EXPECT(...) expect((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void tell(uint8_t byte)
{
	outb(0x64, 0xd4);
	outb(0x60, byte);
}

static void rate(uint8_t r)
{
	tell(0xf3);
	EXPECT(0xfa);
	tell(r);
	EXPECT(0xfa);
}

static void is_probed(void **unused)
{
	struct machine *m = board();
	tell(0xff);
	EXPECT(0xfa, 0xaa, 0x00);
	tell(0xf2);
	EXPECT(0xfa, 0x00);
	tell(0xe9);
	EXPECT(0xfa, 0x00, 0x02, 100);
	tell(0x77);
	EXPECT(0xfe);
	tell(0xee);
	EXPECT(0xfa);
	tell(0xf2);
	EXPECT(0xf2);                        /* an echo, no command */
	tell(0xec);
	EXPECT(0xfa);
	fixture_free(m);
}

static void packets(void **unused)
{
	struct machine *m = board();
	assert_true(mouse_move(m, 5, 5, 0, NULL));
	assert_int_equal(inb(0x64) & 1, 0);  /* not told to stream */
	tell(0xf4);
	assert_int_equal(inb(0x60), 0xfa);
	EXPECT(0x28, 5, 0xfb);
	assert_true(mouse_move(m, -300, 10, 0, NULL));
	EXPECT(0x38, 0x01, 0xf6, 0x18, 0xd3, 0x00);
	assert_true(mouse_buttons(m, MOUSE_LEFT, NULL) && mouse_buttons(m, 0, NULL));
	EXPECT(0x09, 0, 0, 0x08, 0, 0);
	fixture_free(m);
}

static void wheel(void **unused)
{
	struct machine *m = board();
	rate(200);
	rate(100);
	rate(80);
	tell(0xf2);
	EXPECT(0xfa, 0x03);
	tell(0xf4);
	EXPECT(0xfa);
	assert_true(mouse_move(m, 0, 0, -1, NULL));
	EXPECT(0x08, 0, 0, 0xff);
	fixture_free(m);
}

static void a_slow_guest_loses_no_way(void **unused)
{
	struct machine *m = board();
	int x = 0;
	tell(0xf4);
	EXPECT(0xfa);
	for (unsigned i = 0; i < 1000; i++)
		assert_true(mouse_move(m, 2, 0, 0, NULL));
	fixture_state_round_trip(mouse);
	while (inb(0x64) & 1) {
		inb(0x60);
		x += inb(0x60);
		inb(0x60);
	}
	assert_int_equal(x, 2000);
	for (unsigned i = 0; i < 1000; i++)
		assert_true(mouse_buttons(m, i & 1, NULL) && mouse_move(m, 1 << 30, -(1 << 30), 1 << 30, NULL));
	fixture_state_round_trip(mouse);
	fixture_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_probed),
		cmocka_unit_test(packets),
		cmocka_unit_test(wheel),
		cmocka_unit_test(a_slow_guest_loses_no_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
