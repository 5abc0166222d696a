/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images: opening a chain of them, files, and what is common to all formats. */
#include "disk/image.h"

#include <errno.h>
#include <fcntl.h>

#include "disk/format.h"

enum { IOVS_MAX = 256 };

struct fd_file { struct image_file file; int fd; };

static int fd_of(struct image_file *f) { return container_of(f, struct fd_file, file)->fd; }

/* All of it, whatever the kernel does at a time; the end of file reads as zeros. */
static int transfer(int fd, const struct iovec *iov, unsigned n, uint64_t offset, bool writes)
{
	struct iovec left[IOVS_MAX], *at = left;
	if (n > IOVS_MAX)
		return -EINVAL;
	memcpy(left, iov, n * sizeof(*iov));
	while (n) {
		ssize_t r = writes ? pwritev(fd, at, (int)n, (off_t)offset) :
				     preadv(fd, at, (int)n, (off_t)offset);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0) {
			if (writes)
				return -ENOSPC;
			iov_zero(at, n);
			return 0;
		}
		offset += (uint64_t)r;
		for (; n && (size_t)r >= at->iov_len; at++, n--)
			r -= (ssize_t)at->iov_len;
		if (n) {
			at->iov_base = (uint8_t *)at->iov_base + r;
			at->iov_len -= (size_t)r;
		}
	}
	return 0;
}

static int fd_read(struct image_file *f, const struct iovec *iov, unsigned n, uint64_t offset)
{
	return transfer(fd_of(f), iov, n, offset, false);
}

static int fd_write(struct image_file *f, const struct iovec *iov, unsigned n, uint64_t offset)
{
	return transfer(fd_of(f), iov, n, offset, true);
}

static int fd_sync(struct image_file *f) { return fdatasync(fd_of(f)) ? -errno : 0; }

static int fd_punch(struct image_file *f, uint64_t offset, uint64_t len)
{
	return fallocate(fd_of(f), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) ?
	       -errno : 0;
}

static int fd_truncate(struct image_file *f, uint64_t size)
{
	return ftruncate(fd_of(f), (off_t)size) ? -errno : 0;
}

static uint64_t fd_size(struct image_file *f)
{
	uint64_t size = 0;
	disk_file_size(fd_of(f), "", &size, NULL);
	return size;
}

static void fd_close(struct image_file *f)
{
	disk_unlock(fd_of(f));
	close(fd_of(f));
	free(container_of(f, struct fd_file, file));
}

static const struct image_file_ops fd_ops = {
	fd_read, fd_write, fd_sync, fd_punch, fd_truncate, fd_size, fd_close,
};

struct image_file *image_file_fd(int fd)
{
	struct fd_file *f = xnew(struct fd_file);
	f->file.ops = &fd_ops;
	f->fd = fd;
	return &f->file;
}

