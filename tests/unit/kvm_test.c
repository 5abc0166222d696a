/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Engine kvm against a KVM made of a table: each KVM_RUN takes the next of the
 * exits that a test has laid out, and what is set can be got.  So the engine's
 * manners are tested where there is no KVM, or one that will not break to order.
 */
#define FIXTURE_HAS_LAPICS
#include "board_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "engine/kvm/kvm.h"

struct step {
	int err;                          /* errno of KVM_RUN, or 0 */
	struct kvm_run run;               /* what it leaves, where err is 0 */
	void (*then)(void);
};

static struct {
	int dev, vm, vcpu;                /* descriptors that stand for KVM's */
	int open_errno, create_errno, api;
	const struct step *script;
	unsigned length, at, runs, with_immediate_exit;
	bool loop;
	uint64_t msr[4096];               /* by a hash of the number */
	uint8_t refused_msr;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug;
	struct kvm_mp_state mp;
	struct kvm_clock_data clock;
	int tsc_khz, tsc_control;
	int gone;                         /* errno of all that a vCPU is asked from now on */
	struct kvm_userspace_memory_region slot[64];
	struct kvm_ioeventfd bell[8];     /* those that are hung, by fd; 0 is none */
	unsigned bell_calls;
	uint64_t *dirty;
	unsigned probe_steps;
	int lacks[4], refuses;            /* capabilities */
	unsigned nmis, interrupts, out_of_turn;
	uint32_t vector;                  /* the last KVM_INTERRUPT */
	struct kvm_enable_cap enabled;    /* the last one */
	struct kvm_msr_filter filter;
	unsigned ring_resets;
} fake;

static struct kvm_run *run_page;

static uint64_t *fake_msr(uint32_t n) { return &fake.msr[(n ^ n >> 20) & 4095]; }

static int msrs(unsigned long request, struct kvm_msrs *m)
{
	for (unsigned i = 0; i < m->nmsrs; i++)
		if (request == KVM_GET_MSRS)
			m->entries[i].data = *fake_msr(m->entries[i].index);
		else
			*fake_msr(m->entries[i].index) = m->entries[i].data;
	return (int)m->nmsrs;
}

static int fake_run(void)
{
	fake.runs++;
	fake.with_immediate_exit += run_page->immediate_exit;
	if (run_page->immediate_exit) {
		errno = EINTR;
		return -1;
	}
	if (fake.at == fake.length && fake.loop)
		fake.at = 0;
	assert_true(fake.at < fake.length);
	const struct step *s = &fake.script[fake.at++];
	if (s->then)
		s->then();
	errno = s->err;
	if (s->err)
		return -1;
	uint8_t cr8 = (uint8_t)run_page->cr8;
	memcpy(run_page, &s->run, sizeof(*run_page));
	run_page->ready_for_interrupt_injection = s->run.exit_reason != KVM_EXIT_HLT || s->run.if_flag;
	run_page->apic_base = fake.sregs.apic_base;
	run_page->cr8 = s->run.cr8 ? s->run.cr8 : cr8;
	return 0;
}

static int copy(void *to, const void *from, size_t n) { memcpy(to, from, n); return 0; }

/* Queued, not delivered: only where KVM has said that it can be. */
static int interrupt(const struct kvm_interrupt *i)
{
	fake.interrupts++;
	fake.vector = i->irq;
	fake.out_of_turn += !run_page->ready_for_interrupt_injection;
	run_page->ready_for_interrupt_injection = 0;
	return 0;
}

static int vcpu_ioctl(unsigned long request, void *arg)
{
#define BOTH(NAME, field) \
	case KVM_GET_##NAME: return copy(arg, &fake.field, sizeof(fake.field)); \
	case KVM_SET_##NAME: return copy(&fake.field, arg, sizeof(fake.field));
	if (fake.gone) {
		errno = fake.gone;
		return -1;
	}
	switch (request) {
	BOTH(SREGS, sregs) BOTH(REGS, regs) BOTH(XSAVE, xsave) BOTH(XCRS, xcrs) BOTH(LAPIC, lapic)
	BOTH(VCPU_EVENTS, events) BOTH(DEBUGREGS, debug) BOTH(MP_STATE, mp)
	case KVM_GET_MSRS: case KVM_SET_MSRS: return msrs(request, arg);
	case KVM_RUN: return fake_run();
	case KVM_INTERRUPT: return interrupt(arg);
	case KVM_NMI: fake.nmis++; return 0;
	case KVM_GET_SREGS2: case KVM_GET_DEVICE_ATTR: errno = ENOTTY; return -1;
	}
	return 0;
}

static int ioeventfd(const struct kvm_ioeventfd *e)
{
	fake.bell_calls++;
	for (unsigned i = 0; i < ARRAY_SIZE(fake.bell); i++)
		if (e->flags & KVM_IOEVENTFD_FLAG_DEASSIGN ? fake.bell[i].fd == e->fd && fake.bell[i].addr == e->addr :
		    !fake.bell[i].fd) {
			fake.bell[i] = *e;
			if (e->flags & KVM_IOEVENTFD_FLAG_DEASSIGN)
				fake.bell[i] = (struct kvm_ioeventfd){ 0 };
			return 0;
		}
	errno = ENOENT;
	return -1;
}

static int vm_ioctl(unsigned long request, void *arg)
{
	struct kvm_userspace_memory_region *r = arg;
	struct kvm_dirty_log *log = arg;
	switch (request) {
	BOTH(CLOCK, clock)
	case KVM_GET_TSC_KHZ:
		return fake.tsc_khz;
	case KVM_CREATE_VCPU:
		return dup(fake.vcpu);
	case KVM_IOEVENTFD:
		return ioeventfd(arg);
	case KVM_ENABLE_CAP:
		copy(&fake.enabled, arg, sizeof(fake.enabled));
		errno = EINVAL;
		return fake.refuses && (int)fake.enabled.cap == fake.refuses ? -1 : 0;
	case KVM_RESET_DIRTY_RINGS:
		fake.ring_resets++;
		return 0;
	case KVM_X86_SET_MSR_FILTER:
		return copy(&fake.filter, arg, sizeof(fake.filter));
	case KVM_SET_USER_MEMORY_REGION:
		fake.slot[r->slot & 63] = *r;
		return 0;
	case KVM_GET_DIRTY_LOG:
		if (!(fake.slot[log->slot & 63].flags & KVM_MEM_LOG_DIRTY_PAGES)) {
			errno = ENOENT;
			return -1;
		}
		memcpy(log->dirty_bitmap, fake.dirty, fake.slot[log->slot & 63].memory_size / PAGE_SIZE / 8);
		memset(fake.dirty, 0, fake.slot[log->slot & 63].memory_size / PAGE_SIZE / 8);
		return 0;
	}
	return 0;
}

