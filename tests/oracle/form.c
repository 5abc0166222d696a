/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Enumerates instruction forms by asking the decoder (which Zydis has checked):
 * every map, opcode, prefix and W/L combination that decodes becomes a form for
 * each address form it can have.
 */
#include "oracle/oracle.h"

/* What cannot be compared with a native run.  Each with its reason. */
static const struct { uint16_t op; const char *reason; } never[] = {
	{ OP_INVALID, "not an instruction" },
	{ OP_CPUID, "differs by design" }, { OP_RDTSC, "time" }, { OP_RDTSCP, "time" },
	{ OP_RDPMC, "host counters" }, { OP_RDPID, "host's processor number" },
	{ OP_RDRAND, "random" }, { OP_RDSEED, "random" }, { OP_XGETBV, "host's XCR0" },
	{ OP_SYSCALL, "enters the host kernel" }, { OP_SYSENTER, "enters the host kernel" },
	{ OP_INT, "enters the host kernel" }, { OP_INT3, "ends a case" }, { OP_INT1, "host's debugger trap" },
	{ OP_IRET, "host's selectors" }, { OP_RET_FAR, "host's selectors" },
	{ OP_JMP_FAR, "host's selectors" }, { OP_CALL_FAR, "host's selectors" },
	{ OP_MOV_SREG_LOAD, "host's descriptors" }, { OP_POP_SREG, "host's descriptors" },
	{ OP_LDS, "host's descriptors" }, { OP_LES, "host's descriptors" }, { OP_LSS, "host's descriptors" },
	{ OP_LFS, "host's descriptors" }, { OP_LGS, "host's descriptors" },
	{ OP_LAR, "host's descriptors" }, { OP_LSL, "host's descriptors" },
	{ OP_VERR, "host's descriptors" }, { OP_VERW, "host's descriptors" },
	{ OP_SGDT, "UMIP" }, { OP_SIDT, "UMIP" }, { OP_SLDT, "UMIP" }, { OP_STR, "UMIP" }, { OP_SMSW, "UMIP" },
	{ OP_RDFSBASE, "host's thread pointer" }, { OP_RDGSBASE, "host's thread pointer" },
	{ OP_WRFSBASE, "host's thread pointer" }, { OP_WRGSBASE, "host's thread pointer" },
	{ OP_VMCALL, "host's hypervisor" }, { OP_MONITOR, "not in the models" }, { OP_MWAIT, "not in the models" },
	{ OP_FXSAVE, "tested in x87_test" }, { OP_FXRSTOR, "tested in x87_test" },
	{ OP_XSAVE, "host's XCR0" }, { OP_XSAVEOPT, "host's XCR0" }, { OP_XSAVEC, "host's XCR0" },
	{ OP_XRSTOR, "host's XCR0" }, { OP_XSAVES, "privileged" }, { OP_XRSTORS, "privileged" },
	{ OP_RSM, "SMM" },
};

static bool comparable(uint16_t op)
{
	for (unsigned n = 0; n < ARRAY_SIZE(never); n++)
		if (never[n].op == op)
			return false;
	return true;
}

/* --- encoding ---------------------------------------------------------------- */

static uint8_t *put_prefixes(const struct form *f, uint8_t *p)
{
	if (f->address == ADDR_67_B || f->address == ADDR_67_BI)
		*p++ = 0x67;
	if (f->address == ADDR_FS_B)
		*p++ = 0x64;
	if (f->p66)
		*p++ = 0x66;
	if (f->rep)
		*p++ = f->rep;
	if (f->lock)
		*p++ = 0xf0;
	return p;
}

static uint8_t *put_vex(const struct form *f, struct rng *r, uint8_t *p, bool use_vvvv)
{
	static const uint8_t pp_of[3] = { 0, 2, 3 };
	unsigned pp = f->p66 ? 1 : pp_of[f->rep == 0xf3 ? 1 : f->rep ? 2 : 0];
	unsigned rxb = f->mode == 8 ? rng_below(r, 8) : 7;      /* inverted: 1 is "not extended" */
	unsigned vvvv = use_vvvv ? rng_below(r, 16) : 15;
	uint8_t last;

	if (f->mode != 8)
		vvvv |= 8;
	last = vvvv << 3 | f->l << 2 | pp;
	if (f->map == 1 && !f->w && (rxb & 3) == 3 && rng_below(r, 2)) {
		*p++ = 0xc5;
		*p++ = (rxb >> 2) << 7 | last;
	} else {
		*p++ = 0xc4;
		*p++ = rxb << 5 | f->map;
		*p++ = f->w << 7 | last;
	}
	*p++ = f->opcode;
	return p;
}

