/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For guest test programs: freestanding C on a bare machine, in 32-bit
 * protected mode (m32/) or 64-bit mode (m64/), flat segments, CPL 0, interrupts
 * off.  A program prints one line a case on COM1; the runner compares with
 * TOPIC.expected, whose lines come from the SDM.
 *
 *	TRY("load DS with a null selector", "xor %%eax, %%eax; mov %%eax, %%ds");
 *
 * prints "load DS ...: ok", or the exception that ended it: "#GP(0000)".  The
 * code may use any register but the stack and frame pointer's values at its end
 * do not matter: both come back.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef unsigned long ulong;

/* Selectors of the library's GDT; free entries for tests from SEL_FREE on. */
enum { SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_UCODE = 0x1b, SEL_UDATA = 0x23, SEL_TSS = 0x28,
       SEL_OTHER = 0x38 /* m64: 32-bit code, m32: 16-bit code */, SEL_DATA16 = 0x40,
       SEL_UOTHER = 0x4b, SEL_FREE = 0x50 };
extern uint64_t gdt[256];
extern uint64_t idt[];
extern uint8_t tss[];
extern struct dtr { uint16_t limit; ulong base; } __attribute__((packed)) gdtr, idtr;

/* Descriptors: type is the access byte (P, DPL, S, type), flags the upper
 * nibble (8 G, 4 D/B, 2 L). */
uint64_t make_desc(uint32_t base, uint32_t limit, uint8_t type, uint8_t flags);
uint64_t make_gate(ulong offset, uint16_t sel, uint8_t type, uint8_t count);
enum { D_CODE = 0x9b, D_CODE_C = 0x9f, D_DATA = 0x93, D_DATA_RO = 0x91, D_DATA_DOWN = 0x97,
       D_DPL3 = 0x60, D_TSS = 0x89, D_LDT = 0x82 };

/* The last trap. */
struct trap {
#ifdef __x86_64__
	ulong r15, r14, r13, r12, r11, r10, r9, r8, di, si, bp, bx, dx, cx, ax;
#else
	ulong di, si, bp, sp_, bx, dx, cx, ax;
#endif
	ulong vector, error, ip, cs, flags, sp, ss;   /* sp, ss: of an outer level, or garbage */
	ulong v86_es, v86_ds, v86_fs, v86_gs;
};
extern volatile struct trap trap;
extern volatile ulong trap_ds, trap_es, trap_cr2, trap_dr6, trap_count, trap_resume, trap_sp, trap_bp, trap_start;
/* If set, called first; true: return to the interrupted code by IRET. */
extern bool (*trap_hook)(struct trap *t);
void trap_gate(unsigned vector, uint8_t type, unsigned ist);   /* library's stub, another gate type */

void say(const char *fmt, ...);            /* %s %x %lx %d %u %c */
void report(const char *what);             /* after TRY */
int main(void);
void quit(int status) __attribute__((noreturn));

#ifdef __x86_64__
#define TRY_ENTER "mov %%rsp, trap_sp\n\tmov %%rbp, trap_bp\n\t" \
	"movq $99f, trap_resume\n\tmovq $98f, trap_start\n"
#define TRY_CLOBBER "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", \
	"r12", "r13", "r14", "r15", "memory", "cc"
#define TRY_TO_USER "pushq $0x23\n\tpushq $user_stack\n\tpushq user_flags\n\tpushq $0x1b\n\tpushq $98f\n\t" TRY_LOAD_ARG "iretq\n"
#define TRY_LOAD_ARG "mov try_arg, %%rax\n\t"
#define TRY_LEAVE "mov $0x10, %%eax; mov %%eax, %%ss; mov trap_sp, %%rsp; " \
	"mov %%eax, %%ds; mov %%eax, %%es"
#else
#define TRY_ENTER "mov %%esp, trap_sp\n\tmov %%ebp, trap_bp\n\t" \
	"movl $99f, trap_resume\n\tmovl $98f, trap_start\n"
#define TRY_CLOBBER "eax", "ebx", "ecx", "edx", "esi", "edi", "memory", "cc"
#define TRY_TO_USER "mov $0x23, %%eax\n\tmov %%eax, %%ds\n\tmov %%eax, %%es\n\t" \
	"pushl $0x23\n\tpushl $user_stack\n\tpushl %%ss:user_flags\n\tpushl $0x1b\n\tpushl $98f\n\t" TRY_LOAD_ARG "iretl\n"
#define TRY_LOAD_ARG "mov try_arg, %%eax\n\t"
#define TRY_LEAVE "mov $0x10, %%eax; mov %%eax, %%ss; mov %%ss:trap_sp, %%esp; " \
	"mov %%eax, %%ds; mov %%eax, %%es"
#endif


#define TRY_RUN(pre, code, post, ...) do { \
	trap.vector = ~0ul; trap_count = 0; try_arg = *(ulong[1]) { __VA_ARGS__ }; \
	__asm__ volatile(TRY_ENTER pre "98:\n\t" code "\n\t" post "\n99:\t" TRY_LEAVE ::: TRY_CLOBBER); \
	trap_resume = 0; } while (0)
/* Optional third argument: what EAX (RAX) holds when the code starts. The code
 * doubles its %, as in extended asm. */
#define TRY(what, code, ...) do { \
	TRY_RUN(TRY_LOAD_ARG, code, "", __VA_ARGS__); report(what); } while (0)
/* The same at CPL 3; INT 0x80 brings it back. user_flags: EFLAGS it starts with. */
#define TRY_USER(what, code, ...) do { \
	TRY_RUN(TRY_TO_USER, code, "int $0x80", __VA_ARGS__); report(what); } while (0)
extern ulong try_arg;
extern ulong user_flags;
extern char user_stack[], kernel_stack[];

static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" :: "a"(v), "Nd"(port)); }
static inline uint8_t inb(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline ulong read_cr0(void) { ulong v; __asm__ volatile("mov %%cr0, %0" : "=r"(v)); return v; }
static inline ulong read_cr3(void) { ulong v; __asm__ volatile("mov %%cr3, %0" : "=r"(v)); return v; }
static inline ulong read_cr4(void) { ulong v; __asm__ volatile("mov %%cr4, %0" : "=r"(v)); return v; }
static inline void write_cr0(ulong v) { __asm__ volatile("mov %0, %%cr0" :: "r"(v) : "memory"); }
static inline void write_cr3(ulong v) { __asm__ volatile("mov %0, %%cr3" :: "r"(v) : "memory"); }
static inline void write_cr4(ulong v) { __asm__ volatile("mov %0, %%cr4" :: "r"(v) : "memory"); }
static inline void invlpg(volatile void *p) { __asm__ volatile("invlpg (%0)" :: "r"(p) : "memory"); }
static inline ulong read_flags(void) { ulong v; __asm__ volatile("pushf; pop %0" : "=r"(v)); return v; }
static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;
	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" :: "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

#endif