static int offered(int cap)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fake.lacks); i++)
		if (fake.lacks[i] == cap)
			return 0;
	return cap == KVM_CAP_DIRTY_LOG_RING ? 1 << 20 : 1;
}

static int dev_ioctl(unsigned long request, void *arg)
{
	switch (request) {
	case KVM_GET_API_VERSION: errno = ENOTTY; return fake.api;
	case KVM_CREATE_VM: errno = fake.create_errno; return fake.create_errno ? -1 : dup(fake.vm);
	case KVM_GET_VCPU_MMAP_SIZE: return 3 * 4096;
	case KVM_CHECK_EXTENSION: return (long)arg == KVM_CAP_TSC_CONTROL ? fake.tsc_control : offered((int)(long)arg);
	}
	return 0;
}

/* KVM's descriptors are files of this test; duplicates are told by their inode. */
static bool is(int fd, int which)
{
	struct stat a, b;
	return which >= 0 && !fstat(fd, &a) && !fstat(which, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	va_start(ap, request);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	if (is(fd, fake.vcpu))
		return vcpu_ioctl(request, arg);
	if (is(fd, fake.vm))
		return vm_ioctl(request, arg);
	if (is(fd, fake.dev))
		return dev_ioctl(request, arg);
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

int open(const char *path, int flags, ...)
{
	if (!strcmp(path, "/dev/kvm")) {
		errno = fake.open_errno;
		return fake.open_errno ? -1 : dup(fake.dev);
	}
	va_list ap;
	va_start(ap, flags);
	int mode = va_arg(ap, int);
	va_end(ap);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* --- a vCPU on it ----------------------------------------------------------------- */

static struct machine *m;
static struct kvm_vm vm;
static struct kvm_vcpu vcpu;
static struct vcpu *v;
static int log_file;

static int file(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	assert_true(fd >= 0 && !ftruncate(fd, 3 * 4096));
	return fd;
}

static void no_timer(void *opaque) { }

static int setup(void **unused)
{
	memset(&fake, 0, sizeof(fake));
	fake.dev = file("dev");
	fake.vm = file("vm");
	fake.vcpu = file("vcpu");
	fake.api = KVM_API_VERSION;
	m = fixture_new(4 * MiB);
	fixture_controllers(m);
	run_page = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fake.vcpu, 0);
	vm = (struct kvm_vm){ .dev = fake.dev, .fd = fake.vm, .machine = m, .tsc_exact = true,
			       .apic = KVM_APIC_KERNEL };
	pthread_mutex_init(&vm.lock, NULL);
	vcpu = (struct kvm_vcpu){ .fd = fake.vcpu, .run = run_page, .vm = &vm };
	v = &fx.vcpu;
	v->memory = m->memory;
	v->ports = m->ports;
	v->model = m->model = x86_model_find("abyme-v2.1", NULL);
	v->engine_data = &vcpu;
	m->engine_data = &vm;
	clock_timer_init(&v->apic_timer, m->clock, no_timer, v);
	lapic_reset(v, false);
	fake.sregs.apic_base = run_page->apic_base = v->cpu.lapic.base;
	log_file = memfd_create("log", MFD_CLOEXEC);
	log_setup(log_file, LOG_WARN);
	return 0;
}

static int teardown(void **unused)
{
	munmap(run_page, 3 * 4096);
	fixture_free(m);
	log_setup(2, LOG_WARN);
	close(log_file);
	close(fake.dev);
	close(fake.vm);
	close(fake.vcpu);
	free(fake.dirty);
	return 0;
}

static void script(const struct step *s, unsigned n, bool loop)
{
	fake.script = s;
	fake.length = n;
	fake.loop = loop;
	fake.at = fake.runs = 0;
}
#define SCRIPT(...) static const struct step steps[] = { __VA_ARGS__ }; script(steps, ARRAY_SIZE(steps), false)

static void stop(void) { atomic_fetch_or(&v->requests, REQ_STOP); }

static bool logged(const char *what)
{
	char text[4096] = "";
	ssize_t n = pread(log_file, text, sizeof(text) - 1, 0);
	return n > 0 && strstr(text, what);
}

static unsigned port_writes;
static uint64_t port_read(void *opaque, uint64_t at, unsigned size) { return 0x55; }
static void port_write(void *opaque, uint64_t at, uint64_t value, unsigned size) { port_writes++; }
static const struct io_ops port_ops = { port_read, port_write, 1, 4 };

#define IO_EXIT(dir) { .exit_reason = KVM_EXIT_IO, \
		       .io = { .direction = dir, .size = 1, .port = 0x7000, .count = 1, .data_offset = 4096 } }

/* --- manners of the run loop --------------------------------------------------------- */

/* An IN is complete only after the next entry: not before that may the vCPU stop. */
static void finishes_an_access_before_it_stops(void **unused)
{
	memory_add_io(m->ports, "port", 0x7000, 1, 0, &port_ops, NULL);
	SCRIPT({ .run = IO_EXIT(KVM_EXIT_IO_IN), .then = stop });
	assert_int_equal(kvm_run_vcpu(v), EXIT_STOP);
	assert_int_equal(fake.runs, 2);
	assert_int_equal(fake.with_immediate_exit, 1);
	assert_int_equal(((uint8_t *)run_page)[4096], 0x55);
	/* and without one it stops at once */
	assert_int_equal(kvm_run_vcpu(v), EXIT_STOP);
	assert_int_equal(fake.runs, 2);
}

/* What the page says of the exit before must not be done again. */
static void an_interrupted_entry_is_no_exit(void **unused)
{
	memory_add_io(m->ports, "port", 0x7000, 1, 0, &port_ops, NULL);
	port_writes = 0;
	SCRIPT({ .run = IO_EXIT(KVM_EXIT_IO_OUT) }, { .err = EINTR }, { .err = EINTR }, { .err = EAGAIN },
	       { .err = EINTR, .then = stop });
	assert_int_equal(kvm_run_vcpu(v), EXIT_STOP);
	assert_int_equal(port_writes, 1);
}

static void a_storm_of_signals_ends(void **unused)
{
	static const struct step signal[] = { { .err = EINTR } };
	script(signal, 1, true);
	assert_int_equal(kvm_run_vcpu(v), EXIT_ERROR);
	assert_non_null(strstr(v->error.text, "signals interrupt"));
	assert_true(logged("rip"));
}

static void request(void) { atomic_fetch_or(&v->requests, REQ_INTERRUPT); }
static unsigned kicks_left;
static void kick_or_stop(void) { (kicks_left-- ? request : stop)(); }

/* Kicks come with requests: a million of them are no storm. */
static void kicks_are_no_storm(void **unused)
{
	static const struct step kick[] = { { .err = EINTR, .then = kick_or_stop } };
	kicks_left = 1000000;
	script(kick, 1, true);
	assert_int_equal(kvm_run_vcpu(v), EXIT_STOP);
}

static void gives_up_with(const struct step *s, const char *words)
{
	fake.regs.rip = 0xfeedface;
	script(s, 1, false);
	assert_int_equal(kvm_run_vcpu(v), EXIT_ERROR);
	if (!strstr(v->error.text, words))
		fail_msg("'%s' is not in: %s", words, v->error.text);
	assert_null(strchr(v->error.text, '\n'));
	assert_non_null(strstr(v->error.text, "engine jit"));
	assert_true(logged("rip feedface") && logged("cr3"));
	assert_false(ftruncate(log_file, 0) || lseek(log_file, 0, SEEK_SET));
}

static void ends_that_kvm_makes(void **unused)
{
	static const struct { struct step step; const char *words; } ends[] = {
		{ { .err = ENODEV }, "No such device" },
		{ { .err = EFAULT }, "Bad address" },
		{ { .run = { .exit_reason = KVM_EXIT_INTERNAL_ERROR, .internal = { .suberror = 1, .ndata = 2,
			.data = { 0xabcd, 2 } } } }, "internal error" },
		{ { .run = { .exit_reason = KVM_EXIT_INTERNAL_ERROR, .internal = { .suberror = 3, .ndata = 1000 } } },
		  "internal error" },
		{ { .run = { .exit_reason = KVM_EXIT_FAIL_ENTRY, .fail_entry = { 0x80000021 } } }, "refused the entry" },
		{ { .run = { .exit_reason = KVM_EXIT_HYPERCALL } }, "HYPERCALL" },
		{ { .run = { .exit_reason = KVM_EXIT_SYSTEM_EVENT } }, "SYSTEM_EVENT" },
		{ { .run = { .exit_reason = KVM_EXIT_X86_BUS_LOCK } }, "X86_BUS_LOCK" },
		{ { .run = { .exit_reason = KVM_EXIT_NOTIFY } }, "NOTIFY" },
		{ { .run = { .exit_reason = 4711 } }, "4711" },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++)
		gives_up_with(&ends[i].step, ends[i].words);
}

/* The device with all that was in it: even then a sentence, and an end. */
static void the_device_vanishes(void **unused)
{
	fake.gone = ENODEV;
	assert_int_equal(kvm_run_vcpu(v), EXIT_ERROR);
	assert_non_null(strstr(v->error.text, "No such device"));
	assert_non_null(strstr(v->error.text, "lost with it"));
	assert_true(logged("does not give its registers: No such device"));
}

static void a_triple_fault_is_a_shutdown(void **unused)
{
	SCRIPT({ .run = { .exit_reason = KVM_EXIT_SHUTDOWN } });
	assert_int_equal(kvm_run_vcpu(v), EXIT_SHUTDOWN);
}

/* --- local APICs in user space -------------------------------------------------------- */

enum { SPLIT = KVM_CAP_SPLIT_IRQCHIP, USER_MSR = KVM_CAP_X86_USER_SPACE_MSR, FILTER = KVM_CAP_X86_MSR_FILTER };

static void whose_apics(void **unused)
{
	static const struct {
		const char *words;
		int lacks[4], refuses;
		enum kvm_apic apic;       /* ANY: none, because */
		const char *because;
	} choice[] = {
		{ NULL, { 0 }, 0, KVM_APIC_KERNEL, NULL },
		{ "apic=kernel", { 0 }, 0, KVM_APIC_KERNEL, NULL },
		{ "apic=user", { 0 }, 0, KVM_APIC_USER, NULL },
		{ "", { SPLIT }, 0, KVM_APIC_USER, NULL },
		{ NULL, { KVM_CAP_SIGNAL_MSI }, 0, KVM_APIC_USER, NULL },
		{ NULL, { 0 }, SPLIT, KVM_APIC_USER, NULL },
		{ NULL, { USER_MSR, FILTER }, 0, KVM_APIC_KERNEL, NULL },
		{ "apic=kernel", { SPLIT }, 0, KVM_APIC_ANY, "lacks the split interrupt controller" },
		{ "apic=kernel", { 0 }, SPLIT, KVM_APIC_ANY, "cannot create its interrupt controllers" },
		{ NULL, { USER_MSR }, SPLIT, KVM_APIC_ANY, "cannot create its interrupt controllers" },
		{ NULL, { SPLIT, FILTER }, 0, KVM_APIC_ANY, "lacks the split interrupt controller" },
		{ "apic=user", { USER_MSR }, 0, KVM_APIC_ANY, "lacks MSRs in user space" },
		{ "apic=user", { FILTER }, 0, KVM_APIC_ANY, "lacks a filter of MSRs" },
		{ "apic=user", { 0 }, USER_MSR, KVM_APIC_ANY, "does not leave the local APICs" },
		{ "apic=user", { KVM_CAP_XSAVE }, 0, KVM_APIC_ANY, "lacks XSAVE" },
		{ "apic=both", { 0 }, 0, KVM_APIC_ANY, "has no option 'apic=both'" },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(choice); i++) {
		struct error err = { 0 };
		enum kvm_apic asked;
		memcpy(fake.lacks, choice[i].lacks, sizeof(fake.lacks));
		fake.refuses = choice[i].refuses;
		vm.apic = KVM_APIC_ANY;
		bool ok = kvm_options(choice[i].words, &asked, &err) && kvm_create_apics(&vm, asked, &err);
		assert_int_equal(ok, choice[i].apic != KVM_APIC_ANY);
		assert_int_equal(vm.apic, choice[i].apic);
		if (!ok && !strstr(err.text, choice[i].because))
			fail_msg("'%s' is not in: %s", choice[i].because, err.text);
		assert_int_equal(kvm_options_ok(choice[i].words, NULL), i != ARRAY_SIZE(choice) - 1);
	}
}

/* The deadline's MSR and what KVM refuses come out; all else stays KVM's. */
static void lets_msrs_come_out(void **unused)
{
	struct error err;
	assert_true(kvm_create_apics(&vm, KVM_APIC_USER, &err));
	assert_int_equal(fake.enabled.cap, USER_MSR);
	assert_int_equal(fake.enabled.args[0], KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_FILTER);
	assert_true(fake.filter.flags == KVM_MSR_FILTER_DEFAULT_ALLOW && !fake.filter.ranges[1].nmsrs);
	assert_true(fake.filter.ranges[0].base == 0x6e0 && fake.filter.ranges[0].nmsrs == 1);
}

static void user_apic(uint32_t index)
{
	vm.apic = KVM_APIC_USER;
	v->index = index;
	lapic_reset(v, false);
	v->cpu.lapic.svr = 0x1ff;
	v->cpu.activity = CPU_RUNNING;
	fake.sregs.apic_base = run_page->apic_base = v->cpu.lapic.base;
}

#define WINDOW { .exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN, .if_flag = 1 }
#define HLT(interrupts) { .exit_reason = KVM_EXIT_HLT, .if_flag = interrupts }
#define APIC(at, writes, ...) { .exit_reason = KVM_EXIT_MMIO, .mmio = { .phys_addr = 0xfee00000 + (at), .len = 4, \
				.is_write = writes, .data = { __VA_ARGS__ } } }

