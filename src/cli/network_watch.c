/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme network capture (pcapng, as of draft-ietf-opsawg-pcapng) and trace. */
#include "cli/network.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "net/message.h"
#include "net/switch/capture.h"

enum { BLOCK_SECTION = 0x0a0d0d0a, BLOCK_INTERFACE = 1, BLOCK_PACKET = 6, LINK_ETHERNET = 1, OPT_NAME = 2, OPT_RESOLUTION = 9,
       OPT_COMMENT = 1, NANOSECONDS = 9 };

struct capture_options { char *port, *size; unsigned files, count; bool drops; };
static const struct cli_option capture_table[] = {
	{ "--port", "NAME", "only what this member sends and gets", OPTION_STRING, offsetof(struct capture_options, port), NULL },
	{ "--drops", NULL, "dropped frames, too, each with its reason", OPTION_FLAG, offsetof(struct capture_options, drops), NULL },
	{ "--size", "SIZE", "begin another file, FILE.1 and so on, after that", OPTION_STRING, offsetof(struct capture_options, size), NULL },
	{ "--files", "N", "keep the last N of them (default 2)", OPTION_UINT, offsetof(struct capture_options, files), NULL },
	{ "--count", "N", "end after that many frames", OPTION_UINT, offsetof(struct capture_options, count), NULL },
	{ NULL }
};

struct writer { FILE *f; const char *path; uint64_t limit, written; unsigned files, index; };
static volatile sig_atomic_t stop;
static void on_signal(int n) { stop = 1; }

static void put32(struct writer *w, uint32_t v) { fwrite(&v, 4, 1, w->f); }

/* Options and padding are the caller's: a body that is a multiple of 4. */
static void block(struct writer *w, uint32_t type, const void *body, size_t n)
{
	put32(w, type);
	put32(w, (uint32_t)n + 12);
	fwrite(body, 1, n, w->f);
	put32(w, (uint32_t)n + 12);
	w->written += n + 12;
}

static void begin_file(struct writer *w)
{
	const struct { uint32_t magic; uint16_t major, minor; int64_t length; } section = { 0x1a2b3c4d, 1, 0, -1 };
	const struct { uint16_t type, reserved; uint32_t snap; uint16_t opt, len; uint8_t value[4]; uint32_t end; } interface = {
		LINK_ETHERNET, 0, CAPTURE_SNAP, OPT_RESOLUTION, 1, { NANOSECONDS }, 0 };
	w->written = 0;
	block(w, BLOCK_SECTION, &section, sizeof(section));
	block(w, BLOCK_INTERFACE, &interface, sizeof(interface));
}

static bool open_file(struct writer *w, struct error *err)
{
	auto_free char *path = w->index ? xasprintf("%s.%u", w->path, w->index) : xstrdup(w->path);
	if (w->index >= w->files) {
		auto_free char *old = w->index - w->files ? xasprintf("%s.%u", w->path, w->index - w->files) : xstrdup(w->path);
		unlink(old);
	}
	w->f = fopen(path, "we");
	if (!w->f)
		return error_set(err, errno, "cannot write '%s'", path);
	begin_file(w);
	return true;
}

static void packet(struct writer *w, const struct capture_record *r, const uint8_t *frame)
{
	static uint8_t body[20 + CAPTURE_SNAP + 256];
	char comment[128];
	uint32_t head[5] = { 0, (uint32_t)(r->realtime_ns >> 32), (uint32_t)r->realtime_ns, r->snapped, r->length };
	int n = snprintf(comment, sizeof(comment), "%s %s%s%s", r->out ? "to" : "from", r->name, r->why ? ": dropped, " : "",
			 r->why && r->why < SW_DROP_COUNT ? sw_drop_text[r->why] : "");
	memcpy(body, head, sizeof(head));
	memset(body + 20 + r->snapped, 0, 256);
	memcpy(body + 20, frame, r->snapped);
	uint8_t *p = body + 20 + ALIGN_UP(r->snapped, 4u);
	le16_put(p, OPT_COMMENT);
	le16_put(p + 2, (uint16_t)n);
	memcpy(p + 4, comment, (size_t)n);
	p += 4 + ALIGN_UP((size_t)n, (size_t)4) + 4;
	block(w, BLOCK_PACKET, body, (size_t)(p - body));
}

static bool drain(struct writer *w, struct ring *r, unsigned *left, struct error *err)
{
	struct capture_record head;
	const uint8_t *frame;
	size_t record;
	while (*left && (frame = capture_next(r, &head, &record))) {
		if (head.snapped <= CAPTURE_SNAP)
			packet(w, &head, frame);
		ring_release(r, record);
		*left -= *left != UINT32_MAX;
		if (w->limit && w->written >= w->limit) {
			fclose(w->f);
			w->index++;
			if (!open_file(w, err))
				return false;
		}
	}
	ring_done(r);
	return !fflush(w->f) || error_set(err, errno, "cannot write the capture");
}

