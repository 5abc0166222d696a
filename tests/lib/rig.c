/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vCPU without a board: its interrupt controller is silent. */
#include "lib/rig.h"

#include <stdio.h>

#include "base/epoch.h"
#include "device/board.h"
#include "engine/lapic.h"

#define WEAK __attribute__((weak))
WEAK bool board_create(struct machine *m, struct error *err) { return false; }
WEAK bool board_boot(struct machine *m, struct error *err) { return false; }
WEAK void board_power_button(struct machine *m) { }

const struct machine_config *rig_config;

static void must(bool ok, const struct error *err)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", err->text);
	exit(1);
}

void rig_create(struct rig *r, const struct engine_ops *engine, const char *model, uint64_t ram)
{
	struct error err = { 0 };
	memset(r, 0, sizeof(*r));
	r->m.model = x86_model_find(model, &err);
	must(r->m.model, &err);
	r->m.memory = memory_new(BIT(40) - 1);
	r->m.ports = memory_new(0xffff);
	r->m.engine = engine;
	r->m.config = rig_config;
	r->m.vcpus = r->list;
	r->m.nvcpus = 1;
	pthread_mutex_init(&r->m.board, NULL);
	r->m.loop = loop_new(&err);
	must(r->m.loop, &err);
	r->m.clock = clock_new(r->m.loop, &err);         /* stands still; no timer fires */
	must(r->m.clock, &err);
	r->ram = memory_add_ram(r->m.memory, "ram", 0, ram, 0, false, -1, 0, &err);
	must(r->ram, &err);
	must(engine->vm_create(&r->m, &err), &err);
	r->v = r->list[0] = vcpu_alloc(engine);
	r->v->machine = &r->m;
	r->v->model = r->m.model;
	r->v->memory = r->m.memory;
	r->v->ports = r->m.ports;
	clock_timer_init(&r->v->apic_timer, r->m.clock, NULL, r->v);
	x86_cpu_reset(&r->v->cpu, r->m.model, false);
	must(engine->vcpu_create(r->v, &err), &err);
	epoch_enter();
}

void rig_destroy(struct rig *r)
{
	epoch_leave();
	r->m.engine->vcpu_destroy(r->v);
	r->m.engine->vm_destroy(&r->m);
	memory_free(r->m.memory);
	memory_free(r->m.ports);
	clock_free(r->m.clock);
	loop_free(r->m.loop);
	vcpu_free(r->v);
}

void *rig_ram(struct rig *r, uint64_t gpa)
{
	return r->ram->host + gpa;
}

void rig_code(struct rig *r, uint64_t gpa, const void *code, unsigned n)
{
	memory_write(r->m.memory, gpa, code, n);
}

static void flat_segments(struct x86_cpu *c, uint32_t code_attr)
{
	for (unsigned s = ES; s <= GS; s++)
		c->seg[s] = (struct x86_seg){ .sel = 0x10, .limit = 0xffffffff,
					      .attr = 3 | SEG_S | SEG_P | SEG_DB | SEG_G };
	c->seg[CS] = (struct x86_seg){ .sel = 8, .limit = 0xffffffff,
				       .attr = 0xb | SEG_S | SEG_P | SEG_G | code_attr };
	c->cpl = 0;
	c->rflags = FL_1;
	c->activity = CPU_RUNNING;
	c->int_shadow = 0;
	c->event.pending = 0;
}

void rig_long_mode(struct rig *r)
{
	struct x86_cpu *c = &r->v->cpu;
	uint64_t *table = rig_ram(r, RIG_TABLES);
	table[0] = (RIG_TABLES + 0x1000) | 7;
	table[512] = (RIG_TABLES + 0x2000) | 7;
	for (unsigned i = 0; i < 512; i++)
		table[1024 + i] = (uint64_t)i << 21 | 0x87;
	mem_unpin_write(r->m.memory, RIG_TABLES, 0x3000);
	flat_segments(c, SEG_L);
	c->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_ET;
	c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	c->cr3 = RIG_TABLES;
	c->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
	r->m.engine->state_set(r->v);
}

void rig_protected_mode(struct rig *r)
{
	struct x86_cpu *c = &r->v->cpu;
	flat_segments(c, SEG_DB);
	c->cr0 = CR0_PE | CR0_NE | CR0_ET;
	c->cr4 = 0;
	c->efer = 0;
	r->m.engine->state_set(r->v);
}

enum vcpu_exit rig_run(struct rig *r, uint64_t rip)
{
	r->v->cpu.rip = rip;
	r->v->cpu.activity = CPU_RUNNING;
	enum vcpu_exit why = r->m.engine->run(r->v);
	r->m.engine->state_get(r->v);
	return why;
}
