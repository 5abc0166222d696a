/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 9P server: files, the ways out that must be shut, sessions over a save. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "p9_client.h"

struct fixture { struct p9_server *s; char dir[64]; int root, proc; };
static uint8_t msg[P9_MSIZE_MAX], reply[P9_MSIZE_MAX];

/* Send what was built; the errno of the answer, 0 if it is not an error. */
static int serve(struct fixture *f, size_t n)
{
	size_t r = p9_serve(f->s, msg, n, reply);
	assert_int_equal(r, le32_get(reply));
	assert_int_equal(le16_get(reply + 5), 77);
	if (reply[4] == P9_RLERROR)
		return (int)le32_get(reply + 7);
	assert_int_equal(reply[4], msg[4] + 1);
	return 0;
}
#define CALL(f, type, ...) serve(f, p9_build(msg, type, 77, __VA_ARGS__))

static int setup_with(void **state, bool readonly)
{
	struct fixture *f = xnew(struct fixture);
	strcpy(f->dir, "/tmp/abyme-p9-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->root = open(f->dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(mkdirat(f->root, "sub", 0755), 0);
	close(openat(f->root, "sub/file", O_CREAT | O_WRONLY, 0644));
	assert_int_equal(symlinkat("/etc", f->root, "out"), 0);
	assert_int_equal(symlinkat("..", f->root, "up"), 0);
	f->proc = open("/proc/self/fd", O_PATH | O_DIRECTORY);
	f->s = p9_server_new(f->root, f->proc, readonly);
	assert_int_equal(CALL(f, 116, "484", 1, 0ull, 5), EPROTO);     /* before Tversion */
	assert_int_equal(CALL(f, 100, "4s", 8192, "9P2000.L"), 0);
	assert_int_equal(CALL(f, 104, "44ss4", 0, ~0u, "root", "/", 0), 0);
	assert_int_equal(reply[7], 0x80);
	*state = f;
	return 0;
}
static int setup(void **state) { return setup_with(state, false); }
static int setup_readonly(void **state) { return setup_with(state, true); }
static int teardown(void **state)
{
	struct fixture *f = *state;
	p9_server_free(f->s);
	close(f->root);
	close(f->proc);
	auto_free char *rm = xasprintf("rm -rf %s", f->dir);
	assert_int_equal(system(rm), 0);
	free(f);
	return 0;
}

static void version(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(CALL(f, 100, "4s", 1 << 30, "9P2000.u"), 0);
	assert_int_equal(le32_get(reply + 7), P9_MSIZE_MAX);
	assert_memory_equal(reply + 13, "unknown", 7);
	assert_int_equal(CALL(f, 24, "48", 0, ~0ull), EBADF);          /* fids are gone */
	assert_int_equal(CALL(f, 100, "4s", 10, "9P2000.L"), EMSGSIZE);
}

static void files(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(CALL(f, 110, "442", 0, 1, 0), 0);             /* clone */
	assert_int_equal(CALL(f, 14, "4s444", 1, "new", O_RDWR, 0644, 0), 0);
	assert_int_equal(CALL(f, 118, "484d", 1, 3ull, 5, "hello", (size_t)5), 0);
	assert_int_equal(le32_get(reply + 7), 5);
	assert_int_equal(CALL(f, 118, "484", 1, 0ull, 5000), EINVAL);  /* a lying count */
	assert_int_equal(CALL(f, 116, "484", 1, 0ull, 100), 0);
	assert_int_equal(le32_get(reply + 7), 8);
	assert_memory_equal(reply + 11, "\0\0\0hello", 8);
	assert_int_equal(CALL(f, 26, "4444488888", 1, 8 | 1, 04755, 0, 0, 4ull, 0ull, 0ull, 0ull, 0ull), 0);
	assert_int_equal(CALL(f, 24, "48", 1, ~0ull), 0);
	assert_int_equal(le32_get(reply + 7 + 8 + 13), S_IFREG | 0755);   /* setuid was not set */
	assert_int_equal(le64_get(reply + 7 + 8 + 13 + 12 + 16), 4);
	assert_int_equal(CALL(f, 50, "44", 1, 0), 0);
	assert_int_equal(CALL(f, 74, "4s4s", 0, "new", 0, "newer"), 0);
	assert_int_equal(CALL(f, 116, "484", 1, 3ull, 100), 0);         /* a fid follows its file */
	assert_int_equal(le32_get(reply + 7), 1);
	assert_int_equal(CALL(f, 70, "44s", 0, 1, "link"), 0);
	assert_int_equal(CALL(f, 120, "4", 1), 0);
	assert_int_equal(CALL(f, 76, "4s4", 0, "newer", 0), 0);
	assert_int_equal(CALL(f, 76, "4s4", 0, "newer", 0), ENOENT);
	assert_int_equal(CALL(f, 72, "4s44", 0, "dir", 0700, 0), 0);
	assert_int_equal(CALL(f, 76, "4s4", 0, "dir", 0x200), 0);
	assert_int_equal(CALL(f, 16, "4ss4", 0, "sym", "anywhere", 0), 0);
	assert_int_equal(CALL(f, 110, "442s", 0, 1, 1, "sym"), 0);
	assert_int_equal(CALL(f, 22, "4", 1), 0);
	assert_memory_equal(reply + 9, "anywhere", 8);
	assert_int_equal(CALL(f, 8, "4", 0), 0);
	struct stat st;
	assert_int_equal(fstatat(f->root, "link", &st, 0), 0);
	assert_int_equal(st.st_size, 4);
}

static void ways_out(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(CALL(f, 110, "442s", 0, 1, 1, ".."), 0);       /* the root's parent is the root */
	assert_int_equal(CALL(f, 110, "442s", 1, 2, 1, "sub"), 0);
	assert_int_equal(CALL(f, 110, "442s", 2, 3, 1, ".."), EXDEV);
	assert_int_equal(CALL(f, 110, "442s", 0, 3, 1, "/etc"), ENOENT);
	assert_int_equal(CALL(f, 110, "442s", 0, 3, 1, "sub/../.."), ENOENT);
	assert_int_equal(CALL(f, 110, "442s", 0, 3, 1, ""), ENOENT);
	assert_int_equal(CALL(f, 110, "442s", 0, 4, 1, "out"), 0);      /* the link itself */
	assert_int_equal(reply[9], 2);
	assert_int_equal(CALL(f, 12, "44", 4, O_RDONLY), ENXIO);
	assert_int_equal(CALL(f, 110, "442s", 4, 5, 1, "passwd"), ENOTDIR);
	assert_int_equal(CALL(f, 110, "442ss", 0, 5, 2, "out", "passwd"), 0);
	assert_int_equal(le16_get(reply + 7), 1);                       /* only the first step */
	assert_int_equal(CALL(f, 24, "48", 5, ~0ull), EBADF);
	assert_int_equal(CALL(f, 14, "4s444", 1, "out", O_RDWR, 0644, 0), ELOOP);
	assert_int_equal(CALL(f, 14, "4s444", 1, "../x", O_RDWR, 0644, 0), EINVAL);
	assert_int_equal(CALL(f, 14, "4s444", 1, "..", O_RDWR, 0644, 0), EINVAL);
	assert_int_equal(CALL(f, 72, "4s44", 1, "a/b", 0755, 0), EINVAL);
	assert_int_equal(CALL(f, 74, "4s4s", 0, "sub", 0, "../sub"), EINVAL);
	assert_int_equal(CALL(f, 76, "4s4", 0, "..", 0x200), EINVAL);
	assert_int_equal(CALL(f, 18, "4s4444", 0, "dev", S_IFCHR | 0666, 1, 3, 0), EPERM);
	assert_int_equal(CALL(f, 18, "4s4444", 0, "fifo", S_IFIFO | 0666, 0, 0, 0), 0);
	assert_int_equal(CALL(f, 110, "442s", 0, 6, 1, "fifo"), 0);
	assert_int_equal(CALL(f, 12, "44", 6, O_RDONLY), ENXIO);
	assert_int_equal(CALL(f, 26, "4444488888", 4, 1, 0777, 0, 0, 0ull, 0ull, 0ull, 0ull, 0ull), EOPNOTSUPP);
}

static unsigned count_entries(const uint8_t *p, uint32_t n, uint64_t *next)
{
	unsigned k = 0;
	for (uint32_t at = 0; at < n; k++) {
		*next = le64_get(p + at + 13);
		at += 24 + le16_get(p + at + 22);
	}
	return k;
}

static void directories(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 300; i++) {
		auto_free char *name = xasprintf("sub/a-file-with-a-name-%u", i);
		close(openat(f->root, name, O_CREAT | O_WRONLY, 0644));
	}
	assert_int_equal(CALL(f, 110, "442s", 0, 1, 1, "sub"), 0);
	assert_int_equal(CALL(f, 40, "484", 1, 0ull, 4000), EBADF);     /* not open */
	assert_int_equal(CALL(f, 12, "44", 1, O_RDONLY | O_DIRECTORY), 0);
	uint64_t next = 0;
	unsigned total = 0, rounds = 0;
	do {
		assert_int_equal(CALL(f, 40, "484", 1, next, 1000), 0);
		total += count_entries(reply + 11, le32_get(reply + 7), &next);
	} while (le32_get(reply + 7) && rounds++ < 1000);
	assert_int_equal(total, 303);
	assert_int_equal(CALL(f, 40, "484", 1, 0ull, 5), EINVAL);
}

