/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors: a function that can fail returns false, NULL or -1 and fills a
 * struct error with ONE sentence that a user can act on: the file, the value,
 * the fix.  It is printed once, at the top.  `err` may be NULL where the caller
 * does not care.  Host errors travel this way; guest errors never do (a device
 * fails as its specification says); only our own bugs assert.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>

struct error {
	int code;         /* errno value, or 0 when none applies */
	char text[480];   /* a sentence without a full stop or newline */
};

/*
 * Fill `err`; `errnum` > 0 appends ": strerror".  Always returns false, so that
 * the failure point is one line:
 *     return error_set(err, errno, "cannot open disk '%s'", path);
 */
bool error_set(struct error *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for functions that return a pointer. */
#define error_null(...) (error_set(__VA_ARGS__), (void *)0)
/* ... and for those that return -1. */
#define error_minus(...) (error_set(__VA_ARGS__), -1)

/* Put context in front of what is there: "cannot start 'web': " + text. */
void error_prefix(struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
