/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose local APICs a machine has under KVM, by what was asked for (--engine kvm,apic=...)
 * and by what this KVM offers: its own, by split irqchip, or those of engine/soft, for which
 * it must hand over the MSRs that it does not know then.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "engine/lapic.h"

static bool option(const char *word, enum kvm_apic *asked, struct error *err)
{
	if (!strcmp(word, "apic=kernel"))
		*asked = KVM_APIC_KERNEL;
	else if (!strcmp(word, "apic=user"))
		*asked = KVM_APIC_USER;
	else
		return error_set(err, 0, "engine kvm has no option '%s': use apic=kernel or apic=user", word);
	return true;
}

bool kvm_options(const char *words, enum kvm_apic *asked, struct error *err)
{
	auto_free char *copy = xstrdup(words ? words : "");
	char *rest = NULL;
	*asked = KVM_APIC_ANY;
	for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
		if (!option(word, asked, err))
			return false;
	return true;
}

bool kvm_options_ok(const char *words, struct error *err)
{
	enum kvm_apic asked;
	return kvm_options(words, &asked, err);
}

/* By whom it is needed: always (ANY), or for local APICs of that kind. */
static const struct { int cap; enum kvm_apic by; const char *what; } needs[] = {
	{ KVM_CAP_USER_MEMORY, KVM_APIC_ANY, "user memory" },
	{ KVM_CAP_IMMEDIATE_EXIT, KVM_APIC_ANY, "immediate exit" },
	{ KVM_CAP_XSAVE, KVM_APIC_ANY, "XSAVE" },
	{ KVM_CAP_READONLY_MEM, KVM_APIC_ANY, "read-only memory" },
	{ KVM_CAP_SIGNAL_MSI, KVM_APIC_KERNEL, "message-signalled interrupts" },
	{ KVM_CAP_SPLIT_IRQCHIP, KVM_APIC_KERNEL, "the split interrupt controller" },
	{ KVM_CAP_X86_USER_SPACE_MSR, KVM_APIC_USER, "MSRs in user space" },
	{ KVM_CAP_X86_MSR_FILTER, KVM_APIC_USER, "a filter of MSRs" },
};

static bool offers(int dev, enum kvm_apic by, struct error *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(needs); i++)
		if (needs[i].by == by && ioctl(dev, KVM_CHECK_EXTENSION, needs[i].cap) <= 0)
			return error_set(err, 0, "this host's KVM lacks %s: use --engine jit or a newer kernel", needs[i].what);
	return true;
}

bool kvm_check_caps(int dev, enum kvm_apic *apic, struct error *err)
{
	if (!offers(dev, KVM_APIC_ANY, err))
		return false;
	if (*apic == KVM_APIC_ANY)
		*apic = offers(dev, KVM_APIC_KERNEL, err) || !offers(dev, KVM_APIC_USER, NULL) ? KVM_APIC_KERNEL : KVM_APIC_USER;
	return offers(dev, *apic, err);
}

static bool in_the_kernel(struct kvm_vm *k, bool *refused, struct error *err)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { KVM_IOAPIC_PINS } };
	struct kvm_enable_cap x2 = { .cap = KVM_CAP_X2APIC_API,
				     .args = { KVM_X2APIC_API_USE_32BIT_IDS |
					       KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK } };
	*refused = kvm_ioctl(k->fd, KVM_ENABLE_CAP, &split);
	if (*refused || kvm_ioctl(k->fd, KVM_ENABLE_CAP, &x2))
		return error_set(err, errno, "KVM cannot create its interrupt controllers");
	k->apic = KVM_APIC_KERNEL;
	return true;
}

/*
 * The APIC's MSRs come out to us: those of x2APIC because a KVM without a local APIC refuses
 * them (and x2APIC's cannot be filtered), the TSC deadline by a filter, as KVM would swallow it.
 */
static bool in_user_space(struct kvm_vm *k, struct error *err)
{
	struct kvm_enable_cap out = { .cap = KVM_CAP_X86_USER_SPACE_MSR,
				      .args = { KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_FILTER } };
	uint64_t none = 0;
	struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges = { { .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .base = MSR_TSC_DEADLINE,
			      .nmsrs = 1, .bitmap = (uint8_t *)&none } } };
	if (kvm_ioctl(k->fd, KVM_ENABLE_CAP, &out) || kvm_ioctl(k->fd, KVM_X86_SET_MSR_FILTER, &filter))
		return error_set(err, errno, "KVM does not leave the local APICs to this program");
	k->apic = KVM_APIC_USER;
	return true;
}

bool kvm_create_apics(struct kvm_vm *k, enum kvm_apic asked, struct error *err)
{
	enum kvm_apic apic = asked;
	bool refused = false;
	if (!kvm_check_caps(k->dev, &apic, err))
		return false;
	if (apic == KVM_APIC_KERNEL && in_the_kernel(k, &refused, err)) {
		log_info("local APICs: KVM's");
		return true;
	}
	if (asked == KVM_APIC_KERNEL || (apic == KVM_APIC_KERNEL && !(refused && offers(k->dev, KVM_APIC_USER, NULL))))
		return false;
	log_info("local APICs: in user space, %s", asked == KVM_APIC_USER ? "as asked for" :
		 refused ? "KVM refuses to have them" : "KVM has none");
	return in_user_space(k, err);
}
