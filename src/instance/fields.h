/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of definitions: options in the form "WORD,key=value", and lists of them. */
#ifndef INSTANCE_FIELDS_H
#define INSTANCE_FIELDS_H

#include "instance/definition.h"

/* Cut the next comma-separated field off *s (to be freed); ",," is a comma in it. */
char *field_next(const char **s);
/* What follows `key` at the beginning of `field`, or NULL. */
const char *field_after(const char *field, const char *key);
void field_default(char **field, const char *value);
bool field_one_of(const char *value, const char *what, const char *const *words, struct error *err);
#define ONE_OF(value, what, ...) field_one_of(value, what, (const char *const[]){ __VA_ARGS__, NULL }, err)

#define APPEND(d, list, count, most, what) \
	((d)->count >= (most) ? error_null(err, 0, "at most %d %s can be given", most, what) : \
	 ((d)->list = xrealloc((d)->list, ((d)->count + 1) * sizeof(*(d)->list)), \
	  memset(&(d)->list[(d)->count], 0, sizeof(*(d)->list)), (void *)&(d)->list[(d)->count++]))

#endif
