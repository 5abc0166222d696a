/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long a guest would stand still for internal snapshots: requests of 4 KiB go one after
 * the other to a disk, while another thread makes a snapshot of it and deletes it again.
 *     build/bench/snapshot FILE.qcow2 [ROUNDS [MIB [SECONDS]]]
 * A line of JSON a round, in milliseconds: how long a snapshot takes to be prepared, to be
 * taken (the machine's vCPUs stand still meanwhile) and to come to the disk; how much of
 * the taking is the processor's; the longest that a request took while it was made, while it was
 * deleted, and between these.  With MIB, so much is written again between these, in pieces of a megabyte, so that
 * the deletion has as much to give back; before and after it requests are looked at for SECONDS
 * (10), as holes may be punched for long: the requests never pause.  back_mib: what the file system has again then.
 */
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "disk/disk.h"

enum { BLOCK = 4096, MUCH = 1 << 20 };

struct traffic {
	struct loop *loop;
	struct disk *disk;
	struct disk_request r;
	struct iovec v;
	uint64_t blocks, began, seed, requests;
	uint64_t longest;                 /* ns; atomic, as the other thread resets it */
	uint64_t rewrite;                 /* bytes to write in long pieces, from the end of those on; atomic */
	bool stop, failed;
};

static void next(struct traffic *t)
{
	uint64_t rewrite = __atomic_load_n(&t->rewrite, __ATOMIC_RELAXED);
	t->seed = t->seed * 6364136223846793005ull + 1442695040888963407ull;
	t->r.offset = (t->seed >> 20) % t->blocks * BLOCK;
	t->r.length = t->v.iov_len = BLOCK;
	if (rewrite) {
		t->r.offset = rewrite - MUCH;
		t->r.length = t->v.iov_len = MUCH;
		__atomic_store_n(&t->rewrite, rewrite - MUCH, __ATOMIC_RELAXED);
	}
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

/* Between the making of a snapshot and its deletion: clusters are copied. */
static double between(struct traffic *t, uint64_t rewrite, unsigned seconds)
{
	__atomic_store_n(&t->rewrite, rewrite, __ATOMIC_RELAXED);
	usleep(300000);
	while (rewrite && __atomic_load_n(&t->rewrite, __ATOMIC_RELAXED))
		usleep(10000);
	if (rewrite)
		take_longest(t);
	sleep(rewrite ? seconds : 0);
	return take_longest(t);
}

static double file_mib(const char *path)
{
	struct stat st;
	return stat(path, &st) ? 0 : (double)st.st_blocks / 2048;
}

struct plan { const char *path; int rounds; uint64_t rewrite; unsigned seconds; };

static bool round_of(struct traffic *t, const struct plan *plan, struct error *err)
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
	double making = take_longest(t), before = between(t, plan->rewrite, plan->seconds), size = file_mib(plan->path);
	if (!step(t, DISK_SNAPSHOT_DELETE, &delete, err))
		return false;
	double deleting = take_longest(t);
	printf("{\"prepare_ms\": %.2f, \"take_ms\": %.2f, \"take_cpu_ms\": %.2f, \"keep_ms\": %.2f, \"delete_ms\": %.2f, "
	       "\"longest_making_ms\": %.2f, \"longest_before_ms\": %.2f, \"longest_deleting_ms\": %.2f", prepare, take,
	       cpu, keep, delete, making, before, deleting);
	if (plan->rewrite) {
		sleep(plan->seconds);
		printf(", \"longest_after_ms\": %.2f, \"back_mib\": %.0f", take_longest(t), size - file_mib(plan->path));
	}
	printf("}\n");
	fflush(stdout);
	return !t->failed || error_set(err, 0, "a request has failed");
}

int main(int argc, char **argv)
{
	static uint8_t buf[MUCH];
	struct error err = { 0 };
	struct traffic t = { .loop = loop_new(&err), .v = { buf, BLOCK } };
	struct plan plan = { .path = argv[1], .rounds = argc > 2 ? atoi(argv[2]) : 5,
			     .rewrite = argc > 3 ? strtoull(argv[3], NULL, 10) << 20 : 0,
			     .seconds = argc > 4 ? (unsigned)atoi(argv[4]) : 10 };
	struct disk_options o = { .path = argv[1], .fd = -1, .format = "qcow2" };
	struct disk_info info;
	pthread_t thread;
	t.disk = t.loop && argc > 1 ? disk_open(&o, t.loop, &err) : NULL;
	if (!t.disk) {
		fprintf(stderr, "bench/snapshot FILE [ROUNDS [MIB [SECONDS]]]: %s\n", err.text);
		return 1;
	}
	disk_get_info(t.disk, &info);
	t.blocks = info.size / BLOCK;
	plan.rewrite = MIN(plan.rewrite, ALIGN_DOWN(info.size, MUCH));
	t.r = (struct disk_request){ .op = DISK_WRITE, .length = BLOCK, .iov = &t.v, .niov = 1, .done = done, .opaque = &t };
	bool ok = !pthread_create(&thread, NULL, traffic_run, &t);
	for (int n = plan.rounds; n > 0 && ok; n--)
		ok = round_of(&t, &plan, &err);
	__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	disk_close(t.disk);
	loop_free(t.loop);
	if (!ok)
		fprintf(stderr, "bench/snapshot: %s\n", err.text);
	return !ok;
}