static bool in_service(unsigned vector) { return v->cpu.lapic.isr[vector / 32] >> (vector % 32) & 1; }

/* A vector waits for its window; the next one for the end of the first, or a lower TPR. */
static void vectors_go_in_by_priority(void **unused)
{
	user_apic(0);
	lapic_post(v, 0x61, false);
	lapic_post(v, 0x45, false);
	SCRIPT({ .run = WINDOW }, { .run = WINDOW }, { .run = APIC(0xb0, 1, 0) }, { .run = WINDOW, .then = stop });
	assert_int_equal(kvm_run_vcpu(v), EXIT_STOP);
	assert_int_equal(fake.out_of_turn, 0);
	assert_true(fake.interrupts == 2 && fake.vector == 0x45);
	assert_true(in_service(0x45) && !in_service(0x61));
}

static void tpr_is_five(void) { assert_int_equal(run_page->cr8, 5); }
static void tpr_is_three(void) { assert_int_equal(run_page->cr8, 3); }

/* CR8 goes in and out with the page of the run, and what it holds back is not offered. */
static void cr8_is_the_tpr(void **unused)
{
	user_apic(0);
	v->cpu.lapic.tpr = 0x57;
	lapic_post(v, 0x45, false);
	SCRIPT({ .run = { .exit_reason = KVM_EXIT_INTR, .if_flag = 1 }, .then = tpr_is_five },
	       { .run = { .exit_reason = KVM_EXIT_SET_TPR, .if_flag = 1, .cr8 = 3 }, .then = tpr_is_five },
	       { .run = { .exit_reason = KVM_EXIT_INTR }, .then = tpr_is_three }, { .err = EINTR, .then = stop });
	assert_int_equal(kvm_run_vcpu(v), EXIT_STOP);
	assert_true(fake.interrupts == 1 && fake.vector == 0x45);
	assert_int_equal(v->cpu.lapic.tpr, 0x30);
}

