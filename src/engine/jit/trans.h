/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A block being translated.  Templates are bool functions: true, the
 * instruction has been written; false, nothing has, and the interpreter gets it.
 */
#ifndef ENGINE_JIT_TRANS_H
#define ENGINE_JIT_TRANS_H

#include "engine/jit/jit.h"

/* Where the guest's status flags are between two instructions. */
enum flags_at { FLAGS_DEAD, FLAGS_NATIVE, FLAGS_SLOT };

/* Out-of-line code that hands an instruction to the interpreter. */
struct slow_path {
	uint8_t *from;                /* a jump to here */
	uint32_t rec;
	const uint8_t *resume;        /* NULL: never comes back (ends the block) */
	unsigned restore_flags;       /* state at `resume`: those in EFLAGS */
	bool load_vec;
	int s0, s1;                   /* s0_group, s1_group then */
	struct memo_site *memo;       /* this comes here, or NULL */
};

/* Out-of-line end of an unlinked exit, of a loop that polls, or of a group check. */
struct exit_path {
	uint8_t *from;
	uint32_t exit;
	bool poll;
	bool alone;                   /* a failed group check: `from` jumps here for good */
	unsigned restore_flags;
	bool slot;                    /* poll: flags are in HOT_FLAGS */
	bool landing;                 /* where a host CALL returns to */
	bool call;                    /* a host CALL, */
	const uint8_t *landed;        /* and what is behind it */
	bool far, save_flags;         /* out of the page; flags are in EFLAGS */
	uint8_t *guarded;             /* the jump behind a guarded one, to here too; NULL: it is none */
	struct memo_site *memo;
};

/* A check by memo, and how to get its first byte into S0 again (memo.c). */
struct memo_use {
	uint8_t *from;
	uint32_t site, memo;
	bool write;
	int32_t part;                 /* into S1 first, 0: nothing */
	int32_t reload;               /* into S1 behind it, 0: nothing */
	uint8_t size;                 /* of the address */
	struct emem first;
};

/* What a check is for: loops that are unrolled count the same one of all turns together (tier.c). */
struct check_place {
	uint8_t insn;                 /* of one turn */
	bool write, has_memo;
	uint32_t memo;
};

/* Vectors are not resident. */
struct vec_path {
	uint8_t *from;
	const uint8_t *resume;
};

/* The taken side of a conditional branch out of the page, which is written behind the block. */
struct aside {
	uint8_t *from;
	int64_t target;
	unsigned cur;
	enum flags_at flags;
};

/* Where a look into the jump cache goes that did not find the first of the pair. */
struct lookup_tail {
	uint8_t *from;
	uint32_t rec;
	bool ret;                     /* of a return that did not find its call; RSP is in S1 */
};

/* Accesses that share one check; see group.c. */
struct group {
	uint8_t base, index, scale;   /* EREG_NONE: none; X86_RIP */
	uint8_t acc, align;
	uint16_t version[2];          /* of base and index */
	unsigned members;
	int lo, hi, aligned;          /* displacements: range, and one that is aligned */
	int slot;                     /* word of HOT_GROUP, -1: not worth it */
	int32_t memo;                 /* offset of the memo that holds the same, 0: none */
	int32_t base_moved;           /* when it was checked */
	bool checked;
	uint8_t *store;               /* of its host base, */
	bool loaded;                  /* which has been loaded again */
};
enum { GROUPS_MAX = 32, GROUP_RANGE = 512 };

/* What an instruction does with the status flags. */
struct flag_use { uint16_t reads, writes /* surely */, changes /* perhaps */; };

