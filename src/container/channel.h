/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The talk between the runtime and the process that becomes the container: a
 * SOCK_SEQPACKET pair of fixed messages, each with at most one descriptor.
 */
#ifndef CONTAINER_CHANNEL_H
#define CONTAINER_CHANNEL_H

#include <sys/types.h>

#include "base/error.h"
#include "base/util.h"

enum channel_kind {
	CHANNEL_FAILED,       /* text: why; the sender ends */
	CHANNEL_PID,          /* value: the new process, as seen by the host */
	CHANNEL_MAPPED,       /* its IDs are mapped */
	CHANNEL_PLACED,       /* it is in its control groups, its limits are set */
	CHANNEL_MOUNTED,      /* its root is complete; hooks may run */
	CHANNEL_GO,           /* hooks have run */
	CHANNEL_READY,        /* it waits for `start`, or (exec) is about to execute */
};

struct channel_message {
	int kind, value;
	char text[sizeof(((struct error *)0)->text)];
};

bool channel_pair(int fds[2], struct error *err);
bool channel_send(int fd, enum channel_kind kind, int value);
void channel_fail(int fd, const struct error *err);
/* Wait for this kind. A CHANNEL_FAILED of the other side, or its end, is an
 * error; `who` is the subject of the latter. */
bool channel_wait(int fd, enum channel_kind kind, int *value, const char *who, struct error *err);
/* Something can be read now. */
bool channel_pending(int fd);

/* A descriptor with a text over a stream socket (console, seccomp listener). */
bool send_descriptor(int socket, int fd, const char *text, size_t size);
bool terminal_receive(int socket, int *fd, struct error *err);      /* the other end of that */
int connect_unix(const char *path, struct error *err);

#endif
