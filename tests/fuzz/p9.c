/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 9P messages come from guests.  The input is a stream of them; the tree is a
 * directory of its own, and what the messages make in it is removed again.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/fuzz.h"
#include "p9_client.h"

static int root = -1, proc;
static char dir[64];

static void remove_tree(void)
{
	auto_free char *rm = xasprintf("rm -rf %s", dir);
	if (system(rm))
		perror(dir);
}

static void make_tree(void)
{
	strcpy(dir, "/tmp/abyme-fuzz-p9-XXXXXX");
	if (!mkdtemp(dir) || (root = open(dir, O_RDONLY | O_DIRECTORY)) < 0)
		abort();
	proc = open("/proc/self/fd", O_PATH | O_DIRECTORY);
	atexit(remove_tree);
	if (mkdirat(root, "a", 0755) || mkdirat(root, "a/b", 0755) || symlinkat("/", root, "l"))
		abort();
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	uint8_t *p = buf;
	if (n > 1)
		return 0;
	p += p9_build(p, 100, 0xffff, "4s", 8192, "9P2000.L");
	p += p9_build(p, 104, 1, "44ss4", 0, ~0u, "root", "/", 0);
	p += p9_build(p, 110, 1, "442ss", 0, 1, 2, "a", "b");
	p += p9_build(p, 12, 1, "44", 1, 0);
	p += p9_build(p, 40, 1, "484", 1, 0ull, 1000);
	if (n) {
		p += p9_build(p, 110, 1, "442", 0, 2, 0);
		p += p9_build(p, 14, 1, "4s444", 2, "f", 2, 0644, 0);
		p += p9_build(p, 118, 1, "484d", 2, 10ull, 3, "abc", (size_t)3);
		p += p9_build(p, 116, 1, "484", 2, 0ull, 4096);
		p += p9_build(p, 24, 1, "48", 2, ~0ull);
		p += p9_build(p, 26, 1, "4444488888", 2, 0x1ff, 0644, 0, 0, 4ull, 0ull, 0ull, 0ull, 0ull);
		p += p9_build(p, 74, 1, "4s4s", 0, "f", 0, "g");
		p += p9_build(p, P9_TSAVE, 1, "4", 0);
		p += p9_build(p, 76, 1, "4s4", 0, "g", 0);
		p += p9_build(p, P9_TRESTORE, 1, "444s", 8192, 9, 0, "a/b");
	}
	return (size_t)(p - buf);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	static uint8_t reply[P9_MSIZE_MAX];
	if (root < 0)
		make_tree();
	struct p9_server *s = p9_server_new(root, proc, false);
	for (size_t at = 0; size - at >= P9_HEADER; ) {
		size_t n = le32_get(data + at);
		n = n < P9_HEADER || n > size - at ? size - at : n;
		if (p9_serve(s, data + at, n, reply) > P9_MSIZE_MAX)
			abort();
		at += n;
	}
	p9_server_free(s);
}
