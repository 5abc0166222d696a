/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual Machine Generation ID (Microsoft, 2018 revision): 16 bytes in guest
 * memory that change whenever the machine goes on from a copy of its state, so
 * that guests reseed their random generators.  ACPI tells where; a GPE tells
 * that they changed.  The bytes lie at VMGENID_OFFSET of a page: before them
 * there is room for the header that one firmware puts on such blobs.
 */
#include "device/chipset.h"
#include "machine/machine.h"

struct vmgenid {
	struct device dev;
	uint64_t gpa;             /* of the page; 0: not placed yet */
	uint8_t guid[16];
};

static void publish(struct vmgenid *v)
{
	if (v->gpa)
		memory_write(v->dev.machine->memory, v->gpa + VMGENID_OFFSET, v->guid, 16);
}

void vmgenid_place(struct machine *m, uint64_t gpa)
{
	struct vmgenid *v = m->board_data->vmgenid;
	v->gpa = gpa & ~PAGE_MASK;
	publish(v);
}

static void vmgenid_reset(struct device *d)
{
	container_of(d, struct vmgenid, dev)->gpa = 0;
}

static bool vmgenid_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct vmgenid *v = container_of(d, struct vmgenid, dev);
	xfer_u64_max(s, &v->gpa, BIT(52) - PAGE_SIZE);
	xfer_bytes(s, v->guid, sizeof(v->guid));
	return state_ok(s);
}

static void vmgenid_loaded(struct device *d)
{
	struct vmgenid *v = container_of(d, struct vmgenid, dev);
	if (!memcmp(v->guid, d->machine->config->vmgenid, sizeof(v->guid)))
		return;
	memcpy(v->guid, d->machine->config->vmgenid, sizeof(v->guid));
	publish(v);
	acpi_pm_gpe(d->machine, BOARD_GPE_VMGENID);
}

static void vmgenid_destroy(struct device *d)
{
	free(container_of(d, struct vmgenid, dev));
}

bool vmgenid_create(struct machine *m, struct error *err)
{
	static const struct device_ops ops = {
		.name = "vmgenid", .version = 1, .reset = vmgenid_reset, .xfer = vmgenid_xfer,
		.loaded = vmgenid_loaded, .destroy = vmgenid_destroy,
	};
	struct vmgenid *v = xnew(struct vmgenid);
	m->board_data->vmgenid = v;
	memcpy(v->guid, m->config->vmgenid, sizeof(v->guid));
	device_add(m, &v->dev, &ops, "vmgenid");
	return true;
}
