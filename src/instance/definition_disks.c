/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disks of a definition: from their option form, and their checks. */
#include "instance/fields.h"

#include "disk/disk.h"
#include "disk/nbd.h"

enum { MAX_DISKS = 16, MAX_FLOPPIES = 2 };

static bool set_number(unsigned *field, const char *what, const char *text, struct error *err)
{
	uint64_t n;
	if (!parse_u64(text, 0, UINT32_MAX, &n))
		return error_set(err, 0, "%s'%s' is not a whole number", what, text);
	*field = (unsigned)n;
	return true;
}

static bool disk_option(struct def_disk *disk, const char *f, struct error *err)
{
	const struct { const char *key; char **text; unsigned *number; } keys[] = {
		{ "format=", &disk->format }, { "bus=", &disk->bus }, { "on-error=", &disk->on_error },
		{ "reconnect=", &disk->reconnect }, { "data-file=", &disk->data_file },
		{ "iops=", NULL, &disk->iops }, { "iops-burst=", NULL, &disk->iops_burst },
		{ "bps=", &disk->bps }, { "bps-burst=", &disk->bps_burst } };
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *value = field_after(f, keys[i].key);
		if (value && keys[i].number)
			return set_number(keys[i].number, keys[i].key, value, err);
		if (!value)
			continue;
		free(*keys[i].text);
		*keys[i].text = xstrdup(value);
		return true;
	}
	if (strcmp(f, "readonly"))
		return error_set(err, 0, "disk option '%s' is not known: use readonly, format=raw|qcow2, "
				 "bus=virtio|scsi|ahci|nvme|ide, on-error=report|pause|enospc|ignore, iops=N, "
				 "iops-burst=N, bps=SIZE, bps-burst=SIZE, data-file=NAME or reconnect=SECONDS", f);
	disk->readonly = true;
	return true;
}

static bool disk_options(struct def_disk *disk, const char *text, struct error *err)
{
	for (char *f; (f = field_next(&text)); free(f))
		if (!disk_option(disk, f, err)) {
			free(f);
			return false;
		}
	return true;
}

bool definition_add_disk(struct definition *d, const char *text, struct error *err)
{
	struct def_disk *disk = APPEND(d, disks, ndisks, MAX_DISKS, "disks");
	if (!disk)
		return false;
	disk->file = field_next(&text);
	if (!*disk->file)
		return error_set(err, 0, "a disk needs a file: --disk FILE[,readonly][,format=raw|qcow2]");
	return disk_options(disk, text, err);
}

bool definition_add_cdrom(struct definition *d, const char *text, struct error *err)
{
	if (!definition_add_disk(d, text, err))
		return false;
	struct def_disk *disk = &d->disks[d->ndisks - 1];
	disk->readonly = disk->cdrom = true;
	return true;
}

bool definition_add_floppy(struct definition *d, const char *text, struct error *err)
{
	if (!definition_add_disk(d, text, err))
		return false;
	struct def_disk *disk = &d->disks[d->ndisks - 1];
	free(disk->bus);
	disk->bus = xstrdup("floppy");
	return true;
}

static bool is_floppy(const struct def_disk *disk) { return disk->bus && !strcmp(disk->bus, "floppy"); }

bool def_disk_removable(const struct def_disk *disk) { return disk->cdrom || is_floppy(disk); }

struct def_disk *definition_drive(struct definition *d, const char *word, struct error *err)
{
	bool cdrom = field_after(word, "cdrom");
	const char *kind = cdrom ? "cdrom" : "floppy", *number = field_after(word, kind);
	uint64_t n = 1;
	if (!number || (*number && !parse_u64(number, 1, MAX_DISKS, &n)))
		return error_null(err, 0, "'%s' is not a drive: use cdrom, cdrom2, floppy or floppy2", word);
	for (unsigned i = 0; i < d->ndisks; i++)
		if (d->disks[i].cdrom == cdrom && def_disk_removable(&d->disks[i]) && !--n)
			return &d->disks[i];
	return error_null(err, 0, "the machine has no drive '%s': give it one with --%s FILE or --%s none", word, kind, kind);
}

