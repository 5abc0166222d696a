/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtqueues and the life of a device: good rings, hostile rings, reset, state. */
#include "virtio_guest.h"

/* A device that copies what it reads to what it may write. */
static struct virtq_chain held;
static bool hold;
static unsigned resets, readies;

static void echo_notify(struct virtio_device *d, unsigned q)
{
	static uint8_t buf[65536];
	static struct virtq_chain c;
	while (virtq_pop(&d->vq[q], hold ? &held : &c) > 0) {
		if (hold)
			return;
		size_t n = iov_to_buf(c.out, c.nout, 0, buf, sizeof(buf));
		virtq_push(&d->vq[q], &c, (uint32_t)buf_to_iov(c.in, c.nin, 0, buf, n));
	}
	virtq_signal(&d->vq[q]);
}
static void echo_ready(struct virtio_device *d) { readies++; }
static void echo_reset(struct virtio_device *d)
{
	resets++;
	if (d->held)
		virtq_drop(held.vq, &held);
}
static void echo_destroy(struct virtio_device *d) { free(d); }
static void echo_config(struct virtio_device *d, unsigned off, void *buf, unsigned n)
{
	memcpy(buf, "ABCDEFGH" + off, n);
}
static const struct virtio_ops echo_ops = {
	.name = "virtio-echo", .device_id = 63, .version = 1, .features = 5, .queues = 2, .queue_size = 64,
	.config_size = 8, .config_read = echo_config, .notify = echo_notify, .ready = echo_ready,
	.reset = echo_reset, .destroy = echo_destroy,
};

struct fixture { struct guest g; struct g_queue q; };

static int setup_with(void **state, uint64_t features, unsigned size)
{
	struct fixture *f = xnew(struct fixture);
	guest_init(&f->g);
	hold = false;
	resets = readies = 0;
	assert_true(virtio_pci_init(&f->g.m, xnew(struct virtio_device), &echo_ops, "virtio-echo.0", NULL));
	g_negotiate(&f->g, features);
	g_queue(&f->g, &f->q, 0, size);
	g_live(&f->g);
	*state = f;
	return 0;
}
static int setup(void **state) { return setup_with(state, BIT(32) | BIT(28), 16); }
static int setup_event(void **state) { return setup_with(state, BIT(32) | BIT(28) | BIT(29), 16); }
static int teardown(void **state)
{
	struct fixture *f = *state;
	guest_free(&f->g);
	free(f);
	return 0;
}

static const struct g_buf two[] = { { G_BUFS, 5 }, { G_BUFS + 100, 3 }, { G_BUFS + 200, 4 }, { G_BUFS + 300, 64 } };

static void echoes(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(g_reg(&f->g, 0x14, 1), 15);
	assert_int_equal(readies, resets + 1);
	for (unsigned i = 0; i < 200; i++) {        /* the rings wrap, 2^16 is crossed elsewhere */
		memcpy(g_ptr(&f->g, G_BUFS), "hello", 5);
		memcpy(g_ptr(&f->g, G_BUFS + 100), "you", 3);
		memset(g_ptr(&f->g, G_BUFS + 200), 0, 4);
		assert_int_equal(g_do(&f->g, &f->q, two, 2, 2), 8);
		assert_memory_equal(g_ptr(&f->g, G_BUFS + 200), "hell", 4);
		assert_memory_equal(g_ptr(&f->g, G_BUFS + 300), "oyou", 4);
	}
	assert_int_equal(f->g.irqs[1], 200);
}

static void indirect(void **state)
{
	struct fixture *f = *state;
	uint64_t table = G_BUFS + 0x1000;
	memcpy(g_ptr(&f->g, G_BUFS), "hello", 5);
	g_desc(&f->g, table, 0, G_BUFS, 5, 1, 2);
	g_desc(&f->g, table, 2, G_BUFS + 200, 16, 2, 0);
	g_desc(&f->g, f->q.desc, 7, table, 48, 4, 0);
	g_avail(&f->g, &f->q, 7);
	g_kick(&f->g, &f->q);
	assert_int_equal(g_wait(&f->g, &f->q), 5);
	assert_memory_equal(g_ptr(&f->g, G_BUFS + 200), "hello", 5);
}

