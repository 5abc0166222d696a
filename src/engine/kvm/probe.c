/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is /dev/kvm usable?  That it opens proves nothing: paravirtual clouds have one
 * that creates machines and cannot run a stock kernel.  So a small program goes
 * through real, protected and long mode, with SSE, XSAVE, a software interrupt
 * and POPCNT on the way, as a kernel would within its first milliseconds.
 */
#include "engine/kvm/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>

extern const uint8_t kvm_probe_code[], kvm_probe_code_end[];

/*
 * At 0x1000, entered in real mode. Port 0x80 gets the number of the step that
 * has been reached; tables are at 0x3000 (GDT, IDT) and 0x4000.. (page tables,
 * laid by probe_memory).
 */
__asm__(
".pushsection .rodata\n.balign 16\n"
"kvm_probe_code: .code16\n"
"	cli\n	mov $1, %al\n	out %al, $0x80\n"
"	lgdtl %cs:0x3100\n"
"	mov %cr0, %eax\n	or $1, %al\n	mov %eax, %cr0\n"
"	ljmpl $8, $(0x1000 + 1f - kvm_probe_code)\n"
"1:	.code32\n"
"	mov $16, %eax\n	mov %eax, %ds\n	mov %eax, %es\n	mov %eax, %ss\n	mov $0x8000, %esp\n"
"	mov $2, %al\n	out %al, $0x80\n"
"	mov $0x4000, %eax\n	mov %eax, %cr3\n"
"	mov %cr4, %eax\n	or $0x620, %eax\n	mov %eax, %cr4\n"      /* PAE, OSFXSR, OSXMMEXCPT */
"	mov $0xc0000080, %ecx\n	rdmsr\n	or $0x100, %eax\n	wrmsr\n"
"	mov %cr0, %eax\n	or $0x80000022, %eax\n	and $~0xc, %eax\n	mov %eax, %cr0\n"
"	ljmp $24, $(0x1000 + 2f - kvm_probe_code)\n"
"2:	.code64\n"
"	mov $3, %al\n	out %al, $0x80\n"
"	lidt 0x3110\n"
"	int3\n"                                                          /* returns through IRETQ */
"	mov $4, %al\n	out %al, $0x80\n"
"	pxor %xmm0, %xmm0\n	movdqu %xmm0, 0x7000\n	paddd %xmm1, %xmm0\n"
"	mov $5, %al\n	out %al, $0x80\n"
"	mov $1, %eax\n	cpuid\n	bt $26, %ecx\n	jnc 3f\n"
"	mov %cr4, %rax\n	or $0x40000, %eax\n	mov %rax, %cr4\n"
"	mov $3, %eax\n	xor %edx, %edx\n	xor %ecx, %ecx\n	xsetbv\n"
"	out %al, $0x82\n	xor %ecx, %ecx\n	xgetbv\n	out %al, $0x81\n"   /* is XCR0 kept over an exit? */
"	xsave 0x6000\n	xrstor 0x6000\n"
"3:	mov $6, %al\n	out %al, $0x80\n"
"	mov $7, %eax\n	popcnt %eax, %eax\n	swapgs\n	swapgs\n	invlpg 0x7000\n"
"	lock incl 0x7000\n"
"	mov $7, %al\n	out %al, $0x80\n	hlt\n"
"kvm_probe_handler: iretq\n"
"kvm_probe_code_end:\n"
".popsection\n.code64\n");

static const char *const step_name[] = {
	"running a vCPU at all", "real mode", "protected mode", "long mode",
	"a software interrupt in long mode", "SSE at CPL 0", "XSAVE and XRSTOR at CPL 0",
	"POPCNT, SWAPGS and a locked access at CPL 0",
};
enum { STEPS = ARRAY_SIZE(step_name) - 1, PROBE_RAM = 0x10000, PROBE_EXITS = 64 };

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int r;
	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR);
	return r;
}

/* What CPUID says here: SDM 2A CPUID.1:ECX.5, APM 3 E.4.1 8000_0001:ECX.2 */
static const char *cpu_offers(void)
{
	uint32_t a, b, c = 0, d;
	__cpuid(0x80000000, a, b, c, d);
	if (a >= 0x80000001) {
		__cpuid(0x80000001, a, b, c, d);
		if (c & 4)
			return "kvm_amd";
	}
	__cpuid(1, a, b, c, d);
	if (c & 0x20)
		return "kvm_intel";
	return NULL;
}

