/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocation, whole reads and writes, number parsing: see util.h. */
#include "base/util.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

static NORETURN void out_of_memory(void)
{
	static const char text[] = "abyme: out of memory\n";
	ssize_t n UNUSED = write(2, text, sizeof(text) - 1);
	abort();
}

void *xmalloc(size_t n)
{
	void *p = malloc(n ? n : 1);
	if (!p)
		out_of_memory();
	return p;
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);
	if (!p)
		out_of_memory();
	return p;
}

void *xrealloc(void *p, size_t n)
{
	p = realloc(p, n ? n : 1);
	if (!p)
		out_of_memory();
	return p;
}

char *xstrdup(const char *s)
{
	size_t n = strlen(s) + 1;
	return memcpy(xmalloc(n), s, n);
}

char *xasprintf(const char *fmt, ...)
{
	char *s;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		out_of_memory();
	return s;
}

ssize_t fd_read_some(int fd, void *buf, size_t n)
{
	ssize_t r;
	do
		r = read(fd, buf, n);
	while (r < 0 && errno == EINTR);
	return r;
}

bool fd_read_full(int fd, void *buf, size_t n)
{
	for (size_t done = 0; done < n; ) {
		ssize_t r = fd_read_some(fd, (char *)buf + done, n - done);
		if (r <= 0) {
			errno = r ? errno : 0;
			return false;
		}
		done += (size_t)r;
	}
	return true;
}

bool fd_write_full(int fd, const void *buf, size_t n)
{
	for (size_t done = 0; done < n; ) {
		ssize_t r = write(fd, (const char *)buf + done, n - done);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		done += (size_t)r;
	}
	return true;
}

bool fd_pread_full(int fd, void *buf, size_t n, uint64_t offset)
{
	for (size_t done = 0; done < n; ) {
		ssize_t r = pread(fd, (char *)buf + done, n - done, (off_t)(offset + done));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			errno = r ? errno : 0;
			return false;
		}
		done += (size_t)r;
	}
	return true;
}

bool fd_pwrite_full(int fd, const void *buf, size_t n, uint64_t offset)
{
	for (size_t done = 0; done < n; ) {
		ssize_t r = pwrite(fd, (const char *)buf + done, n - done, (off_t)(offset + done));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		done += (size_t)r;
	}
	return true;
}

static bool parse_digits(const char *s, char **end, uint64_t *v)
{
	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	*v = strtoull(s, end, s[0] == '0' && (s[1] | 32) == 'x' ? 16 : 10);
	return errno == 0 && *end != s;
}

bool parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;
	uint64_t v;
	if (!parse_digits(s, &end, &v) || *end || v < min || v > max)
		return false;
	*out = v;
	return true;
}

bool parse_size(const char *s, uint64_t *bytes)
{
	static const char units[] = "KMGTP";
	char *end;
	uint64_t v;
	if (!parse_digits(s, &end, &v))
		return false;
	unsigned shift = 0;
	const char *u = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (u) {
		shift = 10 * (unsigned)(u - units + 1);
		end++;
		if (end[0] == 'i' && (end[1] | 32) == 'b')
			end += 2;
		else if ((*end | 32) == 'b')
			end++;
	}
	if (*end || (shift && v >> (64 - shift)))
		return false;
	*bytes = v << shift;
	return true;
}

const char *path_last(const char *path, size_t *n)
{
	size_t end = strlen(path);
	while (end && path[end - 1] == '/')
		end--;
	size_t from = end;
	while (from && path[from - 1] != '/')
		from--;
	*n = end - from;
	return path + from;
}

char *path_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? xasprintf("%.*s", (int)(slash + 1 - path), path) : xstrdup(".");
}

bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), k = strlen(suffix);
	return n > k && !strcasecmp(name + n - k, suffix);
}

int wait_child(pid_t pid)
{
	int status = -1;
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

void raise_descriptor_limit(void)
{
	struct rlimit r;
	if (!getrlimit(RLIMIT_NOFILE, &r)) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

uint64_t monotonic_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