/* HLT is ours: out, until something that it waits for is there. */
static void halts_outside(void **unused)
{
	user_apic(0);
	SCRIPT({ .run = HLT(1) }, { .run = HLT(0) }, { .run = HLT(0), .then = stop });
	assert_int_equal(kvm_run_vcpu(v), EXIT_HALT);
	assert_int_equal(v->cpu.activity, CPU_HALTED);
	assert_false(vcpu_has_work(v));
	assert_int_equal(kvm_run_vcpu(v), EXIT_HALT);
	assert_int_equal(fake.runs, 1);
	lapic_post(v, 0x45, false);
	assert_true(vcpu_has_work(v));
	assert_int_equal(kvm_run_vcpu(v), EXIT_HALT);           /* the second, with IF=0 */
	assert_true(fake.runs == 2 && fake.vector == 0x45);
	lapic_post(v, 0x61, false);
	fake.events.nmi.masked = 1;
	assert_false(vcpu_has_work(v));
	lapic_post_nmi(v);
	assert_true(vcpu_has_work(v));                          /* it was not masked at the HLT */
	assert_int_equal(kvm_run_vcpu(v), EXIT_STOP);
	assert_true(fake.nmis == 1 && fake.interrupts == 1);
	assert_true(v->cpu.activity == CPU_HALTED && v->cpu.nmi_blocked);
}

/* An NMI that KVM could not deliver yet is the local APIC's again, once. */
static void an_nmi_comes_back(void **unused)
{
	struct error err;
	user_apic(0);
	fake.events.nmi.pending = fake.events.nmi.masked = 1;
	assert_true(kvm_state_get(v, &err) && kvm_state_get(v, &err));
	assert_true(v->cpu.lapic.pending_nmi && !fake.events.nmi.pending && fake.events.nmi.masked);
	assert_true(kvm_state_set(v, &err));
	assert_false(fake.events.nmi.pending);
}