/* Each of these breaks the device, writes nothing, and a reset heals it. */
static void hostile(void **state)
{
	static const struct { uint64_t gpa; uint32_t len; unsigned flags, next; unsigned head; } bad[] = {
		{ G_BUFS, 5, 1, 0, 0 },                          /* a loop of one */
		{ G_BUFS, 5, 1, 16, 0 },                         /* next outside */
		{ G_BUFS, 5, 0, 0, 16 },                         /* head outside */
		{ G_BUFS, 5, 0, 0, 65535 },
		{ G_RAM - 4, 5, 0, 0, 0 },                       /* past the end of RAM */
		{ G_RAM, 1, 2, 0, 0 },
		{ ~0ull, 1, 0, 0, 0 },                           /* wild */
		{ ~0ull - 3, 0xffffffff, 2, 0, 0 },
		{ 0, 0xffffffff, 2, 0, 0 },                      /* huge */
		{ 0xe0000000, 4, 0, 0, 0 },                      /* the device's own registers */
		{ G_BUFS, 0, 4, 0, 0 },                          /* indirect: empty, odd, with next, wild */
		{ G_BUFS, 24, 4, 0, 0 },
		{ G_BUFS, 16, 5, 0, 0 },
		{ G_RAM - 8, 16, 4, 0, 0 },
		{ 0, 0xfffffff0, 4, 0, 0 },
		{ 0x10000, 256, 4, 0, 0 },                       /* nested: the table itself */
	};
	struct fixture *f = *state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		g_desc(&f->g, f->q.desc, 0, bad[i].gpa, bad[i].len, bad[i].flags, bad[i].next);
		g_avail(&f->g, &f->q, bad[i].head);
		unsigned irqs = f->g.irqs[0];
		g_set(&f->g, 0x10, 0, 2);
		g_kick(&f->g, &f->q);
		g_turn(&f->g);
		if (!g_broken(&f->g))
			fail_msg("case %u did not break the device", i);
		assert_int_equal(g_used_idx(&f->g, &f->q), 0);
		assert_int_equal(f->g.irqs[0], irqs + 1);        /* a configuration interrupt */
		assert_int_equal(g_device(&f->g)->held, 0);
		g_set(&f->g, 0x14, 0, 1);
		g_turn(&f->g);
		assert_int_equal(g_reg(&f->g, 0x14, 1), 0);
		g_negotiate(&f->g, BIT(32) | BIT(28));
		g_queue(&f->g, &f->q, 0, 16);
		g_live(&f->g);
	}
	echoes(state);
}

static void readable_after_writable(void **state)
{
	struct fixture *f = *state;
	g_desc(&f->g, f->q.desc, 0, G_BUFS, 5, 1 | 2, 1);
	g_desc(&f->g, f->q.desc, 1, G_BUFS, 5, 0, 0);
	g_avail(&f->g, &f->q, 0);
	g_kick(&f->g, &f->q);
	g_turn(&f->g);
	assert_true(g_broken(&f->g));
}

static void too_many_segments(void **state)
{
	struct fixture *f = *state;
	uint64_t table = G_BUFS + 0x1000;
	for (unsigned i = 0; i < VIRTIO_MAX_SEGS + 1; i++)
		g_desc(&f->g, table, i, G_BUFS, 1, i < VIRTIO_MAX_SEGS ? 1 : 0, i + 1);
	g_desc(&f->g, f->q.desc, 0, table, 16 * (VIRTIO_MAX_SEGS + 1), 4, 0);
	g_avail(&f->g, &f->q, 0);
	g_kick(&f->g, &f->q);
	g_turn(&f->g);
	assert_true(g_broken(&f->g));
}

