/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fids, and the bytes of messages: see fid.h. */
#include "share/fid.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

static const uint8_t *take(struct p9_in *in, size_t n)
{
	if (in->bad || (size_t)(in->end - in->p) < n) {
		in->bad = true;
		return NULL;
	}
	in->p += n;
	return in->p - n;
}

uint8_t in_u8(struct p9_in *in) { const uint8_t *p = take(in, 1); return p ? *p : 0; }
uint16_t in_u16(struct p9_in *in) { const uint8_t *p = take(in, 2); return p ? le16_get(p) : 0; }
uint32_t in_u32(struct p9_in *in) { const uint8_t *p = take(in, 4); return p ? le32_get(p) : 0; }
uint64_t in_u64(struct p9_in *in) { const uint8_t *p = take(in, 8); return p ? le64_get(p) : 0; }

void in_string(struct p9_in *in, char *buf, size_t max)
{
	size_t n = in_u16(in);
	const uint8_t *p = take(in, n);
	buf[0] = 0;
	if (!p || n >= max || memchr(p, 0, n)) {
		in->bad = true;
		return;
	}
	memcpy(buf, p, n);
	buf[n] = 0;
}

void in_name(struct p9_in *in, char buf[NAME_MAX + 1])
{
	in_string(in, buf, NAME_MAX + 1);
	if (!buf[0] || !strcmp(buf, ".") || !strcmp(buf, "..") || strchr(buf, '/'))
		in->bad = true;
}

static uint8_t *room(struct p9_out *out, size_t n)
{
	if (out->bad || (size_t)(out->end - out->p) < n) {
		out->bad = true;
		return NULL;
	}
	out->p += n;
	return out->p - n;
}

void out_u8(struct p9_out *out, uint8_t v) { uint8_t *p = room(out, 1); if (p) *p = v; }
void out_u16(struct p9_out *out, uint16_t v) { uint8_t *p = room(out, 2); if (p) le16_put(p, v); }
void out_u32(struct p9_out *out, uint32_t v) { uint8_t *p = room(out, 4); if (p) le32_put(p, v); }
void out_u64(struct p9_out *out, uint64_t v) { uint8_t *p = room(out, 8); if (p) le64_put(p, v); }

void out_string(struct p9_out *out, const char *s)
{
	size_t n = strlen(s);
	out_u16(out, (uint16_t)n);
	uint8_t *p = n <= UINT16_MAX ? room(out, n) : NULL;
	if (p)
		memcpy(p, s, n);
	else
		out->bad = true;
}

/* Inode numbers of other file systems inside the tree are moved out of the way. */
void out_qid(struct p9_server *s, struct p9_out *out, const struct stat *st)
{
	uint64_t path = st->st_ino;
	if (st->st_dev != s->root_dev)
		path ^= (uint64_t)st->st_dev << 44 | BIT(63);
	out_u8(out, S_ISDIR(st->st_mode) ? 0x80 : S_ISLNK(st->st_mode) ? 0x02 : 0);
	out_u32(out, 0);      /* version: caching by it is not promised */
	out_u64(out, path);
}

static struct fid **find_slot(struct p9_server *s, uint32_t id)
{
	struct fid **p = &s->buckets[(id ^ id >> 8) & 255];
	while (*p && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

struct fid *fid_find(struct p9_server *s, uint32_t id)
{
	return *find_slot(s, id);
}

struct fid *fid_add(struct p9_server *s, uint32_t id, int path)
{
	struct fid **slot = find_slot(s, id);
	if (path < 0)
		return NULL;
	if (*slot || s->nfids >= P9_FIDS_MAX) {
		close(path);
		errno = *slot ? EBADF : EMFILE;
		return NULL;
	}
	struct fid *f = xnew(struct fid);
	*f = (struct fid){ .id = id, .path = path, .io = -1 };
	*slot = f;
	s->nfids++;
	return f;
}

void fid_drop(struct p9_server *s, struct fid *f)
{
	struct fid **slot = find_slot(s, f->id);
	*slot = f->next;
	s->nfids--;
	close(f->path);
	if (f->io >= 0)
		close(f->io);
	free(f);
}

void fid_drop_all(struct p9_server *s)
{
	for (unsigned i = 0; i < ARRAY_SIZE(s->buckets); i++)
		while (s->buckets[i])
			fid_drop(s, s->buckets[i]);
}

int fid_stat(const struct fid *f, struct stat *st)
{
	return fstatat(f->path, "", st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) ? errno : 0;
}

const char *path_name(int fd, char buf[16])
{
	snprintf(buf, 16, "%d", fd);
	return buf;
}

int path_reopen(const struct p9_server *s, int path, int flags)
{
	char name[16];
	return openat(s->proc, path_name(path, name), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}
