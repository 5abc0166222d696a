/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 9P server's front: framing, dispatch, and the messages about fids
 * themselves.  Every message is answered, in order, before the next is read.
 */
#include "share/fid.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

enum { WALK_MAX = 16 };

int p9_version(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t msize = in_u32(in);
	char version[32];
	in_string(in, version, sizeof(version));
	fid_drop_all(s);      /* a new session */
	if (msize < P9_MSIZE_MIN)
		return EMSGSIZE;
	s->msize = MIN(msize, (uint32_t)P9_MSIZE_MAX);
	out_u32(out, s->msize);
	out_string(out, strcmp(version, "9P2000.L") ? "unknown" : "9P2000.L");
	return 0;
}

int p9_attach(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t id = in_u32(in);
	struct stat st;
	struct fid *f = in->bad ? NULL : fid_add(s, id, fcntl(s->root, F_DUPFD_CLOEXEC, 0));
	int e = f ? fid_stat(f, &st) : errno;
	if (!e)
		out_qid(s, out, &st);
	return e;
}

int p9_flush(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	return 0;             /* what it names has been answered already */
}

int p9_clunk(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *f = fid_find(s, in_u32(in));
	if (!f)
		return EBADF;
	fid_drop(s, f);
	return 0;
}

/* By name only (Tunlinkat): a fid does not know its parent. It is clunked all the same. */
int p9_remove(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	int e = p9_clunk(s, in, out);
	return e ? e : EOPNOTSUPP;
}

/* One step down; up only where the root is its own parent. */
static int step(struct p9_server *s, int from, const char *name)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	struct stat a, b;
	if (!strcmp(name, "..") && !fstat(from, &a) && !fstat(s->root, &b) &&
	    a.st_ino == b.st_ino && a.st_dev == b.st_dev)
		return fcntl(from, F_DUPFD_CLOEXEC, 0);
	return (int)syscall(SYS_openat2, from, name, &how, sizeof(how));
}

/* 9P2000: as far as it goes; the new fid exists only if it goes all the way. */
int p9_walk(struct p9_server *s, struct p9_in *in, struct p9_out *out)
{
	struct fid *f = fid_find(s, in_u32(in));
	uint32_t id = in_u32(in);
	unsigned n = in_u16(in), done;
	int e = 0;
	if (!f || n > WALK_MAX || in->bad || (f->id == id && f->io >= 0))
		return f ? EINVAL : EBADF;
	int at = fcntl(f->path, F_DUPFD_CLOEXEC, 0);
	uint8_t *count = out->p;
	out_u16(out, 0);
	for (done = 0; done < n && at >= 0; done++) {
		char name[NAME_MAX + 1];
		struct stat st;
		in_string(in, name, sizeof(name));
		int next = in->bad || strchr(name, '/') || !name[0] ? (errno = ENOENT, -1) : step(s, at, name);
		e = errno;
		close(at);
		at = next;
		if (at < 0 || fstat(at, &st))
			break;
		out_qid(s, out, &st);
	}
	if (at < 0)
		return done ? (le16_put(count, (uint16_t)done), 0) : e ? e : EMFILE;
	if (f->id == id)
		fid_drop(s, f);
	if (!fid_add(s, id, at))
		return errno;
	le16_put(count, (uint16_t)done);
	return 0;
}

static const struct { uint8_t type; p9_handler *run; } handlers[] = {
#define X(number, name) { number, p9_##name },
	P9_MESSAGES(X)
#undef X
};

static int dispatch(struct p9_server *s, uint8_t type, struct p9_in *in, struct p9_out *out)
{
	if (!s->msize && type != P9_TVERSION && type != P9_TRESTORE)
		return EPROTO;
	for (unsigned i = 0; i < ARRAY_SIZE(handlers); i++)
		if (handlers[i].type == type)
			return handlers[i].run(s, in, out);
	return EOPNOTSUPP;
}

size_t p9_serve(struct p9_server *s, const uint8_t *msg, size_t len, uint8_t *reply)
{
	uint8_t type = msg[4];
	struct p9_in in = { msg + P9_HEADER, msg + len, false };
	uint32_t room = s->msize ? s->msize : P9_MSIZE_MIN;
	struct p9_out out = { reply, reply + P9_HEADER, reply + room, false };
	int e = dispatch(s, type, &in, &out);
	if (!e && in.bad)
		e = EINVAL;
	if (!e && out.bad)
		e = EMSGSIZE;
	if (e) {
		out.p = reply + P9_HEADER;
		out.bad = false;
		out_u32(&out, (uint32_t)e);
	}
	le32_put(reply, (uint32_t)(out.p - reply));
	reply[4] = e ? P9_RLERROR : (uint8_t)(type + 1);
	memcpy(reply + 5, msg + 5, 2);
	return (size_t)(out.p - reply);
}

struct p9_server *p9_server_new(int root_fd, int proc_fd, bool readonly)
{
	struct p9_server *s = xnew(struct p9_server);
	struct stat st;
	s->root = root_fd;
	s->proc = proc_fd;
	s->readonly = readonly;
	s->root_dev = fstat(root_fd, &st) ? 0 : st.st_dev;
	return s;
}

void p9_server_free(struct p9_server *s)
{
	fid_drop_all(s);
	free(s);
}

void p9_serve_stream(struct p9_server *s, int fd)
{
	auto_free uint8_t *msg = xmalloc(P9_MSIZE_MAX), *reply = xmalloc(P9_MSIZE_MAX);
	while (fd_read_full(fd, msg, P9_HEADER)) {
		uint32_t len = le32_get(msg);
		if (len < P9_HEADER || len > P9_MSIZE_MAX || !fd_read_full(fd, msg + P9_HEADER, len - P9_HEADER))
			return;
		size_t n = p9_serve(s, msg, len, reply);
		if (!fd_write_full(fd, reply, n))
			return;
	}
}
