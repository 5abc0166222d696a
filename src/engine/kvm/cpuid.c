/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUID under KVM: the model's own table (x86/cpuid.c), leaf by leaf.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "machine/machine.h"

enum { ENTRIES_MAX = 256 };

static const struct { uint32_t leaf; uint8_t sub, reg, bit; const char *name; } bits[] = {
#define FEATURE(name, leaf, sub, reg, bit) { leaf, sub, reg, bit, #name },
#include "x86/features.def"
#undef FEATURE
};

/* What KVM_GET_SUPPORTED_CPUID leaves to us, or to capabilities; and hints, which
 * a CPU without them obeys all the same (ERMS, FSRM, PREFETCHW). */
static bool ours(enum x86_feature f)
{
	return f == FEAT_HYPERVISOR || f == FEAT_X2APIC || f == FEAT_TSC_DEADLINE || f == FEAT_HTT ||
	       f == FEAT_INVARIANT_TSC || f == FEAT_ARAT || f == FEAT_ARCH_CAPABILITIES ||
	       f == FEAT_TSC_ADJUST || f == FEAT_MONITOR || f == FEAT_SS || f == FEAT_MD_CLEAR ||
	       f == FEAT_UMIP || f == FEAT_ERMS || f == FEAT_FSRM || f == FEAT_PREFETCHW;
}

static bool supported(const struct kvm_cpuid2 *c, enum x86_feature f)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &c->entries[i];
		const uint32_t r[4] = { e->eax, e->ebx, e->ecx, e->edx };
		if (e->function == bits[f].leaf && e->index == bits[f].sub)
			return r[bits[f].reg] >> bits[f].bit & 1;
	}
	return false;
}

bool kvm_model_ok(int dev, const struct x86_model *m, struct error *err)
{
	auto_free struct kvm_cpuid2 *c = xcalloc(1, sizeof(*c) + ENTRIES_MAX * sizeof(c->entries[0]));
	char missing[200] = "";
	c->nent = ENTRIES_MAX;
	if (kvm_ioctl(dev, KVM_GET_SUPPORTED_CPUID, c))
		return error_set(err, errno, "KVM does not list its CPU features");
	for (unsigned f = 0; f < FEAT_COUNT; f++)
		if (x86_has(m, f) && !ours(f) && !supported(c, f)) {
			strncat(missing, " ", sizeof(missing) - strlen(missing) - 1);
			strncat(missing, bits[f].name, sizeof(missing) - strlen(missing) - 1);
		}
	return !missing[0] || error_set(err, 0, "this host's KVM lacks what CPU model %s promises:%s; "
					"use --cpu abyme-v2.1 or --engine jit", m->name, missing);
}

bool kvm_model_fits(const struct x86_model *m, struct error *err)
{
	auto_close int dev = kvm_open_device(err);
	return dev >= 0 && kvm_model_ok(dev, m, err);
}

static void add(struct vcpu *v, struct kvm_cpuid2 *c, uint32_t leaf, uint32_t sub, bool indexed)
{
	struct x86_cpuid r = x86_cpuid(v->model, &v->cpu, v->machine->nvcpus, leaf, sub);
	if (c->nent == ENTRIES_MAX || (indexed && sub && !(r.eax | r.ebx | r.ecx | r.edx)))
		return;
	c->entries[c->nent++] = (struct kvm_cpuid_entry2){ .function = leaf, .index = sub, .eax = r.eax, .ebx = r.ebx,
					.ecx = r.ecx, .edx = r.edx,
					.flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0 };
}

static void add_range(struct vcpu *v, struct kvm_cpuid2 *c, uint32_t first)
{
	uint32_t last = x86_cpuid(v->model, &v->cpu, v->machine->nvcpus, first, 0).eax;
	for (uint32_t leaf = first; leaf <= last && leaf - first < 64; leaf++) {
		bool indexed = leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd;
		for (uint32_t sub = 0; sub < (leaf == 0xd ? 8 : indexed ? 5 : 1); sub++)
			add(v, c, leaf, sub, indexed);
	}
}

bool kvm_set_cpuid(struct vcpu *v, struct error *err)
{
	auto_free struct kvm_cpuid2 *c = xcalloc(1, sizeof(*c) + ENTRIES_MAX * sizeof(c->entries[0]));
	add_range(v, c, 0);
	add_range(v, c, 0x40000000);
	add_range(v, c, 0x80000000);
	if (kvm_ioctl(kvm_of(v)->fd, KVM_SET_CPUID2, c))
		return error_set(err, errno, "KVM does not take the CPU model %s", v->model->name);
	return true;
}