static uint8_t *put_opcode(const struct form *f, struct rng *r, uint8_t *p)
{
	if (f->mode == 8 && (f->w || rng_below(r, 2)))
		*p++ = 0x40 | f->w << 3 | rng_below(r, 8);
	if (f->map) {
		*p++ = 0x0f;
		if (f->map > 1)
			*p++ = f->map == 2 ? 0x38 : 0x3a;
	}
	*p++ = f->opcode;
	return p;
}

/* Is this a 16-bit address: the default in 16-bit code, with 67 in 32-bit code? */
static bool address16(const struct form *f, unsigned in_16, unsigned in_32)
{
	return (f->mode == 2 && f->address == in_16) || (f->mode == 4 && f->address == in_32);
}

/* ModRM, SIB; random displacement bytes follow anyway. */
static uint8_t *put_modrm(const struct form *f, struct rng *r, uint8_t *p)
{
	unsigned reg = (f->reg < 8 ? f->reg : rng_below(r, 8)) << 3;
	unsigned rm = rng_below(r, 8), sib = rng_below(r, 256);

	if (address16(f, ADDR_B, ADDR_67_B)) {                  /* [SI] [DI] [disp16] [BX] */
		*p++ = reg | 4 | (rm & 3);
		return p;
	}
	if (address16(f, ADDR_BI, ADDR_67_BI)) {                /* without BP: SS is flat */
		static const uint8_t with_bx[] = { 0, 1, 4, 5, 7 };
		*p++ = (rm & 1 ? 0x40 : 0x80) | reg | with_bx[sib % sizeof(with_bx)];
		return p;
	}
	switch (f->address) {
	case ADDR_REG: *p++ = 0xc0 | reg | rm; return p;
	case ADDR_B: case ADDR_67_B: case ADDR_FS_B:
		*p++ = reg | (rm == 4 || rm == 5 ? 3 : rm);
		return p;
	case ADDR_B8: *p++ = 0x40 | reg | (rm == 4 ? 5 : rm); return p;
	case ADDR_B32: *p++ = 0x80 | reg | (rm == 4 ? 5 : rm); return p;
	case ADDR_BI: case ADDR_67_BI:
		*p++ = reg | 4;
		*p++ = (sib & 7) == 5 ? sib ^ 1 : sib;
		return p;
	case ADDR_BI8: *p++ = 0x40 | reg | 4; *p++ = sib; return p;
	case ADDR_I32: *p++ = reg | 4; *p++ = (sib & ~7) | 5; return p;
	case ADDR_RIP: *p++ = reg | 5; return p;
	}
	return p;
}

static void put_all(const struct form *f, struct rng *r, uint8_t bytes[16], bool use_vvvv)
{
	uint8_t buf[40], *p = buf;

	for (unsigned n = 0; n < 5; n++)
		le64_put(buf + n * 8, rng_next(r));
	if (f->vex) {
		if (f->address == ADDR_67_B || f->address == ADDR_67_BI)
			*p++ = 0x67;
		if (f->address == ADDR_FS_B)
			*p++ = 0x64;
		p = put_vex(f, r, p, use_vvvv);
	} else {
		p = put_opcode(f, r, put_prefixes(f, p));
	}
	put_modrm(f, r, p);
	memcpy(bytes, buf, 16);
}

bool form_encode(const struct form *f, const struct x86_model *model, struct rng *r,
		 uint8_t bytes[16], struct x86_insn *insn)
{
	for (unsigned attempt = 0; attempt < 8; attempt++) {
		put_all(f, r, bytes, attempt < 6);
		if (x86_decode(model, f->mode, false, bytes, 16, insn) == X86_OK &&
		    (f->op == OP_INVALID || insn->op == f->op) &&
		    !(insn->op == OP_MOV_SREG_STORE && insn->o[1].reg >= FS))
			return true;
	}
	return false;
}

/* --- enumeration ------------------------------------------------------------- */

struct list { struct form *form; unsigned count, room; const struct x86_model *model; struct rng rng; };

/* Does it decode in this form, and as what? */
static uint16_t probe(struct list *l, struct form *f, struct x86_insn *insn)
{
	uint8_t bytes[16];

	f->op = OP_INVALID;
	for (unsigned n = 0; n < 3; n++)
		if (form_encode(f, l->model, &l->rng, bytes, insn))
			return insn->op;
	return OP_INVALID;
}

static void add(struct list *l, struct form f)
{
	if (l->count == l->room)
		l->form = xrealloc(l->form, (l->room = l->room * 2 + 1024) * sizeof(f));
	l->form[l->count++] = f;
}

