/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of a process: lines to stderr, or to the descriptor set with
 * log_to_fd (an instance's log file).  Thread-safe; a line is one write().
 * Guest-triggered messages must use log_guest(), which is rate-limited per
 * call site, so that a guest cannot fill the host's disk.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/util.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_setup(int fd, enum log_level most);   /* default: stderr, LOG_WARN */
void log_write(enum log_level level, const char *fmt, ...) PRINTF(2, 3);
bool log_site_allows(uint64_t *site_state);    /* about 10 lines a second */

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_guest(...) do { static uint64_t site_; \
	if (log_site_allows(&site_)) log_write(LOG_INFO, __VA_ARGS__); } while (0)

#endif