static struct def_disk *find(const struct definition *d, const char *which)
{
	uint64_t n;
	const char *slash = strrchr(which, '/');
	if (parse_u64(which, 0, MAX_DISKS, &n))
		return n < d->ndisks ? &d->disks[n] : NULL;
	for (unsigned i = 0; i < d->ndisks; i++) {
		const char *base = strrchr(d->disks[i].file, '/');
		if (!strcmp(d->disks[i].file, which) || (!slash && base && !strcmp(base + 1, which)))
			return &d->disks[i];
	}
	return NULL;
}

bool definition_limit_disk(struct definition *d, const char *text, struct error *err)
{
	auto_free char *which = field_next(&text);
	struct def_disk *disk = find(d, which);
	if (!disk)
		return error_set(err, 0, "there is no disk '%s': name one by its file, or by its number from 0 on", which);
	for (const char *rest = text; rest; ) {
		auto_free char *f = field_next(&rest);
		if (strncmp(f, "iops", 4) && strncmp(f, "bps", 3))
			return error_set(err, 0, "'%s' is no limit of a disk: use iops=N, iops-burst=N, bps=SIZE or "
					 "bps-burst=SIZE (0: none)", f);
	}
	return disk_options(disk, text, err);
}

static bool take_size(const char *text, uint64_t *out, struct error *err)
{
	return !text || parse_size(text, out) || error_set(err, 0, "'%s' is not a size: write 10M", text);
}

bool definition_disk_limits(const struct def_disk *disk, struct disk_limits *out, struct error *err)
{
	*out = (struct disk_limits){ .iops = disk->iops, .iops_burst = disk->iops_burst };
	return take_size(disk->bps, &out->bps, err) && take_size(disk->bps_burst, &out->bps_burst, err);
}

/* How long the requests of an NBD disk wait for a server that has gone. */
static bool check_reconnect(struct def_disk *disk, struct error *err)
{
	uint64_t seconds;
	if (disk->reconnect && !nbd_is_uri(disk->file))
		return error_set(err, 0, "reconnect= is for disks of an NBD server, not for '%s'", disk->file);
	if (nbd_is_uri(disk->file))
		field_default(&disk->reconnect, "30");
	return !disk->reconnect || parse_u64(disk->reconnect, 0, 86400, &seconds) ||
	       error_set(err, 0, "reconnect=%s is not a number of seconds from 0 to 86400", disk->reconnect);
}

bool definition_check_disks(struct definition *d, struct error *err)
{
	unsigned floppies = 0;
	for (unsigned i = 0; i < d->ndisks; i++) {
		struct def_disk *disk = &d->disks[i];
		struct disk_limits limits;
		enum disk_on_error what;
		field_default(&disk->format, "raw");
		field_default(&disk->bus, disk->cdrom ? "ahci" : "virtio");
		field_default(&disk->on_error, d->on_error ? d->on_error : "enospc");
		disk->readonly |= disk->cdrom;
		if (!ONE_OF(disk->format, "disk format", "raw", "qcow2") ||
		    !ONE_OF(disk->bus, "disk bus", "virtio", "scsi", "ahci", "nvme", "ide", "floppy") ||
		    !disk_on_error_parse(disk->on_error, &what, err) || !definition_disk_limits(disk, &limits, err))
			return false;
		floppies += is_floppy(disk);
		if (floppies > MAX_FLOPPIES)
			return error_set(err, 0, "a machine has at most %d floppy drives", MAX_FLOPPIES);
		if (def_disk_removable(disk) && strcmp(disk->format, "raw"))
			return error_set(err, 0, "a CD or floppy is a raw image: '%s' cannot be %s", disk->file, disk->format);
		if (nbd_is_uri(disk->file) && strcmp(disk->format, "raw"))
			return error_set(err, 0, "what an NBD server gives out is raw, not %s: '%s'", disk->format, disk->file);
		if (!check_reconnect(disk, err))
			return false;
		if (disk->cdrom && strcmp(disk->bus, "ahci") && strcmp(disk->bus, "ide"))
			return error_set(err, 0, "a CD drive is at bus ahci or ide, not %s", disk->bus);
	}
	return true;
}
