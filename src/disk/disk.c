/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front of the block layer: opening, and the checks common to all formats. */
#include "disk/format.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/log.h"

enum { SECTOR = 512 };

static const struct disk_ops *const formats[] = { &disk_raw, &disk_qcow2, &disk_nbd };

static const struct disk_ops *find_format(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (!strcmp(formats[i]->format, name))
			return formats[i];
	return NULL;
}

bool disk_file_size(int fd, const char *path, uint64_t *size, struct error *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "cannot look at disk '%s'", path);
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(fd, BLKGETSIZE64, size) < 0)
			return error_set(err, errno, "cannot get the size of device '%s'", path);
		return true;
	}
	if (!S_ISREG(st.st_mode))
		return error_set(err, 0, "disk '%s' is neither a file nor a block device", path);
	*size = (uint64_t)st.st_size;
	return true;
}

static int open_file(const struct disk_options *o, struct error *err)
{
	if (o->fd >= 0)
		return o->fd;
	int fd = open(o->path, (o->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0 && errno == EACCES && !o->readonly)
		return error_minus(err, errno, "cannot open disk '%s' for writing (add ',readonly' to only read it)",
				   o->path);
	return fd < 0 ? error_minus(err, errno, "cannot open disk '%s'", o->path) : fd;
}

struct disk *disk_open(const struct disk_options *o, struct loop *l, struct error *err)
{
	const struct disk_ops *ops = find_format(o->format ? o->format : "raw");
	if (!ops)
		return error_null(err, 0, "disk '%s': format '%s' is not known", o->path, o->format);
	int fd = open_file(o, err);
	if (fd < 0)
		return NULL;
	struct disk *d = xnew(struct disk);
	d->ops = ops;
	d->loop = l;
	d->info.readonly = o->readonly;
	strcpy(d->info.format, ops->format);
	if ((ops == &disk_nbd || disk_lock(fd, o->path, o->readonly, err)) && ops->open(d, fd, o, err)) {
		d->hold = hold_new(d);
		return d;
	}
	disk_unlock(fd);
	if (o->fd < 0)
		close(fd);
	free(d);
	return NULL;
}

void disk_close(struct disk *d)
{
	if (!d)
		return;
	disk_set_on_error(d, DISK_ON_ERROR_REPORT, NULL, NULL);
	disk_drain(d);
	hold_free(d->hold);
	d->ops->close(d);
	free(d);
}

void disk_get_info(const struct disk *d, struct disk_info *info)
{
	*info = d->info;
}

static int check(const struct disk *d, const struct disk_request *r)
{
	if (r->op == DISK_FLUSH)
		return 0;
	if (r->offset % SECTOR || r->length % SECTOR)
		return -EINVAL;
	if (r->offset > d->info.size || r->length > d->info.size - r->offset)
		return -EINVAL;
	return d->info.readonly && r->op != DISK_READ ? -EPERM : 0;
}

void disk_done(struct disk *d, struct disk_request *r, int result)
{
	if (hold_keeps(d->hold, r, &result))
		return;
	d->in_flight--;
	r->done(r, result);
}

void disk_submit(struct disk *d, struct disk_request *r)
{
	int bad = check(d, r);
	if (bad || (!r->length && r->op != DISK_FLUSH)) {
		r->done(r, bad);
		return;
	}
	d->in_flight++;
	r->again = false;
	if (!hold_delays(d->hold, r))
		d->ops->submit(d, r);
}

void disk_plug(struct disk *d) { d->ops->plug(d, true); }
void disk_unplug(struct disk *d) { d->ops->plug(d, false); }

void disk_drain(struct disk *d)
{
	hold_nothing(d->hold, true);
	while (d->in_flight)
		d->ops->wait(d);
	hold_nothing(d->hold, false);
}

unsigned disk_in_flight(const struct disk *d)
{
	return d->in_flight;
}

bool disk_snapshot(struct disk *d, enum disk_snapshot what, const char *name, struct error *err)
{
	if (d->ops->snapshot)
		return d->ops->snapshot(d, what, name, err);
	return error_set(err, 0, "a %s disk has no snapshots: convert it to qcow2", d->info.format);
}
