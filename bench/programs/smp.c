/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two threads: independent work (its scaling shows), and a lock handed to and fro. */
#include <pthread.h>
#include <stdatomic.h>

#include "work.h"

static void *spin(void *arg)
{
	uint64_t x = (uintptr_t)arg, n = x & 0xffffffff;
	for (uint64_t i = 0; i < n; i++)
		x = mix(x + i);
	return (void *)(uintptr_t)x;
}

static uint64_t threads(unsigned scale, unsigned count)
{
	pthread_t t[2];
	uint64_t sum = 0;
	void *r;
	for (unsigned i = 0; i < count; i++)
		must(!pthread_create(&t[i], NULL, spin, (void *)(uintptr_t)(scale * 1000ull)), "thread");
	for (unsigned i = 0; i < count; i++) {
		pthread_join(t[i], &r);
		sum += (uintptr_t)r;
	}
	return sum;
}

static uint64_t one(unsigned scale) { return threads(scale, 1); }
static uint64_t two(unsigned scale) { return threads(scale, 2); }

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t counter;

static void *locker(void *arg)
{
	for (uint64_t i = 0; i < (uintptr_t)arg; i++) {
		pthread_mutex_lock(&lock);
		counter++;
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static uint64_t handoff(unsigned scale)
{
	pthread_t t[2];
	counter = 0;
	for (unsigned i = 0; i < 2; i++)
		must(!pthread_create(&t[i], NULL, locker, (void *)(uintptr_t)scale), "thread");
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	return counter;
}

const struct work smp_work[] = {
	{ "one-thread", "smp", one, 50000 },
	{ "two-threads", "smp", two, 50000 },
	{ "lock", "smp", handoff, 300000 },
	{ 0 },
};
