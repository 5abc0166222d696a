/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 without memory: each allocation of a session in turn finds none.  What has a size that a file or a
 * cluster decides comes back as an error, and the session goes on; what is small ends the
 * process (util.h).  Both ways what was flushed is there, snapshots that were made are whole, and
 * nothing is corrupt.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "disk/image.h"

enum { SIZE = 256 << 10, SECTORS = SIZE / 512, OPS = 28, SNAPS = 2 };

/* --- the allocator ------------------------------------------------------------ */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static long until = -1;                   /* so many more are granted, then one is not; < 0: all */

static bool refused(void)
{
	return until >= 0 && until-- == 0;
}

void *__wrap_malloc(size_t n) { return refused() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return refused() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return refused() ? NULL : __real_realloc(p, n); }

/* --- what may be in the image -------------------------------------------------- */

struct sector { uint8_t last, flushed; bool failed /* the last request for it */, written[OPS + 1]; };
struct snapshot { bool whole; uint8_t at[SECTORS]; bool sure[SECTORS]; };

/* Shared with the process that may die. */
struct model { bool reached; struct sector sector[SECTORS]; struct snapshot snap[SNAPS]; };

static void change(struct model *m, struct image *i, unsigned n, unsigned s, unsigned count)
{
	static uint8_t buf[64 * 512];
	bool zero = n % 8 == 3;
	uint8_t v = zero ? 0 : (uint8_t)n;
	count = MIN(count, SECTORS - s);
	for (unsigned k = s; k < s + count; k++)
		m->sector[k].written[v] = m->sector[k].failed = true;
	memset(buf, v, sizeof(buf));
	if (zero ? i->ops->zero(i, s * 512ull, count * 512, true) : image_write(i, buf, count * 512, s * 512ull))
		return;
	for (unsigned k = s; k < s + count; k++) {
		m->sector[k].last = v;
		m->sector[k].failed = false;
	}
}

static void flush(struct model *m, struct image *i)
{
	if (i->ops->flush(i))
		return;
	for (struct sector *s = m->sector; s < m->sector + SECTORS; s++) {
		if (s->failed)
			continue;
		memset(s->written, 0, sizeof(s->written));
		s->flushed = s->last;
	}
}

static void make_snapshot(struct model *m, struct image *i, unsigned k, const char *name)
{
	for (unsigned s = 0; s < SECTORS; s++) {
		m->snap[k].at[s] = m->sector[s].last;
		m->snap[k].sure[s] = !m->sector[s].failed;
	}
	m->snap[k].whole = qcow2_snapshot_create(i, name, NULL);
}

static void one(struct model *m, struct image *i, unsigned n, unsigned *seed)
{
	unsigned s = (unsigned)rand_r(seed) % SECTORS, count = 1 + (unsigned)rand_r(seed) % 60;
	switch (n) {
	case 6: case 12: case 17: case 23: flush(m, i); return;
	case 8: make_snapshot(m, i, 0, "a"); return;
	case 14: make_snapshot(m, i, 1, "b"); return;
	case 20:
		m->snap[0].whole = false;
		qcow2_snapshot_delete(i, "a", NULL);
		return;
	case 22: qcow2_bitmap_add(i, "bitmap", 9, NULL); return;
	case 25: i->ops->resize(i, SIZE + 65536, NULL); return;
	case 26: i->ops->tidy(i); return;
	default: change(m, i, n, s, count); return;
	}
}

/* --- a session, in a process of its own ----------------------------------------- */

static void session(struct model *m, int fd, long granted)
{
	unsigned seed = (unsigned)granted;
	int null = open("/dev/null", O_WRONLY);
	struct error err;
	dup2(null, 2);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	until = granted;
	struct image_file *f = image_file_fd(fd);
	struct image *i = image_on(f, "qcow2", "memory", false, &err);
	for (unsigned n = 1; n < OPS && i; n++)
		one(m, i, n, &seed);
	image_close(i);
	m->reached = until < 0;
	_exit(0);
}

/* True: it ended by itself. */
static bool run(struct model *m, int fd, long granted)
{
	int status;
	pid_t pid = fork();
	if (!pid)
		session(m, fd, granted);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) ? WTERMSIG(status) != SIGABRT : WEXITSTATUS(status))
		fail_msg("allocation %ld: status %#x", granted, (unsigned)status);
	m->reached |= WIFSIGNALED(status);
	return !WIFSIGNALED(status);
}

static struct image *reopen(int fd, bool readonly)
{
	struct error err;
	struct image *i = image_on(image_file_fd(dup(fd)), "qcow2", "memory", readonly, &err);
	if (!i)
		fail_msg("%s", err.text);
	return i;
}

static void verify_contents(const struct model *m, struct image *i, long granted)
{
	static uint8_t got[SIZE];
	assert_int_equal(image_read(i, got, SIZE, 0), 0);
	for (unsigned s = 0; s < SECTORS; s++) {
		uint8_t v = got[512 * s];
		if (v != m->sector[s].flushed && (v > OPS || !m->sector[s].written[v]))
			fail_msg("allocation %ld: sector %u has %u, flushed was %u", granted, s, v, m->sector[s].flushed);
	}
}

static void verify_snapshots(const struct model *m, int fd, long granted)
{
	static uint8_t got[SIZE];
	for (unsigned k = 0; k < SNAPS; k++) {
		if (!m->snap[k].whole)
			continue;
		struct image *i = reopen(fd, true);
		if (!qcow2_snapshot_show(i, k ? "b" : "a", NULL))
			fail_msg("allocation %ld: snapshot %u is lost", granted, k);
		assert_int_equal(image_read(i, got, SIZE, 0), 0);
		for (unsigned s = 0; s < SECTORS; s++)
			if (m->snap[k].sure[s] && got[512 * s] != m->snap[k].at[s])
				fail_msg("allocation %ld: snapshot %u, sector %u", granted, k, s);
		image_close(i);
	}
}

static void verify(const struct model *m, int fd, long granted)
{
	struct image_check found;
	for (unsigned readonly = 2; readonly--; ) {   /* as it is, then with what opening repairs */
		struct image *i = reopen(fd, readonly);
		assert_true(qcow2_check(i, false, &found, NULL));
		if (found.corruptions)
			fail_msg("allocation %ld: %u corruptions", granted, (unsigned)found.corruptions);
		verify_contents(m, i, granted);
		image_close(i);
	}
	verify_snapshots(m, fd, granted);
}

static void each_allocation(void **state)
{
	struct model *m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned ended = 0, died = 0;
	assert_true(m != MAP_FAILED);
	for (m->reached = true; m->reached; ) {
		long granted = ended + died;
		auto_close int fd = memfd_create("memory", MFD_CLOEXEC);
		struct image_file *f = image_file_fd(dup(fd));
		memset(m, 0, sizeof(*m));
		assert_true(qcow2_create(f, &(struct qcow2_create){ .size = SIZE, .cluster_bits = 9, .version = 3 }, NULL));
		f->ops->close(f);
		bool by_itself = run(m, fd, granted);
		verify(m, fd, granted);
		ended += by_itself;
		died += !by_itself;
	}
	printf("%u allocations: %u came back as errors, %u ended the process\n", ended + died - 1, ended - 1, died);
	assert_true(ended > 10 && died > 50);
	munmap(m, sizeof(*m));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_allocation) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
