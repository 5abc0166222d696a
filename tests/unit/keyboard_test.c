/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PS/2 keyboard behind its controller: probing, scan codes of both sets,
 * chords and text. */
#include "board_fixture.h"

#include "device/keyboard.h"

static struct device *keyboard, *typist;

static struct machine *board(void)
{
	struct machine *m = fixture_new(2 * MiB);
	fixture_controllers(m);
	assert_true(i8042_create(m, NULL) && ps2_keyboard_create(m, NULL));
	for (keyboard = m->devices; keyboard->next; keyboard = keyboard->next)
		;
	assert_true(typist_create(m, NULL));
	typist = keyboard->next;
	return m;
}

static void expect(const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(inb(0x64) & 0x21, 1);
		assert_int_equal(inb(0x60), bytes[i]);
	}
	assert_int_equal(inb(0x64) & 1, 0);
}
#define EXPECT(...) expect((const uint8_t[16]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void set_command_byte(uint8_t v)
{
	outb(0x64, 0x60);
	outb(0x60, v);
}

static void is_probed(void **unused)
{
	struct machine *m = board();
	outb(0x60, 0xff);
	EXPECT(0xfa, 0xaa);
	outb(0x60, 0xf2);
	EXPECT(0xfa, 0xab, 0x83);
	set_command_byte(0x41);              /* translated from now on */
	outb(0x60, 0xf2);
	EXPECT(0xfa, 0xab, 0x41);
	outb(0x60, 0xed);
	EXPECT(0xfa);
	outb(0x60, 0x02);
	EXPECT(0xfa);
	outb(0x60, 0xf0);
	EXPECT(0xfa);
	outb(0x60, 0x00);
	EXPECT(0xfa, 0x41);                  /* set 2, as the table shows it */
	fixture_free(m);
}

/* As long as it takes to press so many keys. */
static void later(struct machine *m, unsigned keys)
{
	for (unsigned i = 0; i < keys; i++) {
		clock_set(m->clock, clock_now(m->clock) + 40 * 1000 * 1000);
		clock_settle(m->clock);
	}
}

static void keys_in_both_sets(void **unused)
{
	struct machine *m = board();
	struct error err;
	assert_true(keyboard_chord(m, "ctrl-alt-delete", &err));
	EXPECT(0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11, 0xf0, 0x14);
	set_command_byte(0x41);
	later(m, 1);
	assert_true(keyboard_chord(m, "ctrl-alt-delete", &err));
	EXPECT(0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d);
	assert_true(keyboard_type(m, "a!\n", &err));
	later(m, 3);
	EXPECT(0x1e, 0x9e, 0x2a, 0x02, 0x82, 0xaa, 0x1c, 0x9c);
	assert_true(keyboard_chord(m, "f7", &err));
	later(m, 1);
	EXPECT(0x41, 0xc1);
	fixture_free(m);
}

static void interrupts(void **unused)
{
	struct machine *m = board();
	outb(0x20, 0x11); outb(0x21, 0x20); outb(0x21, 4); outb(0x21, 1); outb(0x21, 0);
	assert_true(keyboard_type(m, "x", NULL));
	assert_int_equal(i8259_ack(m), 0x21);
	outb(0x20, 0x20);
	inb(0x60);
	assert_int_equal(i8259_ack(m), 0x21);   /* the next byte is a new edge */
	fixture_state_round_trip(keyboard);
	fixture_free(m);
}

/* A key at a time, in order, and over a state file. */
static void types_at_a_pace(void **unused)
{
	struct machine *m = board();
	struct error err;
	set_command_byte(0x41);
	assert_true(keyboard_type(m, "abc", &err));
	assert_true(keyboard_chord(m, "enter", &err));
	EXPECT(0x1e, 0x9e);
	later(m, 1);
	EXPECT(0x30, 0xb0);
	assert_int_equal(typist_waiting(m), 2);
	fixture_state_round_trip(typist);
	assert_int_equal(typist_waiting(m), 2);
	later(m, 3);
	EXPECT(0x2e, 0xae, 0x1c, 0x9c);
	assert_int_equal(typist_waiting(m), 0);
	char long_text[3000];
	memset(long_text, 'x', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = 0;
	assert_false(keyboard_type(m, long_text, &err));
	assert_non_null(strstr(err.text, "2048"));
	later(m, 1);
	EXPECT();
	fixture_free(m);
}

static void words_that_are_no_keys(void **unused)
{
	struct machine *m = board();
	struct error err;
	assert_false(keyboard_chord(m, "ctrl-any", &err));
	assert_non_null(strstr(err.text, "ctrl-any"));
	assert_false(keyboard_chord(m, "a-b-c-d-e-f", &err));
	assert_false(keyboard_chord(m, "", &err));
	assert_false(keyboard_type(m, "ab\xc3\xa4", &err));
	EXPECT();
	bool full = false;
	for (unsigned i = 0; i < 5000 && !full; i++) {
		full = !keyboard_type(m, "X", &err);
		later(m, 1);
	}
	assert_true(full);
	assert_non_null(strstr(err.text, "does not read"));
	fixture_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_probed),
		cmocka_unit_test(keys_in_both_sets),
		cmocka_unit_test(interrupts),
		cmocka_unit_test(types_at_a_pace),
		cmocka_unit_test(words_that_are_no_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