static void registers_by_mmio(void **unused)
{
	user_apic(3);
	v->cpu.lapic.id = 3;
	SCRIPT({ .run = APIC(0xf0, 1, 0xff, 1) }, { .run = APIC(0x20, 0), .then = stop });
	assert_int_equal(kvm_run_vcpu(v), EXIT_STOP);
	assert_int_equal(v->cpu.lapic.svr, 0x1ff);
	assert_int_equal(le32_get(run_page->mmio.data), 3u << 24);
	assert_int_equal(fake.with_immediate_exit, 1);          /* the read is completed */
}

static uint8_t msr_errors[4];
static uint64_t msr_values[4];
static unsigned msr_exits;
static void note_msr(void)
{
	msr_errors[msr_exits] = run_page->msr.error;
	msr_values[msr_exits++] = run_page->msr.data;
}

static void registers_by_msr(void **unused)
{
	enum { RD = KVM_EXIT_X86_RDMSR, WR = KVM_EXIT_X86_WRMSR };
	user_apic(0);
	v->cpu.lapic.base |= 0x400;
	fake.sregs.apic_base = v->cpu.lapic.base;
	v->cpu.lapic.lvt[LVT_TIMER] = 0x40030;
	clock_set(m->clock, 1000);
	msr_exits = 0;
	SCRIPT({ .run = { .exit_reason = WR, .msr = { .index = 0x808, .data = 0x20 } } },
	       { .run = { .exit_reason = RD, .msr = { .index = 0x808 } }, .then = note_msr },
	       { .run = { .exit_reason = RD, .msr = { .index = 0x1b } }, .then = note_msr },
	       { .run = { .exit_reason = WR, .msr = { .index = 0x6e0, .data = 5000 } }, .then = note_msr },
	       { .err = EINTR, .then = stop });
	assert_int_equal(kvm_run_vcpu(v), EXIT_STOP);
	note_msr();
	assert_true(!msr_errors[0] && !msr_errors[1] && msr_values[1] == 0x20);
	assert_true(msr_errors[2] && !msr_errors[3]);            /* the base is KVM's to refuse */
	assert_int_equal(v->cpu.lapic.tsc_deadline, 5000);
	assert_int_equal(v->apic_timer.deadline, 5001);
}

static void pend_init(void)
{
	lapic_post_init(v);
	lapic_post_sipi(v, 9);
}
static void started(void)
{
	assert_true(fake.regs.rip == 0 && fake.sregs.cs.base == 0x9000 && fake.sregs.cs.selector == 0x900);
	stop();
}

/* An INIT waits until the access to a port that it came in is whole: that would move RIP. */
static void init_and_start_up(void **unused)
{
	memory_add_io(m->ports, "port", 0x7000, 1, 0, &port_ops, NULL);
	user_apic(1);
	fake.regs.rip = 0x1234;
	SCRIPT({ .run = IO_EXIT(KVM_EXIT_IO_IN), .then = pend_init }, { .err = EINTR, .then = started });
	fake.runs = fake.with_immediate_exit = 0;
	assert_int_equal(kvm_run_vcpu(v), EXIT_STOP);
	assert_int_equal(fake.with_immediate_exit, 1);
	assert_int_equal(fake.runs, 3);
	assert_int_equal(v->cpu.activity, CPU_RUNNING);
	/* a running one takes no start-up IPI; without one it waits */
	lapic_post_sipi(v, 7);
	static const struct step again[] = { { .run = { .exit_reason = KVM_EXIT_INTR }, .then = started } };
	script(again, 1, false);
	atomic_store(&v->requests, 0);
	assert_int_equal(kvm_run_vcpu(v), EXIT_STOP);
	lapic_post_init(v);
	atomic_store(&v->requests, 0);
	assert_int_equal(kvm_run_vcpu(v), EXIT_HALT);
	assert_int_equal(v->cpu.activity, CPU_WAIT_SIPI);
	assert_int_equal(fake.regs.rip, 0xfff0);
}

/* --- state ---------------------------------------------------------------------------- */

static void fill(void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = (uint8_t)(i * 151 + 7);
}

static void random_cpu(struct x86_cpu *c)
{
	x86_cpu_reset(c, v->model, false);
	fill(c->gpr, sizeof(c->gpr));
	c->rip = 0xffffffff81000000;
	c->rflags = 0x246;
	for (unsigned i = 0; i < 6; i++)
		c->seg[i] = (struct x86_seg){ (uint16_t)(i * 8), 0xa09b, 0xfffff + i, 0x1000 * i };
	c->cr0 = CR0_PE | CR0_PG | CR0_WP;
	c->cr2 = 0x1234;
	c->cr3 = 0x5000;
	c->cr4 = CR4_PAE | CR4_PGE;
	c->efer = EFER_LME | EFER_LMA | EFER_NXE;
	c->star = 1; c->lstar = 2; c->cstar = 3; c->sfmask = 4; c->kernel_gs_base = 5;
	c->sysenter_cs = 6; c->sysenter_esp = 7; c->sysenter_eip = 8; c->tsc_adjust = 9; c->tsc_aux = 10; c->kvm_eoi = 0x5001;
	fill(c->mtrr_base, sizeof(c->mtrr_base));
	fill(c->mc_bank, sizeof(c->mc_bank));
	fill(c->xsave.xmm, sizeof(c->xsave.xmm));
	fill(c->xsave.ymmh, sizeof(c->xsave.ymmh));
	c->xsave.xstate_bv = 7;
	c->xcr0 = 7;
	c->dr[0] = 0x100; c->dr[6] = 0xffff0ff0; c->dr[7] = 0x400;
	c->lapic.base = 0xfee00900;
	c->lapic.svr = 0x1ff;
	c->lapic.lvt[LVT_TIMER] = 0x200ec;
	c->lapic.isr[2] = 0x10; c->lapic.irr[3] = 0x8000; c->lapic.tmr[1] = 2;
	c->lapic.timer_initial = 1000000; c->lapic.timer_divide = 0xb;
	c->activity = CPU_HALTED;
	c->nmi_blocked = 1;
	c->int_shadow = 2;
}

