/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames from one port of a switch to another, for bench/switch: how many a
 * second arrive, and how long there and back takes.
 *     switchload KIND TARGET SIZE SECONDS rate|latency
 * KIND ring: a network of Abyme by its name; vde: the directory of a vde_switch;
 * tap: two TAP interfaces "A,B" on a bridge.  Prints one number: frames a second,
 * or the median of microseconds there and back.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "network/client.h"

enum { BATCH = 64, LATENCY_ROUNDS = 20000, MAX_FRAME = 2048 };

struct port;
struct kind {
	const char *name;
	bool (*open)(struct port *p, const char *target, unsigned which, struct error *err);
	bool (*send)(struct port *p, const uint8_t *frame, size_t len);      /* false: no room now */
	void (*flush)(struct port *p);
	size_t (*receive)(struct port *p, uint8_t *frame);                   /* 0: nothing */
	void (*wait)(struct port *p);
};
struct port { const struct kind *kind; int fd; struct ring ring; struct network_joined joined; struct sockaddr_un to; };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void wait_fd(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	poll(&p, 1, 100);
}

/* ---- rings ---- */

static bool ring_open_port(struct port *p, const char *target, unsigned which, struct error *err)
{
	const char *const mac[] = { "02:00:00:00:00:01", "02:00:00:00:00:02" }, *const names[] = { "load-a", "load-b" };
	struct network_join j = { .network = target, .instance = names[which], .mac = mac[which] };
	return network_join_ring(&j, NULL, &p->joined, err) && ring_open(&p->ring, &p->joined.ring, false, err);
}

static bool ring_send(struct port *p, const uint8_t *frame, size_t len)
{
	uint8_t *b = ring_reserve(&p->ring, NET_HDR + len);
	if (!b)
		return false;
	memset(b, 0, NET_HDR);
	memcpy(b + NET_HDR, frame, len);
	ring_commit(&p->ring, NET_HDR + len);
	return true;
}

static void ring_flush_port(struct port *p) { ring_publish(&p->ring); }

static size_t ring_receive(struct port *p, uint8_t *frame)
{
	size_t len;
	const uint8_t *b = ring_peek(&p->ring, &len);
	if (!b)
		return 0;
	memcpy(frame, b + NET_HDR, MIN(len - NET_HDR, (size_t)MAX_FRAME));
	ring_release(&p->ring, len);
	return len - NET_HDR;
}

static void ring_wait(struct port *p)
{
	ring_done(&p->ring);
	if (ring_stays_awake(&p->ring, 0)) {
		sched_yield();      /* two cores hold a switch and two ports that poll */
		return;
	}
	if (!ring_sleep(&p->ring))
		return;
	wait_fd(p->ring.bell_in);
	ring_bell_clear(&p->ring);
}

/* ---- vde_switch: datagrams between sockets; the handshake is vde's own ---- */

struct vde_request { uint32_t magic, version, type; struct sockaddr_un sock; char description[128]; } __attribute__((packed));

