/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tapes, see tap.h. */
#include "memory/tap.h"

__thread struct tape *tape_now;

static bool is_write(enum tape_kind kind)
{
	return kind == TAPE_WRITE || kind == TAPE_APIC_WRITE || kind == TAPE_MSR_WRITE;
}

/* Past the end of the recording, or beside it, the tape is torn: reads are 0
 * then, and nothing reaches a device. */
bool tape_replay(struct tape *t, enum tape_kind kind, uint64_t where, unsigned size, uint64_t *value)
{
	const struct tape_event *e = &t->e[t->next];

	if (!t->replay)
		return false;
	if (t->next >= t->n || e->kind != kind || e->where != where || e->size != size ||
	    (is_write(kind) && e->value != *value)) {
		t->torn = true;
		*value = 0;
	} else {
		*value = e->value;
		t->next++;
	}
	tape_now = t;
	return true;
}

void tape_put(struct tape *t, enum tape_kind kind, uint64_t where, unsigned size, uint64_t value)
{
	if (t->n < TAPE_EVENTS)
		t->e[t->n++] = (struct tape_event){ (uint8_t)kind, (uint8_t)size, where, value };
	else
		t->torn = true;
	tape_now = t;
}
