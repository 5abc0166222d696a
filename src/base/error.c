/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Error sentences: see error.h. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool error_set(struct error *err, int errnum, const char *fmt, ...)
{
	if (!err)
		return false;
	/* The arguments may point into err->text itself. */
	char text[sizeof(err->text)];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (errnum > 0 && n >= 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n, ": %s", strerror(errnum));
	err->code = errnum;
	memcpy(err->text, text, sizeof(text));
	return false;
}

void error_prefix(struct error *err, const char *fmt, ...)
{
	if (!err)
		return;
	char text[sizeof(err->text)];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n, ": %s", err->text);
	memcpy(err->text, text, sizeof(text));
}
