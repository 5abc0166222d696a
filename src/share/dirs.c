/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 9P2000.L messages about directories and the names in them. */
#include "share/fid.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/syscall.h>

enum { MODE_BITS = 01777, ENTRY = P9_QID + 8 + 1 + 2, BUFFER = 32768 };

struct entry { uint64_t ino, next; uint16_t size; uint8_t type; char name[]; };

/* As many entries of buf as fit. */
static void put_entries(struct p9_server *s, struct p9_out *out, const uint8_t *buf, size_t n,
			const uint8_t *end)
{
	for (size_t at = 0; at < n; ) {
		const struct entry *e = (const void *)(buf + at);
		struct stat st = { .st_ino = e->ino, .st_dev = s->root_dev, .st_mode = DTTOIF(e->type) };
		if ((size_t)(end - out->p) < ENTRY + strlen(e->name))
			return;
		out_qid(s, out, &st);
		out_u64(out, e->next);
		out_u8(out, e->type);
		out_string(out, e->name);
		at += e->size;
	}
}

int p9_readdir(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *f = fid_find(s, in_u32(in));
	uint64_t offset = in_u64(in);
	uint32_t count = in_u32(in);
	_Alignas(8) uint8_t buf[BUFFER];
	if (!f || f->io < 0 || in->bad)
		return EBADF;
	uint8_t *size = out->p;
	out_u32(out, 0);
	count = MIN(count, (uint32_t)(out->end - out->p));
	const uint8_t *end = out->p + count;
	/* an entry is hardly larger on the wire than in the buffer: ask for no more */
	size_t room = MIN((size_t)count, sizeof(buf));
	room = MAX(room, sizeof(struct entry) + NAME_MAX + 1);
	if (lseek(f->io, (off_t)offset, SEEK_SET) < 0)
		return errno;
	long n = syscall(SYS_getdents64, f->io, buf, room);
	if (n < 0)
		return errno;
	put_entries(s, out, buf, (size_t)n, end);
	if (n && out->p == size + 4)
		return EINVAL;        /* not even one entry fits */
	le32_put(size, (uint32_t)(out->p - size - 4));
	return 0;
}

int p9_readlink(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *f = fid_find(s, in_u32(in));
	char target[PATH_MAX + 1];
	ssize_t n = f ? readlinkat(f->path, "", target, PATH_MAX) : -1;
	if (n < 0)
		return f ? errno : EBADF;
	target[n] = 0;
	out_string(out, target);
	return 0;
}

/* The qid of a name just made. */
static int out_made(struct p9_server *s, struct p9_out *out, const struct fid *dir, const char *name)
{
	struct stat st;
	if (fstatat(dir->path, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno;
	out_qid(s, out, &st);
	return 0;
}

static int may_change(const struct p9_server *s, const struct fid *dir, const struct p9_in *in)
{
	if (!dir)
		return EBADF;
	return in->bad ? EINVAL : s->readonly ? EROFS : 0;
}

int p9_symlink(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *dir = fid_find(s, in_u32(in));
	char name[NAME_MAX + 1], target[PATH_MAX];
	in_name(in, name);
	in_string(in, target, sizeof(target));
	int e = may_change(s, dir, in);
	if (!e && symlinkat(target, dir->path, name))
		e = errno;
	return e ? e : out_made(s, out, dir, name);
}

int p9_mknod(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *dir = fid_find(s, in_u32(in));
	char name[NAME_MAX + 1];
	in_name(in, name);
	uint32_t mode = in_u32(in);
	int e = may_change(s, dir, in);
	if (!e && (S_ISCHR(mode) || S_ISBLK(mode)))
		e = EPERM;
	if (!e && mknodat(dir->path, name, mode & (S_IFMT | MODE_BITS), 0))
		e = errno;
	return e ? e : out_made(s, out, dir, name);
}

int p9_mkdir(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *dir = fid_find(s, in_u32(in));
	char name[NAME_MAX + 1];
	in_name(in, name);
	uint32_t mode = in_u32(in);
	int e = may_change(s, dir, in);
	if (!e && mkdirat(dir->path, name, mode & MODE_BITS))
		e = errno;
	return e ? e : out_made(s, out, dir, name);
}

int p9_link(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *dir = fid_find(s, in_u32(in)), *f = fid_find(s, in_u32(in));
	char name[NAME_MAX + 1], number[16];
	in_name(in, name);
	int e = may_change(s, f ? dir : NULL, in);
	if (!e && linkat(s->proc, path_name(f->path, number), dir->path, name, AT_SYMLINK_FOLLOW))
		e = errno;
	return e;
}

int p9_renameat(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	char from[NAME_MAX + 1], to[NAME_MAX + 1];
	struct fid *a = fid_find(s, in_u32(in));
	in_name(in, from);
	struct fid *b = fid_find(s, in_u32(in));
	in_name(in, to);
	int e = may_change(s, b ? a : NULL, in);
	return e ? e : renameat(a->path, from, b->path, to) ? errno : 0;
}

int p9_unlinkat(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *dir = fid_find(s, in_u32(in));
	char name[NAME_MAX + 1];
	in_name(in, name);
	uint32_t flags = in_u32(in);
	int e = may_change(s, dir, in);
	return e ? e : unlinkat(dir->path, name, flags & AT_REMOVEDIR) ? errno : 0;
}
