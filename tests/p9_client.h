/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A 9P client for tests: messages written field by field. */
#ifndef TESTS_P9_CLIENT_H
#define TESTS_P9_CLIENT_H

#include <stdarg.h>

#include "share/p9.h"

/* The fields of `format`: 1 2 4 8 for integers of that size, s for a string,
 * d for (data, length).  Returns the message's length. */
static size_t UNUSED p9_build(uint8_t *msg, uint8_t type, uint16_t tag, const char *format, ...)
{
	uint8_t *p = msg + P9_HEADER;
	va_list ap;
	va_start(ap, format);
	for (; *format; format++) {
		const char *s;
		size_t n;
		switch (*format) {
		case '1': *p++ = (uint8_t)va_arg(ap, int); break;
		case '2': le16_put(p, (uint16_t)va_arg(ap, int)); p += 2; break;
		case '4': le32_put(p, va_arg(ap, uint32_t)); p += 4; break;
		case '8': le64_put(p, va_arg(ap, uint64_t)); p += 8; break;
		case 's':
			s = va_arg(ap, const char *);
			n = strlen(s);
			le16_put(p, (uint16_t)n);
			memcpy(p + 2, s, n);
			p += 2 + n;
			break;
		case 'd':
			s = va_arg(ap, const char *);
			n = va_arg(ap, size_t);
			memcpy(p, s, n);
			p += n;
			break;
		}
	}
	va_end(ap);
	le32_put(msg, (uint32_t)(p - msg));
	msg[4] = type;
	le16_put(msg + 5, tag);
	return (size_t)(p - msg);
}

#endif
