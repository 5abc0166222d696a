/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON objects and descriptors over a socket: see message.h. */
#include "net/message.h"
#include "base/fdpass.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

bool message_send(int sock, json_t *body, const int *fds, unsigned nfds, struct error *err)
{
	char *text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	if (!text || strlen(text) >= MESSAGE_MAX || nfds > MESSAGE_FDS) {
		free(text);
		return error_set(err, 0, "a message of the network is too long");
	}
	ssize_t r = fds_send(sock, text, strlen(text), fds, nfds, 0);
	int e = errno;
	free(text);
	return r >= 0 || error_set(err, e, "cannot send to the network's process");
}

static void take_fds(struct message *m, struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		unsigned n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (unsigned i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (m->nfds < MESSAGE_FDS)
				m->fd[m->nfds++] = fd;
			else
				close(fd);
		}
	}
}

bool message_receive(int sock, struct message *m, struct error *err)
{
	union { char b[CMSG_SPACE(MESSAGE_FDS * sizeof(int))]; struct cmsghdr align; } room;
	auto_free char *text = xmalloc(MESSAGE_MAX);
	struct iovec v = { text, MESSAGE_MAX };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = room.b, .msg_controllen = sizeof(room) };
	*m = (struct message){ 0 };
	ssize_t r;
	do
		r = recvmsg(sock, &h, MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return error_set(err, errno, "the network's process does not answer");
	take_fds(m, &h);
	if (!r)
		return true;
	m->body = h.msg_flags & MSG_TRUNC ? NULL : json_loadb(text, (size_t)r, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(m->body))
		return true;
	message_free(m);
	return error_set(err, 0, "a message of the network is not what it should be");
}

void message_free(struct message *m)
{
	json_decref(m->body);
	m->body = NULL;
	while (m->nfds)
		if (m->fd[--m->nfds] >= 0)
			close(m->fd[m->nfds]);
}

int message_take_fd(struct message *m, unsigned i)
{
	return i < m->nfds ? move_fd(&m->fd[i]) : -1;
}

json_t *message_call(int sock, json_t *body, const int *fds, unsigned nfds, struct message *answer,
		     unsigned timeout_ms, struct error *err)
{
	*answer = (struct message){ 0 };
	return message_send(sock, body, fds, nfds, err) ? message_answer(sock, answer, timeout_ms, err) : NULL;
}

json_t *message_answer(int sock, struct message *answer, unsigned timeout_ms, struct error *err)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	*answer = (struct message){ 0 };
	if (poll(&p, 1, (int)timeout_ms) <= 0)
		return error_null(err, ETIMEDOUT, "the network's process does not answer");
	if (!message_receive(sock, answer, err))
		return NULL;
	const char *why = message_text(answer->body, "error", NULL);
	if (!answer->body || why) {
		if (why)
			error_set(err, 0, "%s", why);
		else
			error_set(err, ECONNRESET, "the network's process has ended");
		message_free(answer);
		return NULL;
	}
	return answer->body;
}

const char *message_text(const json_t *o, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : otherwise;
}

uint64_t message_number(const json_t *o, const char *key, uint64_t otherwise)
{
	const json_t *v = json_object_get(o, key);
	return json_is_integer(v) && json_integer_value(v) >= 0 ? (uint64_t)json_integer_value(v) : otherwise;
}

bool message_flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}
