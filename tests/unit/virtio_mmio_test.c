/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over MMIO: the registers as a driver uses them, and as it must not. */
#include "virtio_guest.h"
#include "device/chipset.h"

enum { MAGIC = 0, DEVICE = 8, FEATURES = 0x10, FEATURES_SELECT = 0x14, DRIVER = 0x20, DRIVER_SELECT = 0x24,
       SELECT = 0x30, MAX = 0x34, SIZE = 0x38, READY = 0x44, NOTIFY = 0x50, ISR = 0x60, ACK = 0x64, STATUS = 0x70,
       DESC = 0x80, AVAIL = 0x90, USED = 0xa0, SHM_LEN = 0xb0, GENERATION = 0xfc, CONFIG = 0x100 };

static struct guest g;
static struct board board_data;
static unsigned pulses, pin, config_written;

void device_add(struct machine *m, struct device *d, const struct device_ops *ops, const char *id)
{
	d->ops = ops;
	d->machine = m;
	snprintf(d->id, sizeof(d->id), "%s", id);
	d->next = m->devices;
	m->devices = d;
}
static void line_set(void *opaque, unsigned n, bool level) { pulses += level; }
struct irq_line board_gsi(struct machine *m, unsigned gsi)
{
	pin = gsi;
	return (struct irq_line){ .set = line_set, .pin = gsi };
}

static void echo_notify(struct virtio_device *d, unsigned q)
{
	static struct virtq_chain c;
	uint8_t buf[256];
	while (virtq_pop(&d->vq[q], &c) > 0) {
		size_t n = iov_to_buf(c.out, c.nout, 0, buf, sizeof(buf));
		virtq_push(&d->vq[q], &c, (uint32_t)buf_to_iov(c.in, c.nin, 0, buf, n));
	}
	virtq_signal(&d->vq[q]);
}
static void echo_destroy(struct virtio_device *d) { free(d); }
static void echo_config(struct virtio_device *d, unsigned off, void *buf, unsigned n) { memcpy(buf, "ABCDEFG" + off, n); }
static void echo_set(struct virtio_device *d, unsigned off, const void *buf, unsigned n) { config_written += n; }
static const struct virtio_ops echo_ops = {
	.name = "virtio-echo", .device_id = 63, .version = 1, .features = 5, .queues = 2, .queue_size = 64,
	.config_size = 7, .config_read = echo_config, .config_write = echo_set, .notify = echo_notify,
	.destroy = echo_destroy,
};

static uint32_t rd(unsigned off) { return (uint32_t)memory_load(g.m.memory, BOARD_VIRTIO_MMIO + off, 4); }
static void wr(unsigned off, uint32_t v) { memory_store(g.m.memory, BOARD_VIRTIO_MMIO + off, v, 4); }

static int setup_with(bool rings)
{
	guest_init(&g);
	board_data = (struct board){ 0 };
	pulses = config_written = 0;
	g.m.board_data = &board_data;
	g.m.virtio_bus = virtio_mmio_init;
	memory_set_hooks(g.m.memory, &(struct memory_hooks){ .rings = rings });
	return virtio_init(&g.m, xnew(struct virtio_device), &echo_ops, "virtio-echo.0", NULL) ? 0 : 1;
}
static int setup(void **unused) { return setup_with(false); }
static int setup_bells(void **unused) { return setup_with(true); }
static int teardown(void **unused) { guest_free(&g); return 0; }

static void negotiate(void)
{
	wr(STATUS, 1);
	wr(STATUS, 3);
	wr(DRIVER_SELECT, 1);
	wr(DRIVER, 1);                       /* VERSION_1 */
	wr(DRIVER_SELECT, 0);
	wr(DRIVER, 0);
	wr(STATUS, 11);
}

static void set_queue(struct g_queue *q)
{
	*q = (struct g_queue){ .size = 16, .desc = 0x10000, .avail = 0x14000, .used = 0x15000 };
	wr(SELECT, 0);
	wr(SIZE, 16);
	wr(DESC, (uint32_t)q->desc);
	wr(AVAIL, (uint32_t)q->avail);
	wr(USED, (uint32_t)q->used);
	wr(READY, 1);
}

static void registers(void **unused)
{
	assert_int_equal(rd(MAGIC), 0x74726976);
	assert_int_equal(rd(4), 2);
	assert_int_equal(rd(DEVICE), 63);
	assert_int_equal(pin, BOARD_VIRTIO_MMIO_GSI);
	wr(FEATURES_SELECT, 0);
	assert_int_equal(rd(FEATURES) & 7, 5);
	wr(FEATURES_SELECT, 1);
	assert_int_equal(rd(FEATURES), 1);
	wr(FEATURES_SELECT, 2);
	assert_int_equal(rd(FEATURES), 0);
	assert_int_equal(rd(MAX), 64);
	wr(SELECT, 2);                       /* there is none */
	assert_int_equal(rd(MAX), 0);
	wr(READY, 1);
	assert_int_equal(rd(READY), 0);
	assert_int_equal(rd(SHM_LEN), UINT32_MAX);
	assert_int_equal(memory_load(g.m.memory, BOARD_VIRTIO_MMIO + CONFIG + 6, 1), 'G');
	assert_int_equal(memory_load(g.m.memory, BOARD_VIRTIO_MMIO + CONFIG + 4, 4), 0);    /* reaches past the end */
	memory_store(g.m.memory, BOARD_VIRTIO_MMIO + CONFIG + 2, 1, 2);
	memory_store(g.m.memory, BOARD_VIRTIO_MMIO + CONFIG + 6, 1, 2);
	assert_int_equal(config_written, 2);
	assert_int_equal(memory_load(g.m.memory, BOARD_VIRTIO_MMIO + 1, 1), 0);             /* 32 bits only */
}

