/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames from and to a hostile guest: see relay.h. Neither direction waits for the other. */
#include "session/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "container/json.h"

enum { SAID_MOST = 1 << 20, SENTENCE_MOST = 400 };

void relay_sentence(const struct frame *f, char *text, size_t room)
{
	size_t n = MIN(f->n, room - 1);
	for (size_t i = 0; i < n; i++)
		text[i] = f->data[i] >= ' ' && f->data[i] < 0x7f ? (char)f->data[i] : '?';
	text[n] = 0;
	if (!n)
		snprintf(text, room, "the machine's init failed without a word");
}

/* ---- one way ---- */

struct way {
	int from, to;
	bool (*ok)(struct way *w, const struct frame *f);
	struct frames in;
	uint8_t out[FRAME_HEAD + FRAME_MAX];
	size_t used, at;
	bool running, over;           /* guest's: what it has said */
	int status;
};

static bool from_guest(struct way *w, const struct frame *f)
{
	if (w->over)
		return false;
	switch (f->kind) {
	case FRAME_OUTPUT:
	case FRAME_ERRORS:
		return w->running && f->n;
	case FRAME_RUNNING:
		return !w->running && f->n == 4 && (w->running = true);
	case FRAME_EXIT:
		if (!w->running || f->n != 4)
			return false;
		w->status = (int)(frame_u32(f) & 0xff);
		return w->over = true;
	case FRAME_FAILED:
		return !w->running && (w->over = true);
	default:
		return false;
	}
}

static bool from_client(struct way *w, const struct frame *f)
{
	return f->kind == FRAME_START || f->kind == FRAME_INPUT || f->kind == FRAME_SIZE || f->kind == FRAME_SIGNAL;
}

static void put(struct way *w, const struct frame *f)
{
	char text[SENTENCE_MOST];
	struct frame g = *f;
	uint8_t status[4];
	if (f->kind == FRAME_FAILED) {
		relay_sentence(f, text, sizeof(text));
		g = (struct frame){ FRAME_FAILED, strlen(text), (const uint8_t *)text };
	} else if (f->kind == FRAME_EXIT) {
		le32_put(status, (uint32_t)w->status);
		g.data = status;
	}
	memset(w->out, 0, FRAME_HEAD);
	w->out[0] = (uint8_t)g.kind;
	le32_put(w->out + 4, (uint32_t)g.n);
	if (g.n)
		memcpy(w->out + FRAME_HEAD, g.data, g.n);
	w->used = FRAME_HEAD + g.n;
	w->at = 0;
}

/* False: that was no frame that may come. */
static bool next(struct way *w)
{
	struct frame f;
	int more = w->at < w->used ? 0 : frames_next(&w->in, &f);
	if (more > 0 && w->ok(w, &f))
		put(w, &f);
	else if (more)
		return false;
	return true;
}

