/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: what differs between two states of one image.  What both states refer to is
 * shared, and what is shared is never written in place: equal entries are equal
 * contents, and no bitmap has to survive a crash to know it.
 */
#include "disk/qcow2.h"

static uint64_t l1_entry(const struct qcow2 *q, uint64_t i)
{
	return i < q->l1_size ? q->l1[i] & OFFSET_MASK : 0;
}

static int both_entries(struct qcow2 *a, struct qcow2 *b, uint64_t offset, bool *equal)
{
	uint64_t ea = 0, eb = 0;
	int r = entry_get(a, offset, &ea);
	if (!r)
		r = entry_get(b, offset, &eb);
	*equal = !r && !((ea ^ eb) & ~L2_COPIED);
	return r;
}

int qcow2_changed(struct image *old, struct image *now, uint64_t offset, uint64_t *len, bool *changed)
{
	struct qcow2 *a = old->format, *b = now->format;
	uint64_t per = b->l2_entries << b->cluster_bits, end = MIN(offset + *len, ALIGN_DOWN(offset, per) + per);
	bool equal = l1_entry(a, offset / per) == l1_entry(b, offset / per);
	int r = 0;
	*changed = !equal;
	*len = end - offset;
	if (equal || (r = both_entries(a, b, offset, &equal)))
		return r;
	*changed = !equal;
	uint64_t at = ALIGN_DOWN(offset, b->cluster_size) + b->cluster_size;
	for (bool same = equal; at < end; at += b->cluster_size) {
		if ((r = both_entries(a, b, at, &same)))
			return r;
		if (same != equal)
			break;
	}
	*len = MIN(at, end) - offset;
	return 0;
}
