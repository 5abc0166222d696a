/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long a guest would stand still for internal snapshots: requests of 4 KiB go one after
 * the other to a disk, while another thread makes a snapshot of it and deletes it again.
 *     build/bench/snapshot FILE.qcow2 [ROUNDS]
 * A line of JSON a round, in milliseconds: how long a snapshot takes to be prepared, to be
 * taken (the machine's vCPUs stand still meanwhile) and to come to the disk; how much of
 * the taking is the processor's; the longest that a request took while it was made, while it was
 * deleted, and between these.
 */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "disk/disk.h"

enum { BLOCK = 4096 };

struct traffic {
	struct loop *loop;
	struct disk *disk;
	struct disk_request r;
	struct iovec v;
	uint64_t blocks, began, seed, requests;
	uint64_t longest;                 /* ns; atomic, as the other thread resets it */
	bool stop, failed;
};

static void next(struct traffic *t)
{
	t->seed = t->seed * 6364136223846793005ull + 1442695040888963407ull;
	t->r.offset = (t->seed >> 20) % t->blocks * BLOCK;
	t->began = monotonic_ns();
	disk_submit(t->disk, &t->r);
}

static void again(void *opaque) { next(opaque); }

static void done(struct disk_request *r, int result)
{
	struct traffic *t = r->opaque;
	uint64_t took = monotonic_ns() - t->began;
	if (took > __atomic_load_n(&t->longest, __ATOMIC_RELAXED))
		__atomic_store_n(&t->longest, took, __ATOMIC_RELAXED);
	t->requests++;
	t->failed |= result != 0;
	if (t->failed || __atomic_load_n(&t->stop, __ATOMIC_RELAXED))
		return loop_stop(t->loop);
	loop_post(t->loop, again, t);
}

static void *traffic_run(void *opaque)
{
	struct traffic *t = opaque;
	loop_post(t->loop, again, t);
	loop_run(t->loop);
	return NULL;
}

static double processor_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double take_longest(struct traffic *t)
{
	return (double)__atomic_exchange_n(&t->longest, 0, __ATOMIC_RELAXED) / 1e6;
}

static double ms_since(uint64_t from) { return (double)(monotonic_ns() - from) / 1e6; }

static bool step(struct traffic *t, enum disk_snapshot what, double *took, struct error *err)
{
	uint64_t from = monotonic_ns();
	bool ok = disk_snapshot(t->disk, what, "bench", err);
	*took = ms_since(from);
	return ok;
}

static bool round_of(struct traffic *t, struct error *err)
{
	double prepare, take, keep, delete, cpu;
	take_longest(t);
	if (!step(t, DISK_SNAPSHOT_PREPARE, &prepare, err))
		return false;
	cpu = processor_ms();
	if (!step(t, DISK_SNAPSHOT_TAKE, &take, err))
		return false;
	cpu = processor_ms() - cpu;
	if (!step(t, DISK_SNAPSHOT_KEEP, &keep, err))
		return false;
	double making = take_longest(t);
	usleep(300000);                       /* clusters are copied */
	double before = take_longest(t);
	if (!step(t, DISK_SNAPSHOT_DELETE, &delete, err))
		return false;
	printf("{\"prepare_ms\": %.2f, \"take_ms\": %.2f, \"take_cpu_ms\": %.2f, \"keep_ms\": %.2f, \"delete_ms\": %.2f, "
	       "\"longest_making_ms\": %.2f, \"longest_before_ms\": %.2f, \"longest_deleting_ms\": %.2f}\n", prepare, take,
	       cpu, keep, delete, making, before, take_longest(t));
	fflush(stdout);
	return !t->failed || error_set(err, 0, "a request has failed");
}

int main(int argc, char **argv)
{
	static uint8_t buf[BLOCK];
	struct error err = { 0 };
	struct traffic t = { .loop = loop_new(&err), .v = { buf, BLOCK } };
	struct disk_options o = { .path = argv[1], .fd = -1, .format = "qcow2" };
	struct disk_info info;
	pthread_t thread;
	t.disk = t.loop && argc > 1 ? disk_open(&o, t.loop, &err) : NULL;
	if (!t.disk) {
		fprintf(stderr, "bench/snapshot FILE [ROUNDS]: %s\n", err.text);
		return 1;
	}
	disk_get_info(t.disk, &info);
	t.blocks = info.size / BLOCK;
	t.r = (struct disk_request){ .op = DISK_WRITE, .length = BLOCK, .iov = &t.v, .niov = 1, .done = done, .opaque = &t };
	bool ok = !pthread_create(&thread, NULL, traffic_run, &t);
	for (int n = argc > 2 ? atoi(argv[2]) : 5; n > 0 && ok; n--)
		ok = round_of(&t, &err);
	__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	disk_close(t.disk);
	loop_free(t.loop);
	if (!ok)
		fprintf(stderr, "bench/snapshot: %s\n", err.text);
	return !ok;
}
