/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 9P2000.L messages about files: opening, data, attributes. */
#include "share/fid.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/statfs.h>

enum { SET_MODE = 1, SET_UID = 2, SET_GID = 4, SET_SIZE = 8, SET_ATIME = 16, SET_MTIME = 32,
       SET_ATIME_TO = 128, SET_MTIME_TO = 256 };
enum { GETATTR_BASIC = 0x7ff, LOCK_SUCCESS = 0, MODE_BITS = 01777, IO_OVERHEAD = 24 };

/* The protocol's flags are Linux's of x86; offsets come with each write. */
static int open_flags(uint32_t flags)
{
	return (int)(flags & (O_ACCMODE | O_TRUNC | O_DSYNC | O_SYNC | O_EXCL));
}

static bool wants_write(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

static void out_opened(struct p9_server *s, struct p9_out *out, const struct stat *st)
{
	out_qid(s, out, st);
	out_u32(out, s->msize - IO_OVERHEAD);
}

int p9_lopen(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *f = fid_find(s, in_u32(in));
	uint32_t flags = in_u32(in);
	struct stat st;
	if (!f || f->io >= 0)
		return EBADF;
	int e = fid_stat(f, &st);
	if (e || in->bad)
		return e ? e : EINVAL;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return ENXIO;         /* pipes, sockets and devices are the guest's own */
	if (s->readonly && wants_write(flags))
		return EROFS;
	f->io = path_reopen(s, f->path, open_flags(flags) & ~O_EXCL);
	if (f->io < 0)
		return errno;
	out_opened(s, out, &st);
	return 0;
}

int p9_lcreate(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *f = fid_find(s, in_u32(in));
	char name[NAME_MAX + 1];
	struct stat st;
	in_name(in, name);
	uint32_t flags = in_u32(in), mode = in_u32(in);
	if (!f || f->io >= 0 || in->bad)
		return f ? EINVAL : EBADF;
	if (s->readonly)
		return EROFS;
	int io = openat(f->path, name, open_flags(flags) | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC |
			O_NOCTTY, mode & MODE_BITS);
	if (io < 0)
		return errno;
	int path = path_reopen(s, io, O_PATH);
	if (path < 0 || fstat(io, &st) || !S_ISREG(st.st_mode)) {
		int e = path < 0 ? errno : EEXIST;
		close(io);
		if (path >= 0)
			close(path);
		return e;
	}
	close(f->path);
	f->path = path;
	f->io = io;
	out_opened(s, out, &st);
	return 0;
}

int p9_read(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *f = fid_find(s, in_u32(in));
	uint64_t offset = in_u64(in);
	uint32_t count = in_u32(in);
	if (!f || f->io < 0 || in->bad)
		return EBADF;
	uint8_t *size = out->p;
	out_u32(out, 0);
	count = MIN(count, (uint32_t)(out->end - out->p));
	ssize_t r = pread(f->io, out->p, count, (off_t)offset);
	if (r < 0)
		return errno;
	le32_put(size, (uint32_t)r);
	out->p += r;
	return 0;
}

int p9_write(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *f = fid_find(s, in_u32(in));
	uint64_t offset = in_u64(in);
	uint32_t count = in_u32(in);
	if (!f || f->io < 0 || in->bad || count > (size_t)(in->end - in->p))
		return f ? EINVAL : EBADF;
	ssize_t r = pwrite(f->io, in->p, count, (off_t)offset);
	if (r < 0)
		return errno;
	out_u32(out, (uint32_t)r);
	return 0;
}

int p9_fsync(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *f = fid_find(s, in_u32(in));
	uint32_t data_only = in_u32(in);
	if (!f)
		return EBADF;
	auto_close int own = f->io < 0 ? path_reopen(s, f->path, O_RDONLY) : -1;
	int fd = f->io < 0 ? own : f->io;
	return fd < 0 || (data_only ? fdatasync(fd) : fsync(fd)) ? errno : 0;
}

int p9_getattr(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *f = fid_find(s, in_u32(in));
	struct stat st;
	int e = f ? fid_stat(f, &st) : EBADF;
	if (e)
		return e;
	out_u64(out, GETATTR_BASIC);
	out_qid(s, out, &st);
	out_u32(out, st.st_mode);
	out_u32(out, st.st_uid);
	out_u32(out, st.st_gid);
	const uint64_t rest[] = {
		st.st_nlink, st.st_rdev, (uint64_t)st.st_size, (uint64_t)st.st_blksize, (uint64_t)st.st_blocks,
		(uint64_t)st.st_atim.tv_sec, (uint64_t)st.st_atim.tv_nsec,
		(uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec,
		(uint64_t)st.st_ctim.tv_sec, (uint64_t)st.st_ctim.tv_nsec, 0, 0, 0, 0,
	};
	for (unsigned i = 0; i < ARRAY_SIZE(rest); i++)
		out_u64(out, rest[i]);
	return 0;
}

static int set_size(struct p9_server *s, struct fid *f, uint64_t size)
{
	/* a new descriptor: the fid's own may be read-only */
	auto_close int fd = path_reopen(s, f->path, O_WRONLY);
	return fd < 0 || ftruncate(fd, (off_t)size) ? errno : 0;
}

static struct timespec set_time(uint32_t valid, uint32_t set, uint32_t to, struct timespec t)
{
	if (!(valid & set))
		t.tv_nsec = UTIME_OMIT;
	else if (!(valid & to))
		t.tv_nsec = UTIME_NOW;
	return t;
}

static int set_owner(struct fid *f, uint32_t valid, uint32_t uid, uint32_t gid)
{
	uid_t u = valid & SET_UID ? uid : (uid_t)-1;
	gid_t g = valid & SET_GID ? gid : (gid_t)-1;
	if (!fchownat(f->path, "", u, g, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return 0;
	return errno == EPERM || errno == EINVAL ? 0 : errno;     /* see p9.h */
}

int p9_setattr(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *f = fid_find(s, in_u32(in));
	uint32_t valid = in_u32(in), mode = in_u32(in), uid = in_u32(in), gid = in_u32(in);
	uint64_t size = in_u64(in);
	struct timespec t[2];
	char name[16];
	for (unsigned i = 0; i < 2; i++) {
		t[i].tv_sec = (time_t)in_u64(in);
		t[i].tv_nsec = (long)in_u64(in);
	}
	if (!f || in->bad)
		return f ? EINVAL : EBADF;
	if (s->readonly)
		return EROFS;
	int e = 0;
	if (valid & SET_MODE && fchmodat(s->proc, path_name(f->path, name), mode & MODE_BITS, 0))
		e = errno;
	if (!e && valid & (SET_UID | SET_GID))
		e = set_owner(f, valid, uid, gid);
	if (!e && valid & SET_SIZE)
		e = set_size(s, f, size);
	if (e || !(valid & (SET_ATIME | SET_MTIME)))
		return e;
	t[0] = set_time(valid, SET_ATIME, SET_ATIME_TO, t[0]);
	t[1] = set_time(valid, SET_MTIME, SET_MTIME_TO, t[1]);
	return utimensat(s->proc, path_name(f->path, name), t, 0) ? errno : 0;
}

int p9_statfs(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *f = fid_find(s, in_u32(in));
	struct statfs st;
	if (!f || fstatfs(f->path, &st))
		return f ? errno : EBADF;
	out_u32(out, (uint32_t)st.f_type);
	out_u32(out, (uint32_t)st.f_bsize);
	const uint64_t rest[] = { st.f_blocks, st.f_bfree, st.f_bavail, st.f_files, st.f_ffree, 0 };
	for (unsigned i = 0; i < ARRAY_SIZE(rest); i++)
		out_u64(out, rest[i]);
	out_u32(out, (uint32_t)st.f_namelen);
	return 0;
}

/* Locks are among the guest's own processes, and its kernel keeps those. */
int p9_lock(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	out_u8(out, LOCK_SUCCESS);
	return fid_find(s, in_u32(in)) ? 0 : EBADF;
}

int p9_getlock(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	char client[256];
	if (!fid_find(s, in_u32(in)))
		return EBADF;
	in_u8(in);
	uint64_t start = in_u64(in), length = in_u64(in);
	uint32_t pid = in_u32(in);
	in_string(in, client, sizeof(client));
	out_u8(out, 2);               /* unlocked */
	out_u64(out, start);
	out_u64(out, length);
	out_u32(out, pid);
	out_string(out, client);
	return 0;
}