static void readonly(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(CALL(f, 110, "442ss", 0, 1, 2, "sub", "file"), 0);
	assert_int_equal(CALL(f, 12, "44", 1, O_RDWR), EROFS);
	assert_int_equal(CALL(f, 12, "44", 1, O_RDONLY | O_TRUNC), EROFS);
	assert_int_equal(CALL(f, 26, "4444488888", 1, 1, 0777, 0, 0, 0ull, 0ull, 0ull, 0ull, 0ull), EROFS);
	assert_int_equal(CALL(f, 12, "44", 1, O_RDONLY), 0);
	assert_int_equal(CALL(f, 118, "484d", 1, 0ull, 1, "x", (size_t)1), EBADF);
	assert_int_equal(CALL(f, 110, "442", 0, 2, 0), 0);
	assert_int_equal(CALL(f, 14, "4s444", 2, "new", O_RDWR, 0644, 0), EROFS);
	assert_int_equal(CALL(f, 72, "4s44", 0, "d", 0755, 0), EROFS);
	assert_int_equal(CALL(f, 76, "4s4", 0, "sub", 0), EROFS);
	assert_int_equal(CALL(f, 74, "4s4s", 0, "sub", 0, "bus"), EROFS);
	assert_int_equal(CALL(f, 16, "4ss4", 0, "l", "t", 0), EROFS);
	assert_int_equal(CALL(f, 70, "44s", 0, 1, "l"), EROFS);
	assert_int_equal(CALL(f, 18, "4s4444", 0, "p", S_IFIFO, 0, 0, 0), EROFS);
}

