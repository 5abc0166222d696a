/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carrying a session over a suspend.  Two messages of our own, from the virtual
 * device only:
 *     Tsave    bucket[4]                    Rsave     next[4] entry...
 *     Trestore msize[4] entry...            Rrestore
 *     entry    fid[4] flags[4] path[s]      path from the root; flags ~0: not open
 * A restored path is walked under the same rules as any other.  What has gone
 * is left out: its fid is unknown from then on.
 */
#include "share/fid.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#define NOT_OPEN 0xffffffffu

/* Path of a descriptor below the root ("." for the root itself); false: gone. */
static bool path_of(const struct p9_server *s, int fd, char path[PATH_MAX])
{
	char name[16], root[PATH_MAX];
	ssize_t r = readlinkat(s->proc, path_name(s->root, name), root, sizeof(root) - 1);
	ssize_t n = readlinkat(s->proc, path_name(fd, name), path, PATH_MAX - 1);
	if (r < 0 || n < r)
		return false;
	path[n] = 0;
	if (r == 1)
		r = 0;                /* the root is "/" itself */
	if (memcmp(path, root, (size_t)r) || (path[r] && path[r] != '/'))
		return false;
	memmove(path, path + r + (path[r] == '/'), (size_t)(n - r) + 1);
	if (!path[0])
		strcpy(path, ".");
	return true;
}

int p9_save(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t bucket = in_u32(in);
	char path[PATH_MAX];
	uint8_t *next = out->p;
	out_u32(out, UINT32_MAX);
	for (; bucket < ARRAY_SIZE(s->buckets); bucket++) {
		struct p9_out before = *out;
		for (struct fid *f = s->buckets[bucket]; f; f = f->next) {
			if (!path_of(s, f->path, path))
				continue;
			out_u32(out, f->id);
			out_u32(out, f->io < 0 ? NOT_OPEN : (uint32_t)fcntl(f->io, F_GETFL) & O_ACCMODE);
			out_string(out, path);
		}
		if (!out->bad)
			continue;
		if (before.p == next + 4)
			return EMSGSIZE;
		*out = before;        /* the next message begins with this bucket */
		le32_put(next, bucket);
		return 0;
	}
	return 0;
}

static void restore_one(struct p9_server *s, uint32_t id, uint32_t flags, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	struct fid *f = fid_add(s, id, (int)syscall(SYS_openat2, s->root, path, &how, sizeof(how)));
	struct stat st;
	if (!f || flags == NOT_OPEN)
		return;
	if (!fid_stat(f, &st) && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) &&
	    (!s->readonly || (flags & O_ACCMODE) == O_RDONLY))
		f->io = path_reopen(s, f->path, (int)(flags & O_ACCMODE));
	if (f->io < 0)
		fid_drop(s, f);
}

int p9_restore(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t msize = in_u32(in);
	if (msize < P9_MSIZE_MIN || msize > P9_MSIZE_MAX)
		return EINVAL;
	s->msize = msize;
	while (in->p < in->end && !in->bad) {
		char path[PATH_MAX];
		uint32_t id = in_u32(in), flags = in_u32(in);
		in_string(in, path, sizeof(path));
		if (!in->bad)
			restore_one(s, id, flags, path);
	}
	return 0;
}