static void index_ahead(void **state)
{
	struct fixture *f = *state;
	f->q.avail_idx = 16;
	g_avail(&f->g, &f->q, 0);
	g_kick(&f->g, &f->q);
	g_turn(&f->g);
	assert_true(g_broken(&f->g));
}

static void bad_queue_setup(void **state)
{
	struct fixture *f = *state;
	static const struct { unsigned reg; uint64_t v; unsigned size; } bad[] = {
		{ 0x18, 0, 2 }, { 0x18, 3, 2 }, { 0x18, 128, 2 }, { 0x20, 0x10008, 4 }, { 0x28, 0x20001, 4 },
		{ 0x30, 0x20002, 4 },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		g_set(&f->g, 0x16, 1, 2);
		g_set(&f->g, bad[i].reg, bad[i].v, bad[i].size);
		g_set(&f->g, 0x1c, 1, 2);
		assert_int_equal(g_reg(&f->g, 0x1c, 2), 0);
		assert_true(g_broken(&f->g));
		g_set(&f->g, 0x14, 0, 1);
		g_turn(&f->g);
	}
}

static void wild_rings(void **state)
{
	struct fixture *f = *state;
	for (unsigned r = 0; r < 3; r++) {
		g_set(&f->g, 0x14, 0, 1);
		g_turn(&f->g);
		g_negotiate(&f->g, BIT(32));
		g_queue(&f->g, &f->q, 0, 16);
		g_set(&f->g, 0x14, 0, 1);
		g_negotiate(&f->g, BIT(32));
		for (unsigned i = 0; i < 3; i++) {
			g_set(&f->g, 0x20 + 8 * i, 0x10000 + 0x4000 * i, 4);
			g_set(&f->g, 0x24 + 8 * i, i == r ? 0xffffffff : 0, 4);
		}
		g_set(&f->g, 0x1c, 1, 2);
		f->q.avail = 0x14000;
		g_add(&f->g, &f->q, two, 1, 0);
		g_live(&f->g);
		assert_true(g_broken(&f->g));
	}
}

static void event_index(void **state)
{
	struct fixture *f = *state;
	le16_put(g_ptr(&f->g, f->q.avail + 4 + 2 * 16), 2);      /* used_event: at the third */
	for (unsigned i = 0; i < 4; i++) {
		g_do(&f->g, &f->q, two, 1, 1);
		assert_int_equal(f->g.irqs[1], i >= 2);
		assert_int_equal(le16_get(g_ptr(&f->g, f->q.used + 4 + 8 * 16)), i + 1);
	}
}

static void no_interrupt_flag(void **state)
{
	struct fixture *f = *state;
	le16_put(g_ptr(&f->g, f->q.avail), 1);
	g_do(&f->g, &f->q, two, 1, 1);
	assert_int_equal(f->g.irqs[1], 0);
}

static void intx(void **state)
{
	struct fixture *f = *state;
	f->g.msix = false;
	g_do(&f->g, &f->q, two, 1, 1);
	assert_true(f->g.intx);
	assert_int_equal(g_reg(&f->g, 0x1000, 1), 1);
	assert_false(f->g.intx);
	assert_int_equal(g_reg(&f->g, 0x1000, 1), 0);
}

/* A chain that the device holds is dropped, and status reads 0 only then. */
static void reset_in_flight(void **state)
{
	struct fixture *f = *state;
	hold = true;
	g_add(&f->g, &f->q, two, 1, 1);
	g_kick(&f->g, &f->q);
	g_turn(&f->g);
	assert_int_equal(g_device(&f->g)->held, 1);
	g_set(&f->g, 0x14, 0, 1);
	assert_int_equal(g_reg(&f->g, 0x14, 1), 15);
	g_set(&f->g, 0x14, 1, 1);                                /* too early: ignored */
	g_turn(&f->g);
	assert_int_equal(g_reg(&f->g, 0x14, 1), 0);
	assert_int_equal(g_device(&f->g)->held, 0);
	assert_int_equal(resets, 1);
	g_turn(&f->g);
	assert_int_equal(g_used_idx(&f->g, &f->q), 0);
}

