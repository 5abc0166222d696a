/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 and power cuts: at any moment, between the syncs inside an operation too,
 * any subset of what was not synced may be gone.  What was flushed is there, a
 * snapshot is whole or not there, nothing needs repair to be safe, and the next opening
 * leaves no fault and no leak.  And faults: each I/O in turn fails.  QCOW2_CUTS=10000 for a long run.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "disk/image.h"
#include "disk/pace.h"
#include "lib/lossy.h"

enum { SIZE = 1 << 20, SECTORS = SIZE / 512, SNAPS = 4 };

/* What a sector may hold after a cut: what was flushed, or anything written since. */
struct sector { uint8_t flushed; bool written[256]; };
struct snapshot { bool whole, maybe; uint8_t at[SECTORS]; };

struct crash {
	struct lossy file, after;
	struct image *image;
	struct sector sector[SECTORS];
	uint8_t last[SECTORS];
	struct snapshot snap[SNAPS];
	enum { NONE, PREPARED, TAKEN } step;  /* of snapshot `making` */
	unsigned making;
	unsigned seed, cuts;
	uint64_t size;
	struct pace pace;
};

static unsigned any(struct crash *c, unsigned n) { return (unsigned)rand_r(&c->seed) % n; }

static void name_of(unsigned k, char name[8]) { snprintf(name, 8, "s%u", k); }

static void verify_snapshot(struct crash *c, unsigned k, bool must)
{
	static uint8_t got[SIZE];
	char name[8];
	name_of(k, name);
	struct image *i = image_on(&c->after.file, "qcow2", "crash", true, NULL);
	assert_non_null(i);
	bool there = qcow2_snapshot_show(i, name, NULL);
	if (must && !there)
		fail_msg("snapshot %u is lost", k);
	if (there)
		assert_int_equal(image_read(i, got, SIZE, 0), 0);
	for (unsigned s = 0; there && s < SECTORS; s++)
		if (got[s * 512] != c->snap[k].at[s] || got[s * 512 + 511] != c->snap[k].at[s])
			fail_msg("snapshot %u, sector %u: %u, was %u", k, s, got[s * 512], c->snap[k].at[s]);
	image_close(i);
}

/* As it is, without repair: counts are too high at worst, and a cluster of two is never marked as of one. */
static void verify_unrepaired(struct crash *c)
{
	struct image_check found;
	struct image *i = image_on(&c->after.file, "qcow2", "crash", true, NULL);
	assert_non_null(i);
	assert_true(qcow2_check(i, false, &found, NULL));
	if (found.corruptions)
		fail_msg("%u corruptions before the repair", (unsigned)found.corruptions);
	image_close(i);
}

static void verify_cut(struct crash *c)
{
	static uint8_t got[SIZE];
	struct error err = { 0 };
	struct image_check found;
	verify_unrepaired(c);
	struct image *i = image_on(&c->after.file, "qcow2", "crash", false, &err);
	if (!i)
		fail_msg("%s", err.text);
	assert_int_equal(image_read(i, got, SIZE, 0), 0);
	for (unsigned s = 0; s < SECTORS; s++)
		for (unsigned k = 0; k < 512; k += 73) {
			uint8_t v = got[s * 512 + k];
			if (v != c->sector[s].flushed && !c->sector[s].written[v])
				fail_msg("sector %u has %u, flushed was %u", s, v, c->sector[s].flushed);
		}
	assert_true(qcow2_check(i, false, &found, &err));
	if (found.corruptions || found.leaks || found.unmarked)
		fail_msg("%u corruptions, %u leaks, %u unmarked", (unsigned)found.corruptions, (unsigned)found.leaks,
			 (unsigned)found.unmarked);
	image_close(i);
	assert_int_equal(c->after.current[79] & 1, 0);          /* the dirty bit */
	for (unsigned k = 0; k < SNAPS; k++)
		if (c->snap[k].whole || c->snap[k].maybe)
			verify_snapshot(c, k, c->snap[k].whole);
}

