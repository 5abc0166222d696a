/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How fast work behind a guest's back goes, by a clock of our own. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "disk/pace.h"

#define MS 1000000ull
#define SECOND (1000 * MS)

struct world { struct pace p; struct pace_work w; uint64_t now, worked, paused, bytes; };

static void begin(struct world *x)
{
	*x = (struct world){ .now = 1000 * SECOND };
	pace_init(&x->p);
	x->p.works = 1;
	x->w = (struct pace_work){ .from = x->now, .since = x->now };
}

/* A request that ends now. */
static void request(struct world *x, uint64_t took)
{
	x->p.came++;
	pace_timed(&x->p, x->now - took);
	pace_answer(&x->p, x->now - took, x->now);
}

static uint64_t work(struct world *x, uint64_t took, uint64_t bytes)
{
	x->now += took;
	x->worked += took;
	x->bytes += bytes;
	uint64_t pause = pace_pause(&x->p, &x->w, bytes, x->now);
	x->now += pause;
	x->paused += pause;
	return pause;
}

/* Nobody asks for anything: no pause, and pieces become as large as their time allows. */
static void idle(void **state)
{
	struct world x;
	begin(&x);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(pace_is_quiet(&x.p, x.now));
		assert_int_equal(work(&x, 3 * MS, pace_piece(&x.p)), 0);
	}
	assert_true(pace_piece(&x.p) >= 256 << 20);
	for (unsigned i = 0; i < 100; i++)
		work(&x, 30 * MS, pace_piece(&x.p));
	assert_true(pace_piece(&x.p) <= 64 << 10);
	pace_free(&x.p);
}

/* Requests that are quick: half of the time is theirs. Slow ones: much more, but the work goes on; then they are quick again. */
static void busy(void **state)
{
	struct world x;
	begin(&x);
	for (unsigned i = 0; i < 100; i++) {
		request(&x, MS / 10);
		work(&x, 2 * MS, 0);
	}
	assert_true(x.paused >= x.worked);
	assert_true(x.paused <= 2 * x.worked);
	x.worked = x.paused = 0;
	for (unsigned i = 0; i < 100; i++) {
		request(&x, 30 * MS);
		assert_true(work(&x, 2 * MS, 0) <= 50 * MS);
	}
	assert_true(x.paused >= 10 * x.worked);
	assert_true(x.paused <= 16 * x.worked);
	for (unsigned i = 0; i < 20; i++) {
		request(&x, MS / 10);
		work(&x, 2 * MS, 0);
	}
	assert_int_equal(work(&x, 2 * MS, 0), 0);       /* nobody has asked for anything since */
	pace_free(&x.p);
}

/* One that is waiting still counts as slow, and holds the next piece up. */
static void stuck(void **state)
{
	struct world x;
	begin(&x);
	pace_timed(&x.p, x.now);
	assert_false(pace_is_stuck(&x.p, x.now + 9 * MS));
	assert_true(pace_is_stuck(&x.p, x.now + 11 * MS));
	assert_false(pace_is_quiet(&x.p, x.now + 11 * MS));
	work(&x, 20 * MS, 0);
	assert_true(work(&x, 20 * MS, 0) >= 40 * MS);
	pace_answer(&x.p, x.now - SECOND, x.now);
	assert_false(pace_is_stuck(&x.p, x.now + SECOND));
	pace_free(&x.p);
}

static void quiet(void **state)
{
	struct world x;
	begin(&x);
	assert_true(pace_is_quiet(&x.p, x.now));
	for (unsigned i = 0; i < 5; i++)
		request(&x, MS);
	assert_false(pace_is_quiet(&x.p, x.now + MS));
	assert_false(pace_is_quiet(&x.p, x.now + 51 * MS));    /* that was the window with the five */
	assert_true(pace_is_quiet(&x.p, x.now + 102 * MS));
	for (unsigned i = 0; i < 4; i++)
		request(&x, MS);
	assert_true(pace_is_quiet(&x.p, x.now + 103 * MS));
	pace_free(&x.p);
}

/* A guest that is never quiet for a minute. */
struct minute { unsigned tries; uint64_t first, longest, bytes; };

/* Holes take so long, and so much longer a megabyte. They come after quiet ones that were quick, and long at last. */
static struct minute minute_of_tries(uint64_t took, uint64_t took_mib)
{
	struct world x;
	struct minute m = { 0 };
	begin(&x);
	for (unsigned i = 0; i < 20; i++) {
		assert_true(pace_is_quiet(&x.p, x.now));
		work(&x, MS, pace_piece(&x.p));
	}
	assert_int_equal(pace_piece(&x.p), 256 << 20);
	for (uint64_t end = x.now + 60 * SECOND; x.now < end; x.now += MS) {
		for (unsigned i = 0; i < 5; i++)
			request(&x, MS / 10);
		if (pace_is_quiet(&x.p, x.now) || !pace_may_try(&x.p, x.now))
			continue;
		uint64_t piece = pace_piece(&x.p), takes = took + took_mib * piece / MiB;
		x.w.from = x.w.since = x.now;
		work(&x, takes, piece);
		m.first = m.tries++ ? m.first : piece;
		m.longest = MAX(m.longest, takes);
		m.bytes += piece;
	}
	pace_free(&x.p);
	return m;
}

static void tries(void **state)
{
	assert_int_equal(minute_of_tries(150 * MS, 0).tries, 1);
	assert_in_range(minute_of_tries(10 * MS, 0).tries, 4, 7);
	assert_in_range(minute_of_tries(MS, 0).tries, 5000, 30000);
}

/* They begin small, and become longer while that is cheap. */
static void tries_grow(void **state)
{
	struct minute quick = minute_of_tries(MS / 10, MS / 10), slow = minute_of_tries(MS / 10, 30 * MS);
	assert_int_equal(quick.first, 64 * KiB);
	assert_in_range(quick.bytes, 10 * GiB, 400 * GiB);
	assert_int_equal(slow.first, 64 * KiB);
	assert_true(slow.longest < 8 * MS);
	assert_true(slow.bytes > 100 * MiB);
}

static void hurry(void **state)
{
	struct world x;
	begin(&x);
	pace_hurry(&x.p);
	assert_int_equal(work(&x, 10 * MS, 1 << 30), 0);
	assert_false(pace_may_punch(&x.p));
	pace_free(&x.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(idle), cmocka_unit_test(busy), cmocka_unit_test(stuck),
		cmocka_unit_test(quiet), cmocka_unit_test(tries), cmocka_unit_test(tries_grow), cmocka_unit_test(hurry) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
