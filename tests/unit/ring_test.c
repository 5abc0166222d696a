/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rings of a port: order, wrapping, fullness, bells, and what a hostile side writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "net/ring.h"

struct pair { struct ring_fds fds; struct ring machine, sw; };

static int setup(void **state)
{
	struct pair *p = xnew(struct pair);
	assert_true(ring_make(&p->fds, NULL));
	assert_true(ring_open(&p->machine, &p->fds, false, NULL));
	assert_true(ring_open(&p->sw, &p->fds, true, NULL));
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;
	ring_close(&p->machine);
	ring_close(&p->sw);
	ring_fds_close(&p->fds);
	free(p);
	return 0;
}

static bool rung(int fd)
{
	uint64_t n;
	return read(fd, &n, sizeof(n)) == sizeof(n);
}

static bool send_one(struct ring *r, size_t len, uint8_t fill)
{
	uint8_t *p = ring_reserve(r, len);
	if (!p)
		return false;
	memset(p, fill, len);
	ring_commit(r, len);
	ring_publish(r);
	return true;
}

static void keeps_order_and_wraps(void **state)
{
	struct pair *p = *state;
	uint32_t seed = 1;
	size_t len;
	for (unsigned round = 0; round < 20000; round++) {
		unsigned n = 1 + round % 5;
		size_t lens[5];
		for (unsigned i = 0; i < n; i++) {
			seed = seed * 1103515245 + 12345;
			lens[i] = 1 + seed / 7 % 3000;
			assert_true(send_one(&p->machine, lens[i], (uint8_t)(round + i)));
		}
		for (unsigned i = 0; i < n; i++) {
			const uint8_t *q = ring_peek(&p->sw, &len);
			assert_non_null(q);
			assert_int_equal(len, lens[i]);
			assert_int_equal(q[0], (uint8_t)(round + i));
			assert_int_equal(q[len - 1], (uint8_t)(round + i));
			ring_release(&p->sw, len);
		}
		assert_null(ring_peek(&p->sw, &len));
		ring_done(&p->sw);
	}
	assert_false(p->sw.broken || p->machine.broken);
}

static void full_pushes_back(void **state)
{
	struct pair *p = *state;
	size_t len;
	unsigned n = 0;
	while (send_one(&p->sw, RING_RECORD_MAX, 1))
		n++;
	assert_int_equal(n, RING_DATA / (RING_RECORD_MAX + 2 * RING_ALIGN));
	assert_null(ring_reserve(&p->sw, RING_RECORD_MAX + 1));
	ring_want_room(&p->sw);
	assert_false(rung(p->fds.to_switch));
	assert_non_null(ring_peek(&p->machine, &len));
	ring_release(&p->machine, len);
	ring_done(&p->machine);
	assert_true(rung(p->fds.to_switch));
	assert_true(send_one(&p->sw, 100, 2));
}

static void bells_only_for_sleepers(void **state)
{
	struct pair *p = *state;
	size_t len;
	assert_true(send_one(&p->machine, 60, 1));
	assert_false(rung(p->fds.to_switch));
	assert_false(ring_sleep(&p->sw));          /* something is there */
	assert_non_null(ring_peek(&p->sw, &len));
	ring_release(&p->sw, len);
	assert_true(ring_sleep(&p->sw));
	assert_true(send_one(&p->machine, 60, 1));
	assert_true(rung(p->fds.to_switch));
	assert_true(send_one(&p->machine, 60, 1));
	assert_false(rung(p->fds.to_switch));
}

/* Whatever the other side writes into the shared page and the data. */
static void survives_scribbling(void **state)
{
	struct pair *p = *state;
	uint32_t seed = 7;
	unsigned broken = 0, fine = 0;
	for (unsigned round = 0; round < 100000; round++) {
		uint32_t *words = (void *)p->machine.map;
		size_t len, sum = 0;
		const uint8_t *q;
		seed = seed * 1664525 + 1013904223;
		unsigned at = seed >> 8;
		if (round % 3)
			words[(at % (sizeof(struct ring_shared) / 4))] = seed % 5 ? seed : round % RING_DATA;
		else
			le32_put(p->machine.tx.data + (p->sw.rx.own & (RING_DATA - 1)), seed % 4 ? seed % 70000 : seed);
		for (unsigned i = 0; i < 70 && (q = ring_peek(&p->sw, &len)); i++) {
			assert_true(len <= RING_RECORD_MAX);
			for (size_t k = 0; k < len; k += 512)
				sum += q[k];
			ring_release(&p->sw, len);
		}
		ring_done(&p->sw);
		if ((q = ring_reserve(&p->sw, 1 + seed % RING_RECORD_MAX))) {
			memset((uint8_t *)q, (int)sum, 1 + seed % RING_RECORD_MAX);
			ring_commit(&p->sw, 1 + seed % RING_RECORD_MAX);
			ring_publish(&p->sw);
		}
		if (!p->sw.broken) {
			fine++;
			continue;
		}
		broken++;
		assert_null(ring_peek(&p->sw, &len));
		assert_null(ring_reserve(&p->sw, 60));
		ring_close(&p->sw);
		memset(p->machine.map, 0, sizeof(struct ring_shared));
		assert_true(ring_open(&p->sw, &p->fds, true, NULL));
	}
	assert_in_range(broken, 500, 99500);
	assert_in_range(fine, 500, 99500);
}

static void refuses_what_could_shrink(void **state)
{
	struct pair *p = *state;
	struct ring r;
	struct ring_fds f = p->fds;
	struct error err = { 0 };
	assert_int_equal(ftruncate(f.memory, 4096), -1);
	f.memory = memfd_create("unsealed", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f.memory, RING_FILE), 0);
	assert_false(ring_open(&r, &f, true, &err));
	close(f.memory);
}

/* A new switch goes on where the old one stopped. */
static void is_taken_over(void **state)
{
	struct pair *p = *state;
	size_t len;
	for (unsigned i = 0; i < 3; i++)
		assert_true(send_one(&p->machine, 100 + i, (uint8_t)i));
	assert_non_null(ring_peek(&p->sw, &len));
	ring_release(&p->sw, len);
	ring_done(&p->sw);
	ring_close(&p->sw);
	assert_true(ring_open(&p->sw, &p->fds, true, NULL));
	const uint8_t *q = ring_peek(&p->sw, &len);
	assert_non_null(q);
	assert_int_equal(len, 101);
	assert_int_equal(q[0], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(keeps_order_and_wraps), T(full_pushes_back), T(bells_only_for_sleepers), T(survives_scribbling),
		T(refuses_what_could_shrink), T(is_taken_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