static void cut_now(struct crash *c)
{
	lossy_cut(&c->file, &c->after, &c->seed);
	verify_cut(c);
	c->cuts++;
}

static void at_sync(struct lossy *l, void *opaque)
{
	if (any(opaque, 4) == 0)
		cut_now(opaque);
}

static void all_flushed(struct crash *c)
{
	for (unsigned s = 0; s < SECTORS; s++) {
		memset(&c->sector[s], 0, sizeof(c->sector[s]));
		c->sector[s].flushed = c->last[s];
	}
}

static void op_write(struct crash *c)
{
	static uint8_t buf[100 * 512];
	unsigned s = any(c, SECTORS), n = MIN(1 + any(c, 100), SECTORS - s);
	uint8_t v = any(c, 4) ? (uint8_t)(1 + any(c, 255)) : 0;
	for (unsigned k = s; k < s + n; k++)
		c->sector[k].written[v] = true;
	memset(buf, v, n * 512);
	int r = v ? image_write(c->image, buf, n * 512, s * 512ull) :
		    c->image->ops->zero(c->image, s * 512ull, n * 512, true);
	assert_int_equal(r, 0);
	memset(c->last + s, v, n);
}

static void op_flush(struct crash *c)
{
	assert_int_equal(c->image->ops->flush(c->image), 0);
	all_flushed(c);
}

static void op_create(struct crash *c, unsigned k)
{
	char name[8];
	struct error err;
	name_of(k, name);
	memcpy(c->snap[k].at, c->last, SECTORS);
	c->snap[k].maybe = true;
	if (!qcow2_snapshot_create(c->image, name, &err))
		fail_msg("%s", err.text);
	c->snap[k].whole = true;
}

/* The steps of making one, with other things between them. */
static void op_step(struct crash *c)
{
	char name[8];
	struct error err;
	bool ok = true;
	name_of(c->making, name);
	if (c->step != NONE && any(c, 5) == 0) {
		qcow2_snapshot_cancel(c->image);
		c->snap[c->making].maybe = false;
		c->step = NONE;
	} else if (c->step == NONE) {
		ok = qcow2_snapshot_prepare(c->image, name, &err);
		c->step = PREPARED;
	} else if (c->step == PREPARED) {
		ok = qcow2_snapshot_take(c->image, name, &err);
		memcpy(c->snap[c->making].at, c->last, SECTORS);
		c->step = TAKEN;
	} else {
		c->snap[c->making].maybe = true;
		ok = qcow2_snapshot_keep(c->image, name, &err);
		c->snap[c->making].whole = true;
		c->step = NONE;
	}
	if (!ok)
		fail_msg("%s", err.text);
}

static void op_delete(struct crash *c, unsigned k)
{
	char name[8];
	struct error err;
	name_of(k, name);
	c->snap[k].whole = false;
	if (!qcow2_snapshot_delete(c->image, name, &err))
		fail_msg("%s", err.text);
	c->snap[k].maybe = false;
}

static void op_apply(struct crash *c, unsigned k)
{
	char name[8];
	struct error err;
	name_of(k, name);
	for (unsigned s = 0; s < SECTORS; s++)
		c->sector[s].written[c->snap[k].at[s]] = true;
	if (!qcow2_snapshot_apply(c->image, name, &err))
		fail_msg("%s", err.text);
	memcpy(c->last, c->snap[k].at, SECTORS);
	all_flushed(c);
}

static void op_snapshot(struct crash *c)
{
	unsigned k = any(c, SNAPS);
	if (c->step != NONE || (!c->snap[k].whole && any(c, 2))) {
		c->making = c->step == NONE ? k : c->making;
		op_step(c);
	} else if (!c->snap[k].whole)
		op_create(c, k);
	else if (any(c, 2))
		op_delete(c, k);
	else if (c->image->size == c->size)
		op_apply(c, k);
}

