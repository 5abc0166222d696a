/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-9p with a real server behind it: replies, tags, save and load, a dead helper. */
#include "virtio_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "p9_client.h"

enum { MSG = 0x210000, REPLY = 0x400000, BIG = 0x800000 };

struct fixture { struct guest g; struct g_queue q; pthread_t server; int fd, root; char dir[64]; };

static void *serve(void *opaque)
{
	struct fixture *f = opaque;
	int fd = f->fd, proc = open("/proc/self/fd", O_PATH | O_DIRECTORY);
	struct p9_server *s = p9_server_new(f->root, proc, false);
	p9_serve_stream(s, fd);
	p9_server_free(s);
	close(proc);
	close(fd);
	return NULL;
}

static void start(struct fixture *f)
{
	int sv[2];
	guest_init(&f->g);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	f->fd = sv[0];
	pthread_create(&f->server, NULL, serve, f);
	assert_true(virtio_9p_create(&f->g.m, "data", sv[1], NULL));
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	strcpy(f->dir, "/tmp/abyme-v9p-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->root = open(f->dir, O_RDONLY | O_DIRECTORY);
	start(f);
	g_negotiate(&f->g, g_offered(&f->g));
	g_queue(&f->g, &f->q, 0, 16);
	g_live(&f->g);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	guest_free(&f->g);
	pthread_join(f->server, NULL);
	close(f->root);
	auto_free char *rm = xasprintf("rm -rf %s", f->dir);
	assert_int_equal(system(rm), 0);
	free(f);
	return 0;
}

/* The answer's type; it is at REPLY. */
static int call_length(struct fixture *f, size_t n, uint32_t room)
{
	struct g_buf b[] = { { MSG, 5 }, { MSG + 5, (uint32_t)n - 5 }, { REPLY, 3 }, { REPLY + 3, room - 3 } };
	int64_t len = g_do(&f->g, &f->q, b, 2, 2);
	uint8_t *r = g_ptr(&f->g, REPLY);
	assert_int_equal(len, le32_get(r));
	assert_int_equal(le16_get(r + 5), 0x1234);
	return r[4];
}
#define CALL(f, type, ...) call_length(f, p9_build(g_ptr(&(f)->g, MSG), type, 0x1234, __VA_ARGS__), 8192)

static void attach(struct fixture *f)
{
	assert_int_equal(CALL(f, 100, "4s", 512 << 10, "9P2000.L"), 101);
	assert_int_equal(CALL(f, 104, "44ss4", 0, ~0u, "root", "/", 0), 105);
	assert_int_equal(CALL(f, 110, "442", 0, 1, 0), 111);
	assert_int_equal(CALL(f, 14, "4s444", 1, "new", O_RDWR, 0644, 0), 15);
}

static void carries(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(g_reg(&f->g, 0x2000, 2), 4);
	assert_int_equal(g_reg(&f->g, 0x2002, 4), le32_get("data"));
	attach(f);
	uint8_t *big = g_ptr(&f->g, BIG);
	for (unsigned i = 0; i < 400000; i++)
		big[i] = (uint8_t)(i * 7 + i / 300);
	for (unsigned round = 0; round < 20; round++) {
		/* 400 kB: more than the socket takes at once */
		size_t n = p9_build(g_ptr(&f->g, MSG), 118, 0x1234, "484", 1, 0ull, 400000);
		le32_put(g_ptr(&f->g, MSG), (uint32_t)n + 400000);
		struct g_buf w[] = { { MSG, (uint32_t)n }, { BIG, 400000 }, { REPLY, 11 } };
		assert_int_equal(g_do(&f->g, &f->q, w, 2, 1), 11);
		n = p9_build(g_ptr(&f->g, MSG), 116, 0x1234, "484", 1, 0ull, 400000);
		struct g_buf r[] = { { MSG, (uint32_t)n }, { REPLY, 11 }, { BIG + (2 << 20), 1000 },
				     { BIG + (2 << 20) + 1000, 400000 } };
		memset(g_ptr(&f->g, BIG + (2 << 20)), 0, 400000);
		assert_int_equal(g_do(&f->g, &f->q, r, 1, 3), 400011);
		assert_memory_equal(g_ptr(&f->g, BIG + (2 << 20)), big, 400000);
	}
}

static void odd_messages(void **state)
{
	struct fixture *f = *state;
	attach(f);
	size_t n = p9_build(g_ptr(&f->g, MSG), 116, 0x1234, "484", 1, 0ull, 400);
	le32_put(g_ptr(&f->g, MSG), 0xffffffff);                 /* longer than it is */
	assert_int_equal(call_length(f, n, 100), 7);
	le32_put(g_ptr(&f->g, MSG), 3);
	assert_int_equal(call_length(f, n, 100), 7);
	assert_int_equal(CALL(f, P9_TSAVE, "4", 0), 7);          /* not for guests */
	n = p9_build(g_ptr(&f->g, MSG), 24, 0x1234, "48", 1, ~0ull);
	assert_int_equal(call_length(f, n, 50), 7);              /* no room for the answer */
	assert_int_equal(CALL(f, 24, "48", 1, ~0ull), 25);
	struct g_buf b[] = { { MSG, (uint32_t)n }, { REPLY, 5 } };
	g_add(&f->g, &f->q, b, 1, 1);
	g_kick(&f->g, &f->q);
	g_turn(&f->g);
	assert_true(g_broken(&f->g));
}

static void reset_while_busy(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 50; i++) {
		attach(f);
		for (unsigned k = 0; k < 8; k++) {
			size_t n = p9_build(g_ptr(&f->g, MSG + k * 100), 24, 0x1234, "48", 1, ~0ull);
			struct g_buf b[] = { { MSG + k * 100, (uint32_t)n }, { REPLY + k * 200, 200 } };
			g_add(&f->g, &f->q, b, 1, 1);
		}
		g_kick(&f->g, &f->q);
		if (i & 1)
			g_turn(&f->g);
		g_set(&f->g, 0x14, 0, 1);
		g_turn(&f->g);
		assert_int_equal(g_reg(&f->g, 0x14, 1), 0);
		assert_int_equal(g_device(&f->g)->held, 0);
		g_negotiate(&f->g, g_offered(&f->g));
		g_queue(&f->g, &f->q, 0, 16);
		g_live(&f->g);
		unlinkat(f->root, "new", 0);
	}
}

