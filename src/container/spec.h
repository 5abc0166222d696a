/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config.json of a bundle (OCI runtime-spec 1.1), read and checked: whoever
 * holds a struct spec need not look at JSON again.  Strings live in its arena.
 */
#ifndef CONTAINER_SPEC_H
#define CONTAINER_SPEC_H

#include "container/schema.h"

struct id_map { uint32_t inside, outside, size; };
struct id_maps { struct id_map *v; unsigned n; };

/* Namespaces, in the order in which they are joined. */
#define NAMESPACES(X) \
	X(USER, "user", "user", CLONE_NEWUSER) X(IPC, "ipc", "ipc", CLONE_NEWIPC) \
	X(UTS, "uts", "uts", CLONE_NEWUTS) X(NET, "network", "net", CLONE_NEWNET) \
	X(PID, "pid", "pid", CLONE_NEWPID) X(MOUNT, "mount", "mnt", CLONE_NEWNS) \
	X(CGROUP, "cgroup", "cgroup", CLONE_NEWCGROUP) X(TIME, "time", "time", CLONE_NEWTIME)
#define NAMESPACE_ENUM(name, word, file, flag) NS_##name,
enum ns_type { NAMESPACES(NAMESPACE_ENUM) NS_COUNT };

struct spec_ns { const char *type, *path; };

struct spec_mount {
	const char *destination, *source, *type;
	struct strings options;
	struct id_maps uids, gids;
};

struct spec_device {
	const char *path, *type;
	int64_t major, minor;
	struct opt_u64 mode;
	uint32_t uid, gid;
};

struct spec_rlimit { const char *type; uint64_t soft, hard; int resource; };
struct spec_hook { const char *path; struct strings args, env; struct opt_i64 timeout; };
typedef LIST(struct spec_hook) spec_hooks;

enum cap_set { CAPS_BOUNDING, CAPS_EFFECTIVE, CAPS_INHERITABLE, CAPS_PERMITTED, CAPS_AMBIENT, CAPS_SETS };
struct spec_caps { struct strings names[CAPS_SETS]; uint64_t bits[CAPS_SETS]; };

struct spec_process {
	bool terminal, no_new_privileges;
	struct { uint32_t width, height; } console;
	struct { uint32_t uid, gid; struct opt_u64 umask; struct ids groups; } user;
	struct strings args, env;
	const char *cwd;
	struct spec_caps *caps;
	LIST(struct spec_rlimit) rlimits;
	const char *apparmor, *selinux;
	struct opt_i64 oom_score_adj;
	struct { const char *policy; struct opt_i64 nice, priority; struct strings flags;
		struct opt_u64 runtime, deadline, period; } *scheduler;
	struct { const char *class; int64_t priority; } *io_priority;
};

struct spec_device_rule { bool allow; const char *type, *access; struct opt_i64 major, minor; };
struct spec_weight_device { int64_t major, minor; struct opt_u64 weight, leaf_weight; };
struct spec_throttle { int64_t major, minor; uint64_t rate; };
typedef LIST(struct spec_throttle) spec_throttles;
struct spec_hugepage { const char *size; uint64_t limit; };
struct spec_priority { const char *name; uint32_t priority; };

struct spec_resources {
	LIST(struct spec_device_rule) devices;
	struct { struct opt_i64 limit, reservation, swap, kernel, kernel_tcp; struct opt_u64 swappiness;
		struct opt_bool disable_oom_killer, check_before_update; } memory;
	struct { struct opt_u64 shares, burst, period, rt_period; struct opt_i64 quota, rt_runtime, idle;
		const char *cpus, *mems; } cpu;
	struct { struct opt_i64 limit; } pids;
	struct { struct opt_u64 weight, leaf_weight; LIST(struct spec_weight_device) weight_devices;
		spec_throttles read_bps, write_bps, read_iops, write_iops; } block;
	LIST(struct spec_hugepage) hugepages;
	struct { struct opt_u64 class_id; LIST(struct spec_priority) priorities; } network;
	struct pairs unified;
};

struct spec_syscall_arg { uint32_t index; uint64_t value, value2; const char *op; };
struct spec_syscall {
	struct strings names;
	const char *action;
	struct opt_u64 errno_ret;
	LIST(struct spec_syscall_arg) args;
};
struct spec_seccomp {
	const char *default_action;
	struct opt_u64 default_errno;
	struct strings architectures, flags;
	const char *listener_path, *listener_metadata;
	LIST(struct spec_syscall) syscalls;
};

struct spec_time_offset { int64_t secs; uint32_t nanosecs; };

struct spec_linux {
	LIST(struct spec_ns) namespaces;
	struct id_maps uids, gids;
	struct { struct spec_time_offset *monotonic, *boottime; } time_offsets;
	LIST(struct spec_device) devices;
	const char *cgroups_path, *propagation, *mount_label;
	struct spec_resources *resources;
	struct spec_seccomp *seccomp;
	struct pairs sysctl;
	struct strings masked, readonly;
	struct { const char *domain; struct strings flags; } *personality;
	struct { const char *closid; } *intel_rdt;
};

struct spec {
	struct arena arena;
	const char *version;
	struct { const char *path; bool readonly; } *root;
	const char *hostname, *domainname;
	LIST(struct spec_mount) mounts;
	struct spec_process *process;
	struct { spec_hooks prestart, create_runtime, create_container, start_container, poststart, poststop; } hooks;
	struct pairs annotations;
	struct spec_linux *lnx;
	/* worked out: */
	unsigned ns_new;                      /* BIT(enum ns_type): made for the container */
	const char *ns_path[NS_COUNT];        /* or joined */
};

extern const char *const ns_words[NS_COUNT], *const ns_files[NS_COUNT];
extern const int ns_flags[NS_COUNT];

/* The text of config.json. On error the spec is freed. */
struct spec *spec_parse(const char *text, size_t size, struct error *err);
void spec_free(struct spec *s);

/* A process alone (exec --process FILE), and resources alone (update). */
struct spec_process *spec_process_parse(struct arena *a, const struct json *v, struct error *err);
bool spec_process_check(struct spec_process *p, struct error *err);
struct spec_resources *spec_resources_parse(struct arena *a, const struct json *v, struct error *err);

/* Whether ns is the container's own, new or joined, instead of ours. */
static inline bool spec_has_ns(const struct spec *s, enum ns_type t)
{
	return (s->ns_new & BIT(t)) || s->ns_path[t];
}
const char *spec_annotation(const struct spec *s, const char *key);

#endif
