/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI: config access, BARs that move, INTx wires, MSI-X masks, PAM, resets. */
#include "board_fixture.h"

#include "device/pci_regs.h"

struct toy { struct pci_function fn; uint32_t reg; };
static struct toy *toy;

static uint64_t toy_read(void *opaque, uint64_t at, unsigned size) { return toy->reg + at; }
static void toy_write(void *opaque, uint64_t at, uint64_t v, unsigned size) { toy->reg = (uint32_t)v; }
static const struct io_ops toy_io = { toy_read, toy_write, 4, 4 };

static void toy_reset(struct device *d) { pci_function_reset(&toy->fn); }
static bool toy_xfer(struct device *d, struct state *s, uint32_t v) { return pci_xfer(&toy->fn, s); }
static void toy_destroy(struct device *d) { free(toy); }
static const struct device_ops toy_ops = {
	.name = "toy", .version = 1, .reset = toy_reset, .xfer = toy_xfer, .destroy = toy_destroy,
};

static struct machine *board(void)
{
	static const struct pci_ids ids = { 0x1234, 0x5678, 0x1af4, 0x1100, 0x00ff0001 };
	struct machine *m = fixture_new(16 * MiB);
	fixture_controllers(m);
	assert_true(pci_host_create(m, NULL) && lpc_create(m, NULL));
	toy = xnew(struct toy);
	assert_true(pci_function_init(m, &toy->fn, -1, &ids, &toy_ops, "toy", NULL));
	pci_bar_add(&toy->fn, 0, 0x2000, 0, &toy_io, NULL);
	pci_bar_add(&toy->fn, 2, 0x1000000, PCI_BAR_64 | PCI_BAR_PREFETCH, &toy_io, NULL);
	pci_bar_add(&toy->fn, 4, 0x40, PCI_BAR_IO, &toy_io, NULL);
	pci_msix_add(&toy->fn, 1, 3);
	return m;
}

static uint32_t config(unsigned devfn, unsigned reg)
{
	out(0xcf8, 0x80000000 | devfn << 8 | reg, 4);
	return in(0xcfc, 4);
}

static void set_config(unsigned devfn, unsigned reg, uint32_t v)
{
	out(0xcf8, 0x80000000 | devfn << 8 | reg, 4);
	out(0xcfc, v, 4);
}

enum { TOY = 2 << 3 };

static void config_access(void **unused)
{
	struct machine *m = board();
	assert_int_equal(config(0, 0), 0x29c08086);
	assert_int_equal(config(31 << 3, 0), 0x29188086);
	assert_int_equal(config(TOY, 0), 0x56781234);
	assert_int_equal(config(5 << 3, 0), 0xffffffff);
	out(0xcf8, 0x80000000 | TOY << 8, 4);
	assert_int_equal(in(0xcfe, 2), 0x5678);
	assert_int_equal(in(0xcfd, 1), 0x12);
	out(0xcf8, 0x80010000, 4);
	assert_int_equal(in(0xcfc, 4), 0xffffffff);   /* bus 1 */
	pci_host_shadow_all(m);
	assert_int_equal(mmio_in(BOARD_ECAM + (TOY << 12)), 0x56781234);
	assert_int_equal(mmio_in(BOARD_ECAM + (TOY << 12) + 0x100), 0);
	assert_int_equal(mmio_in(BOARD_ECAM + (1 << 20)), 0xffffffff);
	set_config(TOY, 0, 0);               /* read-only */
	assert_int_equal(config(TOY, 0), 0x56781234);
	fixture_free(m);
}

static void bars_move(void **unused)
{
	struct machine *m = board();
	set_config(TOY, 0x10, 0xffffffff);
	assert_int_equal(config(TOY, 0x10), 0xffffe000);
	set_config(TOY, 0x18, 0xffffffff);
	set_config(TOY, 0x1c, 0xffffffff);
	assert_int_equal(config(TOY, 0x18), 0xff00000c);
	assert_int_equal(config(TOY, 0x1c), 0xffffffff);
	set_config(TOY, 0x20, 0xffffffff);
	assert_int_equal(config(TOY, 0x20), 0xffffffc1);
	toy->reg = 0x1000;
	set_config(TOY, 0x10, 0xc0000000);
	assert_int_equal(mmio_in(0xc0000010), 0xffffffff);   /* not enabled */
	set_config(TOY, 4, 3);
	assert_int_equal(mmio_in(0xc0000010), 0x1010);
	set_config(TOY, 0x10, 0xd0000000);
	assert_int_equal(mmio_in(0xc0000010), 0xffffffff);
	assert_int_equal(mmio_in(0xd0000010), 0x1010);
	set_config(TOY, 0x18, 0);
	set_config(TOY, 0x1c, 0x40);
	assert_int_equal(mmio_in(0x4000000020ull), 0x1020);
	set_config(TOY, 0x20, 0xc000);
	assert_int_equal(in(0xc004, 4), 0x1004);
	mmio_out(0x1000, 77);                /* RAM wins over a BAR put there */
	set_config(TOY, 0x10, 0x1000 & ~0x1fff);
	set_config(TOY, 0x10, 0x100000);
	mmio_out(0x100000, 78);
	assert_int_equal(mmio_in(0x100000), 78);
	toy_reset(NULL);
	assert_int_equal(mmio_in(0x4000000020ull), 0xffffffff);
	fixture_free(m);
}

