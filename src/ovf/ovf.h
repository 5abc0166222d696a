/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machines in the Open Virtualization Format (DMTF DSP0243, versions 1 and 2): the
 * descriptor as JSON, and OVA, a tar of it with its disks.
 *
 *     {"name", "vcpus", "memory_mib", "firmware": "bios"|"uefi", "family",
 *      "disks": [{"file", "bus": "virtio"|"scsi"|"ahci"|"ide", "capacity"}],
 *      "nics": ["virtio"|"e1000"]}
 *
 * Only abyme-ovf uses this room: it links libxml2, libarchive and libcrypto.
 */
#ifndef OVF_OVF_H
#define OVF_OVF_H

#include <jansson.h>
#include "base/error.h"
#include "base/util.h"

enum { OVF_MAX_BYTES = 8 << 20, OVF_MAX_DISKS = 16, OVF_MAX_NICS = 4 };

/* A new reference; disks' files are names without directory. `what` is for messages. */
json_t *ovf_parse(const char *text, size_t size, const char *what, struct error *err);
/* Its text, to be freed; each disk has "size" too, that of its file. `virtualbox`: the family that
 * VirtualBox writes and VMware refuses ("unsupported hardware family"). */
char *ovf_write(json_t *machine, bool virtualbox, struct error *err);

/* Unpacks FILE.ova into `dir`, or looks beside FILE.ovf, checks the manifest, and parses.
 * `what`: its name in messages. */
json_t *ova_read(const char *file, const char *dir, const char *what, struct error *err);
/* The disks' files lie in `dir`. The new file is whole or not there. */
bool ova_write(const char *file, const char *dir, json_t *machine, bool virtualbox, struct error *err);

#endif