static void work(struct g_queue *q)
{
	static const struct g_buf two[] = { { G_BUFS, 5 }, { G_BUFS + 200, 64 } };
	memcpy(g_ptr(&g, G_BUFS), "hello", 5);
	g_add(&g, q, two, 1, 1);
	wr(NOTIFY, 0);
	assert_int_equal(g_wait(&g, q), 5);
	assert_memory_equal(g_ptr(&g, G_BUFS + 200), "hello", 5);
}

static void works(void **unused)
{
	struct g_queue q;
	negotiate();
	set_queue(&q);
	wr(STATUS, 15);
	g_turn(&g);
	for (unsigned i = 1; i <= 100; i++) {
		work(&q);
		assert_int_equal(pulses, i);
		assert_int_equal(rd(ISR), 1);
		wr(ACK, 1);
		assert_int_equal(rd(ISR), 0);
	}
	wr(NOTIFY, 7);                       /* no such queue */
	virtio_config_changed(g_device(&g));
	assert_int_equal(rd(ISR), 2);
	assert_int_equal(rd(GENERATION), 1);
	wr(STATUS, 0);
	g_turn(&g);
	assert_int_equal(rd(STATUS), 0);
	assert_int_equal(rd(READY), 0);
	assert_int_equal(rd(ISR), 0);
}

/* An engine that rings bells: a kick is an eventfd's signal, the register is never written. */
static void ring(const struct mem_bell *b)
{
	uint64_t one = 1;
	assert_int_equal(write(b->fd, &one, sizeof(one)), sizeof(one));
}

static void hears_bells(void **unused)
{
	static const struct g_buf two[] = { { G_BUFS, 5 }, { G_BUFS + 200, 64 } };
	const struct mem_range *r = memory_find(g.m.memory, BOARD_VIRTIO_MMIO + NOTIFY);
	struct g_queue q;
	assert_int_equal(r->nbells, 2);
	for (unsigned i = 0; i < 2; i++)
		assert_true(!r->bells[i].offset && r->bells[i].size == 4 && r->bells[i].value == i);
	ring(&r->bells[0]);                  /* nobody is there yet: no harm */
	g_turn(&g);
	negotiate();
	set_queue(&q);
	wr(STATUS, 15);
	g_turn(&g);
	for (unsigned i = 1; i <= 3; i++) {
		memcpy(g_ptr(&g, G_BUFS), "hello", 5);
		g_add(&g, &q, two, 1, 1);
		ring(&r->bells[0]);
		assert_int_equal(g_wait(&g, &q), 5);
		assert_int_equal(pulses, i);
	}
	work(&q);                            /* and the register still serves */
	/* in a save nothing moves; what rang meanwhile is done after it */
	virtio_drain(g_device(&g));
	g_add(&g, &q, two, 1, 1);
	ring(&r->bells[0]);
	g_turn(&g);
	g_turn(&g);
	assert_int_equal(g_used_idx(&g, &q), 4);
	virtio_undrain(g_device(&g));
	assert_int_equal(g_wait(&g, &q), 5);
}

/* What the device reads cannot be moved under it. */
static void stands_still_while_live(void **unused)
{
	struct g_queue q;
	negotiate();
	set_queue(&q);
	wr(DESC, 0x70000);
	wr(STATUS, 15);
	g_turn(&g);
	wr(READY, 0);
	wr(DESC, 0x70000);
	wr(USED, 0x70000);
	wr(SIZE, 3);
	assert_int_equal(rd(READY), 1);
	work(&q);
}

static void bad_queues(void **unused)
{
	negotiate();
	wr(SIZE, 3);                         /* no power of two */
	wr(READY, 1);
	assert_int_equal(rd(READY), 0);
	assert_true(rd(STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	wr(STATUS, 0);
	g_turn(&g);
	negotiate();
	wr(SIZE, 0x10010);                   /* not 16 */
	wr(READY, 1);
	assert_int_equal(rd(READY), 0);
}

static void state(void **unused)
{
	struct g_queue q;
	struct device *d = g.m.devices;
	struct state *s = state_save_new(), *again = state_save_new();
	size_t n, n2;
	negotiate();
	set_queue(&q);
	wr(STATUS, 15);
	g_turn(&g);
	work(&q);
	assert_true(d->ops->xfer(d, s, 1));
	const void *bytes = state_bytes(s, &n);
	d->ops->reset(d);
	struct state *l = state_load_new(bytes, n);
	assert_true(d->ops->xfer(d, l, 1));
	assert_true(d->ops->xfer(d, again, 1));
	const void *bytes2 = state_bytes(again, &n2);
	assert_int_equal(n, n2);
	assert_memory_equal(bytes, bytes2, n);
	unsigned before = pulses;
	d->ops->loaded(d);
	assert_int_equal(pulses, before + 1);     /* its interrupt had not been acknowledged */
	work(&q);
	state_free(s);
	state_free(l);
	state_free(again);
}

static void too_many(void **unused)
{
	struct error err;
	board_data.virtio_mmio = BOARD_VIRTIO_MMIO_MAX;
	struct virtio_device *d = xnew(struct virtio_device);
	assert_false(virtio_init(&g.m, d, &echo_ops, "virtio-echo.1", &err));
	assert_non_null(strstr(err.text, "--board pc"));
	free(d);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(registers), T(works), cmocka_unit_test_setup_teardown(hears_bells, setup_bells, teardown),
		T(stands_still_while_live), T(bad_queues), T(state), T(too_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
