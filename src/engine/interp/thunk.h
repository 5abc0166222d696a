/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stubs of host code that run one floating-point or vector instruction of the
 * guest on the host's own units, so that results are exact.
 *
 * Each vCPU thread has a direct-mapped cache of its own: no locks, and a miss
 * simply overwrites its slot.  The memory is a memfd with two mappings, one
 * writable and one executable.  A stub that raises SIGFPE (an unmasked SIMD
 * exception) or SIGILL is left by the signal handler with nothing stored.
 */
#ifndef ENGINE_INTERP_THUNK_H
#define ENGINE_INTERP_THUNK_H

#include <stdint.h>
#include "base/error.h"
#include "base/util.h"

/* What a stub gets beside the XSAVE image (rdi) and the memory operand (rsi); in r8. */
struct thunk_io {
	uint64_t rax, rcx, rdx;
	uint64_t flags;
	uint32_t host_mxcsr;     /* loaded when the stub is done */
};

enum thunk_result { THUNK_DONE, THUNK_FPE, THUNK_ILLEGAL };
typedef enum thunk_result thunk_fn(void *xsave, void *mem, uint64_t unused2, uint64_t unused3,
				   struct thunk_io *io);

/* Code under construction. */
enum { THUNK_BYTES = 256 };
struct thunk_code { uint8_t b[THUNK_BYTES]; unsigned n; };

static inline void thunk_put(struct thunk_code *c, unsigned n, uint64_t bytes)
{
	for (; n && c->n < THUNK_BYTES; n--, bytes >>= 8)
		c->b[c->n++] = (uint8_t)bytes;
}

/* Map this thread's cache: by vcpu_create, before a jail closes. Made on first
 * use otherwise. */
bool thunk_thread_init(struct error *err);
void thunk_thread_exit(void);

/* The stub for a nonzero key, or NULL: not there. */
thunk_fn *thunk_find(uint64_t key);
/* Install; NULL with *err if the host grants no executable memory. */
thunk_fn *thunk_add(uint64_t key, const struct thunk_code *code, struct error *err);

/* MXCSR as the host left it at the last THUNK_FPE of this thread. */
uint32_t thunk_fault_mxcsr(void);
/* Was this SIGFPE or SIGILL (uc: ucontext_t) raised in a stub? Then it is dealt
 * with. For engines that own these signals later. */
bool thunk_handle_signal(int sig, void *uc);

#endif