static void op_resize(struct crash *c)
{
	struct error err;
	for (unsigned k = 0; k < SNAPS; k++)
		if (c->snap[k].whole)
			return;               /* a restore would take the size back */
	if (c->step == TAKEN)
		return;
	c->size += 512 * (1 + any(c, 64));
	if (!c->image->ops->resize(c->image, c->size, &err))
		fail_msg("%s", err.text);
	all_flushed(c);
}

static void wanted(struct image *i) { }

/* Somebody tidies, or nobody does; holes may be punched at once, or are left for later. */
static void op_tidy(struct crash *c)
{
	struct image *i = c->image;
	i->tidy_wanted = any(c, 3) ? wanted : NULL;
	i->pace = i->tidy_wanted ? &c->pace : NULL;
	c->pace.hurry = any(c, 2);
	if (i->tidy_wanted)
		i->ops->tidy(i);
}

static void power_cuts_at(unsigned bits, unsigned seed, unsigned cuts)
{
	struct crash *c = xnew(struct crash);
	struct qcow2_create how = { .size = SIZE, .cluster_bits = bits, .version = 3 };
	c->seed = seed;
	c->size = SIZE;
	pace_init(&c->pace);
	lossy_init(&c->file);
	lossy_init(&c->after);
	assert_true(qcow2_create(&c->file.file, &how, NULL));
	c->image = image_on(&c->file.file, "qcow2", "crash", false, NULL);
	c->file.before_sync = at_sync;
	c->file.opaque = c;
	while (c->cuts < cuts) {
		unsigned what = any(c, 108);
		if (what >= 100)
			op_tidy(c);
		else if (what < 70)
			op_write(c);
		else if (what < 80)
			op_flush(c);
		else if (what < 98)
			op_snapshot(c);
		else
			op_resize(c);
		if (any(c, 4) == 0)
			cut_now(c);
	}
	c->file.before_sync = NULL;
	c->image->tidy_wanted = NULL;
	c->image->pace = NULL;
	image_close(c->image);
	lossy_free(&c->file);
	lossy_free(&c->after);
	free(c);
}

static void power_cuts(void **state)
{
	const char *many = getenv("QCOW2_CUTS"), *seed = getenv("QCOW2_SEED");
	unsigned cuts = many ? (unsigned)atoi(many) / 3 + 1 : 150, s = seed ? (unsigned)atoi(seed) : 1;
	power_cuts_at(9, s, cuts);
	power_cuts_at(12, s + 1, cuts);
	power_cuts_at(16, s + 2, cuts);
}

/* Each I/O in turn fails, once with EIO and once with ENOSPC, in a session of all that changes
 * an image: errors come back, the image stays sound. */
static bool session(struct lossy *l, unsigned seed, bool tidy)
{
	static uint8_t buf[100 * 512] = { 1 };
	struct image *i = image_on(&l->file, "qcow2", "faults", false, NULL);
	char name[8];
	bool prepared = false, taken = false;
	if (i && tidy)
		i->tidy_wanted = wanted;
	for (unsigned n = 0; n < 32 && i; n++) {      /* closed before the last step of the third */
		uint64_t s = (uint64_t)rand_r(&seed) % 1900;
		prepared &= n % 12 > 2;
		taken &= n % 12 > 4;
		name_of(n / 12, name);
		if (n % 7 == 6)
			i->ops->flush(i);
		else if (n % 7 == 1 && tidy)
			i->ops->tidy(i);
		else if (n % 12 == 2)
			prepared = qcow2_snapshot_prepare(i, name, NULL);
		else if (n % 12 == 4 && prepared)
			taken = qcow2_snapshot_take(i, name, NULL);
		else if (n % 12 == 5 && taken)
			qcow2_snapshot_keep(i, name, NULL);
		else if (n % 12 == 5)
			qcow2_snapshot_create(i, name, NULL);
		else if (n % 12 == 9)
			qcow2_snapshot_apply(i, name, NULL);
		else if (n % 12 == 11)
			qcow2_snapshot_delete(i, name, NULL);
		else
			image_write(i, buf, 512 * (1 + (size_t)rand_r(&seed) % 100), s * 512);
	}
	if (i)
		i->tidy_wanted = NULL;
	image_close(i);
	return l->faults_in < 0;          /* it has come to the fault */
}

