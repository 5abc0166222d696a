/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State streams: what is saved is loaded; damage anywhere is one error, never a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/state.h"

struct record { uint8_t a; uint16_t b; uint32_t c; uint64_t d; int64_t e; bool f; char blob[32]; uint32_t n; };

static void xfer(struct record *r, struct state *s)
{
	xfer_u8(s, &r->a);
	xfer_u16(s, &r->b);
	xfer_u32_max(s, &r->c, 1000);
	xfer_u64(s, &r->d);
	xfer_i64(s, &r->e);
	xfer_bool(s, &r->f);
	xfer_blob(s, r->blob, &r->n, sizeof(r->blob));
}

static struct state *saved(void)
{
	struct record r = { 1, 2, 999, UINT64_MAX, -5, true, "hello", 5 };
	struct state *s = state_save_new();
	state_begin(s, "first", 3, 0);
	xfer(&r, s);
	state_end(s);
	state_begin(s, "second", 1, STATE_SKIPPABLE);
	xfer(&r, s);
	state_end(s);
	assert_true(state_ok(s));
	return s;
}

/* Loads everything there is; true if nothing was found wrong. */
static bool load(const void *p, size_t n, struct record *r)
{
	struct state *s = state_load_new(p, n);
	struct state_section sec;
	unsigned count = 0;
	while (state_next(s, &sec)) {
		if (!strcmp(sec.name, "first")) {
			xfer(r, s);
			state_end(s);
		} else {
			state_skip(s);
		}
		count++;
	}
	bool ok = state_ok(s);
	if (!ok)
		assert_true(strlen(state_error(s)->text) > 10);
	state_free(s);
	return ok && count == 2;
}

static void round_trip(void **unused)
{
	size_t n;
	struct state *s = saved();
	const void *p = state_bytes(s, &n);
	struct record r = { 0 };
	assert_true(load(p, n, &r));
	assert_int_equal(r.c, 999);
	assert_true(r.d == UINT64_MAX && r.e == -5 && r.f);
	assert_int_equal(r.n, 5);
	assert_memory_equal(r.blob, "hello", 5);
	state_free(s);
}

static void every_cut_and_flip_is_noticed(void **unused)
{
	size_t n;
	struct state *s = saved();
	const void *p = state_bytes(s, &n);
	uint8_t *copy = xmalloc(n);
	struct record r = { 0 };
	for (size_t cut = 0; cut < n; cut++)
		assert_false(load(p, cut, &r));
	for (size_t at = 0; at < n; at++) {
		memcpy(copy, p, n);
		copy[at] ^= 0x10;
		assert_false(load(copy, n, &r));
	}
	free(copy);
	state_free(s);
}

static void bounds_are_checked(void **unused)
{
	struct state *s = state_save_new();
	uint32_t big = 5000;
	state_begin(s, "x", 1, 0);
	xfer_u32(s, &big);
	state_end(s);
	size_t n;
	const void *p = state_bytes(s, &n);
	struct state *l = state_load_new(p, n);
	struct state_section sec;
	assert_true(state_next(l, &sec));
	uint32_t v = 7;
	xfer_u32_max(l, &v, 1000);
	assert_false(state_ok(l));
	assert_int_equal(v, 7);
	state_free(l);
	state_free(s);
}

static void left_over_bytes_are_an_error(void **unused)
{
	size_t n;
	struct state *s = saved();
	const void *p = state_bytes(s, &n);
	struct state *l = state_load_new(p, n);
	struct state_section sec;
	assert_true(state_next(l, &sec));
	uint8_t a;
	xfer_u8(l, &a);
	state_end(l);
	assert_false(state_ok(l));
	state_free(l);
	state_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(every_cut_and_flip_is_noticed),
		cmocka_unit_test(bounds_are_checked),
		cmocka_unit_test(left_over_bytes_are_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
