/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small things every room uses: cleanup attributes, allocation that cannot
 * fail (it ends the program: a monitor without memory can do nothing better;
 * sizes must never come from a guest or a file unchecked), endian access.
 */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <endian.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) \
	((type *)((char *)(p) - offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define MIN(a, b) ({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ < b_ ? a_ : b_; })
#define MAX(a, b) ({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ > b_ ? a_ : b_; })
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define ALIGN_UP(x, a) ALIGN_DOWN((x) + ((__typeof__(x))(a) - 1), a)
#define BIT(n) (1ull << (n))
#define KiB (1ull << 10)
#define MiB (1ull << 20)
#define GiB (1ull << 30)
#define UNUSED __attribute__((unused))
#define NORETURN __attribute__((noreturn))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

static inline void cleanup_free_(void *p) { free(*(void **)p); }
static inline void cleanup_close_(int *fd) { if (*fd >= 0) close(*fd); }
#define auto_free __attribute__((cleanup(cleanup_free_)))
#define auto_close __attribute__((cleanup(cleanup_close_)))

/* Give ownership away: the variable is emptied, its value returned. */
#define move_ptr(p) ({ __typeof__(p) p_ = (p); (p) = NULL; p_; })
static inline int move_fd(int *fd) { int f = *fd; *fd = -1; return f; }
/* Close it, if it is open, and forget it. */
static inline void close_fd(int *fd) { int f = move_fd(fd); if (f >= 0) close(f); }

void *xmalloc(size_t n) __attribute__((malloc, alloc_size(1)));
void *xcalloc(size_t n, size_t size) __attribute__((malloc));   /* zeroed */
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s) __attribute__((malloc));
char *xasprintf(const char *fmt, ...) PRINTF(1, 2);
#define xnew(type) ((type *)xcalloc(1, sizeof(type)))

/* Unaligned little-endian access. */
#define DEFINE_LE(bits) \
	static inline uint##bits##_t le##bits##_get(const void *p) \
	{ uint##bits##_t v; memcpy(&v, p, sizeof(v)); return le##bits##toh(v); } \
	static inline void le##bits##_put(void *p, uint##bits##_t v) \
	{ v = htole##bits(v); memcpy(p, &v, sizeof(v)); }
DEFINE_LE(16)
DEFINE_LE(32)
DEFINE_LE(64)

/* read(), over EINTR: where a time-out is set, a process that was stopped and goes on is interrupted (signal(7)). */
ssize_t fd_read_some(int fd, void *buf, size_t n);
/* Read or write all of it, over EINTR and short counts; false with errno set
 * (errno 0: end of file). */
bool fd_read_full(int fd, void *buf, size_t n);
bool fd_write_full(int fd, const void *buf, size_t n);
bool fd_pread_full(int fd, void *buf, size_t n, uint64_t offset);
bool fd_pwrite_full(int fd, const void *buf, size_t n, uint64_t offset);

/* The last part of a path, *n characters of it: what follows the last '/' but those at its end. */
const char *path_last(const char *path, size_t *n);
/* What is before the last part, with its '/', or "."; to be freed. */
char *path_directory(const char *path);
/* Of a file name, in letters of either case. */
bool has_suffix(const char *name, const char *suffix);

/* Until the child has ended: its status as waitpid() has it; -1 if there is none. */
int wait_child(pid_t pid);

/* As many descriptors as this user may have. */
void raise_descriptor_limit(void);

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t monotonic_ns(void);

/* "512M", "2G", "64k" (binary multiples), plain bytes; false on anything else
 * or overflow.  */
bool parse_size(const char *s, uint64_t *bytes);
/* A whole decimal or 0x number in [min, max]. */
bool parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out);

#endif
