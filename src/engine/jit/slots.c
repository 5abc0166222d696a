/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's R10 and R11, whose place is in memory. Between two instructions S0 and
 * S1 may hold them too, so that what computes with them need not wait for a store to
 * come back as a load; what is written goes to memory at once. The same words of
 * struct trans tell it that tell of groups' bases (group.c).
 */
#include "engine/jit/trans.h"

void lose_s1(struct trans *t) { t->s1_group = t->s1_next = -1; }
void keep_s1(struct trans *t) { t->s1_next = t->s1_group; }

void lose_scratch(struct trans *t)
{
	t->s0_group = t->s0_next = -1;
	lose_s1(t);
}

void keep_scratch(struct trans *t)
{
	t->s0_next = t->s0_group;
	keep_s1(t);
}

/* The register of the guest that `held` stands for, or EREG_NONE. */
unsigned slot_of_held(int held)
{
	return held <= HELD(S0) ? (unsigned)(S0 - held + HELD(S0)) : (unsigned)EREG_NONE;
}

unsigned slot_held(const struct trans *t, unsigned reg)
{
	if (!is_slot_reg(reg))
		return reg;
	return t->s0_group == HELD(reg) ? S0 : t->s1_group == HELD(reg) ? S1 : (unsigned)EREG_NONE;
}

static void hold(struct trans *t, unsigned host, int what)
{
	if (host == S0)
		t->s0_group = what;
	else
		t->s1_group = what;
}

void slot_load(struct trans *t, unsigned reg, unsigned host)
{
	unsigned at = slot_held(t, reg);

	if (at == host)
		return;
	if (at == EREG_NONE)
		emit_load(&t->e, 8, host, slot_mem(reg));
	else
		emit_mov(&t->e, 8, host, at);
	hold(t, host, HELD(reg));
}

void slot_changed(struct trans *t, unsigned reg)
{
	for (unsigned host = S0; host <= S1; host++)
		if (slot_held(t, reg) == host)
			hold(t, host, -1);
}

void slot_store(struct trans *t, unsigned reg, unsigned host)
{
	emit_store(&t->e, 8, slot_mem(reg), host);
	slot_changed(t, reg);
	hold(t, host, HELD(reg));
}

unsigned slot_use(struct trans *t, unsigned reg, unsigned host)
{
	unsigned at = slot_held(t, reg);

	if (at != EREG_NONE)
		return at;
	slot_load(t, reg, host);
	return host;
}
