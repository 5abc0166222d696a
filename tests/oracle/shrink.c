/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A failing case is made small by trying what can be left out. */
#include "oracle/oracle.h"
#include <Zydis/Zydis.h>
#include <stdio.h>

/* The first difference: its kind, or all of it where an exception differs. */
static char first_text[256];

static bool still_fails(struct oracle_case *c)
{
	char text[256] = "";

	if (case_run(c, text, sizeof(text)))
		return false;
	if (!first_text[0])
		snprintf(first_text, sizeof(first_text), "%s", text);
	if (strncmp(first_text, "exception", 9) == 0)
		return strcmp(first_text, text) == 0;
	return strncmp(first_text, text, strcspn(first_text, ":")) == 0;
}

static void drop_steps(struct oracle_case *c)
{
	for (unsigned n = 0; n < c->steps && c->steps > 1; n++) {
		struct oracle_case saved = *c;
		unsigned at = c->step[n].at - c->step[n].fixes;

		memset(c->code + at, 0x90, c->step[n].fixes + c->step[n].insn.len);
		c->step[n].insn = (struct x86_insn){ .op = OP_NOP };
		if (!still_fails(c))
			*c = saved;
	}
}

static void zero_registers(struct oracle_case *c)
{
	for (unsigned n = 0; n < 16; n++) {
		uint64_t saved = c->in.gpr[n];

		c->in.gpr[n] = 0;
		if (!still_fails(c))
			c->in.gpr[n] = saved;
	}
	for (unsigned n = 0; n < 16; n++) {
		struct x86_xsave saved = c->in.xsave;

		memset(c->in.xsave.xmm[n], 0, 16);
		memset(c->in.xsave.ymmh[n], 0, 16);
		if (!still_fails(c))
			c->in.xsave = saved;
	}
}

static void zero_data(struct oracle_case *c)
{
	for (unsigned at = 0; at < DATA_SIZE; at += 32) {
		uint8_t saved[32];

		memcpy(saved, c->data + at, 32);
		memset(c->data + at, 0, 32);
		if (!still_fails(c))
			memcpy(c->data + at, saved, 32);
	}
}

static void print_code(const struct oracle_case *c)
{
	ZydisDisassembledInstruction d;
	unsigned at = 0;

	while (at < c->n) {
		if (c->code[at] == 0x90 && ++at)
			continue;               /* what was left out */
		if (!ZYAN_SUCCESS(ZydisDisassembleIntel(c->mode == 8 ? ZYDIS_MACHINE_MODE_LONG_64 :
				c->mode == 4 ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 :
				ZYDIS_MACHINE_MODE_LONG_COMPAT_16, NATIVE_CODE + at, c->code + at, c->n - at, &d)))
			break;
		printf("    +%02x ", at);
		for (unsigned n = 0; n < d.info.length; n++)
			printf(" %02x", c->code[at + n]);
		printf("   %s\n", d.text);
		at += d.info.length;
	}
}

static void print_state(const struct oracle_case *c)
{
	const struct native_state *s = &c->in;

	for (unsigned n = 0; n < 16; n++)
		printf("%s r%u=%lx", n % 8 ? "" : "\n   ", n, s->gpr[n]);
	printf("\n    flags=%lx mxcsr=%x fcw=%x fsw=%x ftw=%x\n", s->rflags, s->xsave.mxcsr,
	       s->xsave.fcw, s->xsave.fsw, s->xsave.ftw);
}

void case_shrink_and_print(struct oracle_case *c)
{
	char text[256] = "(not repeatable)";

	first_text[0] = 0;
	printf("steps:");
	for (unsigned n = 0; n < c->steps; n++)
		printf(" %s+%x", x86_op_info[c->step[n].insn.op].name, c->step[n].at);
	printf("\n");
	if (still_fails(c)) {
		drop_steps(c);
		zero_registers(c);
		zero_data(c);
	}
	case_run(c, text, sizeof(text));
	printf("case %lu of seed 0x%lx, %s: %s\n", c->index, c->seed, x86_op_info[c->step[0].insn.op].name, text);
	print_code(c);
	print_state(c);
	fflush(stdout);
}

void forms_print_coverage(const struct form *forms, unsigned count, unsigned wanted)
{
	unsigned number[OP_COUNT] = { 0 }, short_of = 0;
	uint32_t least[OP_COUNT];
	uint64_t cases[OP_COUNT] = { 0 };

	memset(least, 0xff, sizeof(least));
	for (unsigned n = 0; n < count; n++) {
		number[forms[n].op]++;
		cases[forms[n].op] += forms[n].cases;
		least[forms[n].op] = MIN(least[forms[n].op], forms[n].cases);
		short_of += forms[n].cases < wanted;
	}
	printf("%-16s %6s %10s %8s\n", "op", "forms", "cases", "least");
	for (unsigned op = 0; op < OP_COUNT; op++)
		if (number[op])
			printf("%-16s %6u %10lu %8u\n", x86_op_info[op].name, number[op], cases[op], least[op]);
	for (unsigned n = 0; n < count; n++)
		if (forms[n].cases == 0)
			printf("no case: %s mode %u%s map %u opcode %02x%s rep %x w%u l%u /%u address %u lock %u\n",
			       x86_op_info[forms[n].op].name, forms[n].mode, forms[n].vex ? " vex" : "",
			       forms[n].map, forms[n].opcode, forms[n].p66 ? " 66" : "", forms[n].rep,
			       forms[n].w, forms[n].l, forms[n].reg, forms[n].address, forms[n].lock);
	printf("%u forms, %u of them with fewer than %u cases\n", count, short_of, wanted);
}