static void state_comes_back(void **unused)
{
	struct x86_cpu before;
	struct error err;
	random_cpu(&v->cpu);
	clock_set(m->clock, 400000);
	v->cpu.lapic.timer_start = 100000;
	before = v->cpu;
	assert_true(kvm_state_set(v, &err));
	x86_cpu_reset(&v->cpu, v->model, false);
	memset(&v->cpu.lapic, 0, sizeof(v->cpu.lapic));
	assert_true(kvm_state_get(v, &err));
	const struct x86_cpu *c = &v->cpu;
#define SAME(field) assert_memory_equal(&c->field, &before.field, sizeof(c->field))
	SAME(gpr); SAME(rip); SAME(rflags); SAME(cr0); SAME(cr2); SAME(cr3); SAME(cr4); SAME(efer); SAME(dr);
	SAME(star); SAME(lstar); SAME(sfmask); SAME(kernel_gs_base); SAME(sysenter_eip); SAME(tsc_adjust); SAME(kvm_eoi);
	SAME(mtrr_base); SAME(mc_bank); SAME(xsave.xmm); SAME(xsave.ymmh); SAME(xcr0);
	SAME(activity); SAME(int_shadow); SAME(nmi_blocked);
	SAME(lapic.isr); SAME(lapic.irr); SAME(lapic.tmr); SAME(lapic.lvt); SAME(lapic.svr);
	SAME(lapic.timer_initial); SAME(lapic.timer_divide);
	for (unsigned i = 0; i < 6; i++)
		assert_true(c->seg[i].base == before.seg[i].base && c->seg[i].limit == before.seg[i].limit);
	/* the count had 700000 left */
	assert_int_equal(c->lapic.timer_start, 100000);
}

/* The local APIC stays ours: KVM has none to set or get, and no run state but running. */
static void state_without_kvms_apic(void **unused)
{
	struct error err;
	user_apic(0);
	random_cpu(&v->cpu);
	v->cpu.activity = CPU_HALTED;
	v->cpu.lapic.pending_nmi = 1;
	struct x86_lapic before = v->cpu.lapic;
	run_page->ready_for_interrupt_injection = 1;
	assert_true(kvm_state_set(v, &err));
	assert_false(run_page->ready_for_interrupt_injection);    /* it was true of another state */
	assert_false(fake.events.nmi.pending);
	assert_true(fake.lapic.regs[0xf0] == 0 && fake.mp.mp_state == KVM_MP_STATE_RUNNABLE);
	v->cpu.gpr[RBX] = 0;
	assert_true(kvm_state_get(v, &err));
	assert_memory_equal(&v->cpu.lapic, &before, sizeof(before));
	assert_true(v->cpu.activity == CPU_HALTED && v->cpu.gpr[RBX]);
}

/* KVM keeps an expired timer's interrupt where nobody sees it: it must not be lost. */
static void an_expired_one_shot_is_pending(void **unused)
{
	struct error err;
	random_cpu(&v->cpu);
	assert_true(kvm_state_set(v, &err));
	le32_put(fake.lapic.regs + 0x320, 0xec);      /* one-shot, vector 0xec */
	le32_put(fake.lapic.regs + 0x390, 0);         /* nothing left */
	le32_put(fake.lapic.regs + 0x270, 0);
	assert_true(kvm_state_get(v, &err));
	assert_int_equal(v->cpu.lapic.irr[7], 1u << 12);
	le32_put(fake.lapic.regs + 0x320, 0x100ec);   /* masked: nothing to be lost */
	assert_true(kvm_state_get(v, &err));
	assert_int_equal(v->cpu.lapic.irr[7], 0);
	le32_put(fake.lapic.regs + 0x320, 0xec);
	le32_put(fake.lapic.regs + 0x380, 0);         /* never started */
	assert_true(kvm_state_get(v, &err));
	assert_int_equal(v->cpu.lapic.irr[7], 0);
}

/* The rate of the TSC is promised only where KVM can keep it. */
static void promises_no_rate_it_cannot_keep(void **unused)
{
	static const struct { int khz, control; bool exact; } host[] = {
		{ 2600000, 1, true }, { 2600000, 0, false }, { 1000249, 0, true }, { 999749, 0, false }, { 0, 0, false },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(host); i++) {
		fake.tsc_khz = host[i].khz;
		fake.tsc_control = host[i].control;
		machine_set_model(m, x86_model_find("abyme-v2.1", NULL));
		kvm_choose_tsc(m);
		assert_int_equal(vm.tsc_exact, host[i].exact);
		assert_string_equal(m->model->name, host[i].exact ? "abyme-v2.1" : "abyme-v2.1-kvmclock");
		assert_ptr_equal(m->vcpus[0]->model, m->model);
	}
}

/* Machine time goes on where KVM's had been, never before. */
static void time_does_not_go_back(void **unused)
{
	clock_set(m->clock, 5000);
	fake.clock.clock = 7000;
	kvm_time_stopped(m);
	assert_int_equal(clock_now(m->clock), 7000);
	fake.clock.clock = 6000;
	kvm_time_stopped(m);
	assert_int_equal(clock_now(m->clock), 7000);
	v->cpu.tsc_offset = 100;
	*fake_msr(0x10) = 1;
	kvm_time_goes_on(m);
	assert_int_equal(*fake_msr(0x10), 7100);      /* the model's TSC runs at 1 GHz */
	assert_int_equal(fake.clock.clock, 7000);
}

static unsigned kvm_slot_at(uint64_t gpa, uint64_t size)
{
	unsigned n = 0;
	while (fake.slot[n].guest_phys_addr != gpa || fake.slot[n].memory_size != size)
		assert_true(++n < ARRAY_SIZE(fake.slot));
	return n;
}

