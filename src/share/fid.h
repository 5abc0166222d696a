/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of the 9P server: fids, and reading and writing of messages.  Reading
 * past the end of a message sets `bad` and yields zeros; writing past the room
 * of a reply sets it too: one check at the end is enough.
 */
#ifndef SHARE_FID_H
#define SHARE_FID_H

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include "share/p9.h"

#define P9_MESSAGES(X) \
	X(8, statfs) X(12, lopen) X(14, lcreate) X(16, symlink) X(18, mknod) X(22, readlink) \
	X(24, getattr) X(26, setattr) X(40, readdir) X(50, fsync) X(52, lock) X(54, getlock) \
	X(70, link) X(72, mkdir) X(74, renameat) X(76, unlinkat) X(100, version) X(104, attach) \
	X(108, flush) X(110, walk) X(116, read) X(118, write) X(120, clunk) X(122, remove) \
	X(P9_TSAVE, save) X(P9_TRESTORE, restore)
enum { P9_QID = 13 };

struct fid {
	uint32_t id;
	int path;                     /* O_PATH */
	int io;                       /* opened for reading or writing, or -1 */
	struct fid *next;
};

struct p9_server {
	int root, proc;
	bool readonly;
	dev_t root_dev;
	uint32_t msize;
	unsigned nfids;
	struct fid *buckets[256];
};

struct p9_in { const uint8_t *p, *end; bool bad; };
struct p9_out { uint8_t *start, *p, *end; bool bad; };

/* A handler reads its arguments, writes its results, and returns 0 or an errno. */
typedef int p9_handler(struct p9_server *s, struct p9_in *in, struct p9_out *out);
#define X(number, name) p9_handler p9_##name;
P9_MESSAGES(X)
#undef X

uint8_t in_u8(struct p9_in *in);
uint16_t in_u16(struct p9_in *in);
uint32_t in_u32(struct p9_in *in);
uint64_t in_u64(struct p9_in *in);
/* A string in buf[max], terminated; one with a NUL inside or too long is bad. */
void in_string(struct p9_in *in, char *buf, size_t max);
/* The name of a directory entry: no '/', not "", ".", ".."; else bad. */
void in_name(struct p9_in *in, char buf[NAME_MAX + 1]);

void out_u8(struct p9_out *out, uint8_t v);
void out_u16(struct p9_out *out, uint16_t v);
void out_u32(struct p9_out *out, uint32_t v);
void out_u64(struct p9_out *out, uint64_t v);
void out_string(struct p9_out *out, const char *s);
void out_qid(struct p9_server *s, struct p9_out *out, const struct stat *st);

struct fid *fid_find(struct p9_server *s, uint32_t id);
/* A new fid that owns `path`; NULL with errno set (path is closed then). */
struct fid *fid_add(struct p9_server *s, uint32_t id, int path);
void fid_drop(struct p9_server *s, struct fid *f);
void fid_drop_all(struct p9_server *s);
int fid_stat(const struct fid *f, struct stat *st);
/* Open again what an O_PATH descriptor stands for; -1 with errno set. */
int path_reopen(const struct p9_server *s, int path, int flags);
/* "17", the name of a descriptor in s->proc. */
const char *path_name(int fd, char buf[16]);

#endif
