/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tapes: what was recorded comes back in order; anything else tears the tape. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "memory/tap.h"

static uint64_t counter;

static uint64_t tapped_read(uint64_t where)
{
	struct tape *t = tape_take();
	uint64_t value;

	if (t && tape_replay(t, TAPE_READ, where, 4, &value))
		return value;
	value = ++counter;
	tape_record(t, TAPE_READ, where, 4, value);
	return value;
}

static void tapped_write(uint64_t where, uint64_t value)
{
	struct tape *t = tape_take();

	if (t && tape_replay(t, TAPE_WRITE, where, 4, &value))
		return;
	counter += 100;
	tapped_read(1);                      /* nested: not on the tape */
	tape_record(t, TAPE_WRITE, where, 4, value);
}

static void test_replay(void **state)
{
	static struct tape t;
	uint64_t a, b;

	counter = 0;
	assert_int_equal(tapped_read(7), 1);          /* no tape */
	tape_now = &t;
	a = tapped_read(7);
	tapped_write(8, 5);
	b = tapped_read(7);
	assert_int_equal(counter, 104);
	assert_int_equal(t.n, 3);
	t.closed = true;
	t.next = 0;
	assert_int_equal(tapped_read(7), a);
	tapped_write(8, 5);
	assert_int_equal(tapped_read(7), b);
	assert_int_equal(counter, 104);
	assert_false(t.torn);
	assert_int_equal(tapped_read(7), 0);          /* past the end */
	assert_true(t.torn);
	tape_now = NULL;
	tape_free(&t);
}

static void test_torn(void **state)
{
	static struct tape t;

	tape_now = &t;
	tapped_write(8, 5);
	t.closed = true;
	t.next = 0;
	tapped_write(8, 6);
	assert_true(t.torn);
	tape_now = NULL;
	tape_free(&t);
}

/* What is left after a part was handed out comes first, or is forgotten. */
static void test_rest(void **state)
{
	static struct tape t;
	uint64_t b;

	tape_now = &t;
	tapped_read(1);
	b = tapped_read(2);
	t.next = 1;
	tape_rewind(&t);
	assert_int_equal(t.n, 1);
	assert_int_equal(tapped_read(2), b);
	assert_int_equal(tapped_read(3), b + 1);
	assert_int_equal(t.n, 2);
	t.next = 0;
	assert_int_equal(tapped_read(4), b + 2);
	assert_int_equal(t.n, 1);
	assert_false(t.torn);
	tape_now = NULL;
	tape_free(&t);
}

/* As much as comes. */
static void test_long(void **state)
{
	static struct tape t;

	counter = 0;
	tape_now = &t;
	for (unsigned n = 0; n < 65536; n++)
		tapped_read(n);
	t.closed = true;
	t.next = 0;
	for (unsigned n = 0; n < 65536; n++)
		assert_int_equal(tapped_read(n), n + 1);
	assert_false(t.torn);
	tape_now = NULL;
	tape_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_replay), cmocka_unit_test(test_torn),
					    cmocka_unit_test(test_rest), cmocka_unit_test(test_long) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
