/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workloads: each does a fixed amount of work and returns a checksum that must
 * be the same wherever it runs.  Built statically, so that the same binary runs
 * natively and in every guest.
 */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct work {
	const char *name, *class;      /* class: integer float memory kernel smp */
	uint64_t (*run)(unsigned scale);
	unsigned scale;                /* work units: about 0.1 to 0.3 s natively */
};
extern const struct work integer_work[], float_work[], memory_work[], kernel_work[], smp_work[];

static inline uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static inline void must(int good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

#endif
