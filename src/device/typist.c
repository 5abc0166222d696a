/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who types on the machine's keyboard: chords that wait for their turn, one each
 * 1/30 s of machine time, as fast as a key repeats at most (IBM PS/2 Hardware
 * Interface Technical Reference, keyboards, F3: typematic rate).  A BIOS holds 15 keys
 * and loses the rest.  Under the board lock.
 */
#include "device/chipset.h"
#include "device/keyboard.h"
#include "machine/machine.h"

enum { MOST = 2048, LONGEST = 40, ROOM = MOST * LONGEST, PACE_NS = 1000000000 / 30 };

struct typist {
	struct device dev;
	struct clock_timer timer;
	char *chords;             /* what waits, at most LONGEST bytes each, a NUL behind it */
	uint32_t len, keys;
	uint64_t ready;           /* when the next may be pressed, ns of machine time */
};

static void drop_first(struct typist *t)
{
	uint32_t n = (uint32_t)strlen(t->chords) + 1;
	memmove(t->chords, t->chords + n, t->len - n);
	t->len -= n;
	t->keys--;
}

/* A guest that does not read its keyboard is waited for. */
static void turn(void *opaque)
{
	struct typist *t = opaque;
	struct machine *m = t->dev.machine;
	board_lock(m);
	uint64_t now = clock_now(m->clock);
	if (t->keys && now >= t->ready) {
		if (keyboard_press(m, t->chords, NULL))
			drop_first(t);
		t->ready = now + PACE_NS;
	}
	if (t->keys)
		clock_timer_again(&t->timer, t->ready);
	board_unlock(m);
}

bool typist_has_room(struct machine *m, size_t keys, struct error *err)
{
	struct typist *t = m->board_data->typist;
	if (keys <= MOST - t->keys)
		return true;
	return error_set(err, 0, "at most %u keys can wait to be typed, and %u do: type less at once", MOST, t->keys);
}

bool typist_press(struct machine *m, const char *chord, struct error *err)
{
	struct typist *t = m->board_data->typist;
	uint64_t now = clock_now(m->clock);
	uint32_t n = (uint32_t)strlen(chord) + 1;
	if (!t->keys && now >= t->ready) {
		t->ready = now + PACE_NS;
		return keyboard_press(m, chord, err);
	}
	if (!typist_has_room(m, 1, err) || n > LONGEST)
		return false;
	memcpy(t->chords + t->len, chord, n);
	t->len += n;
	if (!t->keys++)
		clock_timer_set(&t->timer, t->ready);
	return true;
}

unsigned typist_waiting(struct machine *m) { return m->board_data->typist->keys; }

/* --- device ------------------------------------------------------------------------- */
static void typist_reset(struct device *d)
{
	struct typist *t = container_of(d, struct typist, dev);
	t->len = t->keys = 0;
	t->ready = 0;
	clock_timer_cancel(&t->timer);
}

static bool typist_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct typist *t = container_of(d, struct typist, dev);
	xfer_u64(s, &t->ready);
	xfer_blob(s, t->chords, &t->len, ROOM);
	t->keys = 0;
	for (uint32_t i = 0; i < t->len; i++)
		t->keys += !t->chords[i];
	if (t->keys > MOST || (t->len && t->chords[t->len - 1]))
		state_fail(s, "keys that nobody can have typed");
	return state_ok(s);
}

static void typist_loaded(struct device *d)
{
	struct typist *t = container_of(d, struct typist, dev);
	if (t->keys)
		clock_timer_set(&t->timer, t->ready);
}

static void typist_destroy(struct device *d)
{
	struct typist *t = container_of(d, struct typist, dev);
	clock_timer_cancel(&t->timer);
	free(t->chords);
	free(t);
}

bool typist_create(struct machine *m, struct error *err)
{
	static const struct device_ops ops = {
		.name = "typist", .version = 1, .reset = typist_reset, .xfer = typist_xfer,
		.loaded = typist_loaded, .destroy = typist_destroy,
	};
	struct typist *t = xnew(struct typist);
	t->chords = xmalloc(ROOM);
	clock_timer_init(&t->timer, m->clock, turn, t);
	device_add(m, &t->dev, &ops, "typist");
	m->board_data->typist = t;
	return true;
}
