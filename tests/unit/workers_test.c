/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads for what blocks: the works of a lane keep their order, and keep nobody from his turn. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <semaphore.h>
#include <time.h>

#include "disk/workers.h"

enum { LANE_WORKS = 500 };

struct scene {
	struct loop *loop;
	struct workers *workers;
	struct lane lane;
	sem_t gate;
	unsigned begun, at_once, most_at_once, done;
};

struct job { struct work work; struct scene *scene; unsigned place; bool held, slow; };

/* Its place among all that have begun is noted. */
static void job_run(struct work *w)
{
	struct job *j = container_of(w, struct job, work);
	struct scene *s = j->scene;
	unsigned now = __atomic_add_fetch(&s->at_once, 1, __ATOMIC_SEQ_CST);
	if (now > __atomic_load_n(&s->most_at_once, __ATOMIC_SEQ_CST))
		__atomic_store_n(&s->most_at_once, now, __ATOMIC_SEQ_CST);
	j->place = __atomic_fetch_add(&s->begun, 1, __ATOMIC_SEQ_CST);
	while (j->held && sem_wait(&s->gate))
		;
	if (j->slow)                          /* longer than a batch takes by its time */
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	__atomic_sub_fetch(&s->at_once, 1, __ATOMIC_SEQ_CST);
}

static void job_done(struct work *w)
{
	struct job *j = container_of(w, struct job, work);
	j->scene->done++;
}

static void submit(struct scene *s, struct job *j, struct lane *lane, bool held)
{
	*j = (struct job){ .work = { .run = job_run, .done = job_done, .lane = lane }, .scene = s, .held = held };
	workers_submit(s->workers, &j->work);
}

static void scene_begin(struct scene *s, unsigned threads)
{
	*s = (struct scene){ .loop = loop_new(NULL) };
	s->workers = workers_new(s->loop, threads, NULL);
	assert_non_null(s->workers);
	assert_int_equal(sem_init(&s->gate, 0, 0), 0);
}

static void scene_end(struct scene *s, unsigned works)
{
	while (s->done < works)
		workers_wait(s->workers);
	assert_int_equal(s->done, works);
	workers_free(s->workers);
	loop_free(s->loop);
	sem_destroy(&s->gate);
}

static void test_lane_keeps_its_order(void **state)
{
	static struct job jobs[LANE_WORKS];
	struct scene s;
	scene_begin(&s, 4);
	for (unsigned i = 0; i < LANE_WORKS; i++)
		submit(&s, &jobs[i], &s.lane, false);
	scene_end(&s, LANE_WORKS);
	assert_int_equal(s.most_at_once, 1);
	for (unsigned i = 0; i < LANE_WORKS; i++)
		assert_int_equal(jobs[i].place, i);
}

/* One thread, and a work that comes after a long lane's has its turn long before the lane's end. */
static void test_lane_lets_others_in_between(void **state)
{
	static struct job jobs[LANE_WORKS], other;
	struct scene s;
	scene_begin(&s, 1);
	for (unsigned i = 0; i < LANE_WORKS; i++)
		submit(&s, &jobs[i], &s.lane, !i);
	submit(&s, &other, NULL, false);
	sem_post(&s.gate);
	scene_end(&s, LANE_WORKS + 1);
	assert_in_range(other.place, 1, 100);
}

/* A lane that is held up holds up nobody else: what would free it goes on beside it. */
static void test_lane_that_waits_stops_nobody(void **state)
{
	static struct job held, next, other[20];
	struct scene s;
	scene_begin(&s, 2);
	submit(&s, &held, &s.lane, true);
	submit(&s, &next, &s.lane, false);
	for (unsigned i = 0; i < ARRAY_SIZE(other); i++)
		submit(&s, &other[i], NULL, false);
	while (s.done < ARRAY_SIZE(other))
		workers_wait(s.workers);
	assert_int_equal(next.place, 0);
	sem_post(&s.gate);
	scene_end(&s, ARRAY_SIZE(other) + 2);
	assert_int_equal(next.place, ARRAY_SIZE(other) + 1);
}

/* What a lane has done is heard of while it still has work. */
static void test_lane_gives_back_before_its_end(void **state)
{
	static struct job jobs[LANE_WORKS];
	struct scene s;
	scene_begin(&s, 1);
	for (unsigned i = 0; i < LANE_WORKS; i++)
		submit(&s, &jobs[i], &s.lane, i == LANE_WORKS - 1);
	while (s.done < LANE_WORKS / 2)
		workers_wait(s.workers);
	assert_true(s.done < LANE_WORKS);
	sem_post(&s.gate);
	scene_end(&s, LANE_WORKS);
}

/* Where many wait, slow ones are not given back one by one: each time wakes the loop's thread. */
static void test_deep_lane_gives_back_several(void **state)
{
	static struct job jobs[64];
	struct scene s;
	scene_begin(&s, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(jobs); i++) {
		submit(&s, &jobs[i], &s.lane, !i);
		jobs[i].slow = true;                  /* the first is held */
	}
	sem_post(&s.gate);
	workers_wait(s.workers);
	assert_in_range(s.done, 5, ARRAY_SIZE(jobs));
	scene_end(&s, ARRAY_SIZE(jobs));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lane_keeps_its_order),
		cmocka_unit_test(test_lane_lets_others_in_between),
		cmocka_unit_test(test_lane_that_waits_stops_nobody),
		cmocka_unit_test(test_lane_gives_back_before_its_end),
		cmocka_unit_test(test_deep_lane_gives_back_several),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