struct trans {
	struct emit e;
	struct vcpu *v;
	struct jit_vm *vm;
	struct jit_block *b;
	uint32_t key;
	unsigned size;                /* code size: 2, 4, 8 */
	const struct code *code;
	struct x86_insn *insns;
	unsigned n, cur;
	unsigned turn;                /* instructions of one, in a loop that is unrolled; 0: it is none */
	bool live_known;
	enum flags_at flags;
	bool vec;                     /* vectors are known to be resident */
	bool shadow;                  /* the next instruction is in the shadow of STI */
	bool slot_first;              /* entered with flags in HOT_FLAGS */
	bool ended;                   /* the last instruction left no way out below */
	unsigned nslow, nexits, nmemos, naside, nlookups, nvecs;
	struct better *better;        /* the second translation: who gets memos */
	bool counted;                 /* its runs are */
	uint32_t profile, site;       /* watched: where its accesses are counted, and the next */
	unsigned nsites;
	struct check_place *place;    /* of the current check */
	uint8_t *count;               /* the jump at its head */
	struct exit_path *poll;       /* whose jump at poll_from is open (emit_poll_end) */
	uint8_t *poll_from;
	int rsp_lag;                  /* what RSP has to be moved by yet (move_rsp) */
	int s0_group, s0_next;        /* whose host base is in S0, before and after this instruction */
	int s1_group, s1_next;        /* the same for S1; -1: none; or HELD() */
	bool s1_safe, s1_free;        /* this instruction has not used S1; its operand may */
	unsigned ngroups;
	bool turns[BLOCK_MAX];        /* a branch to the block's start, which follows here again (unroll) */
	/* Of each instruction; from here on nothing is cleared for a new block. */
	uint16_t off[BLOCK_MAX + 1];
	uint16_t live[BLOCK_MAX + 1]; /* flags needed before it */
	struct flag_use use[BLOCK_MAX];
	int8_t group_mem[BLOCK_MAX];  /* group of the memory operand, of the implicit stack access */
	int8_t group_stack[BLOCK_MAX];
	int16_t rsp[BLOCK_MAX + 1];   /* RSP relative to the block's start, as far as known */
	/* How far constants added to its registers have moved the memory operand, and of
	 * that, its base, since the group's registers were last set otherwise. */
	int32_t moved[BLOCK_MAX], base_moved[BLOCK_MAX];
	struct group groups[GROUPS_MAX];
	struct slow_path slow[BLOCK_MAX * 3];
	struct check_place places[TIER_SITES];
	struct exit_path exits[BLOCK_MAX * 3];
	struct memo_use memos[BLOCK_MAX];
	struct aside aside[BLOCK_MAX];
	struct vec_path vecs[BLOCK_MAX];
	struct lookup_tail lookups[BLOCK_MAX + 1];
};

static inline unsigned live_after(const struct trans *t) { return t->live[t->cur + 1]; }
/* Made for the address it runs at: RIP is a constant. */
static inline bool is_fixed(const struct trans *t) { return block_base(t->b) != BASE_ANY; }
static inline bool is_slot_reg(unsigned reg) { return reg == S0 || reg == S1; }

/* translate.c */
bool trans_has_template(const struct x86_insn *i);
uint32_t trans_rec(struct trans *t);                          /* of the current instruction */
struct slow_path *trans_slow(struct trans *t, uint8_t *from); /* resume is set by trans_resume */
/* Continue here after it; s may be NULL. */
void trans_resume(struct trans *t, struct slow_path *s);
bool trans_slot_first(const struct trans *t);   /* do blocks start with flags in HOT_FLAGS? */
/* `live`: those that will be needed. */
void flags_to_slot(struct trans *t, unsigned live);
void flags_to_native(struct trans *t, unsigned live);
/* EFLAGS may be lost now (an inline TLB check): what the current instruction and
 * those after it still need is put away. */
void flags_before_check(struct trans *t);
/* EFLAGS are the guest's again if the operation reads or keeps some. */
void flags_before_op(struct trans *t);
void flags_after_op(struct trans *t);

/* live.c */
void trans_liveness(struct trans *t);
/* As x86_decode(), of what is there. */
enum x86_decode_status trans_decode(const struct trans *t, int64_t off, struct x86_insn *i);
/* Flags needed at a page offset; looks ahead, and extends the block's range. */
unsigned live_at(struct trans *t, int64_t target);
/* Page offset (perhaps outside the page) that instruction k jumps to. */
int64_t jump_target(const struct trans *t, unsigned k);
/* The same of a conditional one: to where it leaves the straight line of the block. */
int64_t leave_target(const struct trans *t, unsigned k);

/* access.c: the TLB check of a memory operand. Loses EFLAGS. Afterwards *mem is
 * the operand in the host's memory; it uses S0, and S1 is free. Where the check
 * fails the interpreter runs the instruction (the slow path is returned; NULL:
 * a group's check covers it, EFLAGS may be intact). */
