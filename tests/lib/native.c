/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See native.h.  GS points at the state while the code runs; its page is mapped
 * twice, so that it is never writable and executable in one mapping.  32-bit
 * code runs through Linux's compatibility code segment.
 */
#include "lib/native.h"
#include "base/util.h"
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { CODE32 = 0x23, CODE64 = 0x33, DATA32 = 0x2b };

/* What the assembly addresses through GS. */
static struct {
	uint64_t gpr[16];        /* 0 */
	uint64_t rflags;         /* 128 */
	uint64_t host_rsp;       /* 136 */
	uint32_t target, target_selector;      /* 144: far pointer */
	uint8_t pad[40];
	struct x86_xsave xsave;  /* 192 */
} ctx __attribute__((aligned(64)));
_Static_assert(offsetof(typeof(ctx), xsave) == 192, "the assembly's offset");

bool (*native_pass)(int sig, void *ucontext);
static volatile bool running;
static uint8_t *writable;
static struct native_state *current;

void native_enter(void);
void native_leave(void);
void native_abandon(void);
__asm__(".text\n"
"native_enter:\n"
"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
"	mov %rsp, %gs:136\n"
"	mov $7, %eax; xor %edx, %edx; xrstor64 %gs:192\n"
"	push %gs:128; popfq\n"
"	mov %gs:0, %rax; mov %gs:8, %rcx; mov %gs:16, %rdx; mov %gs:24, %rbx\n"
"	mov %gs:40, %rbp; mov %gs:48, %rsi; mov %gs:56, %rdi; mov %gs:64, %r8\n"
"	mov %gs:72, %r9; mov %gs:80, %r10; mov %gs:88, %r11; mov %gs:96, %r12\n"
"	mov %gs:104, %r13; mov %gs:112, %r14; mov %gs:120, %r15; mov %gs:32, %rsp\n"
"	ljmp *%gs:144\n"
"native_leave:\n"
"	mov %rax, %gs:0; mov %rcx, %gs:8; mov %rdx, %gs:16; mov %rbx, %gs:24\n"
"	mov %rsp, %gs:32; mov %rbp, %gs:40; mov %rsi, %gs:48; mov %rdi, %gs:56\n"
"	mov %r8, %gs:64; mov %r9, %gs:72; mov %r10, %gs:80; mov %r11, %gs:88\n"
"	mov %r12, %gs:96; mov %r13, %gs:104; mov %r14, %gs:112; mov %r15, %gs:120\n"
"	mov %gs:136, %rsp\n"
"	pushfq; pop %gs:128; push $2; popfq\n"
"	mov $7, %eax; xor %edx, %edx; xsave64 %gs:192\n"
"native_abandon:\n"
"	fninit; vzeroupper; push $0x1f80; ldmxcsr (%rsp); pop %rax\n"
"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
"	ret\n");

static void take_registers(const greg_t *r)
{
	static const int order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
		REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

	for (unsigned n = 0; n < 16; n++)
		ctx.gpr[n] = (uint64_t)r[order[n]];
	ctx.rflags = (uint64_t)r[REG_EFL];
}

/* The signal frame holds the extended state in the XSAVE format (but its software
 * bytes); a component left out there is in its initial configuration. */
static void take_xsave(const void *frame)
{
	memcpy(&ctx.xsave, frame, sizeof(ctx.xsave));
	if (!(ctx.xsave.xstate_bv & XFEATURE_X87)) {
		memset(&ctx.xsave, 0, 24);
		memset(ctx.xsave.st, 0, sizeof(ctx.xsave.st));
		ctx.xsave.fcw = 0x37f;
	}
	if (!(ctx.xsave.xstate_bv & XFEATURE_SSE))
		memset(ctx.xsave.xmm, 0, sizeof(ctx.xsave.xmm));
	if (!(ctx.xsave.xstate_bv & XFEATURE_AVX))
		memset(ctx.xsave.ymmh, 0, sizeof(ctx.xsave.ymmh));
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;

	if (!running) {
		if (!native_pass || !native_pass(sig, context))
			signal(sig, SIG_DFL);
		return;
	}
	running = false;
	current->signal = (uint32_t)sig;
	current->trap = (uint32_t)r[REG_TRAPNO];
	current->fault_address = (uint64_t)info->si_addr;
	current->rip = (uint64_t)r[REG_RIP];
	if ((r[REG_CSGSFS] & 0xffff) != NATIVE_CODE16_SELECTOR)
		current->rip -= NATIVE_CODE;
	take_registers(r);
	take_xsave(uc->uc_mcontext.fpregs);
	r[REG_RIP] = (greg_t)native_abandon;
	r[REG_RSP] = (greg_t)ctx.host_rsp;
	r[REG_EFL] = 2;
	r[REG_CSGSFS] = (r[REG_CSGSFS] & ~0xffffll) | CODE64;
}

