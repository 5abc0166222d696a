/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames of a session: see frame.h. */
#include "session/frame.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

static bool send_all(int fd, struct iovec *v, unsigned n)
{
	while (n) {
		struct msghdr m = { .msg_iov = v, .msg_iovlen = n };
		ssize_t r = sendmsg(fd, &m, MSG_NOSIGNAL);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return false;
		for (size_t done = (size_t)r; n && done >= v->iov_len; v++, n--) {
			done -= v->iov_len;
			r = (ssize_t)done;
		}
		if (n) {
			v->iov_base = (char *)v->iov_base + r;
			v->iov_len -= (size_t)r;
		}
	}
	return true;
}

bool frame_send(int fd, enum frame_kind kind, const void *data, size_t n)
{
	uint8_t head[FRAME_HEAD] = { (uint8_t)kind };
	struct iovec v[2] = { { head, sizeof(head) }, { (void *)data, n } };
	le32_put(head + 4, (uint32_t)n);
	return send_all(fd, v, n ? 2 : 1);
}

bool frame_send_u32(int fd, enum frame_kind kind, uint32_t value)
{
	uint8_t data[4];
	le32_put(data, value);
	return frame_send(fd, kind, data, sizeof(data));
}

int frames_fill(struct frames *f, int fd)
{
	memmove(f->buf, f->buf + f->taken, f->used - f->taken);
	f->used -= f->taken;
	f->taken = 0;
	ssize_t n = fd_read_some(fd, f->buf + f->used, sizeof(f->buf) - f->used);
	if (n > 0)
		f->used += (size_t)n;
	return n > 0 ? 1 : (int)n;
}

int frames_next(struct frames *f, struct frame *out)
{
	const uint8_t *p = f->buf + f->taken;
	size_t have = f->used - f->taken;
	if (have < FRAME_HEAD)
		return 0;
	size_t n = le32_get(p + 4);
	if (n > FRAME_MAX)
		return -1;
	if (have < FRAME_HEAD + n)
		return 0;
	*out = (struct frame){ p[0], n, p + FRAME_HEAD };
	f->taken += FRAME_HEAD + n;
	return 1;
}

uint32_t frame_u32(const struct frame *f)
{
	return f->n == 4 ? le32_get(f->data) : 0;
}
