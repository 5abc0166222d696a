/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host-CPU oracle: user-level instructions run on the host's processor and
 * in an engine, from the same state; every register, flag, x87/SSE/AVX state and
 * memory byte must come out the same.
 *
 *   form.c     every opcode x operand size x prefix x address form
 *   prepare.c  a case: bytes, registers that make its addresses good, memory
 *   guest.c    the smallest machine: long mode, CPL 3, two pages of data
 *   compare.c  what must be equal, and the table of what need not be
 *   shrink.c   a failing case made small, and printed
 *   record.c   progress and coverage of a campaign, in a file
 *   main.c     the campaign
 */
#ifndef TESTS_ORACLE_H
#define TESTS_ORACLE_H

#include "base/error.h"
#include "base/util.h"
#include "lib/native.h"
#include "x86/insn.h"
#include "x86/model.h"

/* Data: two pages, unmapped before and behind, in both worlds. */
#define DATA_BASE 0x10100000ull
/* Cases with segments: DS and ES from the LDT, so that 16-bit addresses reach the data. */
#define SEGMENT_BASE (DATA_BASE - 0x8000)
enum { SEGMENT_SELECTOR = 0x7 };
enum { DATA_SIZE = 0x2000, STACK_AT = 0x300, TARGET_AT = 0x900, CASE_STEPS = 8, CASE_CODE = 400 };

/* --- random numbers: a case is a function of (seed, index) */
struct rng { uint64_t state; };
static inline uint64_t rng_next(struct rng *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * 0x2545f4914f6cdd1dull;
}
static inline unsigned rng_below(struct rng *r, unsigned n) { return (rng_next(r) >> 33) % n; }

/* --- form.c */
enum address_form { ADDR_NONE, ADDR_REG, ADDR_B, ADDR_B8, ADDR_B32, ADDR_BI, ADDR_BI8, ADDR_I32,
		    ADDR_RIP, ADDR_67_B, ADDR_67_BI, ADDR_FS_B, ADDR_COUNT };
struct form {
	uint8_t mode;               /* 2, 4, 8: code size */
	uint8_t vex, map, opcode;
	uint8_t p66, rep;           /* rep: 0, 0xf2, 0xf3 */
	uint8_t w, l;
	uint8_t reg;                /* ModRM.reg, 8: any */
	uint8_t address;
	uint8_t lock;
	uint16_t op;
	uint32_t cases;             /* coverage */
};
/* All forms that this model has and native code may run. To be freed. */
struct form *forms_enumerate(const struct x86_model *model, unsigned *count);
/* Random bytes of a form, decoded; false: no luck (try again). */
bool form_encode(const struct form *f, const struct x86_model *model, struct rng *r,
		 uint8_t bytes[16], struct x86_insn *insn);

/* --- prepare.c */
struct step {
	struct x86_insn insn;
	unsigned at, fixes;         /* offset of the instruction; bytes of loads before it */
	struct form *form;
};
struct oracle_case {
	uint64_t seed, index;
	uint8_t mode;               /* 2, 4, 8: code size */
	bool segmented;             /* DS and ES have a base; always so in 16-bit code */
	struct step step[CASE_STEPS];
	unsigned steps;
	uint8_t code[CASE_CODE];
	unsigned n;
	struct native_state in;
	uint8_t data[DATA_SIZE];
	uint32_t undefined_flags;   /* after the last step */
	uint32_t undefined_once;    /* after any */
	bool lazy_flags;            /* the engine may leave out dead flags at a fault */
	const struct x86_model *model;
};
/* Build case `index`: its first instruction of this form, `steps` in all (others of any form). */
bool case_make(struct oracle_case *c, struct form *forms, unsigned count, struct form *first,
	       unsigned steps);

/* --- guest.c */
struct guest;
struct guest *guest_new(const char *engine, const struct x86_model *model, struct error *err);
uint8_t *guest_data(struct guest *g);
/* As native_run: signal is nonzero if it trapped; then trap, fault_address, rip. */
enum guest_mode { GUEST_64, GUEST_32, GUEST_32_SEGMENTED, GUEST_16, GUEST_MODES };
bool guest_run(struct guest *g, struct native_state *s, const uint8_t *code, unsigned n,
	       enum guest_mode mode, struct error *err);

/* --- compare.c */
/* Flags that the SDM leaves undefined after this instruction. */
uint32_t flags_undefined(const struct x86_insn *i, const struct native_state *in, unsigned steps);
struct outcome { struct native_state state; const uint8_t *data; };
/* MOVBE with both 66 and REX.W: hosts of the Cascade Lake kind move it byte by byte,
 * so that its alignment is not checked (against SDM 3A 6.15, #AC) and a fault leaves a part. */
bool movbe_in_parts(const struct x86_insn *i);
/* False: `text` says what differs first. */
bool outcomes_equal(const struct oracle_case *c, const struct outcome *host, const struct outcome *guest,
		    char *text, size_t n);
/* Bytes of a memory image that the host's environment decides (FNSTENV, FNSAVE). */
void mask_environment(const struct oracle_case *c, uint8_t *host, uint8_t *guest);

/* --- main.c: run a case in both worlds; true: equal */
bool case_run(struct oracle_case *c, char *text, size_t n);

/* --- record.c */
struct record {
	uint64_t magic, hash;       /* of the forms */
	char engine[8];
	uint64_t seed, begin;
	uint32_t steps, count;
	uint64_t next, failures, skipped, faults, ms;
	struct form forms[];
};
/* `want` has engine, seed, begin, next, steps.  Path NULL: in memory only. */
struct record *record_open(const char *path, const struct record *want, const struct form *forms,
			   unsigned count, struct error *err);
struct record *record_sum(char *const *paths, const struct form *forms, unsigned count, struct error *err);
/* To be called now and then: shows where it stands. */
void record_progress(struct record *r, uint64_t end);

/* --- shrink.c */
void case_shrink_and_print(struct oracle_case *c);
void forms_print_coverage(const struct form *forms, unsigned count, unsigned wanted);

#endif
