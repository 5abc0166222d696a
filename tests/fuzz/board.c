/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile port, memory and PCI config access: the input is a list of accesses
 * to the whole board, eight bytes each; afterwards every device must save a
 * state that it loads again.
 */
#include "board_fixture.h"

#include "device/hda/hda.h"
#include "device/net.h"
#include "device/usb/xhci.h"
#include "device/vga/screen.h"
#include "device/virtio/virtio.h"
#include "lib/fuzz.h"

static const uint16_t ports[] = {
	0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x40, 0x42, 0x43, 0x61, 0x60, 0x64, 0x70, 0x71, 0x92, 0xb2,
	0xe0, 0xe4, 0xf4, 0x1f0, 0x1f4, 0x1f7, 0x3f6, 0x3f2, 0x3f4, 0x3f5, 0x3f7, 0x04, 0x05, 0x0a, 0x0b, 0x81, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x2f8, 0x2fc, 0x510, 0x511, 0x514, 0x600,
	0x604, 0x608, 0x1ce, 0x1d0, 0x3c0, 0x3c4, 0x3c8, 0x3ce, 0x3d4, 0x3da, 0x620, 0xcf8, 0xcf9, 0xcfc, 0xcfe, 0x2000, 0xc000,
};
static uint64_t areas[128] = {
	BOARD_IOAPIC, BOARD_HPET, BOARD_ECAM, BOARD_PCI32, 0xff000000, 0xa0000, 0xf0000, 0x1000,
	BOARD_PCI64, 0xb8000, 0,
};
static unsigned nareas = 11;

/* Where pci_assign has put the functions' registers. */
static void find_bars(struct machine *m)
{
	for (unsigned devfn = 0; devfn < 256; devfn++)
		for (unsigned bar = 0x10; bar < 0x28; bar += 4) {
			uint32_t v = pci_config_read(m, devfn, bar, 4);
			if (v != UINT32_MAX && v & ~15u && !(v & 1) && nareas + 2 <= ARRAY_SIZE(areas)) {
				areas[nareas++] = v & ~15u;
				areas[nareas++] = (v & ~15u) + 0x100;
			}
		}
}

static void add_drive(const char *bus, bool cdrom)
{
	static uint8_t zero[65536];
	fx.config.disk[fx.config.ndisks++] = (struct disk_config){
		.path = (char *)"d", .fd = fixture_file(zero, sizeof(zero)), .bus = (char *)bus, .cdrom = cdrom,
		.readonly = cdrom,
	};
}

static void reset(struct machine *m)
{
	for (struct device *d = m->devices; d; d = d->next)
		if (d->ops->reset)
			d->ops->reset(d);
	pci_host_shadow_all(m);
	pci_assign(m);
}

static struct machine *board(void)
{
	static struct machine *m;
	if (m)
		return m;
	m = fixture_new(16 * MiB);
	board_free(m);
	fx.config.debug_exit = fx.config.test_device = fx.config.screen = true;
	fx.config.boot = (char *)"cdrom,disk";
	add_drive("ahci", false);
	add_drive("ahci", true);
	add_drive("nvme", false);
	add_drive("ide", false);
	add_drive("scsi", false);
	add_drive("ide", true);
	add_drive("floppy", false);
	assert_true(board_create(m, NULL));
	static const uint8_t mac[6] = { 2 };
	assert_true(e1000_create(m, 0, NULL, mac, NULL));
	assert_true(xhci_create(m, NULL) && hda_create(m, -1, NULL));
	assert_true(virtio_gpu_create(m, NULL) && virtio_input_create(m, true, NULL));
	reset(m);
	find_bars(m);
	return m;
}

static void run_time(struct machine *m, unsigned ms)
{
	clock_set(m->clock, clock_now(m->clock) + ms * 1000000ull);
	clock_resume(m->clock);
	fixture_turn(m);
	clock_pause(m->clock);
}

static void access_once(struct machine *m, const uint8_t *p)
{
	unsigned size = 1u << (p[0] >> 4 & 3), port = ports[p[1] % ARRAY_SIZE(ports)] + (p[2] & 3);
	uint64_t value = le32_get(p + 4) * 0x100000001ull;
	uint64_t gpa = areas[p[1] % nareas] + (le16_get(p + 2) & 0xfff) * (p[0] & 0x80 ? 16 : 1);
	uint32_t address = 0x80000000 | (p[1] % 5 == 4 ? 31u : p[1] % 5) << 11 | p[2];
	struct irq_line line = board_gsi(m, p[1] % 26);
	switch (p[0] & 15) {
	case 0: case 1:
		memory_store(m->ports, port, value, MIN(size, 4u));
		break;
	case 2:
		memory_load(m->ports, port, MIN(size, 4u));
		break;
	case 3: case 4:
		memory_store(m->memory, gpa, value, size);
		break;
	case 5:
		memory_load(m->memory, gpa, size);
		break;
	case 6: case 7:
		out(0xcf8, address, 4);
		out(0xcfc + (p[2] & 3), (uint32_t)value, 1u << (p[3] % 3));
		break;
	case 8:
		irq_set(&line, p[2] & 1);
		break;
	case 9:
		run_time(m, p[2]);
		break;
	case 10:
		i8259_ack(m);
		ioapic_eoi(m, p[2]);
		break;
	default:
		memory_store(m->ports, le16_get(p + 2), value, MIN(size, 4u));
	}
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	if (n >= 4)
		return 0;
	for (unsigned i = 0; i < 512; i++)
		buf[i] = (uint8_t)(i * (2 * n + 3) >> n);
	return 512;
}

/* The screen's 16 MiB are slow to save: not each time. */
static void round_trips(struct machine *m, bool screen)
{
	for (struct device *d = m->devices; d; d = d->next)
		if (d->ops->xfer && (screen || strcmp(d->id, "vga")))
			fixture_state_round_trip(d);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	bool screen = size > 1 && data[1] % 32 == 0;
	struct machine *m = board();
	reset(m);
	for (; size >= 8; data += 8, size -= 8)
		access_once(m, data);
	struct image img;
	if (screen && screen_render(m, &img, NULL))
		image_free(&img);
	for (struct device *d = m->devices; d; d = d->next)
		if (d->ops->drain)
			d->ops->drain(d);
	round_trips(m, screen);
	for (struct device *d = m->devices; d; d = d->next)
		if (d->ops->undrain)
			d->ops->undrain(d);
	fixture_turn(m);
}
