/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's vsock tool, for tests: vs call PORT sends a line to the host and prints
 * the answer; vs serve PORT answers one caller with what it said, in upper case.
 */
#include <ctype.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int call(int fd, struct sockaddr_vm *a)
{
	char text[256];

	a->svm_cid = VMADDR_CID_HOST;
	if (connect(fd, (struct sockaddr *)a, sizeof(*a)) || write(fd, "from the guest\n", 15) != 15)
		return fail("call");
	ssize_t n = read(fd, text, sizeof(text));
	printf("answer: %.*s", n > 0 ? (int)n : 0, text);
	return n <= 0;
}

static int serve(int fd, struct sockaddr_vm *a)
{
	char text[256];

	a->svm_cid = VMADDR_CID_ANY;
	if (bind(fd, (struct sockaddr *)a, sizeof(*a)) || listen(fd, 1))
		return fail("serve");
	printf("serving\n");
	fflush(stdout);
	int c = accept(fd, NULL, NULL);
	ssize_t n = read(c, text, sizeof(text));
	for (ssize_t i = 0; i < n; i++)
		text[i] = (char)toupper((unsigned char)text[i]);
	return n <= 0 || write(c, text, (size_t)n) != n;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_port = (unsigned)atoi(argv[2]) };
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0)
		return fail("socket");
	return strcmp(argv[1], "call") ? serve(fd, &a) : call(fd, &a);
}
