/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VGA: text and its font, planes and write modes, linear modes, the picture. */
#include "board_fixture.h"

#include "device/vga/screen.h"
#include "machine/machine.h"

enum { DISPI = 0x1ce };

static struct device *vga;

static struct machine *board(void)
{
	struct machine *m = fixture_new(2 * MiB);
	fixture_controllers(m);
	assert_true(pci_host_create(m, NULL) && lpc_create(m, NULL) && vga_create(m, NULL));
	for (vga = m->devices; vga->next; vga = vga->next)
		;
	return m;
}

static void indexed(unsigned port, uint8_t index, uint8_t v) { out(port, index | v << 8, 2); }

static void attribute(uint8_t index, uint8_t v)
{
	inb(0x3da);
	outb(0x3c0, index);
	outb(0x3c0, v);
}

static void set_colour(uint8_t index, uint8_t r, uint8_t g, uint8_t b)
{
	outb(0x3c8, index);
	outb(0x3c9, r);
	outb(0x3c9, g);
	outb(0x3c9, b);
}

static void common_mode(uint8_t columns, uint8_t rows)
{
	indexed(0x3d4, 0x11, 0);
	indexed(0x3d4, 0x01, columns - 1);
	indexed(0x3d4, 0x13, columns / 2);
	indexed(0x3d4, 0x12, (uint8_t)(rows * 16 - 1));
	indexed(0x3d4, 0x07, (uint8_t)((rows * 16 - 1) >> 8 << 1 & 2));
	indexed(0x3d4, 0x09, 15);
	for (uint8_t i = 0; i < 16; i++) {
		attribute(i, i);
		set_colour(i, i * 4, i, 0);
	}
	attribute(0x12, 15);
}