bool file_hole(struct image_file *f, uint64_t offset, uint64_t *len)
{
	if (f->ops != &fd_ops)
		return false;
	off_t data = lseek(fd_of(f), (off_t)offset, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO;        /* no data from here to the end */
	bool hole = (uint64_t)data > offset;
	off_t end = hole ? data : lseek(fd_of(f), (off_t)offset, SEEK_HOLE);
	if (end > (off_t)offset)
		*len = MIN(*len, (uint64_t)end - offset);
	return hole;
}

int image_file_descriptor(struct image_file *f) { return fd_of(f); }

int file_read(struct image_file *f, void *buf, size_t n, uint64_t offset)
{
	struct iovec v = { buf, n };
	return f->ops->read(f, &v, 1, offset);
}

int file_write(struct image_file *f, const void *buf, size_t n, uint64_t offset)
{
	struct iovec v = { (void *)buf, n };
	return f->ops->write(f, &v, 1, offset);
}

unsigned iov_window(const struct iovec *iov, unsigned n, uint64_t skip, uint64_t len, struct iovec *out)
{
	unsigned k = 0;
	for (unsigned i = 0; i < n && len; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		uint64_t piece = MIN(iov[i].iov_len - skip, len);
		out[k++] = (struct iovec){ (uint8_t *)iov[i].iov_base + skip, piece };
		len -= piece;
		skip = 0;
	}
	return k;
}

void iov_zero(const struct iovec *iov, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
}

const char *image_probe(struct image_file *f, bool any)
{
	static const struct { unsigned at, n; const char *bytes, *format; } magic[] = {
		{ 0, 4, "QFI\xfb", "qcow2" }, { 0, 4, "KDMV", "vmdk" }, { 0x40, 4, "\x7f\x10\xda\xbe", "vdi" },
		{ 0, 8, "conectix", "vhd" }, { 0, 16, "WithoutFreeSpace", "parallels" },
		{ 0, 16, "WithouFreSpacExt", "parallels" },
	};
	uint8_t head[0x44];
	if (file_read(f, head, sizeof(head), 0))
		return "raw";
	for (unsigned k = 0; k < (any ? ARRAY_SIZE(magic) : 1); k++)
		if (!memcmp(head + magic[k].at, magic[k].bytes, magic[k].n))
			return magic[k].format;
	return "raw";
}

struct image *image_on(struct image_file *f, const char *format, const char *path, bool readonly,
		       struct error *err)
{
	static const struct image_ops *const formats[] = { &image_raw, &image_qcow2, &image_vmdk, &image_vdi,
		&image_vhd, &image_parallels };
	struct image *i = xnew(struct image);
	i->file = f;
	i->path = xstrdup(path);
	i->readonly = readonly;
	for (unsigned k = 0; k < ARRAY_SIZE(formats); k++)
		if (!strcmp(formats[k]->format, format))
			i->ops = formats[k];
	if (!i->ops)
		error_set(err, 0, "disk '%s': format '%s' is not known: raw, qcow2, vmdk, vdi, vhd and parallels are",
			  path, format);
	else if (i->ops->open(i, err))
		return i;
	free(i->path);
	free(i->data_name);
	free(i->backing_name);
	free(i->backing_format);
	free(i);
	return NULL;
}

/* A relative name is relative to the image that names it. */
static char *path_of(const struct image *i, const char *name)
{
	const char *slash = strrchr(i->path, '/');
	if (name[0] == '/' || !slash)
		return xstrdup(name);
	return xasprintf("%.*s%s", (int)(slash + 1 - i->path), i->path, name);
}

/* The file that has the data, as the image itself is opened. A machine's jail has only what was passed to it. */
static bool open_data(struct image *i, const struct image_open *o, struct error *err)
{
	auto_free char *path = path_of(i, i->data_name);
	if (o->fd >= 0 && o->data_fd <= 0)
		return error_set(err, 0, "disk '%s' keeps its data in the file '%s', which was not passed on: convert it", i->path, path);
	int fd = o->data_fd > 0 ? fcntl(o->data_fd, F_DUPFD_CLOEXEC, 0) : open(path, (o->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "cannot open '%s', the data file of disk '%s'", path, i->path);
	if (!o->no_lock && !disk_lock(fd, path, o->readonly, err)) {
		close(fd);
		return false;
	}
	i->data = image_file_fd(fd);
	return true;
}

static struct image *open_one(const struct image_open *o, struct error *err)
{
	int fd = o->fd >= 0 ? o->fd : open(o->path, (o->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	uint64_t size;
	if (fd < 0)
		return error_null(err, errno, "cannot open disk '%s'", o->path);
	if (disk_file_size(fd, o->path, &size, err) &&
	    (o->no_lock || disk_lock(fd, o->path, o->readonly, err))) {
		struct image_file *f = image_file_fd(fd);
		struct image *i = image_on(f, o->format ? o->format : image_probe(f, o->any_format), o->path, o->readonly, err);
		if (i && i->data_name && !open_data(i, o, err)) {
			image_close(i);
			return NULL;
		}
		if (i)
			return i;
		free(container_of(f, struct fd_file, file));
		disk_unlock(fd);
	}
	close(fd);
	return NULL;
}

/* The n-th file below the top: one that was passed, or by its name. */
static struct image *open_backing(const struct image_open *top, const struct image *above, unsigned n,
				  struct error *err)
{
	auto_free char *path = path_of(above, above->backing_name);
	struct image_open o = { .path = path, .fd = -1, .format = above->backing_format, .readonly = true,
				.no_lock = top->no_lock };
	if (n == IMAGE_CHAIN_MAX)          /* a loop ends here too */
		return error_null(err, 0, "more than %d backing files, or a loop of them", IMAGE_CHAIN_MAX);
	if (top->nbacking_fds && n >= top->nbacking_fds)
		return error_null(err, 0, "the file '%s' was not passed on", path);
	if (top->nbacking_fds && (o.fd = fcntl(top->backing_fds[n], F_DUPFD_CLOEXEC, 0)) < 0)
		return error_null(err, errno, "cannot use the file '%s'", path);
	return open_one(&o, err);
}

struct image *image_open(const struct image_open *o, struct error *err)
{
	struct image *top = open_one(o, err), *i = top;
	for (unsigned depth = 0; i && i->backing_name && !o->no_backing; depth++, i = i->backing) {
		if (!(i->backing = open_backing(o, i, depth, err))) {
			error_prefix(err, "the backing files of disk '%s'", o->path);
			image_close(top);
			return NULL;
		}
	}
	return top;
}

void image_close(struct image *i)
{
	while (i) {
		struct image *backing = i->backing;
		i->ops->close(i);
		i->file->ops->close(i->file);
		if (i->data)
			i->data->ops->close(i->data);
		free(i->path);
		free(i->data_name);
		free(i->backing_name);
		free(i->backing_format);
		free(i);
		i = backing;
	}
}

int image_read(struct image *i, void *buf, size_t len, uint64_t offset)
{
	struct iovec v = { buf, len };
	return i->ops->read(i, &v, 1, offset, len);
}

int image_write(struct image *i, const void *buf, size_t len, uint64_t offset)
{
	struct iovec v = { (void *)buf, len };
	return i->ops->write(i, &v, 1, offset, len);
}

int image_map(struct image *i, uint64_t offset, uint64_t *len, enum image_kind *kind, unsigned *depth)
{
	unsigned d = 0;
	int r;
	for (;; i = i->backing, d++) {
		if (offset >= i->size) {
			*kind = IMAGE_ZERO;           /* above: a larger image on a smaller one */
			return 0;
		}
		*len = MIN(*len, i->size - offset);
		r = i->ops->map(i, offset, len, kind);
		if (r || *kind != IMAGE_ABSENT || !i->backing)
			break;
	}
	if (*kind == IMAGE_ABSENT)
		*kind = IMAGE_ZERO;
	if (depth)
		*depth = d;
	return r;
}