/* Stores of vCPUs are in the kernel's log only, those of devices in ours: both count. */
static void dirty_pages_are_known(void **unused)
{
	struct memory_hooks hooks = { .opaque = &vm, .log_dirty = kvm_log_dirty, .collect_dirty = kvm_collect_dirty };
	uint64_t bitmap[4 * MiB / PAGE_SIZE / 64];
	struct ram_slot *ram = m->ram_low;
	fake.dirty = xcalloc(ARRAY_SIZE(bitmap), 8);
	memory_set_hooks(m->memory, &hooks);
	kvm_slots_update(&vm);
	unsigned n = kvm_slot_at(0, 4 * MiB);
	assert_int_equal(fake.slot[n].flags, 0);
	memory_dirty_start(m->memory, ram, DIRTY_SAVE);
	assert_int_equal(fake.slot[n].flags, KVM_MEM_LOG_DIRTY_PAGES);
	memory_dirty_harvest(m->memory, ram, DIRTY_SAVE, bitmap);
	for (unsigned i = 0; i < ARRAY_SIZE(bitmap); i++)
		assert_true(!bitmap[i]);
	fake.dirty[3] = 1ull << 63 | 1;                     /* pages 192 and 255: a vCPU */
	memory_write(m->memory, 5 * PAGE_SIZE + 1, "x", 1); /* page 5: a device */
	memory_dirty_harvest(m->memory, ram, DIRTY_SAVE, bitmap);
	assert_true(bitmap[0] == 1 << 5 && bitmap[3] == (1ull << 63 | 1) && !bitmap[1] && !bitmap[15]);
	memory_dirty_harvest(m->memory, ram, DIRTY_SAVE, bitmap);
	assert_true(!bitmap[0] && !bitmap[3]);
	memory_dirty_stop(m->memory, ram, DIRTY_SAVE);
	assert_int_equal(fake.slot[n].flags, 0);
}

/* What KVM's vCPU has put into its ring. */
static void in_ring(unsigned n, uint32_t slot, uint64_t page)
{
	vcpu.ring[n % 1024] = (struct kvm_dirty_gfn){ .flags = KVM_DIRTY_GFN_F_DIRTY, .slot = slot, .offset = page };
}

static void fill_ring_then_stop(void)
{
	unsigned n = kvm_slot_at(0, 4 * MiB);
	for (unsigned i = 0; i < 3; i++)
		in_ring(1022 + i, n, 64 + i);                  /* over its end */
	stop();
}

/* With rings: in order, each entry once, what names no page of ours is passed over. */
static void rings_tell_what_is_dirty(void **unused)
{
	struct memory_hooks hooks = { .opaque = &vm, .log_dirty = kvm_log_dirty, .collect_dirty = kvm_collect_dirty };
	uint64_t bitmap[4 * MiB / PAGE_SIZE / 64];
	struct ram_slot *ram = m->ram_low;
	struct error err;
	assert_false(ftruncate(fake.vcpu, (64 + 4) * PAGE_SIZE));
	kvm_rings_enable(&vm);
	assert_true(vm.ring_size == 16384 && fake.enabled.cap == KVM_CAP_DIRTY_LOG_RING && fake.enabled.args[0] == 16384);
	assert_true(kvm_ring_map(&vcpu, &err));
	memory_set_hooks(m->memory, &hooks);
	kvm_slots_update(&vm);
	unsigned n = kvm_slot_at(0, 4 * MiB);
	memory_dirty_start(m->memory, ram, DIRTY_DISPLAY);
	vcpu.ring_next = 1018;
	in_ring(1018, n, 7);
	in_ring(1019, n, 4 * MiB / PAGE_SIZE);                  /* not in the slot */
	in_ring(1020, n + 1, 9);                                /* no slot */
	in_ring(1021, n | 1 << 16, 10);                         /* another address space's */
	memory_dirty_harvest(m->memory, ram, DIRTY_DISPLAY, bitmap);
	assert_true(bitmap[0] == 1 << 7 && !bitmap[1] && fake.ring_resets == 1);
	assert_int_equal(vcpu.ring[1018].flags, KVM_DIRTY_GFN_F_RESET);
	assert_int_equal(vcpu.ring_next, 1022);
	SCRIPT({ .run = { .exit_reason = KVM_EXIT_DIRTY_RING_FULL }, .then = fill_ring_then_stop });
	assert_int_equal(kvm_run_vcpu(v), EXIT_STOP);
	assert_true(fake.ring_resets == 2 && vcpu.ring_next == 1025);
	memory_dirty_harvest(m->memory, ram, DIRTY_DISPLAY, bitmap);
	assert_true(!bitmap[0] && bitmap[1] == 7);
	kvm_ring_unmap(&vcpu);
}

static void no_rings_where_kvm_has_none(void **unused)
{
	fake.lacks[0] = KVM_CAP_DIRTY_LOG_RING;
	kvm_rings_enable(&vm);
	assert_int_equal(vm.ring_size, 0);
	fake.lacks[0] = 0;
	fake.refuses = KVM_CAP_DIRTY_LOG_RING;
	kvm_rings_enable(&vm);
	assert_int_equal(vm.ring_size, 0);
}

/* Video memory alone is logged; where a BAR moves, what KVM had logged is lost: all counts. */
static void the_log_survives_a_move(void **unused)
{
	struct memory_hooks hooks = { .opaque = &vm, .log_dirty = kvm_log_dirty, .collect_dirty = kvm_collect_dirty };
	uint64_t bitmap[1];
	struct ram_slot *video = memory_add_hidden(m->memory, "video", 0x800000, 64 * PAGE_SIZE, NULL);
	struct mem_region *bar = memory_add_alias(m->memory, "bar", 0xe0000000, video->size, 1, false, video, 0);
	fake.dirty = xcalloc(4 * MiB / PAGE_SIZE / 64, 8);
	memory_set_hooks(m->memory, &hooks);
	kvm_slots_update(&vm);
	memory_dirty_start(m->memory, video, DIRTY_DISPLAY);
	assert_int_equal(fake.slot[kvm_slot_at(0xe0000000, video->size)].flags, KVM_MEM_LOG_DIRTY_PAGES);
	assert_int_equal(fake.slot[kvm_slot_at(0, 4 * MiB)].flags, 0);
	fake.dirty[0] = 4;
	memory_dirty_harvest(m->memory, video, DIRTY_DISPLAY, bitmap);
	assert_int_equal(bitmap[0], 4);
	mem_region_set(m->memory, bar, true, 0xe8000000);
	kvm_slots_update(&vm);
	assert_int_equal(fake.slot[kvm_slot_at(0xe8000000, video->size)].flags, KVM_MEM_LOG_DIRTY_PAGES);
	memory_dirty_harvest(m->memory, video, DIRTY_DISPLAY, bitmap);
	assert_true(bitmap[0] == UINT64_MAX);
}

