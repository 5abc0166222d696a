/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See fields.h. */
#include "instance/fields.h"

#include <stdio.h>

char *field_next(const char **s)
{
	if (!*s)
		return NULL;
	char *out = xmalloc(strlen(*s) + 1), *o = out;
	const char *p = *s;
	while (*p && (*p != ',' || p[1] == ',')) {
		p += *p == ',';
		*o++ = *p++;
	}
	*o = 0;
	*s = *p ? p + 1 : NULL;
	return out;
}

const char *field_after(const char *field, const char *key)
{
	size_t n = strlen(key);
	return strncmp(field, key, n) ? NULL : field + n;
}

void field_default(char **field, const char *value)
{
	if (!*field)
		*field = xstrdup(value);
}

bool field_one_of(const char *value, const char *what, const char *const *words, struct error *err)
{
	char list[160] = "";
	for (const char *const *w = words; *w; w++) {
		if (!strcmp(value, *w))
			return true;
		size_t n = strlen(list);
		snprintf(list + n, sizeof(list) - n, "%s%s", n ? ", " : "", *w);
	}
	return error_set(err, 0, "%s '%s' is not known: use one of %s", what, value, list);
}
