/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stub cache of a vCPU thread, see thunk.h.  Signals: SIGFPE and SIGILL
 * handlers are installed once for the process and pass on what is not ours.
 */
#include "engine/interp/thunk.h"
#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

enum { SLOT_BITS = 11, SLOTS = 1 << SLOT_BITS, CACHE_BYTES = SLOTS * THUNK_BYTES };

struct cache {
	uint64_t key[SLOTS];      /* 0: empty */
	uint8_t *rw, *rx;
	uint32_t fault_mxcsr;
};
static __thread struct cache *cache;
static struct sigaction old_fpe, old_ill;
static bool iret_is_sound;

/* Where a stub that trapped goes on: as if it had returned rax. The stack
 * pointer is that of its entry, because no stub traps with anything pushed. */
void thunk_abort(void);
__asm__(".text\n.globl thunk_abort\n.hidden thunk_abort\nthunk_abort:\n\tret\n");

/* New code was written through another linear address: a serializing
 * instruction is due before it runs (SDM 3A 11.6). IRET is the cheap one. */
void thunk_serialize(void);
__asm__(".text\n.globl thunk_serialize\n.hidden thunk_serialize\nthunk_serialize:\n"
	"\tmov %rsp, %rdx\n\tmov %ss, %eax\n\tpush %rax\n\tpush %rdx\n\tpushfq\n"
	"\tmov %cs, %eax\n\tpush %rax\n\tlea 1f(%rip), %rax\n\tpush %rax\n\tiretq\n1:\tret\n");

/* QEMU's TCG before 9.1 takes the stack of a user's IRET for the kernel's: where SMAP is on,
 * the computer that it emulates goes down. CPUID, which elsewhere may trap, is cheap there. */
static bool emulated_by_tcg(void)
{
	uint32_t a, b, c, d;
	__cpuid(0x40000000, a, b, c, d);
	return b == le32_get("TCGT") && c == le32_get("CGTC") && d == le32_get("GTCG");
}

static void serialize(void)
{
	uint32_t a, b, c, d;
	if (iret_is_sound)
		thunk_serialize();
	else
		__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "0"(0), "2"(0) : "memory");
}

bool thunk_handle_signal(int sig, void *context)
{
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;
	struct _libc_fpstate *fp = uc->uc_mcontext.fpregs;

	if (!cache || (uint64_t)r[REG_RIP] - (uint64_t)cache->rx >= CACHE_BYTES)
		return false;
	cache->fault_mxcsr = fp->mxcsr;
	fp->mxcsr = 0x1f80;
	fp->cwd = 0x37f;
	fp->swd = fp->ftw = 0;
	r[REG_RAX] = sig == SIGFPE ? THUNK_FPE : THUNK_ILLEGAL;
	r[REG_RIP] = (greg_t)thunk_abort;
	return true;
}

static void on_signal(int sig, siginfo_t *info, void *uc)
{
	const struct sigaction *old = sig == SIGFPE ? &old_fpe : &old_ill;

	if (thunk_handle_signal(sig, uc))
		return;
	if (old->sa_flags & SA_SIGINFO)
		old->sa_sigaction(sig, info, uc);
	else if (old->sa_handler != SIG_IGN && old->sa_handler != SIG_DFL)
		old->sa_handler(sig);
	else
		signal(sig, SIG_DFL);     /* the instruction is retried and ends us */
}

static void begin(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	iret_is_sound = !emulated_by_tcg();
	sigemptyset(&sa.sa_mask);
	sigaction(SIGFPE, &sa, &old_fpe);
	sigaction(SIGILL, &sa, &old_ill);
}

/* A kernel before 6.3 knows no MFD_EXEC; a later one may insist on it. */
static int code_memfd(struct error *err)
{
	int fd = memfd_create("abyme-stubs", MFD_CLOEXEC | MFD_EXEC);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("abyme-stubs", MFD_CLOEXEC);
	if (fd < 0)
		return error_minus(err, errno, "cannot create memory for code stubs");
	if (ftruncate(fd, CACHE_BYTES) < 0) {
		error_set(err, errno, "cannot size memory for code stubs");
		close(fd);
		return -1;
	}
	return fd;
}

bool thunk_thread_init(struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	auto_free struct cache *c = NULL;
	auto_close int fd = -1;

	if (cache)
		return true;
	fd = code_memfd(err);
	if (fd < 0)
		return false;
	c = xnew(struct cache);
	c->rw = mmap(NULL, CACHE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (c->rw == MAP_FAILED)
		return error_set(err, errno, "cannot map memory for code stubs");
	c->rx = mmap(NULL, CACHE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (c->rx == MAP_FAILED) {
		error_set(err, errno, "cannot map executable memory; does a security policy forbid it?");
		munmap(c->rw, CACHE_BYTES);
		return false;
	}
	pthread_once(&once, begin);
	cache = move_ptr(c);
	return true;
}

void thunk_thread_exit(void)
{
	if (!cache)
		return;
	munmap(cache->rw, CACHE_BYTES);
	munmap(cache->rx, CACHE_BYTES);
	free(move_ptr(cache));
}

static inline unsigned slot_of(uint64_t key)
{
	return (unsigned)((key * 0x9e3779b97f4a7c15ull) >> (64 - SLOT_BITS));
}

thunk_fn *thunk_find(uint64_t key)
{
	unsigned slot = slot_of(key);

	if (unlikely(!cache || cache->key[slot] != key))
		return NULL;
	return (thunk_fn *)(cache->rx + slot * THUNK_BYTES);
}

thunk_fn *thunk_add(uint64_t key, const struct thunk_code *code, struct error *err)
{
	unsigned slot = slot_of(key);

	if (!thunk_thread_init(err))
		return NULL;
	memcpy(cache->rw + slot * THUNK_BYTES, code->b, code->n);
	cache->key[slot] = key;
	serialize();
	return (thunk_fn *)(cache->rx + slot * THUNK_BYTES);
}

uint32_t thunk_fault_mxcsr(void)
{
	return cache->fault_mxcsr;
}