static bool look_on(int keeper, struct writer *w, struct ring *r, unsigned count, struct error *err)
{
	unsigned left = count ? count : UINT32_MAX;
	struct pollfd p[2] = { { .fd = keeper, .events = POLLIN }, { .fd = r->bell_in, .events = POLLIN } };
	while (!stop && left) {
		if (!drain(w, r, &left, err))
			return false;
		if (!left || !ring_sleep(r))
			continue;
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return error_set(err, errno, "cannot wait for frames");
		if (p[0].revents || r->broken)
			return error_set(err, 0, "the network has ended");
		if (p[1].revents)
			ring_bell_clear(r);
	}
	return drain(w, r, &left, err);
}

static bool capture(struct network *n, const char *path, const struct capture_options *o, struct error *err)
{
	struct writer w = { .path = path, .files = o->files ? o->files : 2 };
	struct message m;
	struct ring ring;
	struct sigaction act = { .sa_handler = on_signal };
	if (o->size && !parse_size(o->size, &w.limit))
		return error_set(err, 0, "size '%s' is not a size: write 64M", o->size);
	json_t *q = json_pack("{s:s, s:s, s:b}", "op", "capture", "port", o->port ? o->port : "", "drops", (int)o->drops);
	auto_close int keeper = network_ask(n, false, q, NULL, 0, &m, err);
	if (keeper < 0)
		return false;
	struct ring_fds fds = { message_take_fd(&m, 0), message_take_fd(&m, 1), message_take_fd(&m, 2) };
	message_free(&m);
	if (!ring_open(&ring, &fds, false, err) || !open_file(&w, err))
		return false;
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	printf("capturing\n");
	fflush(stdout);
	bool ok = look_on(keeper, &w, &ring, o->count, err);
	if (w.f)
		fclose(w.f);
	ring_close(&ring);
	ring_fds_close(&fds);
	return ok;
}

int network_tool_capture(int argc, char **argv)
{
	struct capture_options o = { 0 };
	const struct cli_group groups[] = { { capture_table, &o }, { NULL } };
	const char *words[2] = { NULL };
	struct error err = { 0 };
	int status = cli_parse(groups, argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	struct network *n = network_open(words[0], &err);
	bool ok = n && capture(n, words[1], &o, &err);
	network_close(n);
	return ok ? 0 : cli_fail(&err);
}

/* ---- trace ---- */

struct trace_options { char *proto, *format; };
static const struct cli_option trace_table[] = {
	{ "--proto", "tcp|udp", "what the packet is (default tcp; ping without a port)", OPTION_STRING, offsetof(struct trace_options, proto), NULL },
	{ "--format", "json", "print JSON", OPTION_STRING, offsetof(struct trace_options, format), NULL },
	{ NULL }
};

static int print_walk(json_t *o, bool json)
{
	size_t i;
	json_t *s;
	if (json) {
		json_dumpf(o, stdout, JSON_INDENT(2));
		printf("\n");
	}
	json_array_foreach(json_object_get(o, "steps"), i, s)
		if (!json)
			printf("%-5s %s%s%s\n", message_flag(s, "passes") ? "ok" : "DROP", message_text(s, "step", ""),
			       message_flag(s, "passes") ? "" : ": ", message_text(s, "why", ""));
	return message_flag(o, "arrives") ? 0 : STATUS_FAILED;
}

int network_tool_trace(int argc, char **argv)
{
	struct trace_options o = { 0 };
	const struct cli_group groups[] = { { trace_table, &o }, { NULL } };
	const char *words[3] = { NULL };
	struct error err = { 0 };
	uint64_t port = 0;
	int status = cli_parse(groups, argc, argv, words, 3, 3), json = cli_format(&(struct format_option){ o.format }, &err);
	if (status >= 0)
		return status;
	if (json < 0)
		return cli_usage(&err);
	auto_free char *to = xstrdup(words[2]);
	char *colon = strrchr(to, ':');
	if (colon)
		*colon++ = 0;
	if (colon && !parse_u64(colon, 1, 65535, &port)) {
		error_set(&err, 0, "port '%s' is not 1 to 65535", colon);
		return cli_usage(&err);
	}
	struct network *n = network_open(words[0], &err);
	json_t *q = json_pack("{s:s, s:s, s:s, s:s, s:I}", "op", "trace", "from", words[1], "to", to, "proto", o.proto ? o.proto : "tcp",
			      "port", (json_int_t)port);
	json_t *answer = n ? network_call(n, false, json_pack("{s:s, s:o}", "op", "switch", "request", q), &err) : NULL;
	status = answer ? print_walk(answer, json > 0) : cli_fail(&err);
	json_decref(answer);
	network_close(n);
	return status;
}
