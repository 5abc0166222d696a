/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tapes, see tap.h. */
#include "memory/tap.h"

enum { ROOM_FIRST = 256 };

__thread struct tape *tape_now;

static bool is_write(enum tape_kind kind)
{
	return kind == TAPE_WRITE || kind == TAPE_APIC_WRITE || kind == TAPE_MSR_WRITE;
}

static bool is_next(const struct tape *t, enum tape_kind kind, uint64_t where, unsigned size, uint64_t value)
{
	const struct tape_event *e = &t->e[t->next];

	return t->next < t->n && e->kind == kind && e->where == where && e->size == size &&
	       (!is_write(kind) || e->value == value);
}

/* Past the end of a closed tape, or beside it, it is torn: reads are 0 then, and
 * nothing reaches a device. Beside what is left on an open one, that is forgotten. */
bool tape_replay(struct tape *t, enum tape_kind kind, uint64_t where, unsigned size, uint64_t *value)
{
	if (is_next(t, kind, where, size, *value)) {
		*value = t->e[t->next++].value;
	} else if (t->closed) {
		t->torn = true;
		*value = 0;
	} else {
		t->n = t->next;
		return false;
	}
	tape_now = t;
	return true;
}

void tape_put(struct tape *t, enum tape_kind kind, uint64_t where, unsigned size, uint64_t value)
{
	if (t->n == t->room) {
		t->room = MAX(2 * t->room, (unsigned)ROOM_FIRST);
		t->e = xrealloc(t->e, t->room * sizeof(t->e[0]));
	}
	t->e[t->n++] = (struct tape_event){ (uint8_t)kind, (uint8_t)size, where, value };
	t->next = t->n;
	tape_now = t;
}

void tape_rewind(struct tape *t)
{
	if (t->next < t->n)
		memmove(t->e, t->e + t->next, (t->n - t->next) * sizeof(t->e[0]));
	t->n -= t->next;
	t->next = 0;
	t->closed = t->torn = false;
}

void tape_free(struct tape *t)
{
	free(t->e);
}