static bool in_a_vm(void)
{
	uint32_t a, b, c, d;
	__cpuid(1, a, b, c, d);
	return c >> 31;
}

static int absent(struct error *err)
{
	if (cpu_offers())
		return error_minus(err, 0, "/dev/kvm is absent: the kernel has no KVM loaded; as root: modprobe %s "
				   "(in a container: pass the device in)", cpu_offers());
	return error_minus(err, 0, "/dev/kvm is absent: this CPU shows no VT-x or AMD-V%s", in_a_vm() ?
			   " (this is itself a virtual machine: its host would have to allow nested virtualization)" :
			   " (or the firmware has turned it off)");
}

static int not_permitted(struct error *err)
{
	struct stat st;
	const struct group *g = stat("/dev/kvm", &st) ? NULL : getgrgid(st.st_gid);
	if (g && (st.st_mode & 060) == 060 && st.st_gid)
		return error_minus(err, 0, "/dev/kvm may not be opened by this user: join the group '%s' "
				   "(as root: usermod -a -G %s USER) and log in again", g->gr_name, g->gr_name);
	return error_minus(err, EACCES, "/dev/kvm may not be opened by this user; its owner, its mode or a "
			   "security module forbid it");
}

int kvm_open_device(struct error *err)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return absent(err);
	if (errno == EACCES || errno == EPERM)
		return not_permitted(err);
	if (errno == ENODEV || errno == ENXIO)
		return error_minus(err, 0, "/dev/kvm is there but dead: no KVM answers behind it%s",
				   cpu_offers() ? "; as root: modprobe kvm_intel or kvm_amd" :
				   ", and this CPU shows no VT-x or AMD-V");
	return error_minus(err, errno, "cannot open /dev/kvm");
}

static void gate(uint8_t *idt, unsigned vector, uint32_t at)
{
	uint8_t *g = idt + vector * 16;
	le16_put(g, (uint16_t)at);
	le16_put(g + 2, 24);
	le16_put(g + 4, 0x8e00);
	le16_put(g + 6, (uint16_t)(at >> 16));
}

static void probe_memory(uint8_t *ram)
{
	size_t n = (size_t)(kvm_probe_code_end - kvm_probe_code);
	memcpy(ram + 0x1000, kvm_probe_code, n);
	const uint64_t gdt[] = { 0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00af9a000000ffff };
	memcpy(ram + 0x3000, gdt, sizeof(gdt));
	le16_put(ram + 0x3100, sizeof(gdt) - 1);
	le32_put(ram + 0x3102, 0x3000);
	le16_put(ram + 0x3110, 32 * 16 - 1);
	le64_put(ram + 0x3112, 0x3200);
	for (unsigned i = 0; i < 32; i++)
		gate(ram + 0x3200, i, 0x1000 + (uint32_t)n - 2);      /* its IRETQ */
	le64_put(ram + 0x4000, 0x5003);
	le64_put(ram + 0x5000, 0x9003);
	le64_put(ram + 0x9000, 0x83);                                 /* 2 MiB, identity */
}

static bool probe_cpuid(int dev, int vcpu, struct error *err)
{
	enum { MAX = 256 };
	auto_free struct kvm_cpuid2 *c = xcalloc(1, sizeof(*c) + MAX * sizeof(c->entries[0]));
	c->nent = MAX;
	if (kvm_ioctl(dev, KVM_GET_SUPPORTED_CPUID, c) || kvm_ioctl(vcpu, KVM_SET_CPUID2, c))
		return error_set(err, errno, "KVM refuses its own list of CPU features");
	return true;
}

static bool probe_start(int vcpu, struct error *err)
{
	struct kvm_sregs s;
	if (kvm_ioctl(vcpu, KVM_GET_SREGS, &s))
		return error_set(err, errno, "KVM does not give the registers of a vCPU");
	s.cs.base = 0;
	s.cs.selector = 0;
	struct kvm_regs r = { .rip = 0x1000, .rflags = 2, .rsp = 0x8000 };
	if (kvm_ioctl(vcpu, KVM_SET_SREGS, &s) || kvm_ioctl(vcpu, KVM_SET_REGS, &r))
		return error_set(err, errno, "KVM does not take the registers of a vCPU");
	return true;
}

