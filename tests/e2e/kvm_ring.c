/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dirty log of a real KVM (nested.py runs this in the computer with AMD-V): a vCPU stores to
 * pages of 4 MiB of RAM, more than a ring takes at once, and a harvest names them, and no others.
 */
#define FIXTURE_HAS_LAPICS
#include "board_fixture.h"

#include "engine/kvm/kvm.h"

enum { RAM = 4 * MiB, PAGES = RAM / PAGE_SIZE, CODE = 0x8000, PORT = 0x80 };
extern const uint8_t stores[], stores_end[];
/* From EBX to ECX, a byte a page; then a word to us. */
__asm__(".pushsection .rodata\n"
	"stores: .code16\n"
	"1:	movb $1, (%ebx)\n	add $0x1000, %ebx\n	cmp %ecx, %ebx\n	jb 1b\n"
	"	out %al, $0x80\n"
	"stores_end:\n"
	".popsection\n.code64\n");

static uint64_t port_read(void *opaque, uint64_t at, unsigned size) { return 0; }
static void port_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct vcpu *v = opaque;
	atomic_fetch_or(&v->requests, REQ_STOP);
}
static const struct io_ops port_ops = { port_read, port_write, 1, 4 };

static void store(struct vcpu *v, uint64_t first, uint64_t last)
{
	struct x86_cpu *c = &v->cpu;
	struct error err;
	x86_cpu_reset(c, v->model, false);
	c->seg[CS].sel = 0;
	c->seg[CS].base = 0;
	c->seg[DS].limit = 0xffffffff;
	c->seg[DS].attr |= SEG_G;
	c->rip = CODE;
	c->gpr[RBX] = first * PAGE_SIZE;
	c->gpr[RCX] = last * PAGE_SIZE;
	assert_true(kvm_state_set(v, &err));
	atomic_store(&v->requests, 0);
	if (kvm_run_vcpu(v) != EXIT_STOP)
		fail_msg("%s", v->error.text);
}

static void logged_are(struct machine *m, uint64_t first, uint64_t last)
{
	uint64_t bitmap[PAGES / 64];
	memory_dirty_harvest(m->memory, m->ram_low, DIRTY_DISPLAY, bitmap);
	for (uint64_t p = 0; p < PAGES; p++)
		if (p != CODE / PAGE_SIZE &&          /* fetched: KVM may map it for stores, and count that */
		    (bitmap[p / 64] >> (p % 64) & 1) != (p >= first && p < last))
			fail_msg("page %u is %slogged", (unsigned)p, p >= first && p < last ? "not " : "");
}

static void log_of_stores(bool rings)
{
	struct machine *m = fixture_new(RAM);
	struct vcpu *v = &fx.vcpu;
	struct error err = { 0 };
	fixture_controllers(m);
	fx.config.kvm_fd = -1;
	fx.config.viewer_fd = rings ? 0 : -1;
	v->memory = m->memory;
	v->ports = m->ports;
	v->model = m->model = x86_model_find("abyme-v2.1", NULL);
	clock_timer_init(&v->apic_timer, m->clock, NULL, v);
	lapic_reset(v, false);
	memory_add_io(m->ports, "port", PORT, 1, 0, &port_ops, v);
	memory_write(m->memory, CODE, stores, (size_t)(stores_end - stores));
	if (!engine_kvm.vm_create(m, &err) || !engine_kvm.vcpu_create(v, &err))
		fail_msg("%s", err.text);
	kvm_slots_update(m->engine_data);
	assert_int_equal(((struct kvm_vm *)m->engine_data)->ring_size, rings ? 16384 : 0);
	memory_dirty_start(m->memory, m->ram_low, DIRTY_DISPLAY);
	store(v, 16, PAGES);
	assert_true(kvm_of(v)->exits_other >= rings);         /* full once, at least */
	logged_are(m, 16, PAGES);
	store(v, 100, 110);
	logged_are(m, 100, 110);
	logged_are(m, 0, 0);
	memory_dirty_stop(m->memory, m->ram_low, DIRTY_DISPLAY);
	store(v, 16, PAGES);
	memory_dirty_start(m->memory, m->ram_low, DIRTY_DISPLAY);
	store(v, 300, 301);
	logged_are(m, 300, 301);
	engine_kvm.vcpu_destroy(v);
	engine_kvm.vm_destroy(m);
	fixture_free(m);
}

static void by_rings(void **unused) { log_of_stores(true); }
static void by_bitmaps(void **unused) { log_of_stores(false); }

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(by_rings), cmocka_unit_test(by_bitmaps) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