enum { ACC_READ = 1, ACC_WRITE = 2 };
bool access_ok(const struct trans *t, const struct x86_insn *i);
struct slow_path *access_check(struct trans *t, const struct x86_insn *i, unsigned acc, struct emem *mem);
/* The same for `size` bytes at guest base + disp (RSP or RBP, the stack segment). */
bool stack_ok(const struct trans *t);
/* The same for BT and its like, whose bit number in a register reaches beyond the operand. */
struct slow_path *bit_check(struct trans *t, const struct x86_insn *i, unsigned acc, struct emem *mem);
/* The same for one byte that need not be there: the jump returned, if any, is taken if it is not in the
 * TLB, or *mem is anywhere then. */
uint8_t *hint_check(struct trans *t, const struct x86_insn *i, struct emem *mem);
bool is_bit_string(const struct x86_insn *i);
/* The comparison alone: S0, S1 are the first and last byte; S0 becomes the addend.
 * The jump is taken on a miss. */
uint8_t *tlb_compare(struct trans *t, unsigned align, unsigned acc);
/* S0, an address, becomes that of its entry. Loses flags. */
void tlb_find(struct emit *e, bool write);
static inline size_t tlb_tag(bool write)
{
	return write ? offsetof(struct tlb_entry, write) : offsetof(struct tlb_entry, read);
}
struct slow_path *stack_check(struct trans *t, unsigned base, int disp, unsigned size, unsigned acc,
			      struct emem *mem);
/* group.c: find the groups of a block. */
void trans_groups(struct trans *t);
/* The operand, if a group covers it (-1: none); disp is relative to the base now. */
bool group_access(struct trans *t, int group, int disp, struct emem *mem);
bool group_live(const struct trans *t, int group);
/* Will a base be loaded from this memo again? */
bool group_by_memo(const struct trans *t, int32_t memo);
/* Where to load it from again, 0: it holds nothing. */
int32_t s1_source(struct trans *t);
/* C code has run: nothing that was checked holds any more. */
void groups_forget(struct trans *t);
bool groups_live(const struct trans *t);
/* The block ends. */
void groups_end(struct trans *t);
/* A jump out of the block for a failed group check; memo: it is a memo's, or NULL. */
void trans_alone(struct trans *t, uint8_t *from, struct memo_site *memo);
/* t_int.c: the stack pointer of a push, a pop or a return: now, or with the next of them. */
void move_rsp(struct trans *t, int by);
/* Now; loses EFLAGS where they are not the guest's. */
void add_to_rsp(struct trans *t, int by);
/* A guest register's value in a host register: itself, or `scratch` loaded from its slot. */
unsigned use_reg(struct trans *t, unsigned reg, unsigned scratch);
static inline struct emem slot_mem(unsigned reg) { return EGS(OFF_GPR(reg)); }

/* slots.c: what S0 and S1 hold is kept in s0_group and s1_group. */
#define HELD(reg) (-2 - ((int)(reg) - S0))
void slot_load(struct trans *t, unsigned reg, unsigned host);
void slot_store(struct trans *t, unsigned reg, unsigned host);
void slot_changed(struct trans *t, unsigned reg);                /* in memory only */
/* Any register; a slot is in the host register returned, `host` unless it is held. */
unsigned slot_use(struct trans *t, unsigned reg, unsigned host);
unsigned slot_held(const struct trans *t, unsigned reg);         /* EREG_NONE: in memory only */
unsigned slot_of_held(int held);
/* S1 has been used otherwise; is as it was behind this instruction. */
void lose_s1(struct trans *t);
void keep_s1(struct trans *t);
void keep_scratch(struct trans *t);                              /* both are */
void lose_scratch(struct trans *t);                              /* both have */

/* memo.c: S0 is the first byte and becomes the addend; the slow way is to be set. */
struct memo_use *memo_check(struct trans *t, unsigned size, unsigned align, unsigned acc);
bool memo_left(const struct trans *t);
void memo_renew(struct trans *t, const struct memo_use *u);

/* tier.c: around a block's translation, and for each check in it. */
bool tier_hot(const struct trans *t);          /* is it made because it runs often? */
void tier_begin(struct trans *t);
void tier_count(struct trans *t);
bool tier_memo(struct trans *t, unsigned acc); /* shall the next check be by memo? */
void tier_note(struct trans *t);
void tier_tail(struct trans *t);
void tier_end(struct trans *t);