static void negotiation(void **state)
{
	struct fixture *f = *state;
	assert_true(g_offered(&f->g) == (5 | BIT(28) | BIT(29) | BIT(32)));
	g_set(&f->g, 0x14, 0, 1);
	g_turn(&f->g);
	g_negotiate(&f->g, BIT(32) | 2);                         /* not offered */
	assert_int_equal(g_reg(&f->g, 0x14, 1), 3);
	g_set(&f->g, 0x14, 0, 1);
	g_negotiate(&f->g, 1);                                   /* without VERSION_1 */
	assert_int_equal(g_reg(&f->g, 0x14, 1), 3);
	g_set(&f->g, 0x14, 15, 1);                               /* no DRIVER_OK without FEATURES_OK */
	assert_int_equal(g_reg(&f->g, 0x14, 1), 3);
	g_set(&f->g, 0x14, 0, 1);
	g_negotiate(&f->g, BIT(32) | 1);
	assert_int_equal(g_reg(&f->g, 0x14, 1), 11);
	g_set(&f->g, 0x1a, 77, 2);                               /* a vector that is not there */
	assert_int_equal(g_reg(&f->g, 0x1a, 2), 0xffff);
	assert_int_equal(g_reg(&f->g, 0x12, 2), 2);
	assert_int_equal(g_reg(&f->g, 0x2000, 4), 0x44434241);
	assert_int_equal(g_reg(&f->g, 0x2007, 1), 'H');
	assert_int_equal(g_reg(&f->g, 0x2008, 4), 0);
	g_set(&f->g, 0x16, 9, 2);                                /* a queue that is not there */
	assert_int_equal(g_reg(&f->g, 0x18, 2), 0);
}

static void state_round_trip(void **state)
{
	struct fixture *f = *state;
	g_do(&f->g, &f->q, two, 1, 1);
	struct virtio_device *d = g_device(&f->g);
	const struct device_ops *ops = f->g.m.devices->ops;
	ops->drain(f->g.m.devices);
	g_add(&f->g, &f->q, two, 1, 1);
	g_kick(&f->g, &f->q);
	g_turn(&f->g);
	assert_int_equal(g_used_idx(&f->g, &f->q), 1);           /* drained: it waits */
	struct state *save = state_save_new();
	assert_true(ops->xfer(&d->pci.dev, save, 1));
	size_t n;
	const uint8_t *bytes = state_bytes(save, &n);
	ops->reset(&d->pci.dev);
	struct state *load = state_load_new(bytes, n);
	assert_true(ops->xfer(&d->pci.dev, load, 1));
	d->drained = false;
	ops->loaded(&d->pci.dev);
	f->q.seen = 1;
	assert_int_equal(g_wait(&f->g, &f->q), 3);               /* found without a kick */
	state_free(load);
	for (size_t i = 0; i < n; i++) {                         /* hostile state: an error or fine */
		for (unsigned bit = 0; bit < 8; bit++) {
			auto_free uint8_t *copy = memcpy(xmalloc(n), bytes, n);
			copy[i] ^= (uint8_t)(1 << bit);
			ops->reset(&d->pci.dev);
			load = state_load_new(copy, n);
			if (ops->xfer(&d->pci.dev, load, 1))
				ops->loaded(&d->pci.dev);
			g_turn(&f->g);
			state_free(load);
		}
	}
	state_free(save);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(echoes), T(indirect), T(hostile), T(readable_after_writable), T(too_many_segments),
		T(index_ahead), T(bad_queue_setup), T(wild_rings), T(no_interrupt_flag), T(intx),
		T(reset_in_flight), T(negotiation), T(state_round_trip),
		cmocka_unit_test_setup_teardown(event_index, setup_event, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