static void faults(void **state)
{
	static const int errors[] = { EIO, ENOSPC };
	bool reached = true;
	for (int fault = 0; reached; fault++) {
		struct lossy l;
		struct image_check found;
		struct error err = { 0 };
		lossy_init(&l);
		assert_true(qcow2_create(&l.file, &(struct qcow2_create){ .size = SIZE, .cluster_bits = 9, .version = 3 },
					 NULL));
		l.faults_in = fault;
		l.fault = errors[fault & 1];
		reached = session(&l, (unsigned)fault / 8, fault & 2);
		l.faults_in = -1;
		l.file.ops->sync(&l.file);
		struct image *i = image_on(&l.file, "qcow2", "faults", false, &err);
		if (!i)
			fail_msg("fault %d: %s", fault, err.text);
		assert_true(qcow2_check(i, false, &found, &err));
		if (found.corruptions)
			fail_msg("fault %d: %u corruptions", fault, (unsigned)found.corruptions);
		image_close(i);
		lossy_free(&l);
	}
}

/* A full file system: what could not be written is tried again when there is space, and
 * nothing is lost. `full` writes fail in a row, from the n-th on. */
static void no_space(void **state)
{
	static uint8_t buf[100 * 512], model[SIZE], got[SIZE];
	bool reached = true;
	unsigned kept = 0;
	for (int fault = 1; reached; fault += 3) {
		struct lossy l;
		struct image_check found;
		unsigned seed = (unsigned)fault;
		bool prepared = false;
		lossy_init(&l);
		memset(model, 0, SIZE);
		assert_true(qcow2_create(&l.file, &(struct qcow2_create){ .size = SIZE, .cluster_bits = 9, .version = 3 },
					 NULL));
		struct image *i = image_on(&l.file, "qcow2", "full", false, NULL);
		l.writes_in = fault;
		l.full = 1 + fault % 4;
		for (unsigned n = 0; n < 40; n++) {
			if (n % 12 == 1)      /* all or nothing: what leaks is seen below */
				prepared = qcow2_snapshot_prepare(i, n < 12 ? "a" : n < 24 ? "b" : "c", NULL);
			if (n % 12 == 5 && prepared)
				prepared = qcow2_snapshot_take(i, "taken", NULL);
			if (n % 12 == 9 && prepared)
				kept += qcow2_snapshot_keep(i, n < 12 ? "a" : n < 24 ? "b" : "c", NULL);
			unsigned s = (unsigned)rand_r(&seed) % 1900;
			size_t len = 512 * (1 + (size_t)rand_r(&seed) % 100);
			memset(buf, (int)n + 1, len);
			int r;
			for (unsigned tries = 0; tries < 8; tries++) {
				r = n % 8 == 7 ? i->ops->flush(i) :
				    n % 8 == 3 ? i->ops->zero(i, s * 512ull, len, true) : image_write(i, buf, len, s * 512ull);
				if (r != -ENOSPC)
					break;
			}
			assert_int_equal(r, 0);
			if (n % 8 != 7)
				memset(model + s * 512ull, n % 8 == 3 ? 0 : (int)n + 1, len);
		}
		reached = l.writes_in < 0;
		image_close(i);
		i = image_on(&l.file, "qcow2", "full", false, NULL);
		assert_non_null(i);
		assert_int_equal(image_read(i, got, SIZE, 0), 0);
		assert_memory_equal(got, model, SIZE);
		assert_true(qcow2_check(i, false, &found, NULL));
		if (found.corruptions || found.leaks)
			fail_msg("fault %d: %u corruptions, %u leaks", fault, (unsigned)found.corruptions, (unsigned)found.leaks);
		image_close(i);
		lossy_free(&l);
	}
	assert_true(kept > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(power_cuts), cmocka_unit_test(faults),
		cmocka_unit_test(no_space) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