/* Returns the last step that was reached; *why the exit that ended it. */
static unsigned probe_steps(int vcpu, struct kvm_run *run, char why[64], bool *xsetbv_lost)
{
	unsigned step = 0;
	for (unsigned i = 0; i < PROBE_EXITS; i++) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0) {
			snprintf(why, 64, "%s", errno == EINTR ? "it hangs" : strerror(errno));
			return step;
		}
		if (run->exit_reason == KVM_EXIT_HLT)
			return step;
		if (run->exit_reason != KVM_EXIT_IO) {
			snprintf(why, 64, "exit %u%s", run->exit_reason,
				 run->exit_reason == KVM_EXIT_INTERNAL_ERROR ? ", an internal error of KVM" :
				 run->exit_reason == KVM_EXIT_SHUTDOWN ? ", a triple fault" : "");
			return step;
		}
		uint8_t value = ((uint8_t *)run)[run->io.data_offset];
		if (run->io.port == 0x80)
			step = value;
		else if (run->io.port == 0x81)
			*xsetbv_lost = value != 3;
	}
	snprintf(why, 64, "too many exits");
	return step;
}

static void alarm_handler(int sig) { }

/* A vCPU that hangs is interrupted after two seconds. */
static unsigned probe_run(int vcpu, struct kvm_run *run, char why[64], bool *xsetbv_lost)
{
	struct sigaction sa = { .sa_handler = alarm_handler }, old;
	struct itimerval two = { .it_value.tv_sec = 2 }, none = { 0 };
	sigaction(SIGALRM, &sa, &old);
	setitimer(ITIMER_REAL, &two, NULL);
	unsigned step = probe_steps(vcpu, run, why, xsetbv_lost);
	setitimer(ITIMER_REAL, &none, NULL);
	sigaction(SIGALRM, &old, NULL);
	return step;
}

static bool probe_vcpu(int dev, int vm, bool *xsetbv_lost, struct error *err)
{
	auto_close int vcpu = (int)ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		return error_set(err, errno, "KVM cannot create a vCPU");
	size_t size = (size_t)ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return error_set(err, errno, "cannot map a vCPU of KVM");
	char why[64] = "";
	bool ok = probe_cpuid(dev, vcpu, err) && probe_start(vcpu, err);
	unsigned step = ok ? probe_run(vcpu, run, why, xsetbv_lost) : 0;
	munmap(run, size);
	if (ok && step != STEPS)
		return error_set(err, 0, "/dev/kvm works but cannot run a kernel: it fails at %s (%s); "
				 "it is a partial KVM, as paravirtual clouds have",
				 step_name[step < STEPS ? step + 1 : 0], why[0] ? why : "a wrong result");
	return ok;
}

static bool probe_vm(int dev, bool *xsetbv_lost, struct error *err)
{
	auto_close int vm = (int)ioctl(dev, KVM_CREATE_VM, 0);
	if (vm < 0)
		return error_set(err, errno, errno == EBUSY || errno == EOPNOTSUPP ?
				 "/dev/kvm is there but dead: another hypervisor holds VT-x or AMD-V, or the firmware turned it off" :
				 "KVM cannot create a machine");
	uint8_t *ram = mmap(NULL, PROBE_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		return error_set(err, errno, "cannot map memory to probe KVM");
	probe_memory(ram);
	struct kvm_userspace_memory_region r = { .memory_size = PROBE_RAM, .userspace_addr = (uintptr_t)ram };
	ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
	bool ok = kvm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r) == 0 ? probe_vcpu(dev, vm, xsetbv_lost, err) :
		  error_set(err, errno, "KVM does not take memory");
	munmap(ram, PROBE_RAM);
	return ok;
}

bool kvm_probe(struct error *err)
{
	auto_close int dev = kvm_open_device(err);
	if (dev < 0)
		return false;
	int version = ioctl(dev, KVM_GET_API_VERSION, 0);
	if (version < 0)
		return error_set(err, errno, "/dev/kvm is there but dead: it is not KVM");
	if (version != KVM_API_VERSION)
		return error_set(err, 0, "/dev/kvm speaks version %d of its interface; 12 is needed", version);
	enum kvm_apic apic = KVM_APIC_ANY;
	bool lost = false;
	if (!kvm_check_caps(dev, &apic, err) || !probe_vm(dev, &lost, err))
		return false;
	error_set(err, 0, "%s", apic == KVM_APIC_USER ? "with local APICs in user space, as this KVM has none" : "");
	return true;
}

bool kvm_loses_xsetbv(int dev)
{
	bool lost = false;
	return probe_vm(dev, &lost, NULL) && lost;
}
