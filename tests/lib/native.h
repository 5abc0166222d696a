/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run a piece of user-level code on the host's CPU from a whole given state, and
 * see the state it ends with: the oracle for instructions.  In-process: code
 * must only write to memory that the caller gave it, so random code belongs in
 * a child process.  Code may not use GS and must not change it.  One thread.
 */
#ifndef TESTS_LIB_NATIVE_H
#define TESTS_LIB_NATIVE_H

#include "base/error.h"
#include "x86/cpu.h"

/* The code's fixed place, low enough for absolute and RIP-relative addressing
 * of data near it, in 32-bit code too. */
#define NATIVE_CODE 0x10000000ull
enum { NATIVE_CODE_BYTES = 4096, NATIVE_CODE_MAX = 4000 };

struct native_state {
	uint64_t gpr[16];        /* RSP too: the code's own stack */
	uint64_t rflags;         /* status flags, DF, AC, TF, ID count */
	uint64_t rip;            /* out: where it ended, relative to the code's start */
	uint64_t fault_address;  /* out: of SIGSEGV and SIGBUS */
	uint32_t signal;         /* out: 0 if it ran to its end */
	uint32_t trap;           /* out: exception vector of the signal */
	uint64_t init;           /* in: XFEATURE_* to put into the initial configuration (XINUSE = 0) */
	struct x86_xsave xsave;  /* standard format; fip, fdp, fop are the host's */
};

bool native_init(struct error *err);
/* Take the signals again (cmocka takes them for itself as each test begins). */
void native_signals(void);
/* Asked first about signals that native code did not raise; may be NULL. */
extern bool (*native_pass)(int sig, void *ucontext);
/* Code of n bytes as 64-, 32- or 16-bit code (registers 8..15 are not loaded in the latter
 * two); 16-bit code has a segment of its own, whose offset 0 is its first byte. */
enum native_mode { NATIVE_64, NATIVE_32, NATIVE_16 };
enum { NATIVE_CODE16_SELECTOR = 0xf };
void native_run(struct native_state *s, const uint8_t *code, unsigned n, enum native_mode mode);
/* Make that segment; false where the host's kernel refuses. */
bool native_init_16(struct error *err);

#endif
