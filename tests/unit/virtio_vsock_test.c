/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-vsock: calls both ways, credit, half and full closes, refusals, hostile packets. */
#include "virtio_guest.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "device/virtio/vsock.h"
#include "instance/dialer.h"

enum { CID = 42, TXBUF = 0x300000, RXBUF = 0x400000, RXSIZE = 4096 };

struct fixture {
	struct guest g;
	struct g_queue rx, tx, ev;
	char folder[64], path[80];
	unsigned rx_head;
	uint32_t got;
	struct instance instance;     /* the real keeper's half, on the same loop */
	struct dialer dialer;
};
struct packet { uint32_t src, dst, len, flags, alloc, fwd; uint16_t op; const uint8_t *data; };

static int listen_on(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static int dial(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void give_buffer(struct fixture *f, unsigned i)
{
	struct g_buf b[] = { { RXBUF + i * 0x2000, VSOCK_HEADER }, { RXBUF + i * 0x2000 + 0x1000, RXSIZE } };
	g_add(&f->g, &f->rx, b, 0, 2);
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	guest_init(&f->g);
	int line[2];
	sprintf(f->folder, "/tmp/abyme-vsock-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	f->instance = (struct instance){ "test", open(f->folder, O_RDONLY | O_DIRECTORY) };
	assert_int_equal(mkdirat(f->instance.dir, "vsock", 0700), 0);
	sprintf(f->path, "%s/vsock/sock", f->folder);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, line), 0);
	dialer_start(&f->dialer, f->g.m.loop, &f->instance, line[0]);
	assert_true(virtio_vsock_create(&f->g.m, CID, listen_on(f->path), line[1], NULL));
	g_negotiate(&f->g, g_offered(&f->g));
	g_queue(&f->g, &f->rx, 0, 16);
	g_queue(&f->g, &f->tx, 1, 16);
	g_queue(&f->g, &f->ev, 2, 16);
	g_live(&f->g);
	assert_int_equal(g_reg(&f->g, 0x2000, 4), CID);
	for (unsigned i = 0; i < 8; i++)
		give_buffer(f, i);
	g_kick(&f->g, &f->rx);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	loop_fd_del(f->dialer.watch);
	g_turn(&f->g);
	guest_free(&f->g);
	close(f->dialer.line);
	unlink(f->path);
	unlinkat(f->instance.dir, "vsock", AT_REMOVEDIR);
	close(f->instance.dir);
	rmdir(f->folder);
	free(f);
	return 0;
}

static void guest_sends(struct fixture *f, uint32_t src, uint32_t dst, uint16_t op, uint32_t flags,
			uint32_t alloc, uint32_t fwd, const void *data, uint32_t len)
{
	uint8_t *h = g_ptr(&f->g, TXBUF);
	memset(h, 0, VSOCK_HEADER);
	le64_put(h, CID);
	le64_put(h + 8, 2);
	le32_put(h + 16, src);
	le32_put(h + 20, dst);
	le32_put(h + 24, len);
	le16_put(h + 28, 1);
	le16_put(h + 30, op);
	le32_put(h + 32, flags);
	le32_put(h + 36, alloc);
	le32_put(h + 40, fwd);
	memcpy(h + VSOCK_HEADER, data, len);
	struct g_buf b[] = { { TXBUF, VSOCK_HEADER }, { TXBUF + VSOCK_HEADER, len } };
	assert_int_equal(g_do(&f->g, &f->tx, b, 1 + !!len, 0), 0);
}

/* The next packet from the device; its buffer goes back at once. */
static struct packet guest_gets(struct fixture *f)
{
	int64_t n = g_wait(&f->g, &f->rx);
	assert_true(n >= VSOCK_HEADER);
	unsigned i = f->got++ % 8;
	const uint8_t *h = g_ptr(&f->g, RXBUF + i * 0x2000);
	struct packet p = { le32_get(h + 16), le32_get(h + 20), le32_get(h + 24), le32_get(h + 32),
			    le32_get(h + 36), le32_get(h + 40), le16_get(h + 30), h + 0x1000 };
	assert_int_equal(le64_get(h), 2);
	assert_int_equal(le64_get(h + 8), CID);
	assert_int_equal(p.len, n - VSOCK_HEADER);
	give_buffer(f, i);
	g_kick(&f->g, &f->rx);
	return p;
}

static bool quiet(struct fixture *f)
{
	for (unsigned i = 0; i < 5; i++)
		g_turn(&f->g);
	return g_used_idx(&f->g, &f->rx) == f->rx.seen;
}

/* A call from the host to port 5000, answered; its host port. */
static int host_calls(struct fixture *f, uint32_t *port, uint32_t alloc)
{
	int fd = dial(f->path);
	assert_int_equal(write(fd, "CONNECT 5000\nearly", 18), 18);
	struct packet p = guest_gets(f);
	assert_int_equal(p.op, VSOCK_REQUEST);
	assert_int_equal(p.dst, 5000);
	*port = p.src;
	guest_sends(f, 5000, p.src, VSOCK_RESPONSE, 0, alloc, 0, "", 0);
	char text[32], want[32];
	ssize_t n = read(fd, text, sizeof(text) - 1);
	sprintf(want, "OK %u\n", p.src);
	assert_int_equal(n, strlen(want));
	assert_memory_equal(text, want, (size_t)n);
	return fd;
}

static void host_to_guest(void **state)
{
	struct fixture *f = *state;
	uint32_t port;
	char buf[64];
	int fd = host_calls(f, &port, 10);
	struct packet p = guest_gets(f);
	assert_int_equal(p.op, VSOCK_RW);
	assert_memory_equal(p.data, "early", 5);
	guest_sends(f, 5000, port, VSOCK_RW, 0, 10, 5, "answer", 6);
	assert_int_equal(read(fd, buf, sizeof(buf)), 6);
	assert_memory_equal(buf, "answer", 6);
	/* 10 bytes of credit, then the rest after an update */
	assert_int_equal(write(fd, "0123456789abcdef", 16), 16);
	p = guest_gets(f);
	assert_int_equal(p.len, 10);
	assert_int_equal(p.fwd, 6);
	assert_true(quiet(f));
	guest_sends(f, 5000, port, VSOCK_CREDIT_UPDATE, 0, 10, 12, "", 0);
	p = guest_gets(f);
	assert_int_equal(p.len, 6);
	guest_sends(f, 5000, port, VSOCK_CREDIT_REQUEST, 0, 100, 21, "", 0);
	assert_int_equal(guest_gets(f).op, VSOCK_CREDIT_UPDATE);
	/* the host's half closes: the guest hears it and may go on */
	shutdown(fd, SHUT_WR);
	p = guest_gets(f);
	assert_int_equal(p.op, VSOCK_SHUTDOWN);
	assert_int_equal(p.flags, VSOCK_NO_SEND);
	guest_sends(f, 5000, port, VSOCK_RW, 0, 100, 21, "more", 4);
	assert_int_equal(read(fd, buf, sizeof(buf)), 4);
	guest_sends(f, 5000, port, VSOCK_SHUTDOWN, 3, 100, 21, "", 0);
	assert_int_equal(guest_gets(f).op, VSOCK_RST);
	assert_int_equal(read(fd, buf, sizeof(buf)), 0);
	close(fd);
}

static void guest_to_host(void **state)
{
	struct fixture *f = *state;
	auto_free char *path = xasprintf("%s_77", f->path);
	char buf[64];
	guest_sends(f, 1024, 77, VSOCK_REQUEST, 0, 4096, 0, "", 0);
	assert_int_equal(guest_gets(f).op, VSOCK_RST);                 /* nobody listens */
	auto_close int listener = listen_on(path);
	guest_sends(f, 1024, 77, VSOCK_REQUEST, 0, 4096, 0, "", 0);
	struct packet p = guest_gets(f);
	assert_int_equal(p.op, VSOCK_RESPONSE);
	assert_int_equal(p.src, 77);
	assert_int_equal(p.dst, 1024);
	auto_close int fd = accept(listener, NULL, NULL);
	guest_sends(f, 1024, 77, VSOCK_RW, 0, 4096, 0, "hello", 5);
	assert_int_equal(read(fd, buf, sizeof(buf)), 5);
	assert_int_equal(write(fd, "world", 5), 5);
	assert_memory_equal(guest_gets(f).data, "world", 5);
	close(fd);
	p = guest_gets(f);
	assert_int_equal(p.op, VSOCK_SHUTDOWN);
	assert_int_equal(p.flags, 3);
	guest_sends(f, 1024, 77, VSOCK_RST, 0, 0, 0, "", 0);
	guest_sends(f, 1024, 77, VSOCK_RW, 0, 0, 0, "x", 1);
	assert_int_equal(guest_gets(f).op, VSOCK_RST);
	unlink(path);
}

/* The guest gives up before the keeper has answered: nothing may be left open. */
static void given_up(void **state)
{
	struct fixture *f = *state;
	auto_free char *path = xasprintf("%s_77", f->path);
	auto_close int listener = listen_on(path);
	char c;
	loop_fd_events(f->dialer.watch, 0);
	guest_sends(f, 1024, 77, VSOCK_REQUEST, 0, 4096, 0, "", 0);
	assert_true(quiet(f));
	guest_sends(f, 1024, 77, VSOCK_RST, 0, 0, 0, "", 0);
	loop_fd_events(f->dialer.watch, LOOP_READ);
	assert_true(quiet(f));
	auto_close int fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, &c, 1), 0);
	unlink(path);
}

