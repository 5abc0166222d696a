/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The record of a campaign: its progress and coverage, shared by the parent and the
 * child that runs cases.  With a file behind it, a campaign that was ended goes on
 * where it stood, and several (other seeds, other ranges) can be summed.
 */
#include "oracle/oracle.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#define RECORD_MAGIC 0x3163726f79626131ull

/* All but the coverage: a record counts for these forms only. */
static uint64_t forms_hash(const struct form *f, unsigned count)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (unsigned n = 0; n < count; n++) {
		struct form bare = f[n];
		bare.cases = 0;
		for (unsigned k = 0; k < sizeof(bare); k++)
			h = (h ^ ((const uint8_t *)&bare)[k]) * 0x100000001b3ull;
	}
	return h;
}

static size_t record_size(unsigned count)
{
	return sizeof(struct record) + count * sizeof(struct form);
}

static struct record *record_map(const char *path, size_t size, struct error *err)
{
	auto_close int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1;
	void *p = MAP_FAILED;

	if (!path || (fd >= 0 && ftruncate(fd, (off_t)size) == 0))
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | (path ? 0 : MAP_ANONYMOUS), fd, 0);
	if (p != MAP_FAILED)
		return p;
	error_set(err, errno, "cannot use record '%s'", path ? path : "in memory");
	return NULL;
}

/* The campaign that `want` describes, begun or found in the file. */
struct record *record_open(const char *path, const struct record *want, const struct form *forms,
			   unsigned count, struct error *err)
{
	struct record *r = record_map(path, record_size(count), err);
	uint64_t hash = forms_hash(forms, count);

	if (!r || (r->magic == RECORD_MAGIC && r->hash == hash && r->seed == want->seed && r->begin == want->begin &&
		   r->steps == want->steps && strcmp(r->engine, want->engine) == 0))
		return r;
	if (r->magic) {
		error_set(err, 0, "record '%s' is of another campaign: other engine, seed, begin, steps or forms", path);
		return NULL;
	}
	*r = *want;
	r->magic = RECORD_MAGIC;
	r->hash = hash;
	r->count = count;
	memcpy(r->forms, forms, count * sizeof(*forms));
	return r;
}

static bool record_add(struct record *sum, const char *path, const struct form *forms, struct error *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t size = record_size(sum->count);
	auto_free struct record *r = xmalloc(size);

	if (fd < 0 || !fd_pread_full(fd, r, size, 0))
		return error_set(err, errno, "cannot read record '%s'", path);
	if (r->magic != RECORD_MAGIC || r->hash != forms_hash(forms, sum->count))
		return error_set(err, 0, "record '%s' is not of these forms", path);
	if (sum->engine[0] && strcmp(sum->engine, r->engine))
		return error_set(err, 0, "record '%s' is of engine %.7s", path, r->engine);
	memcpy(sum->engine, r->engine, sizeof(sum->engine));
	sum->next += r->next - r->begin;
	sum->failures += r->failures;
	sum->skipped += r->skipped;
	sum->faults += r->faults;
	sum->ms += r->ms;
	for (unsigned n = 0; n < sum->count; n++)
		sum->forms[n].cases += r->forms[n].cases;
	return true;
}

/* NULL, or the sum of several records (other seeds, other ranges; one engine). */
struct record *record_sum(char *const *paths, const struct form *forms, unsigned count, struct error *err)
{
	struct record none = { 0 }, *sum = record_open(NULL, &none, forms, count, err);

	while (sum && *paths)
		if (!record_add(sum, *paths++, forms, err))
			return NULL;
	return sum;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* One line each ten seconds; the time spent is kept. */
void record_progress(struct record *r, uint64_t end)
{
	static uint64_t last, shown, shown_at;
	uint64_t now = now_ms(), rate;

	r->ms += last ? now - last : 0;
	last = now;
	if (!shown_at)
		shown_at = now, shown = r->next;
	if (now - shown_at < 10000)
		return;
	rate = MAX((r->next - shown) * 1000 / (now - shown_at), 1ul);
	fprintf(stderr, "  %s: case %lu of %lu (%lu%%), %lu failures, %lu cases/s, %lu minutes left\n", r->engine,
		r->next, end, r->next * 100 / end, r->failures, rate, (end - r->next) / rate / 60 + 1);
	shown_at = now;
	shown = r->next;
}
