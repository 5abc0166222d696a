/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runtime-spec config-linux.md: the tables. */
#include "container/spec_tables.h"

#define END { NULL, FIELD_STR, false, 0, 0, NULL }

const struct field spec_map_table[] = {
	FIELD_MUST(U32, struct id_map, "containerID", inside),
	FIELD_MUST(U32, struct id_map, "hostID", outside),
	FIELD_MUST(U32, struct id_map, "size", size),
	END
};

static const struct field ns[] = {
	FIELD_MUST(STR, struct spec_ns, "type", type),
	FIELD(STR, struct spec_ns, "path", path),
	END
};

static const struct field time_offset[] = {
	FIELD(I64, struct spec_time_offset, "secs", secs),
	FIELD(U32, struct spec_time_offset, "nanosecs", nanosecs),
	END
};

static const struct field time_offsets[] = {
	FIELD_SUB(POINTER, struct spec_linux, "monotonic", time_offsets.monotonic, struct spec_time_offset, time_offset),
	FIELD_SUB(POINTER, struct spec_linux, "boottime", time_offsets.boottime, struct spec_time_offset, time_offset),
	END
};

static const struct field device[] = {
	FIELD_MUST(STR, struct spec_device, "path", path),
	FIELD_MUST(STR, struct spec_device, "type", type),
	FIELD(I64, struct spec_device, "major", major),
	FIELD(I64, struct spec_device, "minor", minor),
	FIELD(OPT_U64, struct spec_device, "fileMode", mode),
	FIELD(U32, struct spec_device, "uid", uid),
	FIELD(U32, struct spec_device, "gid", gid),
	END
};

static const struct field syscall_arg[] = {
	FIELD_MUST(U32, struct spec_syscall_arg, "index", index),
	FIELD_MUST(U64, struct spec_syscall_arg, "value", value),
	FIELD(U64, struct spec_syscall_arg, "valueTwo", value2),
	FIELD_MUST(STR, struct spec_syscall_arg, "op", op),
	END
};

static const struct field rule[] = {
	FIELD_MUST(STRINGS, struct spec_syscall, "names", names),
	FIELD_MUST(STR, struct spec_syscall, "action", action),
	FIELD(OPT_U64, struct spec_syscall, "errnoRet", errno_ret),
	FIELD_SUB(LIST, struct spec_syscall, "args", args, struct spec_syscall_arg, syscall_arg),
	END
};

static const struct field seccomp[] = {
	FIELD_MUST(STR, struct spec_seccomp, "defaultAction", default_action),
	FIELD(OPT_U64, struct spec_seccomp, "defaultErrnoRet", default_errno),
	FIELD(STRINGS, struct spec_seccomp, "architectures", architectures),
	FIELD(STRINGS, struct spec_seccomp, "flags", flags),
	FIELD(STR, struct spec_seccomp, "listenerPath", listener_path),
	FIELD(STR, struct spec_seccomp, "listenerMetadata", listener_metadata),
	FIELD_SUB(LIST, struct spec_seccomp, "syscalls", syscalls, struct spec_syscall, rule),
	END
};

#define PERSONALITY __typeof__(*((struct spec_linux *)0)->personality)
static const struct field personality[] = {
	FIELD_MUST(STR, PERSONALITY, "domain", domain),
	FIELD(STRINGS, PERSONALITY, "flags", flags),
	END
};

#define RDT __typeof__(*((struct spec_linux *)0)->intel_rdt)
static const struct field rdt[] = { FIELD(STR, RDT, "closID", closid), END };

const struct field spec_linux_table[] = {
	FIELD_SUB(LIST, struct spec_linux, "namespaces", namespaces, struct spec_ns, ns),
	FIELD_SUB(LIST, struct spec_linux, "uidMappings", uids, struct id_map, spec_map_table),
	FIELD_SUB(LIST, struct spec_linux, "gidMappings", gids, struct id_map, spec_map_table),
	{ "timeOffsets", FIELD_OBJECT, false, 0, 0, time_offsets },
	FIELD_SUB(LIST, struct spec_linux, "devices", devices, struct spec_device, device),
	FIELD(STR, struct spec_linux, "cgroupsPath", cgroups_path),
	FIELD(STR, struct spec_linux, "rootfsPropagation", propagation),
	FIELD(STR, struct spec_linux, "mountLabel", mount_label),
	FIELD_SUB(POINTER, struct spec_linux, "resources", resources, struct spec_resources, spec_resources_table),
	FIELD_SUB(POINTER, struct spec_linux, "seccomp", seccomp, struct spec_seccomp, seccomp),
	FIELD(PAIRS, struct spec_linux, "sysctl", sysctl),
	FIELD(STRINGS, struct spec_linux, "maskedPaths", masked),
	FIELD(STRINGS, struct spec_linux, "readonlyPaths", readonly),
	FIELD_SUB(POINTER, struct spec_linux, "personality", personality, PERSONALITY, personality),
	FIELD_SUB(POINTER, struct spec_linux, "intelRdt", intel_rdt, RDT, rdt),
	END
};
