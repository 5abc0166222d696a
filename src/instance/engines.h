/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which engines there are, and which one an instance gets. */
#ifndef INSTANCE_ENGINES_H
#define INSTANCE_ENGINES_H

#include <stddef.h>
#include "base/error.h"

struct definition;
struct engine_ops;

/* In order of preference; NULL-terminated. */
extern const struct engine_ops *const engines[];
const struct engine_ops *engine_find(const char *name, size_t n);
/* Does it know the options behind the first comma of `text`, if there are any? */
bool engine_options_ok(const struct engine_ops *e, const char *text, struct error *err);

/* Replace engine `auto` by what can run here, and a missing CPU model by the
 * best movable one; `why` tells the choice. Options after a comma stay. */
bool engine_resolve(struct definition *d, char why[160], struct error *err);

#endif
