/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tracepoints: declared once in trace.def as TRACE(name, "printf format of four
 * uint64_t").  Off, one costs a load and a predicted branch; on (--trace
 * NAME[,NAME...] or `all`), a 48-byte record goes to a ring of the calling
 * thread, written out as text to the trace file at exit or on SIGUSR2.
 */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <stdint.h>
#include <stdbool.h>
#include "base/error.h"

enum trace_id {
#define TRACE(name, fmt) TRACE_##name,
#include "base/trace.def"
#undef TRACE
	TRACE_COUNT
};

extern uint8_t trace_on[TRACE_COUNT];
void trace_record(enum trace_id id, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

#define trace4(name, a, b, c, d) do { \
	if (__builtin_expect(trace_on[TRACE_##name], 0)) \
		trace_record(TRACE_##name, (uint64_t)(a), (uint64_t)(b), \
			     (uint64_t)(c), (uint64_t)(d)); } while (0)
#define trace3(name, a, b, c) trace4(name, a, b, c, 0)
#define trace2(name, a, b) trace4(name, a, b, 0, 0)
#define trace1(name, a) trace4(name, a, 0, 0, 0)

/* Comma-separated names; "all"; an unknown name is an error that lists them. */
bool trace_enable(const char *names, struct error *err);
/* Where the rings are written as text, oldest record first. */
void trace_dump(int fd);

#endif
