/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An instruction as text, for reports. */
#ifndef ENGINE_JIT_DISASM_H
#define ENGINE_JIT_DISASM_H

#include <stddef.h>
#include "x86/insn.h"

/* Intel syntax if libZydis is installed, else the op's name; after the bytes. */
void disassemble(const struct x86_insn *i, uint64_t rip, unsigned code_size, char *text, size_t size);

#endif
