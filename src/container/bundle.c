/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pieces of config.json: see bundle.h. */
#include "container/bundle.h"

#include <stdio.h>

const char *const bundle_default_caps[] = { "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
	"CAP_AUDIT_WRITE", NULL };

void bundle_strings(struct json_out *j, const char *key, const char *const *v, unsigned n)
{
	json_open(j, key, '[');
	for (unsigned i = 0; i < n; i++)
		json_put_str(j, NULL, v[i]);
	json_close(j, ']');
}

void bundle_mount(struct json_out *j, const char *at, const char *type, const char *source, const char *const *options, unsigned n)
{
	json_open(j, NULL, '{');
	json_put_str(j, "destination", at);
	json_put_str(j, "type", type);
	json_put_str(j, "source", source);
	bundle_strings(j, "options", options, n);
	json_close(j, '}');
}

void bundle_basic_mounts(struct json_out *j, uint64_t shm_size)
{
	static const char *const dev[] = { "nosuid", "mode=755", "size=64k" },
		*const pts[] = { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620" };
	char size[32];
	snprintf(size, sizeof(size), "size=%llu", (unsigned long long)shm_size);
	const char *const shm[] = { "nosuid", "nodev", "mode=1777", size };
	bundle_mount(j, "/proc", "proc", "proc", NULL, 0);
	bundle_mount(j, "/dev", "tmpfs", "tmpfs", dev, ARRAY_SIZE(dev));
	bundle_mount(j, "/dev/pts", "devpts", "devpts", pts, ARRAY_SIZE(pts));
	bundle_mount(j, "/dev/shm", "tmpfs", "shm", shm, shm_size ? ARRAY_SIZE(shm) : 3);
}

void bundle_map(struct json_out *j, const char *key, uint32_t inside, uint32_t outside, uint32_t size)
{
	json_open(j, key, '[');
	json_open(j, NULL, '{');
	json_put_u64(j, "containerID", inside);
	json_put_u64(j, "hostID", outside);
	json_put_u64(j, "size", size);
	json_close(j, '}');
	json_close(j, ']');
}

void bundle_hidden_paths(struct json_out *j)
{
	static const char *const readonly[] = { "/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs" };
	static const char *const masked[] = { "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/proc/scsi",
		"/proc/latency_stats", "/proc/sched_debug", "/sys/firmware", "/sys/devices/virtual/powercap" };
	bundle_strings(j, "readonlyPaths", readonly, ARRAY_SIZE(readonly));
	bundle_strings(j, "maskedPaths", masked, ARRAY_SIZE(masked));
}

void bundle_caps(struct json_out *j, const char *const *names, unsigned n)
{
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	json_open(j, "capabilities", '{');
	for (unsigned i = 0; i < ARRAY_SIZE(sets); i++)
		bundle_strings(j, sets[i], names, n);
	json_close(j, '}');
}

static void rule(struct json_out *j, const char *const *names, unsigned n, unsigned code)
{
	json_open(j, NULL, '{');
	bundle_strings(j, "names", names, n);
	json_put_str(j, "action", "SCMP_ACT_ERRNO");
	json_put_u64(j, "errnoRet", code);
	json_close(j, '}');
}

/* clone() with any flag that makes a namespace but those of time and cgroup: 0x7e020000. */
static void clone_rule(struct json_out *j)
{
	static const uint64_t flags[] = { 0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000 };
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		json_open(j, NULL, '{');
		bundle_strings(j, "names", (const char *const[]){ "clone" }, 1);
		json_put_str(j, "action", "SCMP_ACT_ERRNO");
		json_put_u64(j, "errnoRet", 1);
		json_open(j, "args", '[');
		json_open(j, NULL, '{');
		json_put_u64(j, "index", 0);
		json_put_u64(j, "value", flags[i]);
		json_put_u64(j, "valueTwo", flags[i]);
		json_put_str(j, "op", "SCMP_CMP_MASKED_EQ");
		json_close(j, '}');
		json_close(j, ']');
		json_close(j, '}');
	}
}

void bundle_seccomp(struct json_out *j, bool admin)
{
	static const char *const never[] = { "acct", "add_key", "bpf", "clock_adjtime", "clock_settime", "create_module", "delete_module",
		"finit_module", "get_kernel_syms", "init_module", "io_uring_enter", "io_uring_register", "io_uring_setup", "ioperm",
		"iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "nfsservctl", "open_by_handle_at",
		"perf_event_open", "query_module", "reboot", "request_key", "settimeofday", "stime", "swapoff", "swapon", "sysfs",
		"syslog", "uselib", "userfaultfd", "ustat", "vm86", "vm86old" };
	static const char *const admins[] = { "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
		"open_tree", "pivot_root", "quotactl", "setdomainname", "sethostname", "setns", "umount", "umount2", "unshare" };
	static const char *const clone3[] = { "clone3" };
	static const char *const architectures[] = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32" };
	json_open(j, "seccomp", '{');
	json_put_str(j, "defaultAction", "SCMP_ACT_ALLOW");
	bundle_strings(j, "architectures", architectures, ARRAY_SIZE(architectures));
	json_open(j, "syscalls", '[');
	rule(j, never, ARRAY_SIZE(never), 1);
	if (!admin) {
		rule(j, admins, ARRAY_SIZE(admins), 1);
		rule(j, clone3, 1, 38);      /* its flags cannot be looked at: ENOSYS, and libc takes clone() */
		clone_rule(j);
	}
	json_close(j, ']');
	json_close(j, '}');
}