static bool address_allowed(const struct form *f)
{
	if (f->mode == 2)
		return f->address == ADDR_REG || f->address == ADDR_B || f->address == ADDR_BI ||
		       f->address == ADDR_67_B || f->address == ADDR_67_BI;
	return f->mode == 8 || f->address != ADDR_FS_B;         /* FS is not ours in 32-bit code */
}

static void add_lock(struct list *l, struct form f, const struct x86_insn *insn)
{
	if (!(x86_op_info[f.op].props & OPP_LOCKABLE) || insn->o[0].kind != OPK_MEM || f.rep)
		return;
	f.lock = 1;
	add(l, f);
}

/* One (encoding, reg): all its address forms. */
static void add_addresses(struct list *l, struct form f)
{
	struct x86_insn insn;

	for (f.address = ADDR_REG; f.address < ADDR_COUNT; f.address++) {
		if (!address_allowed(&f))
			continue;
		f.op = probe(l, &f, &insn);
		if (!comparable(f.op))
			continue;
		add(l, f);
		add_lock(l, f, &insn);
	}
}

/* Does ModRM.reg select the instruction? */
static bool is_group(struct list *l, struct form f)
{
	static const uint8_t ways[] = { ADDR_REG, ADDR_B };
	struct x86_insn insn;

	for (unsigned n = 0; n < ARRAY_SIZE(ways); n++) {
		f.address = ways[n];
		f.reg = 0;
		uint16_t first = probe(l, &f, &insn);
		for (f.reg = 1; f.reg < 8; f.reg++)
			if (probe(l, &f, &insn) != first)
				return true;
	}
	return f.map == 0 && f.opcode >= 0xd8 && f.opcode <= 0xdf;      /* x87: one op, many things */
}

static bool has_modrm(struct list *l, struct form f, bool *decodes)
{
	struct x86_insn insn;

	*decodes = false;
	f.reg = 8;
	for (f.address = ADDR_NONE; f.address <= ADDR_B; f.address++)
		for (unsigned n = 0; n < 4; n++)
			if (probe(l, &f, &insn) != OP_INVALID) {
				*decodes = true;
				return insn.has_modrm;
			}
	return false;
}

static void add_encoding(struct list *l, struct form f)
{
	struct x86_insn insn;
	bool decodes, modrm = has_modrm(l, f, &decodes);

	if (!decodes)
		return;
	f.reg = 8;
	if (!modrm) {
		f.address = ADDR_NONE;
		f.op = probe(l, &f, &insn);
		if (comparable(f.op))
			add(l, f);
		return;
	}
	if (!is_group(l, f)) {
		add_addresses(l, f);
		return;
	}
	for (f.reg = 0; f.reg < 8; f.reg++)
		add_addresses(l, f);
}

static bool is_prefix_or_escape(const struct form *f)
{
	static const uint8_t bytes[] = { 0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67,
					 0xf0, 0xf2, 0xf3, 0xc4, 0xc5, 0x62 };

	if (f->map == 1 && !f->vex)
		return f->opcode == 0x38 || f->opcode == 0x3a;
	if (f->map)
		return false;
	if (f->mode == 8 && (f->opcode & 0xf0) == 0x40)
		return true;
	for (unsigned n = 0; n < ARRAY_SIZE(bytes); n++)
		if (f->opcode == bytes[n] && !(f->opcode == 0x62 && f->mode != 8))
			return true;
	return false;
}

static void add_opcodes(struct list *l, struct form f)
{
	static const uint8_t reps[] = { 0, 0xf2, 0xf3 };

	for (unsigned opcode = 0; opcode < 256; opcode++) {
		f.opcode = opcode;
		if (is_prefix_or_escape(&f))
			continue;
		for (unsigned n = 0; n < 6; n++) {
			f.rep = reps[n / 2];
			f.p66 = n & 1;
			if (f.vex && f.rep && f.p66)
				continue;
			add_encoding(l, f);
		}
	}
}

struct form *forms_enumerate(const struct x86_model *model, unsigned *count)
{
	struct list l = { .model = model, .rng = { 88172645463325252ull } };

	for (unsigned mode = 2; mode <= 8; mode *= 2)
		for (unsigned w = 0; w < 2; w++) {
			for (unsigned map = 0; map < 4 && (mode == 8 || !w); map++)
				add_opcodes(&l, (struct form){ .mode = mode, .map = map, .w = w });
			for (unsigned map = 1; map < 4; map++)
				for (unsigned vl = 0; vl < 2; vl++)
					add_opcodes(&l, (struct form){ .mode = mode, .vex = 1, .map = map,
								       .w = w, .l = vl });
		}
	*count = l.count;
	return l.form;
}
