/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verify mode: where two runs of a block differ, and the report of it. */
#include <stdio.h>
#include "engine/jit/disasm.h"
#include "engine/jit/verify.h"

/* --- comparison */

struct field { const char *name; uint16_t at, size; };
#define FIELD(f) { #f, offsetof(struct x86_cpu, f), sizeof(((struct x86_cpu *)0)->f) }
#define RANGE(name, first, last) { name, offsetof(struct x86_cpu, first), \
	offsetof(struct x86_cpu, last) - offsetof(struct x86_cpu, first) }

#define SEGMENT(s) FIELD(s.sel), FIELD(s.attr), FIELD(s.limit), FIELD(s.base)

static const struct field fields[] = {
	FIELD(gpr[RAX]), FIELD(gpr[RCX]), FIELD(gpr[RDX]), FIELD(gpr[RBX]), FIELD(gpr[RSP]),
	FIELD(gpr[RBP]), FIELD(gpr[RSI]), FIELD(gpr[RDI]), FIELD(gpr[R8]), FIELD(gpr[R9]),
	FIELD(gpr[R10]), FIELD(gpr[R11]), FIELD(gpr[R12]), FIELD(gpr[R13]), FIELD(gpr[R14]),
	FIELD(gpr[R15]), FIELD(rip), FIELD(rflags), SEGMENT(seg[ES]), SEGMENT(seg[CS]),
	SEGMENT(seg[SS]), SEGMENT(seg[DS]), SEGMENT(seg[FS]), SEGMENT(seg[GS]), SEGMENT(ldtr),
	SEGMENT(tr), FIELD(gdtr.base), FIELD(gdtr.limit), FIELD(idtr.base), FIELD(idtr.limit), FIELD(cr0), FIELD(cr2), FIELD(cr3), FIELD(cr4), FIELD(dr),
	RANGE("model-specific registers", efer, xsave),
	FIELD(xsave.fcw), FIELD(xsave.fsw), FIELD(xsave.ftw), FIELD(xsave.st), FIELD(xsave.mxcsr),
	FIELD(xsave.xmm), FIELD(xsave.ymmh), FIELD(pdpte), FIELD(activity), FIELD(int_shadow),
	FIELD(nmi_blocked), FIELD(cpl), FIELD(event),
};

static const struct field *differing_field(struct verify *y, const struct x86_cpu *c)
{
	/* Usually all is the same, padding too. */
	if (!memcmp(&y->expected->cpu, c, offsetof(struct x86_cpu, xsave.xstate_bv)) &&
	    !memcmp(&y->expected->cpu.xsave.ymmh, &c->xsave.ymmh,
		    offsetof(struct x86_cpu, lapic) - offsetof(struct x86_cpu, xsave.ymmh)))
		return NULL;
	for (unsigned n = 0; n < ARRAY_SIZE(fields); n++)
		if (memcmp((const char *)&y->expected->cpu + fields[n].at, (const char *)c + fields[n].at, fields[n].size))
			return &fields[n];
	return NULL;
}

static bool stores_differ(const struct verify *y, const uint8_t *stored, unsigned count)
{
	for (unsigned n = 0; n < count; n++)
		if (memcmp(stored + y->undo.store[n].at, y->undo.store[n].host, y->undo.store[n].size))
			return true;
	return false;
}

static void copy_stores(struct verify *y, uint8_t *to, const uint8_t *from, unsigned count)
{
	for (unsigned n = 0; n < count; n++) {
		uint8_t *host = y->undo.store[n].host;
		unsigned at = y->undo.store[n].at, size = y->undo.store[n].size;
		memcpy(to ? to + at : host, from ? from + at : host, size);
	}
}

/* Stores to the same place: the last of the interpreter's counts. So they are done
 * again, and what is there then is compared with what was there. */
static bool differing_store(struct verify *y)
{
	unsigned count = y->expected->nstored;
	bool differ;

	if (!stores_differ(y, y->stored, count))
		return false;
	copy_stores(y, y->found, NULL, count);
	copy_stores(y, NULL, y->stored, count);
	differ = stores_differ(y, y->found, count);
	copy_stores(y, NULL, y->found, count);
	return differ;
}

