/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Subnets: reading them, and picking one that the host does not use. */
#ifndef NETWORK_SUBNET_H
#define NETWORK_SUBNET_H

#include "base/error.h"
#include "base/util.h"

struct subnet { uint32_t base, mask; unsigned prefix; };

bool subnet_parse(const char *text, struct subnet *s, struct error *err);
/* What the host routes or has as addresses overlaps it; who, in `by`. */
bool subnet_in_use(const struct subnet *s, char by[64]);
/* A free /24 for a network of that name: the same one each time, if it is free;
 * taken() tells of those that other networks have. */
bool subnet_pick(const char *name, bool (*taken)(const struct subnet *s, void *opaque), void *opaque,
		 struct subnet *s, struct error *err);
static inline bool subnet_overlaps(const struct subnet *a, const struct subnet *b)
{ return ((a->base ^ b->base) & a->mask & b->mask) == 0; }

bool subnet6_parse(const char *text, uint8_t prefix[16], struct error *err);   /* always a /64 */
/* A fresh unique local prefix (RFC 4193 3.2). */
char *subnet6_make(void);

#endif
