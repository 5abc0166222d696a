/* SPDX-License-Identifier: GPL-2.0-or-later */
/* work [NAME|CLASS]...: run workloads, print "RESULT name class seconds checksum". */
#include <sched.h>
#include <time.h>

#include "work.h"

/* Memory comes after kernel: fork copies the page tables of what is mapped. */
static const struct work *const all[] = { integer_work, float_work, kernel_work,
					memory_work, smp_work };

static double now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static int wanted(const struct work *w, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], w->name) || !strcmp(argv[i], w->class))
			return 1;
	return argc == 1;
}

/* All but the two-CPU ones run on one CPU, natively as in the guests. */
static void pin(int on)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	for (int i = 0; i < (on ? 1 : 64); i++)
		CPU_SET(i, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned c = 0; c < sizeof(all) / sizeof(all[0]); c++)
		for (const struct work *w = all[c]; w->name; w++) {
			if (!wanted(w, argc, argv))
				continue;
			pin(strcmp(w->class, "smp") != 0);
			w->run(w->scale / 16 + 1);      /* warm caches and translations */
			double t = now();
			uint64_t sum = w->run(w->scale);
			t = now() - t;
			printf("RESULT %s %s %.6f %016llx\n", w->name, w->class, t, (unsigned long long)sum);
		}
	return 0;
}
