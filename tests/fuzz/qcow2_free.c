/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: what finds free clusters, gives them away, takes them back, lends them to a snapshot and punches
 * them, while the counts say anything.  The input: how the image is made, patches to its
 * refcount table, its refcount blocks, its L1 table, and its L2 tables, then requests.
 *
 * Whatever the counts say, the header stays, and the L1 and refcount tables in the file are those in memory
 * after a flush: no guest's data, no other table and no hole has come there.  Without patches no
 * request fails, the contents are those of a copy, and the image is sound.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "disk/pace.h"
#include "disk/qcow2.h"
#include "lib/fuzz.h"

enum { SIZE = 256 << 10, GROWN = 2 * SIZE, SNAPS = 2, OPS_MAX = 200, FILE_MAX = 4 << 20 };

struct input { const uint8_t *at, *end; };

struct session {
	struct image *image;
	struct image_file *file;
	struct pace pace;
	int fd;
	bool hostile, soundly;            /* soundly: its counts are right, all must go well */
	uint8_t model[GROWN], snap[SNAPS][GROWN];
	bool there[SNAPS];
	enum { NONE, PREPARED, TAKEN } step;
	uint8_t head[24];                 /* of the header, that nobody changes */
};

static struct session x;

static unsigned take(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static struct qcow2 *inside(void) { return x.image->format; }

static void must_at(bool ok, int line)
{
	if (!ok) {
		fprintf(stderr, "%s:%d: this must not be\n", __FILE__, line);
		abort();
	}
}
#define must(ok) must_at(ok, __LINE__)

/* A request's result: where nothing is wrong, it may not fail. */
static bool went_well_at(bool ok, int line)
{
	must_at(ok || !x.soundly, line);
	return ok;
}
#define went_well(ok) went_well_at(ok, __LINE__)

static void wanted(struct image *i) { }

/* --- the image -------------------------------------------------------------- */

static void open_it(void)
{
	x.file = image_file_fd(dup(x.fd));
	x.image = image_on(x.file, "qcow2", "fuzz", false, NULL);
	if (!x.image)
		x.file->ops->close(x.file);
}

static void put(uint64_t at, const uint8_t *data, size_t n)
{
	must(fd_pwrite_full(x.fd, data, n, at));
}

static uint64_t get(uint64_t at)
{
	uint8_t b[8] = { 0 };
	must(at >= FILE_MAX || pread(x.fd, b, sizeof(b), (off_t)at) >= 0);
	return be64_get(b);
}

/* An entry of one of its tables, by what the file says. */
static uint64_t any_table_entry(unsigned which, unsigned index)
{
	uint64_t reftable = get(48), l1 = get(40), block = get(reftable), l2 = get(l1 + 8 * (index & 7)) & OFFSET_MASK;
	switch (which & 3) {
	case 0: return reftable + 8 * (index & 63);
	case 1: return block + index;             /* counts, of any width */
	case 2: return l1 + 8 * (index & 7);
	default: return l2 + 8 * (index >> 3 & 63);
	}
}

/* Values that lead somewhere: a small number, a cluster, all ones, a lone bit. */
static void patch(struct input *in)
{
	uint8_t value[8] = { 0 };
	unsigned which = take(in), index = take(in), how = take(in), v = take(in);
	uint64_t at = any_table_entry(which, index);
	size_t n = (size_t)1 << (how & 3);
	switch (how >> 2 & 3) {
	case 0: memset(value, (int)v, sizeof(value)); break;
	case 1: be64_put(value, (v & 127ull) << 9 | (v & 128 ? L2_COPIED : 0)); n = 8; break;
	case 2: be64_put(value, 1ull << (v & 63)); n = 8; break;
	default: break;
	}
	if (at < FILE_MAX)
		put(at, value, n);
	x.hostile = true;
}

static bool make(struct input *in)
{
	static uint8_t data[16 << 10];
	unsigned how = take(in), width = take(in) & 7, fill = take(in), patches = take(in) & 15;
	struct qcow2_create c = { .size = SIZE, .cluster_bits = how & 1 ? 9 : how & 2 ? 12 : 10, .version = how & 4 ? 2 : 3 };
	x.fd = memfd_create("free", MFD_CLOEXEC);
	struct image_file *f = image_file_fd(dup(x.fd));
	must(qcow2_create(f, &c, NULL));
	f->ops->close(f);
	if (c.version == 3 && width < 7) {        /* counts of that width: sound once they have been repaired */
		uint8_t order[4];
		be32_put(order, width);
		put(96, order, sizeof(order));
		open_it();
		struct image_check found;
		must(x.image && qcow2_check(x.image, true, &found, NULL));
		image_close(x.image);
		x.hostile = width < 2;            /* too few references for these snapshots */
	}
	open_it();
	must(x.image);
	memset(data, 0x5a, sizeof(data));
	for (unsigned k = 0; k < 8 && fill >> k; k++)
		if (fill >> k & 1 && !image_write(x.image, data, sizeof(data), k * 24576ull))
			memcpy(x.model + k * 24576, data, sizeof(data));
	image_close(x.image);
	while (patches--)
		patch(in);
	must(pread(x.fd, x.head, sizeof(x.head), 0) == sizeof(x.head));
	open_it();
	if (x.image && how & 8)
		x.image->tidy_wanted = wanted;
	if (x.image && how & 16) {
		x.image->pace = &x.pace;
		pace_hurry(&x.pace);
	}
	x.soundly = !x.hostile;
	return x.image;
}

/* --- requests --------------------------------------------------------------- */

/* So much of that as the disk has there. */
static uint64_t within(uint64_t at, uint64_t n)
{
	uint64_t size = x.image->size;
	return at >= size ? 0 : MIN(n, size - at);
}

static void op_write(unsigned a, unsigned b)
{
	static uint8_t data[8 << 10];
	uint64_t at = a * 1024ull, n = within(at, 512 * (1 + (b & 15ull)));
	memset(data, (int)(b | 1), sizeof(data));
	if (n && went_well(!image_write(x.image, data, n, at)))
		memcpy(x.model + at, data, n);
}

static void op_zero(unsigned a, unsigned b)
{
	uint64_t at = a * 1024ull, n = within(at, 4096 * (1 + (b & 15ull)));
	if (n && went_well(!x.image->ops->zero(x.image, at, n, b & 16)))
		memset(x.model + at, 0, n);
}

static void op_steps(unsigned b)
{
	const char *name = b & 1 ? "b" : "a";
	if (x.step == NONE && !x.there[b & 1])
		x.step = went_well(qcow2_snapshot_prepare(x.image, name, NULL)) ? PREPARED : NONE;
	else if (x.step == PREPARED)
		x.step = went_well(qcow2_snapshot_take(x.image, "taken", NULL)) ? TAKEN : NONE;
	else if (x.step == TAKEN) {
		qcow2_snapshot_cancel(x.image);
		x.step = NONE;
	}
}

static void op_snapshot(unsigned b)
{
	const char *name = b & 1 ? "b" : "a";
	if (x.step != NONE) {
		qcow2_snapshot_cancel(x.image);
		x.step = NONE;
	} else if (!x.there[b & 1]) {
		x.there[b & 1] = went_well(qcow2_snapshot_create(x.image, name, NULL));
		memcpy(x.snap[b & 1], x.model, sizeof(x.model));
	} else if (b & 2) {
		x.there[b & 1] = !went_well(qcow2_snapshot_delete(x.image, name, NULL));
	} else if (went_well(qcow2_snapshot_apply(x.image, name, NULL))) {
		memcpy(x.model, x.snap[b & 1], sizeof(x.model));
	}
}

/* Clusters for tables, in a row, and back. */
static void op_run(unsigned a, unsigned b)
{
	struct qcow2 *q = inside();
	uint64_t bytes = (a + 1ull) << (b & 7), offset;
	pthread_mutex_lock(&q->lock);
	if (went_well(!mark_dirty(q) && !clusters_alloc_run(q, bytes, &offset))) {
		must(!place_is_fixed(q, offset, bytes));
		for (uint64_t at = 0; at < bytes; at += q->cluster_size)
			cluster_free_later(q, offset + at);
	}
	pthread_mutex_unlock(&q->lock);
}

static void op_resize(void)
{
	if (x.image->size + 32768 <= GROWN && x.step == NONE && !x.there[0] && !x.there[1])
		went_well(x.image->ops->resize(x.image, x.image->size + 32768, NULL));
}

static void one(unsigned op, unsigned a, unsigned b)
{
	switch (op % 16) {
	default: op_write(a, b); return;
	case 8: case 9: op_zero(a, b); return;
	case 10: went_well(!x.image->ops->flush(x.image)); return;
	case 11: x.image->ops->tidy(x.image); return;
	case 12: op_steps(b); return;
	case 13: op_snapshot(b); return;
	case 14: op_run(a, b); return;
	case 15: op_resize(); return;
	}
}

/* --- what must hold ----------------------------------------------------------- */

static void tables_stand(void)
{
	struct qcow2 *q = inside();
	uint8_t head[sizeof(x.head)];
	must(pread(x.fd, head, sizeof(head), 0) == sizeof(head) && !memcmp(head, x.head, sizeof(head)));
	if (x.image->ops->flush(x.image) || q->lent)
		return;
	for (uint32_t i = 0; i < q->l1_size; i++)
		must(get(q->l1_offset + 8ull * i) == q->l1[i]);
	for (uint64_t i = 0; i < q->reftable_entries; i++)
		must((get(q->reftable_offset + 8 * i) & ~511ull) == q->reftable[i]);
}

static void contents_stand(void)
{
	static uint8_t got[GROWN];
	struct image_check found;
	must(!image_read(x.image, got, x.image->size, 0) && !memcmp(got, x.model, x.image->size));
	must(qcow2_check(x.image, false, &found, NULL) && !found.corruptions);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	memset(&x, 0, sizeof(x));
	pace_init(&x.pace);
	if (make(&in)) {
		for (unsigned n = 0; n < OPS_MAX && in.at < in.end; n++) {
			unsigned op = take(&in), a = take(&in);
			one(op, a, take(&in));
		}
		qcow2_snapshot_cancel(x.image);
		tables_stand();
		if (x.soundly)
			contents_stand();
		x.image->tidy_wanted = NULL;
		x.image->pace = NULL;
		image_close(x.image);
		open_it();
		must(x.image || !x.soundly);
		if (x.image && x.soundly)
			contents_stand();
		image_close(x.image);
	}
	pace_free(&x.pace);
	close(x.fd);
}

/* Requests of all kinds; the later ones on images whose counts lie. */
size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	static const uint8_t hows[] = { 1, 9, 25, 0, 2, 5, 1, 9, 17, 1, 0, 2 };
	size_t at = 0;
	if (n >= ARRAY_SIZE(hows))
		return 0;
	buf[at++] = hows[n];
	buf[at++] = n % 3 ? 7 : (uint8_t)(n + 1);
	buf[at++] = (uint8_t)(0xb5 + n);
	uint8_t patches = buf[at++] = n < 6 ? 0 : (uint8_t)(n - 4);
	for (unsigned k = 0; k < patches; k++) {
		buf[at++] = (uint8_t)(n + k);
		buf[at++] = (uint8_t)(k * 5);
		buf[at++] = (uint8_t)(k * 7 + n);
		buf[at++] = (uint8_t)(k * 3);
	}
	for (unsigned k = 0; k < 120; k++) {
		buf[at++] = (uint8_t)(k * 7 + n);
		buf[at++] = (uint8_t)(k * 37 + n);
		buf[at++] = (uint8_t)(k * 11);
	}
	return at;
}