/* --- bells --------------------------------------------------------------------------- */

static const struct kvm_ioeventfd *hung(int fd)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fake.bell); i++)
		if (fake.bell[i].fd == fd)
			return &fake.bell[i];
	return NULL;
}

/* ioeventfds are where the view shows the bells: they move with a BAR and go with it. */
static void bells_are_where_the_view_shows_them(void **unused)
{
	static const struct mem_bell bells[] = { { .offset = 0, .fd = 100 }, { .offset = 8, .size = 4, .value = 7, .fd = 101 } };
	struct mem_region *r = memory_add_io(m->memory, "bar", 0xe0000000, 0x1000, 1, &port_ops, NULL);
	mem_region_bells(m->memory, r, bells, 2);
	kvm_slots_update(&vm);
	assert_null(hung(100));                       /* this KVM wants a size */
	assert_true(hung(101) && hung(101)->addr == 0xe0000008 && hung(101)->len == 4);
	assert_true(hung(101)->datamatch == 7 && hung(101)->flags == KVM_IOEVENTFD_FLAG_DATAMATCH);
	vm.bells_any_size = true;
	kvm_slots_update(&vm);
	assert_true(hung(100) && hung(100)->addr == 0xe0000000 && !hung(100)->len && !hung(100)->flags);
	unsigned calls = fake.bell_calls;
	kvm_slots_update(&vm);
	assert_int_equal(fake.bell_calls, calls);     /* nothing has changed */
	mem_region_set(m->memory, r, true, 0xe8000000);
	kvm_slots_update(&vm);
	assert_true(hung(100)->addr == 0xe8000000 && hung(101)->addr == 0xe8000008);
	memory_add_io(m->memory, "over", 0xe8000000, 8, 2, &port_ops, NULL);
	kvm_slots_update(&vm);
	assert_true(!hung(100) && hung(101));         /* covered: a store there is another device's */
	mem_region_set(m->memory, r, false, 0xe8000000);
	kvm_slots_update(&vm);
	assert_true(!hung(100) && !hung(101) && !vm.nbells);
}

/* --- is it usable? ---------------------------------------------------------------------- */

static void no_because(const char *words)
{
	struct error err = { 0 };
	assert_false(kvm_probe(&err));
	if (!strstr(err.text, words))
		fail_msg("'%s' is not in: %s", words, err.text);
	assert_null(strchr(err.text, '\n'));
}

/* How far the probe's program comes, and how it ends. */
static struct step probe_script[16];
static void probe_reaches(unsigned steps, struct step end)
{
	for (unsigned i = 0; i < steps; i++)
		probe_script[i] = (struct step){ .run = { .exit_reason = KVM_EXIT_IO, .io = { .direction = 1, .size = 1,
			.port = 0x80, .count = 1, .data_offset = offsetof(struct kvm_run, padding) + 64 + i } } };
	probe_script[steps] = end;
	script(probe_script, steps + 1, false);
	for (unsigned i = 0; i < steps; i++)          /* the port's data: step i + 1 */
		for (unsigned k = 0; k <= steps; k++)
			probe_script[k].run.padding[64 + i] = (uint8_t)(i + 1);
}

static void answers_of_the_probe(void **unused)
{
	struct error err;
	fake.open_errno = ENOENT;
	no_because("/dev/kvm is absent");
	fake.open_errno = EACCES;
	no_because("may not be opened by this user");
	fake.open_errno = ENODEV;
	no_because("is there but dead");
	fake.open_errno = EMFILE;
	no_because("cannot open /dev/kvm");
	fake.open_errno = 0;
	fake.api = 11;
	no_because("version 11");
	fake.api = -1;
	no_because("it is not KVM");
	fake.api = KVM_API_VERSION;
	fake.create_errno = EBUSY;
	no_because("another hypervisor holds VT-x");
	fake.create_errno = 0;
	probe_reaches(0, (struct step){ .run = { .exit_reason = KVM_EXIT_FAIL_ENTRY } });
	no_because("real mode");
	probe_reaches(2, (struct step){ .run = { .exit_reason = KVM_EXIT_SHUTDOWN } });
	no_because("long mode (exit 8, a triple fault)");
	probe_reaches(5, (struct step){ .run = { .exit_reason = KVM_EXIT_INTERNAL_ERROR } });
	no_because("XSAVE and XRSTOR at CPL 0 (exit 17, an internal error of KVM)");
	probe_reaches(4, (struct step){ .err = EINTR });
	no_because("it hangs");
	probe_reaches(6, (struct step){ .run = { .exit_reason = KVM_EXIT_HLT } });
	no_because("POPCNT");
	probe_reaches(7, (struct step){ .run = { .exit_reason = KVM_EXIT_HLT } });
	assert_true(kvm_probe(&err));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(finishes_an_access_before_it_stops), T(an_interrupted_entry_is_no_exit), T(a_storm_of_signals_ends),
		T(kicks_are_no_storm), T(ends_that_kvm_makes), T(the_device_vanishes), T(a_triple_fault_is_a_shutdown), T(state_comes_back),
		T(an_expired_one_shot_is_pending), T(time_does_not_go_back), T(dirty_pages_are_known), T(rings_tell_what_is_dirty),
		T(no_rings_where_kvm_has_none), T(the_log_survives_a_move),
		T(promises_no_rate_it_cannot_keep),
		T(whose_apics), T(lets_msrs_come_out), T(vectors_go_in_by_priority), T(cr8_is_the_tpr), T(halts_outside),
		T(an_nmi_comes_back), T(registers_by_mmio), T(registers_by_msr), T(init_and_start_up), T(state_without_kvms_apic),
		T(answers_of_the_probe), T(bells_are_where_the_view_shows_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
