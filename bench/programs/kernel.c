/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work that is mostly the kernel's: system calls, pipes, page faults, processes. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "work.h"

static uint64_t null_call(unsigned scale)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < scale; i++)
		n += syscall(SYS_getppid) >= 0;
	return n;
}

static uint64_t reads(unsigned scale, size_t size)
{
	char buf[4096];
	int fd = open("/dev/zero", O_RDONLY);
	must(fd >= 0, "/dev/zero");
	uint64_t n = 0;
	for (unsigned i = 0; i < scale; i++)
		n += (uint64_t)read(fd, buf, size);
	close(fd);
	return n;
}

static uint64_t read_1(unsigned scale) { return reads(scale, 1); }
static uint64_t read_4k(unsigned scale) { return reads(scale, 4096); }

static uint64_t stats(unsigned scale)
{
	struct stat st;
	uint64_t n = 0;
	for (unsigned i = 0; i < scale; i++)
		n += !stat("/dev/null", &st);
	return n;
}

static uint64_t opens(unsigned scale)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < scale; i++) {
		int fd = open("/dev/null", O_RDONLY);
		n += fd >= 0;
		close(fd);
	}
	return n;
}

/* A byte through two pipes and back, within one process. */
static uint64_t pipe_self(unsigned scale)
{
	int p[2];
	char c = 1;
	uint64_t n = 0;
	must(!pipe(p), "pipe");
	for (unsigned i = 0; i < scale; i++)
		n += (uint64_t)(write(p[1], &c, 1) + read(p[0], &c, 1));
	close(p[0]);
	close(p[1]);
	return n;
}

/* Two processes on one CPU: two switches a turn. */
static uint64_t switches(unsigned scale)
{
	int a[2], b[2];
	char c = 1;
	uint64_t n = 0;
	must(!pipe(a) && !pipe(b), "pipe");
	pid_t pid = fork();
	if (!pid) {
		for (unsigned i = 0; i < scale; i++)
			if (read(a[0], &c, 1) != 1 || write(b[1], &c, 1) != 1)
				_exit(1);
		_exit(0);
	}
	for (unsigned i = 0; i < scale; i++)
		n += (uint64_t)(write(a[1], &c, 1) + read(b[0], &c, 1));
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
	return n;
}

static uint64_t touches(unsigned scale)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < scale; i++) {
		uint8_t *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		must(p != MAP_FAILED, "mmap");
		for (unsigned k = 0; k < 65536; k += 4096)
			p[k] = 1;
		n += p[4096];
		munmap(p, 65536);
	}
	return n;
}

static uint64_t forks(unsigned scale)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < scale; i++) {
		int st;
		pid_t pid = fork();
		if (!pid)
			_exit(3);
		waitpid(pid, &st, 0);
		n += (uint64_t)WEXITSTATUS(st);
	}
	return n;
}

static uint64_t execs(unsigned scale)
{
	volatile uint64_t n = 0;
	for (volatile unsigned i = 0; i < scale; i++) {
		int st;
		pid_t pid = vfork();
		if (!pid) {
			execl("/proc/self/exe", "work", "no-such-workload", (char *)NULL);
			_exit(1);
		}
		waitpid(pid, &st, 0);
		n += WEXITSTATUS(st) == 0;
	}
	return n;
}

const struct work kernel_work[] = {
	{ "null-call", "kernel", null_call, 1000000 },
	{ "read-1", "kernel", read_1, 500000 },
	{ "read-4k", "kernel", read_4k, 300000 },
	{ "stat", "kernel", stats, 200000 },
	{ "open-close", "kernel", opens, 150000 },
	{ "pipe", "kernel", pipe_self, 200000 },
	{ "switch", "kernel", switches, 40000 },
	{ "mmap-touch", "kernel", touches, 8000 },
	{ "fork-exit", "kernel", forks, 1500 },
	{ "fork-exec", "kernel", execs, 500 },
	{ 0 },
};
