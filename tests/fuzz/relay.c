/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hostile init: whatever it says, the client hears whole frames in an order that a shim
 * could send, and sentences of printable characters; the runtime's answers are taken or refused. */
#include <ctype.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "lib/fuzz.h"
#include "session/relay.h"

static const uint8_t talk[] = { 'r', 0, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 'o', 0, 0, 0, 5, 0, 0, 0, 'h', 'e', 'l', 'l', 'o',
	'e', 0, 0, 0, 2, 0, 0, 0, 'n', 'o', 'x', 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0 };
static const uint8_t sorry[] = { 'f', 0, 0, 0, 6, 0, 0, 0, 'a', 27, '[', '2', 'J', 'b' };
static const uint8_t held[] = { 'h', 0, 0, 0, 0, 0, 0, 0 };
static const uint8_t answer[] = { 'o', 0, 0, 0, 2, 0, 0, 0, '{', '}', 'x', 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0 };
static const struct { const uint8_t *bytes; size_t n; } samples[] = {
	{ talk, sizeof(talk) }, { sorry, sizeof(sorry) }, { held, sizeof(held) }, { answer, sizeof(answer) } };

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	if (n >= ARRAY_SIZE(samples))
		return 0;
	memcpy(buf, samples[n].bytes, samples[n].n);
	return samples[n].n;
}

static void must(bool what)
{
	if (!what)
		abort();
}

/* What a client may hear. */
static void check(int client)
{
	struct frames *in = xnew(struct frames);
	struct frame f;
	bool running = false, over = false;
	int more;
	for (;;) {
		while (!(more = frames_next(in, &f)))
			if (frames_fill(in, client) <= 0) {
				must(in->used == in->taken);
				free(in);
				return;
			}
		must(more > 0 && !over);
		must(f.kind == FRAME_FAILED || f.kind == FRAME_RUNNING ? !running : running);
		running |= f.kind == FRAME_RUNNING;
		over = f.kind == FRAME_EXIT || f.kind == FRAME_FAILED;
		must(f.kind != FRAME_EXIT || frame_u32(&f) < 256);
		for (size_t i = 0; f.kind == FRAME_FAILED && i < f.n; i++)
			must(isprint(f.data[i]));
	}
}

static bool pair_with(int pair[2], const uint8_t *data, size_t size)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return false;
	must(!size || send(pair[1], data, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size);
	shutdown(pair[1], SHUT_WR);
	return true;
}

static void close_pair(const int pair[2])
{
	close(pair[0]);
	close(pair[1]);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	static const char *const words[] = { "state", "program", NULL };
	struct error err = { 0 };
	char *said = NULL;
	int guest[2], client[2];
	must(pair_with(guest, data, size) && !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, client));
	int status = relay_main(client[0], guest[0]);
	must(status >= -1 && status < 256);
	close(client[0]);
	check(client[1]);
	close(client[1]);
	close_pair(guest);
	must(pair_with(guest, data, size));
	must(relay_wait_held(guest[0], 1, &err) || err.text[0]);
	close_pair(guest);
	err.text[0] = 0;
	must(pair_with(guest, data, size));
	status = relay_runtime(guest[0], words, 1, &said, &err);
	must(status >= 0 || err.text[0]);
	free(said);
	close_pair(guest);
}
