/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile use of the sound card: the input is a list of accesses to its registers and
 * to the memory that rings and buffer list are in, with time going by.
 */
#include "board_fixture.h"

#include <fcntl.h>

#include "device/hda/hda.h"
#include "lib/fuzz.h"

static struct machine *m;
static struct device *card;
static uint64_t bar;

static void build(void)
{
	m = fixture_new(1 * MiB);
	fixture_controllers(m);
	assert_true(pci_host_create(m, NULL) && lpc_create(m, NULL) &&
		    hda_create(m, open("/dev/null", O_WRONLY), NULL));
	for (card = m->devices; card->next; )
		card = card->next;
}

static void start(void)
{
	card->ops->reset(card);
	pci_assign(m);
	struct pci_function *f = container_of(card, struct pci_function, dev);
	pci_config_write(m, f->devfn, 4, 6, 2);
	bar = f->bar[0].base;
	memory_store(m->memory, bar + 8, 1, 4);
}

static void step(const uint8_t *p)
{
	unsigned size = 1u << (p[0] >> 6 & 3);
	uint64_t value = le32_get(p + 4);
	switch (p[0] & 7) {
	case 0: case 1: case 2:
		memory_store(m->memory, bar + le16_get(p + 2) % 0xa8, value, size);
		break;
	case 3:                                   /* bases into RAM */
		memory_store(m->memory, bar + (p[1] & 1 ? 0x98 : p[1] & 2 ? 0x40 : 0x50), value & 0xfff80, 4);
		break;
	case 4:
		memory_load(m->memory, bar + le16_get(p + 2) % 0xa8, size);
		break;
	case 5:
		memory_store(m->memory, (uint64_t)le16_get(p + 2) * 16, value << (p[1] & 31), 8);
		break;
	case 6:                                   /* a codec command */
		memory_store(m->memory, bar + 0x60, value & 0x3ffffff, 4);
		memory_store(m->memory, bar + 0x68, 1, 2);
		break;
	default:
		clock_set(m->clock, clock_now(m->clock) + p[1] * 1000000ull);
		clock_resume(m->clock);
		fixture_turn(m);
		clock_pause(m->clock);
	}
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	static const uint8_t run[] = {
		3, 1, 0, 0, 0, 0x10, 0, 0,  5, 0, 1, 1, 0, 1, 0, 0,  0, 0, 0x92, 0, 0x11, 0, 0, 0,
		0x80, 0, 0x80, 0, 6, 0, 0x10, 0,  7, 50, 0, 0, 0, 0, 0, 0,  7, 50, 0, 0, 0, 0, 0, 0 };
	if (n)
		return 0;
	memcpy(buf, run, sizeof(run));
	return sizeof(run);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	if (!m)
		build();
	start();
	for (; size >= 8; data += 8, size -= 8)
		step(data);
	fixture_state_round_trip(card);
}
