/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runtime-spec config-linux.md, "Control groups": the table. */
#include "container/spec_tables.h"

#define END { NULL, FIELD_STR, false, 0, 0, NULL }

static const struct field device_rule[] = {
	FIELD_MUST(BOOL, struct spec_device_rule, "allow", allow),
	FIELD(STR, struct spec_device_rule, "type", type),
	FIELD(OPT_I64, struct spec_device_rule, "major", major),
	FIELD(OPT_I64, struct spec_device_rule, "minor", minor),
	FIELD(STR, struct spec_device_rule, "access", access),
	END
};

static const struct field memory[] = {
	FIELD(OPT_I64, struct spec_resources, "limit", memory.limit),
	FIELD(OPT_I64, struct spec_resources, "reservation", memory.reservation),
	FIELD(OPT_I64, struct spec_resources, "swap", memory.swap),
	FIELD(OPT_I64, struct spec_resources, "kernel", memory.kernel),
	FIELD(OPT_I64, struct spec_resources, "kernelTCP", memory.kernel_tcp),
	FIELD(OPT_U64, struct spec_resources, "swappiness", memory.swappiness),
	FIELD(OPT_BOOL, struct spec_resources, "disableOOMKiller", memory.disable_oom_killer),
	FIELD(OPT_BOOL, struct spec_resources, "checkBeforeUpdate", memory.check_before_update),
	END
};

static const struct field cpu[] = {
	FIELD(OPT_U64, struct spec_resources, "shares", cpu.shares),
	FIELD(OPT_I64, struct spec_resources, "quota", cpu.quota),
	FIELD(OPT_U64, struct spec_resources, "burst", cpu.burst),
	FIELD(OPT_U64, struct spec_resources, "period", cpu.period),
	FIELD(OPT_I64, struct spec_resources, "realtimeRuntime", cpu.rt_runtime),
	FIELD(OPT_U64, struct spec_resources, "realtimePeriod", cpu.rt_period),
	FIELD(STR, struct spec_resources, "cpus", cpu.cpus),
	FIELD(STR, struct spec_resources, "mems", cpu.mems),
	FIELD(OPT_I64, struct spec_resources, "idle", cpu.idle),
	END
};

static const struct field pids[] = { FIELD(OPT_I64, struct spec_resources, "limit", pids.limit), END };

static const struct field weight_device[] = {
	FIELD_MUST(I64, struct spec_weight_device, "major", major),
	FIELD_MUST(I64, struct spec_weight_device, "minor", minor),
	FIELD(OPT_U64, struct spec_weight_device, "weight", weight),
	FIELD(OPT_U64, struct spec_weight_device, "leafWeight", leaf_weight),
	END
};

static const struct field throttle[] = {
	FIELD_MUST(I64, struct spec_throttle, "major", major),
	FIELD_MUST(I64, struct spec_throttle, "minor", minor),
	FIELD_MUST(U64, struct spec_throttle, "rate", rate),
	END
};

static const struct field block[] = {
	FIELD(OPT_U64, struct spec_resources, "weight", block.weight),
	FIELD(OPT_U64, struct spec_resources, "leafWeight", block.leaf_weight),
	FIELD_SUB(LIST, struct spec_resources, "weightDevice", block.weight_devices, struct spec_weight_device, weight_device),
	FIELD_SUB(LIST, struct spec_resources, "throttleReadBpsDevice", block.read_bps, struct spec_throttle, throttle),
	FIELD_SUB(LIST, struct spec_resources, "throttleWriteBpsDevice", block.write_bps, struct spec_throttle, throttle),
	FIELD_SUB(LIST, struct spec_resources, "throttleReadIOPSDevice", block.read_iops, struct spec_throttle, throttle),
	FIELD_SUB(LIST, struct spec_resources, "throttleWriteIOPSDevice", block.write_iops, struct spec_throttle, throttle),
	END
};

static const struct field hugepage[] = {
	FIELD_MUST(STR, struct spec_hugepage, "pageSize", size),
	FIELD_MUST(U64, struct spec_hugepage, "limit", limit),
	END
};

static const struct field priority[] = {
	FIELD_MUST(STR, struct spec_priority, "name", name),
	FIELD_MUST(U32, struct spec_priority, "priority", priority),
	END
};

static const struct field network[] = {
	FIELD(OPT_U64, struct spec_resources, "classID", network.class_id),
	FIELD_SUB(LIST, struct spec_resources, "priorities", network.priorities, struct spec_priority, priority),
	END
};

/* The sub-tables address the whole struct, so their offset here is 0. */
#define PART(name, table) { name, FIELD_OBJECT, false, 0, 0, table }
const struct field spec_resources_table[] = {
	FIELD_SUB(LIST, struct spec_resources, "devices", devices, struct spec_device_rule, device_rule),
	PART("memory", memory), PART("cpu", cpu), PART("pids", pids), PART("blockIO", block), PART("network", network),
	FIELD_SUB(LIST, struct spec_resources, "hugepageLimits", hugepages, struct spec_hugepage, hugepage),
	FIELD(PAIRS, struct spec_resources, "unified", unified),
	END
};

struct spec_resources *spec_resources_parse(struct arena *a, const struct json *v, struct error *err)
{
	struct spec_resources *r = arena_alloc(a, sizeof(*r));
	return schema_read(a, v, "resources", spec_resources_table, r, err) ? r : NULL;
}
