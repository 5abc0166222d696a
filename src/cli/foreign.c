/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See foreign.h. */
#include "cli/foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

static const struct { const char *ours, *theirs, *options; } formats[] = {
	{ "vmdk", "vmdk", NULL }, { "vmdk-stream", "vmdk", "subformat=streamOptimized" }, { "vdi", "vdi", NULL },
	{ "vhd", "vpc", "subformat=dynamic,force_size=on" }, { "vhdx", "vhdx", NULL } };

static int find(const char *format)
{
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (!strcmp(formats[i].ours, format))
			return (int)i;
	return -1;
}

bool foreign_target(const char *format) { return find(format) >= 0; }

bool foreign_source(const char *path)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char head[8];
	return fd >= 0 && fd_pread_full(fd, head, sizeof(head), 0) && !memcmp(head, "vhdxfile", 8);
}

static bool run(char *const argv[], struct error *err)
{
	int status = 0;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(errno == ENOENT ? 127 : 126);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return error_set(err, errno, "cannot run qemu-img");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return error_set(err, 0, "this format needs qemu-img: install the package qemu-utils");
	return !status || error_set(err, 0, "qemu-img could not convert the disk");
}

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
	auto_free char *a = xasprintf("%s%s", from[0] == '/' ? "" : "./", from), *b = xasprintf("%s%s", to[0] == '/' ? "" : "./", to);
	argv[n++] = a;
	argv[n++] = b;
	return run(argv, err);
}