static bool map_code(struct error *err)
{
	auto_close int fd = memfd_create("native", MFD_CLOEXEC);
	void *at = (void *)NATIVE_CODE;

	if (fd < 0 || ftruncate(fd, NATIVE_CODE_BYTES) < 0)
		return error_set(err, errno, "cannot create memory for native code");
	writable = mmap(NULL, NATIVE_CODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (writable == MAP_FAILED ||
	    mmap(at, NATIVE_CODE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) != at)
		return error_set(err, errno, "cannot map native code at 0x%llx", NATIVE_CODE);
	return true;
}

void native_signals(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	for (unsigned n = 0; n < ARRAY_SIZE(signals); n++)
		sigaction(signals[n], &sa, NULL);
}

bool native_init(struct error *err)
{
	static uint8_t stack[65536];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };

	if (sigaltstack(&ss, NULL) < 0)
		return error_set(err, errno, "cannot set a signal stack");
	native_signals();
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, &ctx) < 0)
		return error_set(err, errno, "cannot set the GS base");
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" :: "r"(DATA32));    /* null in 64-bit programs */
	return map_code(err);
}

bool native_init_16(struct error *err)
{
	struct user_desc d = { .entry_number = NATIVE_CODE16_SELECTOR >> 3, .base_addr = NATIVE_CODE,
			       .limit = 0xffff, .contents = 2, .useable = 1 };

	return syscall(SYS_modify_ldt, 1, &d, sizeof(d)) == 0 ||
	       error_set(err, errno, "cannot make a 16-bit code segment");
}

/* The way back is a jump to native_leave behind the code; a 16- or 32-bit
 * piece first jumps to the 64-bit one behind itself. */
static void put_code(const uint8_t *code, unsigned n, enum native_mode mode)
{
	uint8_t *p = writable + n;
	uint64_t leave = (uint64_t)native_leave;

	memcpy(writable, code, n);
	if (mode == NATIVE_16)
		*p++ = 0x66;
	if (mode != NATIVE_64) {
		*p = 0xea;
		le32_put(p + 1, (uint32_t)NATIVE_CODE + (uint32_t)(p - writable) + 7);
		le16_put(p + 5, CODE64);
		p += 7;
	}
	memcpy(p, "\xff\x25", 2);                 /* jmp [rip + to the pointer], aligned: AC may be set */
	le32_put(p + 2, -(uint32_t)(uintptr_t)(p + 6) & 7);
	le64_put((uint8_t *)ALIGN_UP((uintptr_t)(p + 6), 8), leave);
}

/* The translator keeps its vCPU in GS on this thread. */
static uint64_t swap_gs(uint64_t base)
{
	uint64_t old;

	if (getauxval(AT_HWCAP2) & 2) {         /* FSGSBASE */
		__asm__ volatile("rdgsbase %0; wrgsbase %1" : "=&r"(old) : "r"(base));
		return old;
	}
	syscall(SYS_arch_prctl, ARCH_GET_GS, &old);
	syscall(SYS_arch_prctl, ARCH_SET_GS, base);
	return old;
}

void native_run(struct native_state *s, const uint8_t *code, unsigned n, enum native_mode mode)
{
	static const uint16_t selectors[] = { CODE64, CODE32, NATIVE_CODE16_SELECTOR };

	put_code(code, MIN(n, (unsigned)NATIVE_CODE_MAX), mode);
	memcpy(ctx.gpr, s->gpr, sizeof(ctx.gpr));
	ctx.xsave = s->xsave;
	ctx.xsave.xstate_bv = (XFEATURE_X87 | XFEATURE_SSE | XFEATURE_AVX) & ~s->init;
	ctx.xsave.xcomp_bv = 0;
	memset(ctx.xsave.header_reserved, 0, sizeof(ctx.xsave.header_reserved));
	ctx.rflags = s->rflags;
	ctx.target = mode == NATIVE_16 ? 0 : (uint32_t)NATIVE_CODE;
	ctx.target_selector = selectors[mode];
	s->signal = s->trap = 0;
	s->rip = n;
	s->fault_address = 0;
	current = s;
	running = true;
	uint64_t gs = swap_gs((uint64_t)&ctx);
	native_enter();
	swap_gs(gs);
	running = false;
	memcpy(s->gpr, ctx.gpr, sizeof(ctx.gpr));
	s->rflags = ctx.rflags;
	s->xsave = ctx.xsave;
}