static void session_moves(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(CALL(f, 110, "442ss", 0, 1, 2, "sub", "file"), 0);
	assert_int_equal(CALL(f, 12, "44", 1, O_RDWR), 0);
	assert_int_equal(CALL(f, 110, "442s", 0, 2, 1, "out"), 0);
	assert_int_equal(CALL(f, 110, "442", 0, 3, 0), 0);
	assert_int_equal(CALL(f, 14, "4s444", 3, "gone", O_RDWR, 0644, 0), 0);
	for (unsigned i = 1000; i < 1400; i++)                          /* more than one message holds */
		assert_int_equal(CALL(f, 110, "442ss", 0, i, 2, "sub", "file"), 0);
	assert_int_equal(CALL(f, 74, "4s4s", 0, "sub", 0, "renamed"), 0);
	assert_int_equal(CALL(f, 76, "4s4", 0, "gone", 0), 0);
	struct p9_server *old = f->s;
	f->s = p9_server_new(f->root, f->proc, false);
	uint32_t bucket = 0;
	unsigned messages = 0;
	while (bucket != ~0u) {
		struct p9_server *new = f->s;
		f->s = old;
		assert_int_equal(CALL(f, P9_TSAVE, "4", bucket), 0);
		f->s = new;
		bucket = le32_get(reply + 7);
		size_t n = le32_get(reply) - 11;
		auto_free char *entries = memcpy(xmalloc(n + 1), reply + 11, n);
		assert_int_equal(CALL(f, P9_TRESTORE, "4d", 8192, entries, n), 0);
		messages++;
	}
	assert_true(messages > 1);
	p9_server_free(old);
	assert_int_equal(CALL(f, 118, "484d", 1, 0ull, 2, "ok", (size_t)2), 0);
	assert_int_equal(CALL(f, 22, "4", 2), 0);
	assert_int_equal(CALL(f, 24, "48", 3, ~0ull), EBADF);
	assert_int_equal(CALL(f, 24, "48", 1399, ~0ull), 0);
	assert_int_equal(CALL(f, 110, "442s", 0, 9, 1, "renamed"), 0);
	struct stat st;
	assert_int_equal(fstatat(f->root, "renamed/file", &st, 0), 0);
	assert_int_equal(st.st_size, 2);
	/* a hostile save file: no path leads out */
	assert_int_equal(CALL(f, P9_TRESTORE, "444s44s44s", 8192, 50, 0, "../..", 51, 0, "/etc/passwd",
			      52, 0, "out/passwd"), 0);
	for (unsigned i = 50; i < 53; i++)
		assert_int_equal(CALL(f, 24, "48", i, ~0ull), EBADF);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(version), T(files), T(ways_out), T(directories), T(session_moves),
		cmocka_unit_test_setup_teardown(readonly, setup_readonly, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
