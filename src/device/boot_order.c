/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file "bootorder" of fw_cfg: one Open Firmware path a line, the first to be
 * tried first.  SeaBIOS and OVMF find their boot options by it.
 */
#include "device/boot_order.h"

#include <stdio.h>

#include "device/chipset.h"
#include "device/fw_cfg.h"
#include "machine/machine.h"

enum { MAX_ENTRIES = CONFIG_MAX_DISKS + CONFIG_MAX_NETS + 4, MAX_PATH = 96 };

struct boot_order {
	unsigned count;
	struct { enum boot_kind kind; char path[MAX_PATH]; } entry[MAX_ENTRIES];
};

void boot_order_add(struct machine *m, enum boot_kind kind, unsigned devfn, const char *type,
		    const char *below)
{
	struct boot_order **at = &m->board_data->boot_order, *o;
	char function[8] = "";
	if (!*at)
		*at = xnew(struct boot_order);
	o = *at;
	if (o->count == MAX_ENTRIES)
		return;
	if (devfn & 7)
		snprintf(function, sizeof(function), ",%x", devfn & 7);
	o->entry[o->count].kind = kind;
	snprintf(o->entry[o->count++].path, MAX_PATH, "/pci@i0cf8/%s@%x%s%s", type, devfn >> 3, function, below);
}

static bool word_is(const char *word, size_t n, enum boot_kind kind)
{
	static const char *const words[] = {
#define X(k, w) [k] = w,
		BOOT_KINDS(X)
#undef X
	};
	return strlen(words[kind]) == n && !memcmp(words[kind], word, n);
}

void boot_order_describe(struct machine *m, const char *words)
{
	const struct boot_order *o = m->board_data->boot_order;
	char text[MAX_ENTRIES * MAX_PATH];
	size_t len = 0;
	for (const char *p = words; o && p && *p; ) {
		size_t n = strcspn(p, ",");
		for (unsigned i = 0; i < o->count; i++)
			if (word_is(p, n, o->entry[i].kind))
				len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\n", o->entry[i].path);
		p += n + (p[n] == ',');
	}
	if (len)
		fw_cfg_add_file(m, "bootorder", text, len + 1);
}

void boot_order_free(struct machine *m)
{
	if (m->board_data)               /* else the engine could not be made before it */
		free(m->board_data->boot_order);
}