static uint32_t pixel(const struct image *img, unsigned x, unsigned y)
{
	const uint8_t *p = img->rgb + (y * img->width + x) * 3;
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static struct image picture(struct machine *m)
{
	struct image img;
	struct error err;
	if (!screen_render(m, &img, &err))
		fail_msg("%s", err.text);
	return img;
}

static void text_is_drawn(void **unused)
{
	struct machine *m = board();
	struct image img;
	assert_false(screen_render(m, &img, NULL));   /* still blanked */
	common_mode(80, 2);
	indexed(0x3c4, 1, 1);                /* 8 dots */
	indexed(0x3c4, 4, 2);
	indexed(0x3c4, 2, 4);                /* the font is in plane 2 */
	indexed(0x3ce, 5, 0);
	indexed(0x3ce, 6, 4);
	indexed(0x3ce, 8, 0xff);
	memory_store(m->memory, 0xa0000 + 'A' * 32 + 3, 0x81, 1);
	indexed(0x3c4, 2, 3);
	indexed(0x3ce, 5, 0x10);
	indexed(0x3ce, 6, 0x0e);
	indexed(0x3d4, 0x0a, 0x20);          /* no cursor */
	memory_store(m->memory, 0xb8000 + 160 + 2, 0x2f41, 2);
	assert_int_equal(memory_load(m->memory, 0xb8000 + 162, 2), 0x2f41);
	outb(0x3c0, 0x20);
	img = picture(m);
	assert_int_equal(img.width, 640);
	assert_int_equal(img.height, 32);
	assert_int_equal(pixel(&img, 8, 16 + 3), 0xf33c00);    /* colour 15 */
	assert_int_equal(pixel(&img, 9, 16 + 3), 0x200800);    /* colour 2 */
	assert_int_equal(pixel(&img, 15, 16 + 3), 0xf33c00);
	assert_int_equal(pixel(&img, 8, 16 + 4), 0x200800);
	image_free(&img);
	fixture_state_round_trip(vga);
	fixture_free(m);
}

static void planes_and_write_modes(void **unused)
{
	struct machine *m = board();
	struct memory *mem = m->memory;
	common_mode(80, 2);
	indexed(0x3d4, 0x09, 0);
	indexed(0x3ce, 6, 5);
	indexed(0x3ce, 8, 0xff);
	indexed(0x3c4, 4, 6);
	indexed(0x3c4, 2, 15);
	indexed(0x3ce, 5, 2);                /* mode 2: a colour for eight pixels */
	memory_store(mem, 0xa0000, 9, 1);
	indexed(0x3ce, 8, 0x80);             /* one pixel, the rest from the latch */
	memory_load(mem, 0xa0000, 1);
	memory_store(mem, 0xa0000, 6, 1);
	outb(0x3c0, 0x20);
	struct image img = picture(m);
	assert_int_equal(pixel(&img, 0, 0) >> 8 & 0xff, 6 * 4);
	assert_int_equal(pixel(&img, 1, 0) >> 8 & 0xff, 9 * 4);
	image_free(&img);
	indexed(0x3ce, 5, 1);                /* mode 1: copy latches */
	memory_load(mem, 0xa0000, 1);
	memory_store(mem, 0xa0001, 0, 1);
	indexed(0x3ce, 5, 0);
	indexed(0x3ce, 4, 0);
	assert_int_equal(memory_load(mem, 0xa0001, 1), 0x7f);
	indexed(0x3ce, 5, 8);                /* read mode 1: which pixels are colour 9 */
	indexed(0x3ce, 2, 9);
	indexed(0x3ce, 7, 15);
	assert_int_equal(memory_load(mem, 0xa0001, 1), 0x7f);
	fixture_free(m);
}

static void dispi(uint16_t index, uint16_t v)
{
	out(DISPI, index, 2);
	out(DISPI + 1, v, 2);
}

static void in_true_colour(struct machine *m)
{
	dispi(1, 640);
	dispi(2, 480);
	dispi(3, 32);
	dispi(4, 0x41);
	pci_config_write(m, 1 << 3, 0x10, 0xc0000000, 4);
	pci_config_write(m, 1 << 3, 0x04, 3, 2);
}

static void linear_modes(void **unused)
{
	struct machine *m = board();
	out(DISPI, 0, 2);
	assert_int_equal(in(DISPI + 1, 2), 0xb0c5);
	out(DISPI, 10, 2);
	assert_int_equal(in(DISPI + 1, 2), 256);
	dispi(4, 2);
	out(DISPI, 1, 2);
	assert_int_equal(in(DISPI + 1, 2), 2560);
	dispi(4, 0);
	in_true_colour(m);
	mmio_out(0xc0000000 + (640 * 2 + 5) * 4, 0x112233);
	struct image img = picture(m);
	assert_int_equal(img.width, 640);
	assert_int_equal(pixel(&img, 5, 2), 0x112233);
	image_free(&img);
	dispi(9, 1);                         /* scrolled by a line */
	img = picture(m);
	assert_int_equal(pixel(&img, 5, 1), 0x112233);
	image_free(&img);
	fixture_state_round_trip(vga);
	fixture_free(m);
}

/* --- somebody looks, and the engine keeps a log of what vCPUs store to ------------------- */
static struct { int64_t page; unsigned starts, told, top, rows, columns; } look;

static void log_dirty(void *opaque, const struct ram_slot *slot) { look.starts++; }

static void collect_dirty(void *opaque, struct ram_slot *slot)
{
	if (look.page >= 0)
		memory_page_written(opaque, slot, (uint64_t)look.page * PAGE_SIZE, 1);
	look.page = -1;
}

static void changed(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
	look.told++;
	look.top = y;
	look.rows = height;
	look.columns = width;
}
static void resized(void *opaque, unsigned width, unsigned height) { }

static unsigned told(struct machine *m, struct screen_watch *w)
{
	look.told = 0;
	screen_watch(m, w);
	return look.told;
}

static struct screen_watch looked_at(struct machine *m, bool log)
{
	const struct memory_hooks hooks = { .opaque = m->memory, .log_dirty = log_dirty, .collect_dirty = collect_dirty };
	memset(&look, 0, sizeof(look));
	look.page = -1;
	if (log)
		memory_set_hooks(m->memory, &hooks);
	return (struct screen_watch){ .picture = xcalloc(640 * 480, 4), .changed = changed, .resized = resized };
}

/* As a vCPU of KVM stores to it: unseen. */
static void *video_memory(struct machine *m)
{
	return (void *)(uintptr_t)mem_pin_read(m->memory, 0xc0000000, 640 * 480 * 4);
}

/* Of video memory only what the log names is looked at: a store that it does not name is not seen. */
static void only_logged_pages_are_compared(void **unused)
{
	struct machine *m = board();
	struct screen_watch w = looked_at(m, true);
	in_true_colour(m);
	uint32_t *pixels = video_memory(m);
	pixels[640 * 100 + 7] = 0x112233;
	assert_int_equal(told(m, &w), 1);              /* the first look sees everything */
	assert_true(look.starts == 1 && look.top == 100 && look.rows == 1 && look.columns == 1);
	pixels[640 * 200] = pixels[640 * 300] = 5;
	assert_int_equal(told(m, &w), 0);
	look.page = 640 * 200 * 4 / PAGE_SIZE;
	assert_int_equal(told(m, &w), 1);
	assert_true(look.top == 200 && w.picture[640 * 200] == 5 && !w.picture[640 * 300]);
	assert_int_equal(told(m, &w), 0);
	memory_dma_write(m->memory, 0xc0000000 + 640 * 400 * 4, "rgb", 3);     /* a device's store is in no log of KVM's */
	assert_int_equal(told(m, &w), 1);
	assert_int_equal(look.top, 400);
	dispi(9, 1);                                   /* scrolled by a line: all of it is another picture */
	assert_int_equal(told(m, &w), 4);
	assert_int_equal(w.picture[640 * 299], 5);
	free(w.picture);
	fixture_free(m);
}

static void drawn_modes_follow_the_log(void **unused)
{
	for (unsigned log = 0; log < 2; log++) {
		struct machine *m = board();
		struct screen_watch w = looked_at(m, log);
		in_true_colour(m);
		dispi(4, 0);
		dispi(3, 16);
		dispi(4, 0x41);
		uint16_t *pixels = video_memory(m);
		assert_int_equal(told(m, &w), 0);          /* black on black */
		pixels[640 * 300] = 0xffff;
		assert_int_equal(told(m, &w), !log);       /* with no log, all memory is looked at */
		look.page = 640 * 300 * 2 / PAGE_SIZE;
		assert_int_equal(told(m, &w), log);
		assert_true(look.top == 300 && w.picture[640 * 300] == 0xf8fcf8);
		free(w.picture);
		fixture_free(m);
	}
}

static void a_picture_is_a_png(void **unused)
{
	struct image img;
	struct error err;
	image_init(&img, 200, 150);          /* more than one stored block */
	image_put(&img, 199, 149, 0xabcdef);
	int fd = fixture_file("", 0);
	assert_true(image_write_png(&img, fd, &err));
	uint8_t head[33], tail[12];
	assert_true(fd_pread_full(fd, head, sizeof(head), 0));
	assert_memory_equal(head, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\xc8\0\0\0\x96\x08\x02", 26);
	off_t end = lseek(fd, 0, SEEK_END);
	assert_true(fd_pread_full(fd, tail, sizeof(tail), (uint64_t)end - 12));
	assert_memory_equal(tail, "\0\0\0\0IEND\xae\x42\x60\x82", 12);
	close(fd);
	image_free(&img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_drawn),
		cmocka_unit_test(planes_and_write_modes),
		cmocka_unit_test(linear_modes),
		cmocka_unit_test(only_logged_pages_are_compared),
		cmocka_unit_test(drawn_modes_follow_the_log),
		cmocka_unit_test(a_picture_is_a_png),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
