/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver of fuzz targets: see fuzz.h.  Inputs run in a child process; the
 * current one lies in shared memory, so that the parent can keep it.
 */
#include "lib/fuzz.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SAMPLES = 256, BATCH = 64, HANG_SECONDS = 60 };

struct shared { size_t size; unsigned long runs; uint8_t data[FUZZ_MAX]; };
static struct shared *now;
static struct { uint8_t *data; size_t size; } samples[MAX_SAMPLES];
static unsigned nsamples;
static uint64_t seed;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void load_samples(void)
{
	static uint8_t buf[FUZZ_MAX];
	size_t n;
	while (nsamples < MAX_SAMPLES && (n = fuzz_sample(nsamples, buf))) {
		samples[nsamples].data = malloc(n);
		memcpy(samples[nsamples].data, buf, n);
		samples[nsamples++].size = n;
	}
}

static void start_input(void)
{
	now->size = 0;
	if (nsamples && rnd() % 16) {
		unsigned i = (unsigned)(rnd() % nsamples);
		now->size = samples[i].size;
		memcpy(now->data, samples[i].data, now->size);
	} else {
		now->size = rnd() % 512;
		for (size_t i = 0; i < now->size; i++)
			now->data[i] = (uint8_t)rnd();
	}
}

static void mutate(void)
{
	static const uint64_t edges[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
					  0x80000000, 0xffffffff, UINT64_MAX, 0x7fffffffffffffff };
	if (!now->size)
		return;
	size_t at = rnd() % now->size, width = (size_t)1 << rnd() % 4;
	uint64_t v = rnd() % 2 ? edges[rnd() % (sizeof(edges) / sizeof(*edges))] : rnd();
	switch (rnd() % 8) {
	case 0: case 1:
		now->data[at] ^= (uint8_t)(1 << rnd() % 8);
		break;
	case 2:
		now->data[at] = (uint8_t)rnd();
		break;
	case 3: case 4:
		if (at + width <= now->size)
			memcpy(now->data + at, &v, width);
		break;
	case 5:
		now->size = at;
		break;
	case 6: {
		size_t from = rnd() % now->size, n = rnd() % 64;
		if (from + n <= now->size && at + n <= now->size)
			memmove(now->data + at, now->data + from, n);
		break;
	}
	default:
		if (now->size + width <= FUZZ_MAX) {
			memmove(now->data + at + width, now->data + at, now->size - at);
			memcpy(now->data + at, &v, width);
			now->size += width;
		}
	}
}

static void child(time_t until)
{
	while (time(NULL) < until) {
		alarm(HANG_SECONDS);
		for (unsigned i = 0; i < BATCH; i++) {
			start_input();
			for (unsigned n = 1 + rnd() % 8; n; n--)
				mutate();
			fuzz_one(now->data, now->size);
			now->runs++;
		}
	}
	_exit(0);
}

static int run_files(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		if (!f) {
			perror(argv[i]);
			return 2;
		}
		now->size = fread(now->data, 1, FUZZ_MAX, f);
		fclose(f);
		fuzz_one(now->data, now->size);
	}
	return 0;
}

static int keep_crash(const char *program, int status)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s.crash", program);
	FILE *f = fopen(path, "wb");
	if (f) {
		fwrite(now->data, 1, now->size, f);
		fclose(f);
	}
	printf("%s: %s after %lu runs; the input is in %s\n", program,
	       WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "failed", now->runs, path);
	return 1;
}

int main(int argc, char **argv)
{
	int seconds = argc > 1 ? atoi(argv[1]) : 10, status;
	now = mmap(NULL, sizeof(*now), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (argc > 1 && !seconds)
		return run_files(argc, argv);
	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0x9e3779b97f4a7c15u;
	seed += !seed;
	printf("%s: %d s, seed %#llx\n", argv[0], seconds, (unsigned long long)seed);
	fflush(stdout);
	load_samples();
	for (unsigned i = 0; i < nsamples; i++)
		fuzz_one(samples[i].data, samples[i].size);
	pid_t pid = fork();
	if (pid == 0)
		child(time(NULL) + seconds);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status)
		return keep_crash(argv[0], status);
	printf("%s: %lu runs, no crash\n", argv[0], now->runs);
	return 0;
}
