/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of a process: see log.h. */
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static int log_fd = 2;
static enum log_level log_most = LOG_WARN;

void log_setup(int fd, enum log_level most)
{
	log_fd = fd;
	log_most = most;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	if (level > log_most)
		return;
	int saved = errno;
	char line[640];
	int n = snprintf(line, sizeof(line), "abyme: %s: ", names[level]);
	va_list ap;
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	n = MIN(n, (int)sizeof(line) - 2);
	line[n++] = '\n';
	ssize_t w UNUSED = write(log_fd, line, (size_t)n);
	errno = saved;
}

/* The state packs a second in the high half and a count in the low one. */
bool log_site_allows(uint64_t *site_state)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	uint64_t old = __atomic_load_n(site_state, __ATOMIC_RELAXED);
	uint64_t now = (uint64_t)ts.tv_sec << 32;
	uint64_t count = (old >> 32 << 32) == now ? (old & 0xffffffff) + 1 : 1;
	__atomic_store_n(site_state, now | count, __ATOMIC_RELAXED);
	return count <= 10;
}
