/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See foreign.h. */
#include "cli/foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "disk/resume.h"

static const struct { const char *ours, *theirs, *options; } formats[] = {
	{ "vmdk", "vmdk", NULL }, { "vmdk-stream", "vmdk", "subformat=streamOptimized" }, { "vdi", "vdi", NULL },
	{ "vhd", "vpc", "subformat=dynamic,force_size=on" }, { "vhdx", "vhdx", NULL } };
enum { PIECE = 128 << 20 };

static int find(const char *format)
{
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (!strcmp(formats[i].ours, format))
			return (int)i;
	return -1;
}

bool foreign_target(const char *format) { return find(format) >= 0; }

bool foreign_in_one_go(const char *format) { return !strcmp(format, "vmdk-stream"); }

bool foreign_source(const char *path)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char head[8];
	return fd >= 0 && fd_pread_full(fd, head, sizeof(head), 0) && !memcmp(head, "vhdxfile", 8);
}

/* Signals are let in while it waits only. */
static int wait_or_stop(pid_t pid, const sigset_t *while_waiting)
{
	auto_close int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	while (fd >= 0 && ppoll(&p, 1, NULL, while_waiting) < 0 && errno == EINTR)
		if (disk_tool_stopped())
			kill(pid, SIGTERM);
	return wait_child(pid);
}

/* It ends with us, so that none goes on writing when we are killed; a signal that stops us stops it. `held`: a log
 * that is in use for as long as it is there; or -1. */
static bool run(char *const argv[], int held, struct error *err)
{
	int status = 0;
	sigset_t ours, before;
	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	fflush(stdout);
	sigprocmask(SIG_BLOCK, &ours, &before);
	pid_t us = getpid(), pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != us)
			_exit(126);
		if (held >= 0)
			fcntl(held, F_SETFD, 0);
		execvp(argv[0], argv);
		_exit(errno == ENOENT ? 127 : 126);
	}
	if (pid > 0)
		status = wait_or_stop(pid, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return error_set(err, errno, "cannot run qemu-img");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return error_set(err, 0, "this format needs qemu-img: install the package qemu-utils");
	return !status || error_set(err, 0, "qemu-img could not convert the disk");
}

static char *safe_path(const char *path) { return xasprintf("%s%s", path[0] == '/' ? "" : "./", path); }

bool foreign_convert(const char *from, const char *from_format, const char *to, const char *format, struct error *err)
{
	int target = find(format), source = from_format ? find(from_format) : -1;
	const char *theirs = source >= 0 ? formats[source].theirs : from_format;
	char *argv[16] = { (char *)"qemu-img", (char *)"convert" };
	unsigned n = 2;
	if (isatty(2))
		argv[n++] = (char *)"-p";
	if (theirs) {
		argv[n++] = (char *)"-f";
		argv[n++] = (char *)theirs;
	}
	argv[n++] = (char *)"-O";
	argv[n++] = (char *)(target >= 0 ? formats[target].theirs : format);
	if (target >= 0 && formats[target].options) {
		argv[n++] = (char *)"-o";
		argv[n++] = (char *)formats[target].options;
	}
	auto_free char *a = safe_path(from), *b = safe_path(to);
	argv[n++] = a;
	argv[n++] = b;
	return run(argv, -1, err);
}

/* --- piece by piece ----------------------------------------------------------- */

static const char *theirs(const char *format)
{
	int n = find(format);
	return n >= 0 ? formats[n].theirs : format;
}

/* What qemu-img says of it. */
static bool ask_size(const struct foreign_job *j, uint64_t *size, struct error *err)
{
	auto_free char *path = safe_path(j->from), *text = xcalloc(1, 1 << 16);
	char *argv[] = { (char *)"qemu-img", (char *)"info", (char *)"--output=json", (char *)"-f",
			 (char *)theirs(j->from_format), path, NULL };
	auto_close int fd = memfd_create("info", MFD_CLOEXEC), out = dup(1);
	bool ok = fd >= 0 && out >= 0 && fflush(stdout) == 0 && dup2(fd, 1) == 1;
	ok = ok && run(argv, -1, err);
	if (out >= 0)
		dup2(out, 1);
	ssize_t n = ok ? pread(fd, text, (1 << 16) - 1, 0) : -1;
	json_t *o = n > 0 ? json_loads(text, 0, NULL) : NULL;
	json_int_t bytes = json_integer_value(json_object_get(o, "virtual-size"));
	json_decref(o);
	*size = (uint64_t)bytes;
	return bytes > 0 || error_set(err, 0, "qemu-img cannot read disk '%s'", j->from);
}