/* A reader that does not read: the guest is held to its credit, then all arrives. */
static void slow_host(void **state)
{
	struct fixture *f = *state;
	uint32_t port, sent = 0, fwd = 0, got = 0;
	int fd = host_calls(f, &port, 1 << 20);
	guest_gets(f);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	uint8_t block[4000], in[8192];
	while (got < 2000000) {
		if (sent < 2000000 && VSOCK_BUFFER - (sent - fwd) >= sizeof(block)) {
			for (unsigned i = 0; i < sizeof(block); i++)
				block[i] = (uint8_t)((sent + i) * 11 + (sent + i) / 257);
			guest_sends(f, 5000, port, VSOCK_RW, 0, 1 << 20, 5, block, sizeof(block));
			sent += sizeof(block);
			continue;
		}
		ssize_t n = read(fd, in, sizeof(in));
		for (ssize_t i = 0; i < n; i++, got++)
			assert_int_equal(in[i], (uint8_t)(got * 11 + got / 257));
		g_turn(&f->g);
		if (g_used_idx(&f->g, &f->rx) != f->rx.seen) {
			struct packet p = guest_gets(f);
			assert_int_equal(p.op, VSOCK_CREDIT_UPDATE);
			fwd = p.fwd;
		}
	}
	/* beyond its credit: the connection ends */
	bool ended = false;
	for (unsigned i = 0; i < 400 && !ended; i++) {
		guest_sends(f, 5000, port, VSOCK_RW, 0, 1 << 20, 5, block, sizeof(block));
		while (!quiet(f))
			ended |= guest_gets(f).op == VSOCK_RST;
	}
	assert_true(ended);
	close(fd);
}

