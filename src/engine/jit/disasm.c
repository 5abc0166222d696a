/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disassembly by Zydis, loaded when first needed: a machine that has no
 * difference to report does not carry it.
 */
#include "engine/jit/disasm.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <Zydis/Zydis.h>

typedef ZyanStatus disassemble_fn(ZydisMachineMode, ZyanU64, const void *, ZyanUSize,
				  ZydisDisassembledInstruction *);

static disassemble_fn *load_zydis(void)
{
	static disassemble_fn *fn;
	void *lib;

	if (fn)
		return fn;
	lib = dlopen("libZydis.so.4.0", RTLD_NOW | RTLD_LOCAL);
	return fn = lib ? (disassemble_fn *)dlsym(lib, "ZydisDisassembleIntel") : NULL;
}

void disassemble(const struct x86_insn *i, uint64_t rip, unsigned code_size, char *text, size_t size)
{
	ZydisMachineMode mode = code_size == 8 ? ZYDIS_MACHINE_MODE_LONG_64 :
		code_size == 4 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16;
	disassemble_fn *fn = load_zydis();
	ZydisDisassembledInstruction d;
	char bytes[3 * 15 + 1] = "";

	for (unsigned n = 0; n < i->len && n < 15; n++)
		snprintf(bytes + 3 * n, 4, "%02x ", i->bytes[n]);
	if (fn && ZYAN_SUCCESS(fn(mode, rip, i->bytes, i->len, &d)))
		snprintf(text, size, "%-32s%s", bytes, d.text);
	else
		snprintf(text, size, "%-32s%s", bytes, x86_op_info[i->op].name);
}
