/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other side of device/tpm/swtpm.c: see fake_tpm.h. */
#include "lib/fake_tpm.h"

#include <poll.h>
#include <sys/socket.h>

enum { INIT = 2, CANCEL = 9, GET_BLOB = 12, SET_BLOB = 13, STOP = 14, SET_BUFFER = 17 };

static void put32(uint8_t *p, uint32_t v) { v = htobe32(v); memcpy(p, &v, 4); }
static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return be32toh(v); }

static bool take(struct fake_tpm *t, unsigned n, uint8_t *words) { return fd_read_full(t->its_control, words, n * 4ul); }

static bool get_blob(struct fake_tpm *t)
{
	uint8_t q[12], r[24] = { 0 };
	if (!take(t, 3, q))
		return false;
	put32(r + 8, 8);
	put32(r + 12, 8);
	memcpy(r + 16, t->blob[(get32(q + 4) - 1) % 3], 8);
	return fd_write_full(t->its_control, r, sizeof(r));
}

static bool set_blob(struct fake_tpm *t, uint8_t result[4])
{
	uint8_t q[12];
	if (!take(t, 3, q) || get32(q + 8) != 8)
		return false;
	return fd_read_full(t->its_control, t->blob[(get32(q + 4) - 1) % 3], 8) && fd_write_full(t->its_control, result, 4);
}

static bool control(struct fake_tpm *t)
{
	uint8_t q[4], more[4], r[16] = { 0 };
	if (!take(t, 1, q))
		return false;
	switch (get32(q)) {
	case INIT:
		t->started++;
		return take(t, 1, more) && fd_write_full(t->its_control, r, 4);
	case SET_BUFFER:
		return take(t, 1, more) && fd_write_full(t->its_control, r, 16);
	case CANCEL:
		t->cancelled++;
		return fd_write_full(t->its_control, r, 4);
	case STOP:
		t->stopped++;
		return fd_write_full(t->its_control, r, 4);
	case GET_BLOB:
		return get_blob(t);
	case SET_BLOB:
		return set_blob(t, r);
	}
	return false;
}

static bool command(struct fake_tpm *t)
{
	uint8_t buf[4096] = { 0 };
	if (!fd_read_full(t->its_data, buf, 10) || get32(buf + 2) > sizeof(buf))
		return false;
	uint32_t n = get32(buf + 2);
	if (!fd_read_full(t->its_data, buf + 10, n - 10))
		return false;
	if (t->reply)
		return fd_write_full(t->its_data, t->reply, t->reply_size);
	put32(buf + 6, 0);
	return fd_write_full(t->its_data, buf, 7) && fd_write_full(t->its_data, buf + 7, n - 7);
}

static void *serve(void *opaque)
{
	struct fake_tpm *t = opaque;
	struct pollfd p[2] = { { .fd = t->its_control, .events = POLLIN }, { .fd = t->its_data, .events = POLLIN } };
	bool ok = true;
	while (ok && poll(p, 2, -1) > 0) {
		if (p[0].revents)
			ok = control(t);
		else if (p[1].revents)
			ok = command(t);
	}
	shutdown(t->its_control, SHUT_RDWR);
	shutdown(t->its_data, SHUT_RDWR);
	return NULL;
}

void fake_tpm_start(struct fake_tpm *t)
{
	int pair[2];
	*t = (struct fake_tpm){ .control = -1 };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	t->control = pair[0];
	t->its_control = pair[1];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	t->data = pair[0];
	t->its_data = pair[1];
	if (pthread_create(&t->thread, NULL, serve, t))
		abort();
}

void fake_tpm_end(struct fake_tpm *t)
{
	shutdown(t->control, SHUT_RDWR);
	pthread_join(t->thread, NULL);
	const int fds[] = { t->control, t->data, t->its_control, t->its_data };
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}
