/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scheduling, I/O priority, personality and security labels of a process. */
#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <stdio.h>
#include <sys/personality.h>

#include "container/kernel.h"
#include "container/launch.h"

struct sched_attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static int index_of(const char *const *words, unsigned n, const char *word)
{
	for (unsigned i = 0; i < n; i++)
		if (words[i] && !strcmp(words[i], word))
			return (int)i;
	return -1;
}

static bool set_scheduler(const struct spec_process *p, struct error *err)
{
	static const char *const policies[] = { "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO",
		"SCHED_IDLE", "SCHED_DEADLINE" };
	static const char *const flags[] = { "SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN",
		"SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX" };
	if (!p->scheduler)
		return true;
	int policy = index_of(policies, ARRAY_SIZE(policies), p->scheduler->policy);
	if (policy < 0)
		return error_set(err, 0, "process.scheduler: '%s' is no policy", p->scheduler->policy);
	struct sched_attributes a = { .size = sizeof(a), .policy = (uint32_t)policy, .nice = (int32_t)p->scheduler->nice.v,
		.priority = (uint32_t)p->scheduler->priority.v, .runtime = p->scheduler->runtime.v,
		.deadline = p->scheduler->deadline.v, .period = p->scheduler->period.v };
	for (unsigned i = 0; i < p->scheduler->flags.n; i++) {
		int bit = index_of(flags, ARRAY_SIZE(flags), p->scheduler->flags.v[i]);
		if (bit < 0)
			return error_set(err, 0, "process.scheduler: '%s' is no flag", p->scheduler->flags.v[i]);
		a.flags |= BIT(bit);
	}
	return !syscall(SYS_sched_setattr, 0, &a, 0) || error_set(err, errno, "cannot set process.scheduler");
}

static bool set_io_priority(const struct spec_process *p, struct error *err)
{
	static const char *const classes[] = { NULL, "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE" };
	if (!p->io_priority)
		return true;
	int class = index_of(classes, ARRAY_SIZE(classes), p->io_priority->class);
	if (class < 0 || p->io_priority->priority < 0 || p->io_priority->priority > 7)
		return error_set(err, 0, "process.ioPriority: a class IOPRIO_CLASS_RT, _BE or _IDLE and a priority from 0 to 7");
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(class, p->io_priority->priority)))
		return error_set(err, errno, "cannot set process.ioPriority");
	return true;
}

static bool set_personality(const struct spec *s, struct error *err)
{
	if (!s->lnx->personality)
		return true;
	const char *domain = s->lnx->personality->domain;
	if (strcmp(domain, "LINUX") && strcmp(domain, "LINUX32"))
		return error_set(err, 0, "linux.personality: '%s' is neither LINUX nor LINUX32", domain);
	if (s->lnx->personality->flags.n)
		return error_set(err, 0, "linux.personality: flags are not supported");
	return personality(strcmp(domain, "LINUX") ? PER_LINUX32 : PER_LINUX) >= 0 ||
		error_set(err, errno, "cannot set linux.personality");
}

/* The label that execve() gives; `module` is "" or "apparmor/". */
static bool set_label(const char *module, const char *prefix, const char *label, struct error *err)
{
	char path[64], text[512];
	if (!label || !*label)
		return true;
	snprintf(path, sizeof(path), "/proc/self/attr/%sexec", module);
	int n = snprintf(text, sizeof(text), "%s%s", prefix, label);
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (n >= (int)sizeof(text) || fd < 0 || write(fd, text, (size_t)n) != n)
		return error_set(err, errno, "cannot set the security label '%s': is %s enabled on this host?", label,
			*module ? "AppArmor" : "SELinux");
	return true;
}

bool process_attributes(const struct launch *l, struct error *err)
{
	return set_scheduler(l->process, err) && set_io_priority(l->process, err) && set_personality(l->spec, err) &&
		set_label("apparmor/", "exec ", l->process->apparmor, err) && set_label("", "", l->process->selinux, err);
}