/* copy.c: write the instruction again with other operands. */
struct recode {
	const struct emem *mem;       /* instead of its memory operand */
	unsigned from, to;            /* general register `from` is in `to` (EREG_NONE: none) */
	bool reg_is_vec, rm_is_vec;   /* the ModRM fields that name no general register */
};
void emit_insn(struct trans *t, const struct x86_insn *i, const struct recode *r);

/* returns.c: does the host call, too? */
bool trans_pairs(const struct trans *t);
void trans_before_call(struct trans *t);
/* Behind the store of the return address, which is in S1 if it is no constant. False: what is emitted
 * next is where the host's call goes; RSP is the guest's there. True: the call is complete. */
bool trans_host_call(struct trans *t);
/* S0 is the RIP to return to. */
void trans_return(struct trans *t, uint32_t rec);
void return_tail(struct trans *t, const struct lookup_tail *l);
void emit_call_entry(struct trans *t);
void emit_call_exit(struct trans *t, const struct exit_path *p);
/* Compares HOT_EPOCH with that of a link, which is none yet. */
void emit_guard(struct emit *e);
/* For another vCPU; jump: the one behind the first guard, in the writable view. */
void emit_second_guard(struct trans *t, const uint8_t *jump);

/* Templates. */
bool t_copy(struct trans *t, const struct x86_insn *i);
bool t_lea(struct trans *t, const struct x86_insn *i);
bool t_nop(struct trans *t, const struct x86_insn *i);
bool t_div(struct trans *t, const struct x86_insn *i);
bool t_push(struct trans *t, const struct x86_insn *i);
bool t_pop(struct trans *t, const struct x86_insn *i);
bool t_leave(struct trans *t, const struct x86_insn *i);
bool t_jmp(struct trans *t, const struct x86_insn *i);
bool t_jcc(struct trans *t, const struct x86_insn *i);
bool t_call(struct trans *t, const struct x86_insn *i);
bool t_ret(struct trans *t, const struct x86_insn *i);
bool t_jmp_ind(struct trans *t, const struct x86_insn *i);
bool t_call_ind(struct trans *t, const struct x86_insn *i);
bool t_vec(struct trans *t, const struct x86_insn *i);
bool t_bit(struct trans *t, const struct x86_insn *i);
bool t_fence(struct trans *t, const struct x86_insn *i);
bool t_rep(struct trans *t, const struct x86_insn *i);
bool t_cli(struct trans *t, const struct x86_insn *i);
bool t_sti(struct trans *t, const struct x86_insn *i);
void trans_end_shadow(struct trans *t);
bool t_swapgs(struct trans *t, const struct x86_insn *i);
bool t_pushf(struct trans *t, const struct x86_insn *i);
bool t_direction(struct trans *t, const struct x86_insn *i);
bool t_ac(struct trans *t, const struct x86_insn *i);
bool t_mov_from_sreg(struct trans *t, const struct x86_insn *i);
bool t_mov_from_cr(struct trans *t, const struct x86_insn *i);
bool t_read_base(struct trans *t, const struct x86_insn *i);
bool t_write_base(struct trans *t, const struct x86_insn *i);
bool t_rdtsc(struct trans *t, const struct x86_insn *i);

/* Leave the block for the instruction at a page offset (may be outside the page). */
void trans_goto(struct trans *t, int64_t target);
void trans_goto_if(struct trans *t, unsigned cc, int64_t target);
/* Would that look for code at an address that is not known yet? */
bool trans_leaves_page(const struct trans *t, int64_t target);
/* From here on S1 is as it was when trans_lookup() begins. */
void trans_before_lookup(struct trans *t);
/* S0 is the RIP to go to. `rec`: the branch. */
void trans_lookup(struct trans *t, uint32_t rec);
/* Leaving the block: exits, and the direct branches of which they are the ends. */
struct exit_path *new_exit(struct trans *t, int64_t target);
struct exit_path *far_exit(struct trans *t, int64_t target);
void set_patch(struct trans *t, const struct exit_path *p);      /* p->from is what linking changes */
struct exit_path *emit_poll(struct trans *t, int64_t target, unsigned live);
bool in_reach(const struct trans *t, int64_t target);
bool is_far(const struct trans *t, int64_t target);
void goto_far(struct trans *t, int64_t target);
/* RIP of a page offset into a register. */
void trans_rip(struct trans *t, unsigned reg, int64_t off);

#endif