static bool create(const struct foreign_job *j, int log, uint64_t size, struct error *err)
{
	auto_free char *path = safe_path(j->to), *bytes = xasprintf("%llu", (unsigned long long)ALIGN_UP(size, 512));
	const char *options = find(j->format) >= 0 ? formats[find(j->format)].options : NULL;
	char *argv[] = { (char *)"qemu-img", (char *)"create", (char *)"-q", (char *)"-f", (char *)theirs(j->format), path, bytes,
			 options ? (char *)"-o" : NULL, (char *)options, NULL };
	unlink(j->to);
	return run(argv, log, err);
}

/* A part of a disk, in the words of --image-opts; the last part ends with the disk. */
static char *part_of(const char *path, const char *format, uint64_t at, uint64_t size)
{
	auto_free char *safe = safe_path(path), *quoted = xcalloc(2, strlen(safe) + 1), *q = quoted;
	auto_free char *most = at + PIECE < size ? xasprintf(",size=%d", PIECE) : xstrdup("");
	for (const char *p = safe; *p; *q++ = *p++)
		if (*p == ',')
			*q++ = ',';
	q = NULL;                         /* it is quoted's */
	return xasprintf("driver=raw,offset=%llu%s,file.driver=%s,file.file.driver=file,file.file.filename=%s",
			 (unsigned long long)at, most, theirs(format), quoted);
}

static bool all_zero(struct image *i, uint64_t at)
{
	enum image_kind kind = IMAGE_ZERO;
	uint64_t end = i ? MIN(at + PIECE, i->size) : 0, n;
	for (; i && at < end && kind == IMAGE_ZERO; at += n) {
		n = end - at;
		if (image_map(i, at, &n, &kind, NULL))
			return false;
	}
	return i && kind == IMAGE_ZERO;
}

/* What is zero is not written: the disk is new, or has of an earlier attempt the same. */
static bool piece(const struct foreign_job *j, int log, uint64_t at, uint64_t size, struct error *err)
{
	auto_free char *from = part_of(j->from, j->from_format, at, size), *to = part_of(j->to, j->format, at, size);
	auto_free char *rate = xasprintf("%llu", (unsigned long long)j->rate);
	char *argv[] = { (char *)"qemu-img", (char *)"convert", (char *)"-n", (char *)"--target-is-zero", (char *)"-t",
			 (char *)"writeback", (char *)"--image-opts", (char *)"--target-image-opts", from, to,
			 j->rate ? (char *)"-r" : NULL, rate, NULL };
	return all_zero(j->i, at) || run(argv, log, err);
}

static bool synced(const char *path)
{
	auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
	return fd >= 0 && !fdatasync(fd);
}

static bool pieces(const struct foreign_job *j, int log, uint64_t at, uint64_t size, struct error *err)
{
	if (!at && !create(j, log, size, err))
		return false;
	if (at)
		disk_tool_going_on(at, size);
	for (; at < size && !disk_tool_stopped(); at += PIECE) {
		if (!piece(j, log, at, size, err))
			return false;
		if (!synced(j->to) || !resume_note(j->to, MIN(at + PIECE, size)))
			return error_set(err, errno, "cannot write disk '%s'", j->to);
		disk_tool_progress("converting", MIN(at + PIECE, size), size);
	}
	return !disk_tool_stopped();
}

bool foreign_go_on(const struct foreign_job *j, struct error *err)
{
	uint64_t size = j->i ? j->i->size : 0, at;
	auto_close int source = open(j->from, O_RDONLY | O_CLOEXEC);
	auto_free char *disks = j->i ? resume_identity(j->i) : resume_identity_of(source, j->from_format);
	auto_free char *job = xasprintf("convert to %s%s", j->format, disks);
	disk_tool_stop_by_signal();
	if (!j->i && !ask_size(j, &size, err))
		return false;
	auto_close int log = resume_log(j->to, job, &at, err);
	if (log < 0)
		return false;
	if (pieces(j, log, at, size, err))
		return true;
	if (disk_tool_stopped())
		return error_set(err, 0, "stopped: the same command goes on where it was");
	resume_forget(j->to);
	unlink(j->to);
	return false;
}
