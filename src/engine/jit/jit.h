/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the translator: how its files fit together (docs/jit.md has the why).
 *
 *   emit.c      the assembler            cache.c   code memory, two views
 *   stubs.c     entry, exit, slow paths  block.c   finding, linking, dropping blocks
 *   translate.c building a block         live.c    which flags are still needed
 *   access.c    the inline TLB           group.c   checks shared by several accesses
 *   copy.c      re-encoding an instruction
 *   t_*.c       templates by group       run.c     the engine's verbs, run loop
 *   slow.c      what translations call   jump.c    jump caches
 *   memo.c      pages found before       tier.c    second translations
 *   options.c   --engine jit,...         slots.c   R10 and R11 in S0 and S1
 *   returns.c   calls and returns of the host's own
 *
 * In translated code GS holds the struct vcpu; guest registers are in the host
 * registers of the same name but R10 and R11, which live in cpu.gpr[] and whose
 * host registers (S0, S1) are scratch.  Status flags are in EFLAGS, or in
 * HOT_FLAGS in the form LAHF/SETO leave in AX.
 *
 * Locks: vm->lock guards blocks, links and the code cache; blocks are found, and
 * jump caches (each of its vCPU's own) filled, without it. A vCPU that waits for it counts as stopped (smp.c).
 */
#ifndef ENGINE_JIT_JIT_H
#define ENGINE_JIT_JIT_H

#include "base/log.h"
#include "base/trace.h"
#include "engine/engine.h"
#include "engine/interp/interp.h"
#include "engine/jit/emit.h"
#include "machine/machine.h"

enum { S0 = R10, S1 = R11 };

/* Words of vcpu->hot. */
enum hot_word {
	HOT_SELF,        /* struct vcpu * */
	HOT_HOST_RSP,    /* the host's stack while in translated code */
	HOT_RESUME,      /* where the reload stub continues */
	HOT_FLAGS,       /* AH: SF ZF AF PF CF as LAHF, AL: OF */
	HOT_RIPBASE,     /* guest RIP - offset in the physical page, of the running block */
	HOT_TLB,         /* copy of mmu->data */
	HOT_TLB_STORES,  /* the entries for stores there: the form that reaches them is shorter */
	HOT_JC,          /* struct jump_entry[JC_SIZE] in use, or the empty one */
	HOT_JC_KERNEL,   /* the same for KEY_KERNEL code: a change of privilege stores nothing */
	HOT_GO,          /* zero: look up from your work */
	HOT_EPOCH,       /* of the jump cache that HOT_JC points to: guarded links hold; 0: none does */
	HOT_VEC,         /* guest vectors and MXCSR are in the host's registers */
	HOT_TMP, HOT_TMP2,
	HOT_CALLS,       /* struct returns: where calls are entered (returns.c), */
	HOT_RETURNS,     /* and where returns look: there, or at the empty one */
	HOT_MXCSR,       /* the host's MXCSR */
	HOT_GROUP,       /* GROUP_SLOTS words: host bases of access groups (group.c) */
	GROUP_SLOTS = 12,
	HOT_WORDS = HOT_GROUP + GROUP_SLOTS
};
_Static_assert(HOT_WORDS <= 32, "room in struct vcpu");
#define OFF_HOT(n) ((int32_t)(offsetof(struct vcpu, hot) + 8 * (n)))
#define OFF_CPU(field) ((int32_t)offsetof(struct vcpu, cpu.field))
#define OFF_GPR(n) ((int32_t)(offsetof(struct vcpu, cpu.gpr) + 8 * (n)))

/* What a translation depends on besides its bytes. */
enum block_key {
	KEY_SIZE = 3,        /* code size: 1 = 16, 2 = 32, 3 = 64 bit */
	KEY_REAL = 4,        /* real or virtual-8086 mode */
	KEY_FLAT = 8,        /* 32-bit: CS DS ES SS are flat, 32-bit stack */
	KEY_FS = 16, KEY_GS = 32,  /* 32-bit: usable with a base and no limit */
	KEY_SSE = 64, KEY_AVX = 128, /* vector instructions run (no #NM, #UD, unmasked exceptions) */
	KEY_AC = 256,        /* alignment checks are on */
	KEY_ALONE = 512,     /* every access is checked by itself (group.c) */
	KEY_KERNEL = 1024,   /* 64-bit code at CPL 0 */
	KEY_SMAP = 2048,     /* ... where CR4.SMAP is set */
	KEY_USER = 4096,     /* 64-bit code at CPL 3 */
};

/* The word that holds the jump cache of code with this key. */
static inline enum hot_word jc_word(uint32_t key) { return key & KEY_KERNEL ? HOT_JC_KERNEL : HOT_JC; }

struct jit_exit;
struct verify;

#define PAGE_NONE UINT64_MAX
#define FRAME_NONE UINT32_MAX   /* RAM ends below 16 TiB */
/* Kernel code in the lowest or highest 2 GiB, and user code in the lowest, is translated for
 * the one address it runs at, all other code for wherever its page may be mapped. */
#define BASE_ANY UINT64_C(1)
/* Code near the end of a page that runs over it is translated in the context of
 * both pages: offsets in [WINDOW_LO, WINDOW_HI) can then be linked directly. */
enum { WINDOW_LO = 4096 - 512, WINDOW_HI = 4096 + 512, OVERRUN_FROM = 4096 - 256, INSN_MAX = 15 };
enum { BLOCK_MAX = 72 };         /* instructions of a block */

/* Where code is read from while it is translated. */
struct code {
	uint64_t page, page2, base;   /* as in struct jit_block */
	const uint8_t *bytes;         /* at offset lo */
	unsigned lo, hi;              /* offsets of first bytes of instructions */
	unsigned end;                 /* of the bytes there are */
};

/* A large program has some 100,000 blocks and twice as many exits and records, so
 * these are packed: blocks and exits are known by their index in vm->blocks[] and
 * vm->exits[] (0: none), places in the code cache by their offset. */
struct __attribute__((aligned(64))) jit_block {   /* a line of the cache: finding one costs that */
	uint32_t hash_next, page_next[2];
	uint32_t frame, frame2;       /* RAM address >> 12; frame2: FRAME_NONE, or it runs over there */
	int32_t base;                 /* guest RIP of the first page, sign-extended, or BASE_ANY */
	uint32_t jump;                /* its entries: S0 = RIP, flags in HOT_FLAGS; */
	uint32_t cold;                /* where its out-of-line code begins */
	uint32_t incoming;            /* linked exits that jump here */
	uint32_t exits;               /* its own, nexits of them */
	uint32_t profile;             /* watched: where its first access's count is, + 1 (tier.c) */
	uint16_t key;
	uint16_t off;                 /* of its first byte from `frame`, as all offsets */
	uint16_t lo, hi;              /* bytes it depends on (looked-ahead ones too) */
	uint16_t code;                /* HOT_RIPBASE is right, flags in EFLAGS; from `jump` */
	uint8_t slot;                 /* HOT_RIPBASE is right, flags in HOT_FLAGS; from `jump` */
	uint8_t nexits;
	uint8_t count;                /* instructions */
	uint8_t nsites;               /* accesses it counts (tier.c), */
	uint8_t turns;                /* ... each of them once in each of these */
	bool watched : 1;             /* they are counted; else only its runs */
	bool dead : 1, needs_flags : 1;
};
_Static_assert(sizeof(struct jit_block) == 64, "packed");
/* Before its first byte is an entry for host CALLs, of so many bytes: S0 = RSP, S1 = RIP, flags in HOT_FLAGS. */
enum { CALL_ENTRY = 6 };
enum { RETIRED = 5 };            /* bytes of its code that change when it is dropped */

/* A direct jump that may be linked to its target: inside a page for good, out of
 * the page (far: between blocks made for their address) while mappings stand; from user
 * code (guarded) for the one epoch that is in the code before it. */
struct jit_exit {
	uint32_t block;
	int32_t target;               /* offset; far: RIP, sign-extended */
	uint32_t to;                  /* block it is linked to */
	uint32_t next;                /* of those that are */
	uint32_t patch;               /* its rel32 */
	uint16_t stub;                /* where it goes unlinked; from the block's `cold` */
	uint8_t lookup;               /* far: where it goes if it cannot be linked; from `stub` */
	bool far : 1, listed : 1;     /* listed: in vm->far */
	bool flags_native : 1;        /* far: flags are in EFLAGS, or in HOT_FLAGS */
	bool alone : 1;               /* to a block with KEY_ALONE */
	bool guarded : 1;
	bool call : 1;                /* by a host CALL, to the entry for these */
	bool landing : 1;             /* behind a host CALL: S0 is the RIP, flags are in HOT_FLAGS */
};
_Static_assert(sizeof(struct jit_exit) == 24, "packed");

/* An instruction that translated code may hand to the interpreter. Known by its
 * first word in vm->recs[]. */
struct jit_rec {
	uint32_t block : 20, len : 4;
	uint16_t off;
	int16_t undo_rsp;             /* a branch: what it did to RSP, taken back */
	uint8_t bytes[];
};

/* What running it takes, so that neither the record nor its block is looked at. */
struct decoded_rec { uint32_t rec; int32_t base; uint16_t off; struct x86_insn insn; };

/* Jump cache: RIP to code, by a product of the low 32 bits; what has lost its slot
 * may be in the other one of the pair. */
struct jump_entry { uint64_t rip; const uint8_t *code; };
enum { JC_SIZE = 16384, JC_COUNT = 10, JC_LOG = 1024, JC_SHIFT = 14, JC_MASK = (JC_SIZE - 1) << 4,
       JC_FACTOR = 0x1e35a7bd };
static inline unsigned jump_slot(uint64_t rip) { return ((uint32_t)rip * JC_FACTOR >> JC_SHIFT & JC_MASK) >> 4; }
struct jump_cache {
	struct jump_entry e[JC_SIZE];        /* first: pairs lie in 32 aligned bytes */
	const void *tag;              /* user: the mmu->code table it goes with; kernel: the MMU; NULL: free */
	uint32_t key;                 /* mode key */
	uint32_t epoch;               /* another each time that it is cleared (EPOCH_STEP) */
	uint64_t cs_base;
	uint64_t used;
	uint64_t version;             /* soft_mmu.code_version it was filled under */
	uint64_t space_version;       /* tlb_space.code_version, if nonglobal */
	const struct tlb_space *space;
	bool nonglobal;               /* some entries come from non-global pages */
	uint64_t lost[JC_SIZE / 2 / 64];     /* pairs that had to give up an entry */
	unsigned logged;
	uint16_t log[JC_LOG];
};

/* Behind the jump caches: what they had to give up to others. One table for them all;
 * an entry holds while its jump cache has not been cleared. */
struct past_jump {
	uint64_t rip;
	uint32_t epoch;               /* of its jump cache; 0: nothing */
	uint32_t code;                /* as an offset */
};
enum { PAST_BITS = 16 };
/* Epochs of a vCPU leave the same rest, its index; the lowest are none, and NO_EPOCH is never in HOT_EPOCH. */
enum { EPOCH_STEP = MACHINE_MAX_VCPUS, NO_EPOCH = 1 };

/* A translation asked for: which of a block's accesses get memos (tier.c). */
struct better {
	bool wanted, watch;           /* watch: first find out which */
	uint64_t page, page2;
	uint32_t key;
	unsigned off;
	uint64_t good;
};
enum { TIER_SITES = 64, MEMOS = 32768 };

struct jit_vcpu {
	struct better better;
	struct jump_cache *jc;        /* in use */
	struct jump_cache *jcs[JC_COUNT];
	struct jump_cache *recent[2]; /* in use, by privilege */
	struct past_jump *past;       /* 1 << PAST_BITS */
	uint32_t epoch;               /* the last one handed out */
	uint64_t returns_flushes;     /* soft_mmu.flushes, and */
	uint32_t returns_key;         /* the key that the calls entered were made under */
	uint64_t far_version;         /* soft_mmu.far_version that the far links have answered to */
	uint64_t clock;
	struct jump_entry *empty;     /* JC_SIZE entries that never match */
	uint32_t key;                 /* of the state when jc was chosen */
	uint64_t generation;          /* vm->generation seen: decoded[] */
	struct decoded_rec decoded[1024];
	struct x86_insn insns[BLOCK_MAX];   /* of the block being built */
	bool one_block;               /* leave translated code after the block that runs (verify.c) */
	_Atomic bool stopped;         /* not in translated code nor in the MMU */
	uint64_t stats[64];
	uint64_t slow_ops[OP_COUNT];  /* run by the interpreter, by op */
};

enum jit_stub { STUB_ENTER, STUB_LEAVE, STUB_SLOW, STUB_END, STUB_EXIT, STUB_POLL, STUB_LOOKUP, STUB_LEAF, STUB_DEAD, STUB_JUMP, STUB_LINKED, STUB_SLOT,
		STUB_FAR, STUB_FAR_POLL, STUB_FAR_LOOKUP, STUB_LOAD_VEC, STUB_TIER, STUB_REVIEW, STUB_MEMO_READ,
		STUB_MEMO_WRITE, STUB_LOOKUP_OTHER, STUB_LOOKUP_OTHER_KERNEL, STUB_SEARCH, STUB_SEARCH_KERNEL,
		STUB_SEARCH_NATIVE, STUB_SEARCH_NATIVE_KERNEL, STUB_GUARDED, STUB_RELINK, STUB_LANDED,
		STUB_CALLED, STUB_RETURN, STUB_RETURN_NATIVE, STUB_COUNT };

enum { EXIT_MAX = 1 << 20, BLOCKS_MAX = 1 << 19, HASH_BITS = 18, PAGE_HASH_BITS = 13,
       REC_WORDS = 1 << 22, REC_WORDS_MOST = 6 };

struct jit_page {
	struct jit_page *next;
	uint32_t frame;
	uint32_t blocks;
	uint64_t bytes[64];           /* one bit a byte: part of some block */
	unsigned missed;              /* stores beside the blocks since the page was cleared */
	unsigned cleared;             /* times that its blocks were dropped for that */
};

/* An instruction that was met while looking ahead (live.c). */
enum seen_flow { SEEN_ON, SEEN_JMP, SEEN_JCC, SEEN_END };
struct seen {
	uint8_t bytes[16];
	uint32_t where;               /* low half of its RAM address */
	int32_t jump;                 /* how far a branch goes from its end */
	uint16_t reads, writes;       /* flags */
	uint8_t mode, flow, len;      /* mode: of the code, by its key; 0: none */
};
_Static_assert(sizeof(struct seen) == 32, "packed");
enum { SEEN = 512 };

/* A piece of the code cache that is being filled: from `at` to `end`. */
struct code_part { size_t at, end; };

/* The cache and its tables are filled segment by segment, and when all are full, the
 * one that was filled first is emptied and filled again: what is in it goes together. */
enum { SEGMENTS = 8 };
struct code_segment {
	uint32_t blocks;              /* behind the last of its blocks */
	uint32_t memos;               /* handed out before it was begun */
	size_t bytes;                 /* of code, in one that is full */
};

struct jit_vm {
	struct machine *machine;
	pthread_mutex_t lock;
	uint8_t *rw;
	const uint8_t *rx;
	size_t size, start;           /* bytes; start: after the stubs */
	struct code_segment segments[SEGMENTS];
	unsigned nsegments, segment;  /* the one that is being filled, and in it: */
	size_t used, limit;           /* the parts have what is below this, and from there on */
	struct code_part hot, cold;   /* what blocks run through; what they leave it for */
	const uint8_t *stub[STUB_COUNT];
	const uint8_t *load_vec_retry, *load_vec_review;
	uint32_t hash[1 << HASH_BITS];
	struct jit_page *page_hash[1 << PAGE_HASH_BITS];
	struct jit_block *blocks;     /* the first of these and */
	struct jit_exit *exits;       /* ... of these is never used: index 0 is none */
	uint32_t *recs;
	uint32_t *far;                /* exits that are linked out of their page, or gave up */
	uint32_t nblocks, nexits, rec_words;             /* the next of each */
	uint32_t blocks_end, exits_end, recs_end;        /* the segment's last, + 1 */
	uint32_t nmemos, memos_freed; /* handed out ever, of MEMOS sites in turn; given back */
	uint32_t nfar, nprofiles;
	uint64_t far_filter[FAR_FILTER / 64];  /* regions that far links go to */
	struct memo_site *sites;      /* MEMOS */
	struct seen seen[SEEN];
	uint64_t generation;          /* counts evictions */
	_Atomic uint64_t drops;       /* counts dropped blocks */
	bool avx;                     /* AVX state is kept in the host's registers too */
	bool lines;                   /* the host is slow where branches lie across lines (emit.h) */
	bool bmi2;                    /* the host has RORX and its like */
	unsigned guards;              /* of an exit: vCPUs that can use its link at once, 1 or 2 */
	bool pairs;                   /* the host's CALL and RET are used (returns.c) */
	bool eager;                   /* no counting: memos for all (tests) */
	unsigned hot_runs;            /* of a block, until it is made better; at most HOT_RUNS */
	bool verifies;                /* asked for: each vCPU makes `verify` */
	struct verify *verify;        /* NULL: not in verify mode */
	struct vcpu *owner;           /* who holds the lock, if a vCPU */
};

static inline struct jit_vm *jit_vm(struct vcpu *v) { return v->machine->engine_data; }
static inline struct jit_vcpu *jit_of(struct vcpu *v) { return v->engine_data; }

static inline uint32_t block_index(const struct jit_vm *vm, const struct jit_block *b)
{
	return (uint32_t)(b - vm->blocks);
}
static inline uint64_t block_page(const struct jit_block *b) { return (uint64_t)b->frame << 12; }
static inline uint64_t block_page2(const struct jit_block *b)
{
	return b->frame2 == FRAME_NONE ? PAGE_NONE : (uint64_t)b->frame2 << 12;
}
static inline uint64_t block_base(const struct jit_block *b) { return (uint64_t)(int64_t)b->base; }
static inline const uint8_t *block_jump(const struct jit_vm *vm, const struct jit_block *b)
{
	return vm->rx + b->jump;
}
static inline struct jit_rec *rec_at(const struct jit_vm *vm, uint32_t rec)
{
	return (struct jit_rec *)&vm->recs[rec];
}

/* How often a block runs before it counts as hot, if not asked otherwise: a count is 16 bits,
 * of which the highest tells. */
enum { HOT_RUNS = 1 << 15 };
/* options.c: sets vm->size and what was asked for; text: the words, or NULL */
enum { CACHE_LEAST = MiB, CACHE_SIZE = 64 * MiB, CACHE_MOST = GiB };
bool jit_options(struct jit_vm *vm, const char *text, struct error *err);
bool jit_options_ok(const char *text, struct error *err);

/* cache.c */
bool code_create(struct jit_vm *vm, size_t size, struct error *err);
void code_destroy(struct jit_vm *vm);
/* The parts of a segment, and where the next block, exit and record go. */
void code_begin(struct jit_vm *vm, unsigned segment);
/* Begins the next segment, which is empty. */
void code_next(struct jit_vm *vm);
/* The first of a segment's blocks, exits, and bytes. */
uint32_t segment_blocks(const struct jit_vm *vm, unsigned segment);
uint32_t segment_exits(const struct jit_vm *vm, unsigned segment);
size_t segment_at(const struct jit_vm *vm, unsigned segment);
/* Room for a block in both parts? False: the segment is full. */
enum { PART_ROOM = 32 * 1024 };         /* more than any block takes in either */
bool code_room(struct jit_vm *vm);
/* Bytes that hold something. */
size_t code_used(const struct jit_vm *vm);

/* stubs.c */
bool stubs_emit(struct jit_vm *vm, struct error *err);

/* block.c: without the lock, while v does not count as stopped: */
/* Is there a block that runs over from this page to another at `off`? */
bool block_overruns(struct jit_vm *vm, uint64_t page, unsigned off, uint32_t key);
/* Soon to be looked for. */
void block_prefetch(const struct jit_vm *vm, uint64_t gpa, uint32_t key);
/* Another vCPU may drop it meanwhile: then its entry says so. */
struct jit_block *block_find(struct jit_vm *vm, const struct code *c, unsigned off, uint32_t key);
/* requires: vm->lock */
/* False: surely none begins there; cheaper to find out. */
bool block_may_be(const struct jit_vm *vm, uint64_t page, unsigned off);
void block_add(struct jit_vm *vm, struct jit_block *b);
void block_drop(struct jit_vm *vm, struct jit_block *b);
void block_link(struct jit_vm *vm, uint32_t exit, struct jit_block *to);
/* A far exit goes to its target directly; to NULL: looks it up each time. */
void block_link_far(struct jit_vm *vm, uint32_t exit, struct jit_block *to);
void blocks_unlink_far(struct jit_vm *vm);
/* Is a guarded exit linked for what other vCPUs run now? */
bool block_guard_taken(struct vcpu *v, uint32_t exit);
/* A guarded exit goes there while HOT_EPOCH is `epoch`; not, if another vCPU may be about to
 * go elsewhere by it. */
void block_link_guarded(struct jit_vm *vm, uint32_t exit, struct jit_block *to, uint32_t epoch);
/* No guarded exit is linked any more. */
void blocks_unlink_guarded(struct jit_vm *vm);
void blocks_drop(struct vcpu *v, struct jit_vm *vm, uint64_t gpa, size_t len);
/* Makes room: drops the blocks of the oldest segment. All other vCPUs stand still. */
void blocks_evict(struct vcpu *v, struct jit_vm *vm);
void blocks_free(struct jit_vm *vm);

/* jump.c */
uint32_t mode_key(struct vcpu *v);
void jump_select(struct vcpu *v);                /* hot words for the current mode */
const uint8_t *jump_get(struct vcpu *v, uint64_t rip);
void jump_prefetch(struct vcpu *v, uint64_t rip);                /* soon to be asked for */
void jump_put(struct vcpu *v, uint64_t rip, uint64_t lin, const uint8_t *code);
/* Forgets what leads to code in [low, end). */
void jump_evict(struct vcpu *v, const uint8_t *low, const uint8_t *end);
void jump_forget(struct vcpu *v, uint64_t rip);
bool jump_create(struct vcpu *v, struct error *err);
void jump_destroy(struct vcpu *v);

/* returns.c: may the host's CALL and RET be used for the guest's? */
bool returns_allowed(void);
void returns_create(struct vcpu *v);
void returns_reset(struct vcpu *v);              /* none finds its call any more */
void returns_select(struct vcpu *v);             /* for user code in the current mode */
void returns_kick(struct vcpu *v);               /* none does until they are selected again */
/* All of a return. S0: RIP, S1: record; native: flags are in EFLAGS. */
void return_stub(struct emit *e, const struct jit_vm *vm, bool native);

/* translate.c: NULL if the segment is full. requires: vm->lock */
struct jit_block *translate(struct vcpu *v, const struct code *code, unsigned off, uint32_t key);
/* Does the block at `off` of a page run over the page's end? */
bool code_overruns(const struct vcpu *v, const struct code *code, unsigned off, uint32_t key);

/* To where the first of the pair for S0 in the jump cache leads, flags being in
 * HOT_FLAGS; returns a jump for when it is another's. */
uint8_t *emit_lookup(struct emit *e, enum hot_word jc);

/* S1 := the first entry of the pair for S0. */
void emit_jump_slot(struct emit *e, enum hot_word jc);
/* stubs.c: flags from EFLAGS to HOT_FLAGS, and back: at least those of `live`. Use S1, but
 * to save no other than CF. */
void emit_save_flags(struct emit *e, unsigned live);
void emit_restore_flags(struct emit *e, unsigned live);

/* slow.c: called by stubs; each returns the code to go on with */
const uint8_t *slow_insn(struct vcpu *v, uint64_t rec, const uint8_t *resume);
const uint8_t *slow_end(struct vcpu *v, uint64_t rec, const uint8_t *unused);
const uint8_t *slow_exit(struct vcpu *v, uint64_t exit, const uint8_t *unused);
const uint8_t *slow_poll(struct vcpu *v, uint64_t exit, const uint8_t *unused);
const uint8_t *slow_lookup(struct vcpu *v, uint64_t rip, const uint8_t *rec);
const uint8_t *slow_leaf(struct vcpu *v, uint64_t fn, const uint8_t *resume);
const uint8_t *slow_far(struct vcpu *v, uint64_t exit, const uint8_t *unused);
const uint8_t *slow_guarded(struct vcpu *v, uint64_t rip, const uint8_t *exit);
const uint8_t *slow_landed(struct vcpu *v, uint64_t rip, const uint8_t *exit);
const uint8_t *slow_dead(struct vcpu *v, uint64_t rip, const uint8_t *unused);
const uint8_t *slow_load_vec(struct vcpu *v, uint64_t unused, const uint8_t *resume);
/* tier.c */
void tier_forget(struct vcpu *v, uint32_t first, uint32_t end);
const uint8_t *slow_tier(struct vcpu *v, uint64_t index, const uint8_t *unused);
const uint8_t *slow_review(struct vcpu *v, uint64_t index, const uint8_t *resume);
const uint8_t *slow_next(struct vcpu *v);        /* code for cpu.rip, or STUB_LEAVE */

/* smp.c */
void jit_lock(struct vcpu *v);
bool jit_trylock(struct vcpu *v);
void jit_unlock(struct vcpu *v);
void jit_resume(struct vcpu *v);                 /* stopped no more */
/* requires: vm->lock; until it is released. v: the caller's own, or NULL */
void jit_stop_others(struct jit_vm *vm, struct vcpu *v);

/* stats.c */
enum jit_stat {
#define STAT(name) STAT_##name,
#include "engine/jit/stats.def"
#undef STAT
	STAT_COUNT
};
_Static_assert(STAT_COUNT <= 64, "room in struct jit_vcpu");
#define stat_inc(v, name) (jit_of(v)->stats[STAT_##name]++)
void jit_stats(struct machine *m, void (*put)(void *, const char *, uint64_t), void *opaque);

#endif
