/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmclock, the paravirtual clock of KVM guests (Linux: Documentation/virt/kvm/
 * x86/msr.rst): a page in guest memory that turns the TSC into nanoseconds of
 * machine time, and the wall time of machine time 0.
 */
#include "engine/interp/sys.h"
#include "machine/machine.h"

struct pvclock {
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad[2];
} __attribute__((packed));
_Static_assert(sizeof(struct pvclock) == 32, "pvclock ABI");
enum { PVCLOCK_TSC_STABLE = 1 };

struct wall_clock { uint32_t version, sec, nsec; };

/*
 * ns = ((tsc - timestamp) << shift) * mul >> 32: the largest mul below 2^32.
 * Both origins are those of the machine, so that every vCPU's page is the same.
 */
static void pvclock_rate(uint32_t khz, struct pvclock *p)
{
	uint64_t mul = (1000000ull << 32) / khz;

	while (mul >> 32) {
		mul >>= 1;
		p->tsc_shift++;
	}
	while (!(mul >> 31)) {
		p->tsc_shift--;
		mul = muldiv64(1000000ull << 32, BIT(-p->tsc_shift), khz);
	}
	p->tsc_to_system_mul = mul;
}

void kvmclock_write_system(struct vcpu *v, uint64_t value)
{
	uint64_t gpa = value & ~1ull;
	struct pvclock p = { .flags = PVCLOCK_TSC_STABLE };

	v->cpu.kvmclock_system = value;
	if (!(value & 1))
		return;
	memory_read(v->memory, gpa, &p.version, sizeof(p.version));
	p.version = (p.version + 1) | 1;          /* odd: being written */
	p.tsc_timestamp = v->cpu.tsc_offset;      /* the TSC at machine time 0 */
	pvclock_rate(v->model->tsc_khz, &p);
	memory_write(v->memory, gpa, &p, sizeof(p));
	p.version++;
	memory_write(v->memory, gpa, &p.version, sizeof(p.version));
}

/* The machine comes from elsewhere: a KVM that cannot scale the TSC had written
 * its own rate. */
void kvmclock_refresh(struct vcpu *v)
{
	if (v->cpu.kvmclock_system & 1)
		kvmclock_write_system(v, v->cpu.kvmclock_system);
}

void kvmclock_write_wall(struct vcpu *v, uint64_t value)
{
	int64_t ns = clock_wall_base(v->machine->clock);
	struct wall_clock w = { .version = 2, .sec = ns / 1000000000, .nsec = ns % 1000000000 };

	v->cpu.kvmclock_wall = value;
	memory_write(v->memory, value, &w, sizeof(w));
}