static bool vde_open(struct port *p, const char *target, unsigned which, struct error *err)
{
	struct vde_request r = { 0xfeedface, 3, 0, { .sun_family = AF_UNIX }, "switchload" };
	struct sockaddr_un ctl = { .sun_family = AF_UNIX };
	int size = 4 << 20;
	snprintf(ctl.sun_path, sizeof(ctl.sun_path), "%s/ctl", target);
	snprintf(r.sock.sun_path, sizeof(r.sock.sun_path), "%s/.%d-%u", target, (int)getpid(), which);
	int control = socket(AF_UNIX, SOCK_STREAM, 0);
	p->fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	setsockopt(p->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (connect(control, (struct sockaddr *)&ctl, sizeof(ctl)) || bind(p->fd, (struct sockaddr *)&r.sock, sizeof(r.sock)) ||
	    send(control, &r, sizeof(r), 0) < 0 || recv(control, &p->to, sizeof(p->to), 0) <= 0 ||
	    connect(p->fd, (struct sockaddr *)&p->to, sizeof(p->to)))
		return error_set(err, errno, "no vde_switch in '%s'", target);
	return true;      /* the control connection stays open with us */
}

static bool vde_send(struct port *p, const uint8_t *frame, size_t len)
{
	return send(p->fd, frame, len, MSG_DONTWAIT) == (ssize_t)len;
}

static size_t vde_receive(struct port *p, uint8_t *frame)
{
	ssize_t n = recv(p->fd, frame, MAX_FRAME, MSG_DONTWAIT);
	return n > 0 ? (size_t)n : 0;
}

static void no_flush(struct port *p) { }
static void plain_wait(struct port *p) { wait_fd(p->fd); }

/* ---- TAPs on a Linux bridge ---- */

static bool tap_open(struct port *p, const char *target, unsigned which, struct error *err)
{
	char name[64];
	snprintf(name, sizeof(name), "%s", target);
	char *comma = strchr(name, ',');
	if (comma)
		*comma++ = 0;
	p->fd = network_make_tap(which ? comma : name, false, err);
	return p->fd >= 0;
}

static bool tap_send(struct port *p, const uint8_t *frame, size_t len)
{
	uint8_t b[NET_HDR + MAX_FRAME] = { 0 };
	memcpy(b + NET_HDR, frame, len);
	return write(p->fd, b, NET_HDR + len) > 0;
}

static size_t tap_receive(struct port *p, uint8_t *frame)
{
	uint8_t b[NET_HDR + MAX_FRAME];
	ssize_t n = read(p->fd, b, sizeof(b));
	if (n <= NET_HDR)
		return 0;
	memcpy(frame, b + NET_HDR, (size_t)n - NET_HDR);
	return (size_t)n - NET_HDR;
}

static const struct kind kinds[] = {
	{ "ring", ring_open_port, ring_send, ring_flush_port, ring_receive, ring_wait },
	{ "vde", vde_open, vde_send, no_flush, vde_receive, plain_wait },
	{ "tap", tap_open, tap_send, no_flush, tap_receive, plain_wait },
};

/* ---- the measurements ---- */

static void make_frame(uint8_t *b, unsigned from, size_t len)
{
	memset(b, 0xa5, len);
	memcpy(b, "\x02\0\0\0\0", 5);
	memcpy(b + 6, "\x02\0\0\0\0", 5);
	b[5] = from ? 1 : 2;
	b[11] = from ? 2 : 1;
	b[12] = 0x88;
	b[13] = 0xb5;
}

static void introduce(struct port *p, unsigned which, size_t len)
{
	uint8_t b[MAX_FRAME];
	make_frame(b, which, len);
	b[14] = 0;                 /* not to be counted */
	while (!p->kind->send(p, b, len))
		;
	p->kind->flush(p);
}

static void sender(struct port *p, size_t len)
{
	uint8_t b[MAX_FRAME];
	make_frame(b, 0, len);
	for (;;) {
		bool full = false;
		for (unsigned i = 0; i < BATCH && !full; i++)
			full = !p->kind->send(p, b, len);
		p->kind->flush(p);
		if (full)
			sched_yield();
	}
}

static bool ours(const uint8_t *b) { return b[12] == 0x88 && b[13] == 0xb5 && b[14]; }

static double rate(struct port p[2], size_t len, double seconds)
{
	uint8_t b[MAX_FRAME];
	uint64_t n = 0;
	introduce(&p[1], 1, len);
	pid_t child = fork();
	if (!child)
		sender(&p[0], len);
	double start = now() + 0.3;
	while (now() < start)
		for (unsigned i = 0; i < BATCH; i++)
			if (!p[1].kind->receive(&p[1], b))
				p[1].kind->wait(&p[1]);
	start = now();
	double end = start;
	while (end - start < seconds) {
		unsigned i;
		for (i = 0; i < 4 * BATCH && p[1].kind->receive(&p[1], b); i++)
			n += ours(b);
		if (!i)
			p[1].kind->wait(&p[1]);
		else if (p[1].ring.map)
			ring_done(&p[1].ring);
		end = now();
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return (double)n / (end - start);
}

static void take_one(struct port *p, uint8_t *b)
{
	for (;;) {
		if (p->kind->receive(p, b) && ours(b))
			return;
		p->kind->wait(p);
	}
}

static int by_value(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;
	return (d > 0) - (d < 0);
}

static double latency(struct port p[2], size_t len)
{
	static double t[LATENCY_ROUNDS];
	uint8_t b[MAX_FRAME], mine[MAX_FRAME];
	introduce(&p[1], 1, len);
	introduce(&p[0], 0, len);
	pid_t child = fork();
	while (!child) {
		take_one(&p[1], b);
		make_frame(mine, 1, len);
		p[1].kind->send(&p[1], mine, len);
		p[1].kind->flush(&p[1]);
	}
	make_frame(mine, 0, len);
	for (unsigned i = 0; i < LATENCY_ROUNDS; i++) {
		double start = now();
		p[0].kind->send(&p[0], mine, len);
		p[0].kind->flush(&p[0]);
		take_one(&p[0], b);
		t[i] = (now() - start) * 1e6;
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	qsort(t, LATENCY_ROUNDS, sizeof(*t), by_value);
	return t[LATENCY_ROUNDS / 2];
}

int main(int argc, char **argv)
{
	struct port p[2] = { { .fd = -1 }, { .fd = -1 } };
	struct error err = { 0 };
	if (argc != 6)
		return 2;
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		for (unsigned w = 0; w < 2; w++)
			if (!strcmp(argv[1], kinds[i].name)) {
				p[w].kind = &kinds[i];
				if (!kinds[i].open(&p[w], argv[2], w, &err)) {
					fprintf(stderr, "switchload: %s\n", err.text);
					return 1;
				}
			}
	if (!p[0].kind)
		return 2;
	if (!strcmp(argv[1], "tap") && system(getenv("TAP_READY") ? getenv("TAP_READY") : "true"))
		return 1;
	size_t len = strtoul(argv[3], NULL, 10);
	printf("%.2f\n", strcmp(argv[5], "latency") ? rate(p, len, atof(argv[4])) : latency(p, len));
	return 0;
}
