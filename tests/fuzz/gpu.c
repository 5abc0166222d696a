/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile commands to virtio-gpu: the input is a list of 64-byte records, a command
 * each with small or wild numbers; the screen is drawn in between, and what is
 * saved at the end loads again.
 */
#include "device/chipset.h"
#include "device/vga/screen.h"
#include "lib/fuzz.h"
#include "virtio_guest.h"

enum { QSIZE = 16, RECORD = 64, COMMAND = 56, AT = 0x8000, ANSWER = 0x9000, ROOM = 408 };

static struct guest g;
static struct g_queue q;

static void make_machine(void)
{
	guest_init(&g);
	g.m.board_data = xnew(struct board);
	if (!virtio_gpu_create(&g.m, NULL))
		abort();
}

static void draw(void)
{
	struct image img;
	if (screen_render(&g.m, &img, NULL))
		image_free(&img);
}

/* Numbers stay small mostly, so that commands go together. */
static void command(const uint8_t *p)
{
	static const uint16_t codes[] = { 0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107, 0x300, 0x301 };
	uint8_t *to = g_ptr(&g, AT);
	memcpy(to, p, COMMAND);
	le32_put(to, codes[p[0] % ARRAY_SIZE(codes)]);
	for (unsigned i = 24; i < COMMAND && !(p[60] & 1); i += 4)
		le32_put(to + i, le32_get(to + i) % (i & 8 ? 70 : 3));
	if (p[0] % ARRAY_SIZE(codes) == 1 && p[60] & 2)
		le32_put(to + 28, 1);
	g_desc(&g, q.desc, 0, AT, COMMAND + (p[61] & 127), 1, 1);
	g_desc(&g, q.desc, 1, ANSWER, ROOM, 2, 0);
	g_avail(&g, &q, 0);
	g_kick(&g, &q);
	g_turn(&g);
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	if (n)
		return 0;
	memset(buf, 0, RECORD * 5);
	for (unsigned i = 0; i < 5; i++) {
		uint8_t *p = buf + i * RECORD;
		p[0] = (uint8_t[]){ 1, 6, 3, 5, 4 }[i];
		p[24] = p[28] = 1;
		p[32] = p[36] = 8;
		p[60] = 2;
	}
	return RECORD * 5;
}

void fuzz_one(const uint8_t *data, size_t size)
{
	static pid_t owner;
	if (owner != getpid())
		make_machine();
	owner = getpid();
	g_begin(&g, &q, QSIZE);
	for (size_t at = 0; at + RECORD <= size && at < RECORD * 200; at += RECORD) {
		command(data + at);
		draw();
	}
	g_save_and_load(&g_device(&g)->pci.dev);
}
