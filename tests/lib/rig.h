/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A processor on a bench: one vCPU of an engine with RAM and nothing else, in
 * 64-bit mode with the first GiB mapped one to one (2 MiB pages, user).  Tests
 * put code and page tables where they like.
 */
#ifndef TESTS_LIB_RIG_H
#define TESTS_LIB_RIG_H

#include "engine/interp/interp.h"
#include "machine/machine.h"

#define RIG_TABLES 0x1000ull      /* PML4, PDPT, PD: where rig_long_mode puts them */

struct rig {
	struct machine m;
	struct vcpu *v;
	struct vcpu *list[1];
	struct ram_slot *ram;
};

/* What m.config points to; NULL: nothing (engine options come by it). */
extern const struct machine_config *rig_config;
/* RAM from 0 on. Exits with a message if the host refuses. */
void rig_create(struct rig *r, const struct engine_ops *engine, const char *model, uint64_t ram);
void rig_destroy(struct rig *r);
/* CPL 0, flat segments, paging on, interrupts off. */
void rig_long_mode(struct rig *r);
void rig_protected_mode(struct rig *r);     /* 32-bit flat, paging off */
void *rig_ram(struct rig *r, uint64_t gpa);
void rig_code(struct rig *r, uint64_t gpa, const void *code, unsigned n);
/* Run from rip until an exit. */
enum vcpu_exit rig_run(struct rig *r, uint64_t rip);

#endif