static bool flush(struct way *w)
{
	while (w->at < w->used) {
		ssize_t n = send(w->to, w->out + w->at, w->used - w->at, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		w->at += (size_t)n;
		if (w->at == w->used && !next(w))
			return false;
	}
	return true;
}

static bool take(struct way *w)
{
	int n = frames_fill(&w->in, w->from);
	if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
		return false;
	return next(w) && flush(w);
}

static bool step(struct way *w, const struct pollfd *from, const struct pollfd *to)
{
	return (!to->revents || flush(w)) && (!from->revents || w->at < w->used || take(w));
}

static struct way *way_new(int from, int to, bool (*ok)(struct way *, const struct frame *))
{
	struct way *w = xnew(struct way);
	w->from = from;
	w->to = to;
	w->ok = ok;
	w->status = -1;
	fcntl(from, F_SETFL, O_NONBLOCK);
	return w;
}

int relay_main(int client, int guest)
{
	struct way *up = way_new(guest, client, from_guest), *down = way_new(client, guest, from_client);
	for (bool ok = true; ok && !(up->over && up->at == up->used); ) {
		struct pollfd q[] = {
			{ up->at == up->used ? guest : -1, POLLIN, 0 }, { up->at < up->used ? client : -1, POLLOUT, 0 },
			{ down->at == down->used ? client : -1, POLLIN, 0 }, { down->at < down->used ? guest : -1, POLLOUT, 0 },
		};
		if (poll(q, ARRAY_SIZE(q), -1) < 0)
			continue;
		ok = step(up, &q[0], &q[1]) && step(down, &q[2], &q[3]);
	}
	int status = up->status;
	free(up);
	free(down);
	return status;
}

/* ---- connecting ---- */

static void patience(int fd, unsigned seconds)
{
	const struct timeval t = { .tv_sec = seconds };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

bool relay_connect(int fd, unsigned port, unsigned seconds, struct error *err)
{
	char line[32];
	size_t n = (size_t)snprintf(line, sizeof(line), "CONNECT %u\n", port);
	fcntl(fd, F_SETFL, 0);
	patience(fd, seconds);
	if (!fd_write_full(fd, line, n))
		return error_set(err, errno, "cannot call the machine's init");
	for (n = 0; n < sizeof(line) && fd_read_full(fd, line + n, 1); n++)
		if (line[n] == '\n')
			return !strncmp(line, "OK ", 3) || error_set(err, 0, "the machine's init answers nonsense");
	return error_set(err, 0, "the machine's init does not answer");
}

bool relay_send_file(int guest, const char *name, const char *text)
{
	size_t head = strlen(name) + 1, n = strlen(text), at = 0;
	auto_free char *data = xmalloc(FRAME_MAX);
	strcpy(data, name);
	do {
		size_t part = MIN(n - at, FRAME_MAX - head);
		memcpy(data + head, text + at, part);
		if (!frame_send(guest, FRAME_FILE, data, head + part))
			return false;
		at += part;
	} while (at < n);
	return true;
}

bool relay_wait_held(int guest, unsigned seconds, struct error *err)
{
	auto_free struct frames *in = xnew(struct frames);
	char text[SENTENCE_MOST] = "the machine's init answers nonsense";
	struct frame f;
	int more;
	patience(guest, seconds);
	while (!(more = frames_next(in, &f)))
		if (frames_fill(in, guest) <= 0)
			return error_set(err, 0, "the machine's init does not answer");
	if (more > 0 && f.kind == FRAME_HELD)
		return true;
	if (more > 0 && f.kind == FRAME_FAILED)
		relay_sentence(&f, text, sizeof(text));
	return error_set(err, 0, "%s", text);
}

/* ---- the runtime ---- */

static bool send_words(int guest, const char *const *words)
{
	struct json_out j = { 0 };
	json_open(&j, NULL, '{');
	json_open(&j, "args", '[');
	for (unsigned i = 0; words[i]; i++)
		json_put_str(&j, NULL, words[i]);
	json_close(&j, ']');
	json_close(&j, '}');
	bool ok = j.length <= FRAME_MAX && frame_send(guest, FRAME_START, j.text, j.length);
	json_out_free(&j);
	return ok;
}

static void append(char **said, size_t *used, const struct frame *f)
{
	size_t n = MIN(f->n, SAID_MOST - *used);
	*said = xrealloc(*said, *used + n + 1);
	memcpy(*said + *used, f->data, n);
	*used += n;
	(*said)[*used] = 0;
}

int relay_runtime(int guest, const char *const *words, unsigned seconds, char **said, struct error *err)
{
	uint64_t end = monotonic_ns() + seconds * 1000000000ull;
	auto_free struct frames *in = xnew(struct frames);
	char text[SENTENCE_MOST];
	struct frame f;
	size_t used = 0;
	int more;
	*said = xstrdup("");
	if (!send_words(guest, words))
		return error_minus(err, 0, "the machine's init does not listen");
	patience(guest, seconds);
	for (;;) {
		while ((more = frames_next(in, &f)) > 0) {
			if (f.kind == FRAME_EXIT)
				return (int)(frame_u32(&f) & 0xff);
			if (f.kind != FRAME_OUTPUT) {
				relay_sentence(&f, text, sizeof(text));
				return error_minus(err, 0, "%s", f.kind == FRAME_FAILED ? text : "the machine's init answers nonsense");
			}
			append(said, &used, &f);
		}
		if (more < 0 || monotonic_ns() > end || frames_fill(in, guest) <= 0)
			return error_minus(err, 0, "the machine's init does not answer");
	}
}
