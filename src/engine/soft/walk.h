/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside soft/: from a linear address to a mapping. */
#ifndef ENGINE_SOFT_WALK_H
#define ENGINE_SOFT_WALK_H

#include "engine/soft/mmu.h"

enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_ID = 16 };
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80, PTE_G = 0x100 };
#define PTE_NX BIT(63)

/* What the page tables say of one page. */
struct mapping {
	uint64_t gpa;             /* of the byte asked for, A20 applied */
	uint8_t rights;           /* PTE_W, PTE_U: of all levels */
	bool nx, dirty, global;
	uint8_t shift;            /* 12, 21, 22, 30: size of the page */
};

/* Where a guest-physical address lives, through a small cache; NULL: no RAM. */
const struct mmu_ram *ram_find(struct vcpu *v, uint64_t gpa);

/* Walk; with `touch`, sets A and D bits (only if the access is allowed for the
 * leaf). Returns -1, or the error code of the page fault. */
int walk_page(struct vcpu *v, uint64_t lin, enum mmu_access acc, unsigned mode,
	      bool touch, struct mapping *m);
/* Is the access allowed by the mapping in this mode? (SDM 3A 4.6.1) */
bool mapping_allows(const struct vcpu *v, const struct mapping *m, enum mmu_access acc,
		    unsigned mode);

/* Enter a page of RAM into the TLB. */
void tlb_fill(struct vcpu *v, uint64_t lin, enum mmu_access acc, unsigned mode, const struct mapping *m,
	      const struct mmu_ram *ram, bool watched);

/* Does a debugger or DR7 watch data in this page? */
bool watch_page(const struct vcpu *v, uint64_t lin);
/* An access that passed: note hits (they stop after the instruction). */
void watch_access(struct vcpu *v, uint64_t lin, unsigned size, bool write);
#endif