static const char *compare_with(struct vcpu *v, struct verify *y, int why)
{
	struct x86_cpu *c = &y->expected->cpu;
	/* The run loop ends RF early where no breakpoint can see it. */
	uint64_t ignored = FL_RF | FL_STATUS, interpreted = c->rflags;
	const struct field *f;

	c->rflags = (interpreted & ~ignored) | (v->cpu.rflags & ignored);
	f = differing_field(y, &v->cpu);
	c->rflags = interpreted;
	if (f)
		return f->name;
	if (why != y->expected->why)
		return "the way it ended";
	if (differing_store(y))
		return "memory";
	return y->tape.torn || y->tape.next != y->expected->tape_end ? "access to devices" : NULL;
}

const char *verify_compare(struct vcpu *v, struct verify *y, int why)
{
	struct verify_point *nearest = &y->points[y->npoints - 1];

	for (unsigned n = y->npoints; n-- > 0; ) {
		y->expected = &y->points[n];
		if (y->expected->cpu.rip != v->cpu.rip)
			continue;
		if (!compare_with(v, y, why))
			return NULL;
		nearest = y->expected;
	}
	y->expected = nearest;
	return compare_with(v, y, why);
}

/* --- the report */

static void log_bytes(const char *name, const void *bytes, unsigned size)
{
	const uint8_t *b = bytes;
	char text[3 * 32 + 1];

	for (unsigned n = 0; n < size; n += 32) {
		unsigned k = 0;
		for (; k < 32 && n + k < size; k++)
			snprintf(text + 3 * k, 4, "%02x ", b[n + k]);
		log_error("  %s+%u: %s", name, n, text);
	}
}

/* One field: before the block, interpreted, translated. Others than general
 * registers only if they differ. */
static void log_field(const struct verify *y, const struct x86_cpu *c, const struct field *f)
{
	const char *before = (const char *)&y->before + f->at, *interpreted = (const char *)&y->expected->cpu + f->at;
	const char *translated = (const char *)c + f->at;
	bool differs = memcmp(interpreted, translated, f->size);

	if (f->at <= offsetof(struct x86_cpu, rflags)) {
		log_error("%c %-8s before %016llx interpreted %016llx translated %016llx", differs ? '*' : ' ',
			  f->name, (unsigned long long)le64_get(before),
			  (unsigned long long)le64_get(interpreted), (unsigned long long)le64_get(translated));
	} else if (differs) {
		log_error("* %s", f->name);
		log_bytes("before", before, f->size);
		log_bytes("interpreted", interpreted, f->size);
		log_bytes("translated", translated, f->size);
	}
}

static void log_stores(const struct verify *y)
{
	for (unsigned n = 0; n < y->expected->nstored; n++) {
		unsigned size = y->undo.store[n].size, at = y->undo.store[n].at;
		if (!memcmp(y->stored + at, y->undo.store[n].host, size))
			continue;
		log_error("store %u of %u bytes at host %p:", n, size, (void *)y->undo.store[n].host);
		log_bytes("before", y->undo.old + at, size);
		log_bytes("interpreted", y->stored + at, size);
		log_bytes("translated", y->undo.store[n].host, size);
	}
}

void verify_report(struct vcpu *v, struct verify *y)
{
	uint64_t rip = y->before.rip;
	char text[128];

	log_error("verify: %s differs after this block:", y->difference);
	for (unsigned n = 0; n < y->ninsns; n++) {
		disassemble(y->insns[n], rip, cpu_code_size(&y->before), text, sizeof(text));
		log_error("  %llx: %s", (unsigned long long)rip, text);
		rip += y->insns[n]->len;
	}
	for (unsigned n = 0; n < ARRAY_SIZE(fields); n++)
		log_field(y, &v->cpu, &fields[n]);
	log_stores(y);
}