static void survives_a_save(void **state)
{
	struct fixture *f = *state;
	attach(f);
	size_t n = p9_build(g_ptr(&f->g, MSG), 118, 0x1234, "484d", 1, 0ull, 4, "data", (size_t)4);
	struct g_buf b[] = { { MSG, (uint32_t)n }, { REPLY, 11 } };
	g_add(&f->g, &f->q, b, 1, 1);
	g_kick(&f->g, &f->q);
	g_turn(&f->g);
	struct device *d = f->g.m.devices;
	d->ops->drain(d);
	struct state *s = state_save_new();
	assert_true(d->ops->xfer(d, s, 1));
	size_t size;
	const void *bytes = state_bytes(s, &size);
	auto_free uint8_t *ram = memcpy(xmalloc(G_RAM), f->g.ram->host, G_RAM);
	struct g_queue q = f->q;
	guest_free(&f->g);
	pthread_join(f->server, NULL);
	start(f);                                                /* another process, another helper */
	memcpy(f->g.ram->host, ram, G_RAM);
	f->q = q;
	d = f->g.m.devices;
	struct state *l = state_load_new(bytes, size);
	assert_true(d->ops->xfer(d, l, 1));
	d->ops->loaded(d);
	assert_int_equal(g_wait(&f->g, &f->q), 11);              /* answered before the save */
	assert_int_equal(CALL(f, 116, "484", 1, 0ull, 10), 117);
	assert_memory_equal(g_ptr(&f->g, REPLY + 11), "data", 4);
	state_free(s);
	state_free(l);
}

static void helper_dies(void **state)
{
	struct fixture *f = *state;
	attach(f);
	shutdown(f->fd, SHUT_RDWR);
	size_t n = p9_build(g_ptr(&f->g, MSG), 24, 0x1234, "48", 1, ~0ull);
	assert_int_equal(call_length(f, n, 200), 7);
	assert_int_equal(le32_get(g_ptr(&f->g, REPLY + 7)), EIO);
	assert_int_equal(call_length(f, n, 200), 7);
	assert_false(g_broken(&f->g));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		T(carries), T(odd_messages), T(reset_while_busy), T(survives_a_save), T(helper_dies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
