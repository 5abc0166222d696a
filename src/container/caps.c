/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Capabilities: caps.h.  capabilities(7); no library, the kernel's two calls. */
#include "container/caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/log.h"

static const char *const names[] = {
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
};

int caps_number(const char *name)
{
	if (!strncasecmp(name, "CAP_", 4))
		name += 4;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcasecmp(name, names[i]))
			return (int)i;
	return -1;
}

const char *caps_name(int number)
{
	return number >= 0 && (size_t)number < ARRAY_SIZE(names) ? names[number] : NULL;
}

int caps_last(void)
{
	int n = 0;
	while (n < 63 && prctl(PR_CAPBSET_READ, n + 1, 0, 0, 0) >= 0)
		n++;
	return n;
}

void caps_parse(const struct strings *list, uint64_t *bits)
{
	*bits = 0;
	for (unsigned i = 0; i < list->n; i++) {
		int n = caps_number(list->v[i]);
		if (n < 0)
			log_warn("process.capabilities: '%s' is no capability that this program knows", list->v[i]);
		else
			*bits |= BIT(n);
	}
}

bool caps_drop_bounding(const struct spec_caps *c, struct error *err)
{
	int last = caps_last();
	for (int i = 0; i <= last; i++) {
		if ((c->bits[CAPS_BOUNDING] & BIT(i)) || prctl(PR_CAPBSET_READ, i, 0, 0, 0) != 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0))
			return error_set(err, errno, "cannot drop capability CAP_%s", caps_name(i) ? caps_name(i) : "?");
	}
	return true;
}

static struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

/* What we may raise at most: our own permitted set. */
static uint64_t permitted_now(void)
{
	struct __user_cap_data_struct d[2] = { 0 };
	if (syscall(SYS_capget, &header, d))
		return 0;
	return d[0].permitted | (uint64_t)d[1].permitted << 32;
}

/* A capability that the host does not have itself cannot be given: it is left
 * out, as the other runtimes do, instead of failing every privileged container
 * on a host with a narrowed bounding set. */
bool caps_set(const struct spec_caps *c, struct error *err)
{
	uint64_t have = permitted_now();
	uint64_t p = c->bits[CAPS_PERMITTED] & have, e = c->bits[CAPS_EFFECTIVE] & p, i = c->bits[CAPS_INHERITABLE] & have;
	uint64_t a = c->bits[CAPS_AMBIENT] & p & i;
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)e, (uint32_t)p, (uint32_t)i },
		{ (uint32_t)(e >> 32), (uint32_t)(p >> 32), (uint32_t)(i >> 32) },
	};
	if (syscall(SYS_capset, &header, d))
		return error_set(err, errno, "cannot set the capabilities");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
		return error_set(err, errno, "cannot clear the ambient capabilities");
	for (int n = 0; n < 64 && a; n++)
		if ((a & BIT(n)) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0))
			return error_set(err, errno, "cannot raise ambient capability CAP_%s", caps_name(n));
	return true;
}
