/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine time: order of timers, pause and resume, setting from other threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>

#include "memory/clock.h"

static struct loop *loop;
static char order[16];
static unsigned fired;

static void note(void *opaque)
{
	order[fired++] = *(const char *)opaque;
	if (*(const char *)opaque == 'Z')
		loop_stop(loop);
}

static void timers_fire_in_order(void **unused)
{
	struct error err;
	loop = loop_new(&err);
	struct machine_clock *c = clock_new(loop, &err);
	struct clock_timer a, b, d, z;
	clock_timer_init(&a, c, note, "a");
	clock_timer_init(&b, c, note, "b");
	clock_timer_init(&d, c, note, "d");
	clock_timer_init(&z, c, note, "Z");
	clock_set(c, 1000);
	clock_timer_set(&z, 3000000);
	clock_timer_set(&b, 2000000);
	clock_timer_set(&a, 1000000);
	clock_timer_set(&d, 1500000);
	clock_timer_cancel(&d);
	assert_int_equal(clock_now(c), 1000);
	clock_resume(c);
	loop_run(loop);
	assert_string_equal(order, "abZ");
	assert_true(clock_now(c) >= 3000000);
	clock_pause(c);
	uint64_t frozen = clock_now(c);
	usleep(2000);
	assert_true(clock_now(c) == frozen);
	clock_free(c);
	loop_free(loop);
}

static struct clock_timer late;

static void *setter(void *opaque)
{
	usleep(5000);
	clock_timer_set(&late, clock_now(opaque) + 1000);
	return NULL;
}

static void another_thread_arms(void **unused)
{
	struct error err;
	loop = loop_new(&err);
	struct machine_clock *c = clock_new(loop, &err);
	clock_timer_init(&late, c, note, "Z");
	clock_resume(c);
	pthread_t t;
	pthread_create(&t, NULL, setter, c);
	loop_run(loop);
	pthread_join(t, NULL);
	assert_true(muldiv64(UINT64_MAX, 1000, 2000) == UINT64_MAX / 2);
	clock_free(c);
	loop_free(loop);
}

static struct clock_timer again;

static void note_and_repeat(void *opaque)
{
	note(opaque);
	clock_timer_again(&again, clock_now(again.clock) + 1);
}

/* A timer that came due while nobody looked must not be lost in a saved state. */
static void what_is_due_fires_before_a_save(void **unused)
{
	struct error err;
	loop = loop_new(&err);
	struct machine_clock *c = clock_new(loop, &err);
	struct clock_timer due, later;
	memset(order, 0, sizeof(order));
	fired = 0;
	clock_timer_init(&due, c, note, "d");
	clock_timer_init(&later, c, note, "l");
	clock_timer_init(&again, c, note_and_repeat, "a");
	clock_timer_set(&due, 1000);
	clock_timer_set(&again, 1001);
	clock_timer_set(&later, 1002);
	clock_set(c, 1001);
	clock_settle(c);
	assert_string_equal(order, "da");
	assert_true(due.deadline == UINT64_MAX && later.deadline == 1002 && again.deadline == 1002);
	clock_resume(c);
	clock_settle(c);              /* runs: the loop's business */
	assert_string_equal(order, "da");
	clock_free(c);
	loop_free(loop);
}

/* 2^20 times slower: within a test's time it all but stands, and goes on from there. */
static void a_slow_machine_has_slow_time(void **unused)
{
	struct error err;
	loop = loop_new(&err);
	struct machine_clock *c = clock_new(loop, &err);
	struct clock_timer z;
	memset(order, 0, sizeof(order));
	fired = 0;
	clock_timer_init(&z, c, note, "Z");
	clock_set(c, 1000);
	clock_resume(c);
	clock_slow_down(c, 20);
	uint64_t before = clock_now(c);
	usleep(20000);
	assert_true(clock_now(c) >= before && clock_now(c) < before + 20000000);
	clock_timer_set(&z, clock_now(c) + 5000000);     /* 87 minutes of the host's */
	clock_slow_down(c, 0);
	before = clock_now(c);
	loop_run(loop);
	assert_string_equal(order, "Z");
	assert_true(clock_now(c) >= before + 4000000);
	clock_slow_down(c, 1);
	clock_timer_set(&z, clock_now(c) + 1000000);
	before = clock_now(c);
	loop_run(loop);
	assert_true(clock_now(c) >= before + 1000000);
	clock_free(c);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_in_order),
		cmocka_unit_test(another_thread_arms),
		cmocka_unit_test(what_is_due_fires_before_a_save),
		cmocka_unit_test(a_slow_machine_has_slow_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