static void bad_greetings(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = { "CONNECT x\n", "HELLO 1\n", "CONNECT 99999999999\n", "\n",
					   "CONNECT 1111111111111111111111111111111111111111" };
	char c;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = dial(f->path);
		assert_int_equal(write(fd, bad[i], strlen(bad[i])), strlen(bad[i]));
		assert_true(quiet(f));
		assert_true(read(fd, &c, 1) <= 0);
		close(fd);
	}
}

static void hostile_packets(void **state)
{
	struct fixture *f = *state;
	auto_free char *path = xasprintf("%s_1", f->path);
	auto_close int listener = listen_on(path);
	unsigned seed = 3;
	for (unsigned i = 0; i < 30000; i++) {
		uint8_t *h = g_ptr(&f->g, TXBUF);
		for (unsigned k = 0; k < 100; k++)
			h[k] = (uint8_t)rand_r(&seed);
		if (i % 10) {
			le64_put(h, CID);
			le64_put(h + 8, 2);
			le32_put(h + 16, h[16] % 3);
			le32_put(h + 20, h[20] % 2);
			le32_put(h + 24, h[24] % 60);
			le16_put(h + 28, 1);
			le16_put(h + 30, h[30] % 10);
			le32_put(h + 36, h[36] % 50);
		}
		struct g_buf b = { TXBUF, VSOCK_HEADER + (uint32_t)rand_r(&seed) % 60 };
		assert_int_equal(g_do(&f->g, &f->tx, &b, 1, 0), 0);
		int fd = accept(listener, NULL, NULL);
		if (fd >= 0 && write(fd, "some data", 9))
			close(fd);
		while (g_used_idx(&f->g, &f->rx) != f->rx.seen)
			guest_gets(f);
	}
	assert_false(g_broken(&f->g));
	unlink(path);
}

static void load_tells_the_driver(void **state)
{
	struct fixture *f = *state;
	struct device *d = f->g.m.devices;
	struct g_buf b = { RXBUF + 0x100000, 8 };
	memset(g_ptr(&f->g, b.gpa), 0xff, 8);
	g_add(&f->g, &f->ev, &b, 0, 1);
	g_kick(&f->g, &f->ev);
	assert_true(quiet(f));
	d->ops->drain(d);
	struct state *s = state_save_new();
	assert_true(d->ops->xfer(d, s, 1));
	size_t n;
	const void *p = state_bytes(s, &n);
	struct state *l = state_load_new(p, n);
	d->ops->reset(d);
	assert_true(d->ops->xfer(d, l, 1));
	g_device(&f->g)->drained = false;
	d->ops->loaded(d);
	assert_int_equal(g_wait(&f->g, &f->ev), 4);
	assert_int_equal(le32_get(g_ptr(&f->g, b.gpa)), 0);
	state_free(s);
	state_free(l);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(host_to_guest), T(guest_to_host), T(given_up), T(slow_host), T(bad_greetings), T(hostile_packets),
		T(load_tells_the_driver),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