static void assigned_without_firmware(void **unused)
{
	struct machine *m = board();
	pci_assign(m);
	assert_in_range(config(TOY, 0x10), BOARD_PCI32, 0xfe000000);
	assert_int_equal(config(TOY, 0x1c), BOARD_PCI64 >> 32);
	assert_int_equal(config(TOY, 4) & 3, 3);
	toy->reg = 5;
	assert_int_equal(mmio_in(config(TOY, 0x10)), 5);
	assert_int_equal(config(TOY, 0x3c) & 0xffff, 0x010b);
	fixture_free(m);
}

static void wires_are_shared(void **unused)
{
	struct machine *m = board();
	unsigned gsi = 16 + board_pirq(2, 0);
	mmio_out(BOARD_IOAPIC, 0x10 + 2 * gsi);
	mmio_out(BOARD_IOAPIC + 0x10, 0x8071);
	pci_intx(&toy->fn, true);
	assert_int_equal(fx.last_vector, 0x71);
	assert_int_equal(config(TOY, 4) >> 16 & 8, 8);
	pci_intx(&toy->fn, true);
	ioapic_eoi(m, 0x71);
	assert_int_equal(fx.messages, 2);
	set_config(TOY, 4, 0x400);           /* INTx disable */
	ioapic_eoi(m, 0x71);
	assert_int_equal(fx.messages, 2);
	set_config(TOY, 4, 0);
	assert_int_equal(fx.messages, 3);
	pci_intx(&toy->fn, false);
	ioapic_eoi(m, 0x71);
	assert_int_equal(fx.messages, 3);
	/* through the 8259 when routed there */
	outb(0xa0, 0x11); outb(0xa1, 0x28); outb(0xa1, 2); outb(0xa1, 1); outb(0xa1, 0);
	outb(0x20, 0x11); outb(0x21, 0x20); outb(0x21, 4); outb(0x21, 1); outb(0x21, 0);
	lpc_route_default(m);
	pci_intx(&toy->fn, true);
	assert_int_equal(i8259_ack(m), 0x2b);
	fixture_free(m);
}

static void msix_masks(void **unused)
{
	struct machine *m = board();
	set_config(TOY, 0x14, 0xc1000000);
	set_config(TOY, 4, 6);
	mmio_out(0xc1000000, 0xfee00000);
	mmio_out(0xc1000008, 0x81);
	pci_msix_raise(&toy->fn, 0);
	assert_int_equal(fx.messages, 0);    /* not enabled */
	set_config(TOY, 0x40, 0x80000000);
	assert_true(pci_msix_enabled(&toy->fn));
	pci_msix_raise(&toy->fn, 0);
	assert_int_equal(fx.messages, 0);    /* masked: pending */
	assert_int_equal(mmio_in(0xc1000800), 1);
	mmio_out(0xc100000c, 0);
	assert_int_equal(fx.messages, 1);
	assert_int_equal(fx.last_vector, 0x81);
	assert_int_equal(mmio_in(0xc1000800), 0);
	set_config(TOY, 0x40, 0xc0000000);   /* all masked */
	pci_msix_raise(&toy->fn, 0);
	assert_int_equal(fx.messages, 1);
	set_config(TOY, 0x40, 0x80000000);
	assert_int_equal(fx.messages, 2);
	pci_msix_raise(&toy->fn, 3);         /* there is no such vector */
	pci_msix_raise(&toy->fn, 4000);
	fixture_state_round_trip(&toy->fn.dev);
	pci_msix_raise(&toy->fn, 0);
	assert_int_equal(fx.messages, 3);
	fixture_free(m);
}

static void pam_and_reset_control(void **unused)
{
	struct machine *m = board();
	pci_host_shadow_all(m);
	mmio_out(0xf0000, 0x12345678);
	assert_int_equal(mmio_in(0xf0000), 0x12345678);
	set_config(0, 0x90, 0x10);           /* 0xf0000: read RAM, drop writes */
	mmio_out(0xf0000, 1);
	assert_int_equal(mmio_in(0xf0000), 0x12345678);
	outb(0xcf9, 0x02);
	assert_int_equal(fx.resets, 0);
	outb(0xcf9, 0x06);
	assert_int_equal(fx.resets, 1);
	fixture_state_round_trip(m->devices->next->next);
	fixture_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_access),
		cmocka_unit_test(bars_move),
		cmocka_unit_test(assigned_without_firmware),
		cmocka_unit_test(wires_are_shared),
		cmocka_unit_test(msix_masks),
		cmocka_unit_test(pam_and_reset_control),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
