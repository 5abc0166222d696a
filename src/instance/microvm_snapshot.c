/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machines that wait for their first request, as files: see microvm_snapshot.h. */
#include "instance/microvm_snapshot.h"
#include "instance/client.h"
#include "base/place.h"
#include "machine/state_file.h"
#include "jail/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

enum { KINDS_MOST = 8, KEY_MOST = 1 << 20, SAVE_SECONDS = 120 };

/* ---- the kind ---- */

static char *file_identity(int fd)
{
	struct stat st;
	if (fd < 0 || fstat(fd, &st))
		return NULL;
	return xasprintf("%llu:%llu %llu %lld.%09ld", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
			 (unsigned long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

char *microvm_kind(const struct definition *m)
{
	auto_close int kernel = open(m->kernel, O_RDONLY | O_CLOEXEC), init = helper_open("abyme-init", NULL),
		self = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	auto_free char *a = file_identity(kernel), *b = file_identity(init), *c = file_identity(self);
	unsigned nets = 0;
	for (unsigned i = 0; i < m->nnets; i++)
		nets += strcmp(m->nets[i].name, "none") != 0;
	if (!a || !b || !c || m->trace)
		return NULL;
	return xasprintf("kernel %s %s\ninit %s\nabyme %s\nengine %s\ncpu %s\nvcpus %u\nmemory %s\nnets %u\nshares %u\ndisks %u\nappend %s\n",
			 m->kernel, a, b, c, m->engine, m->cpu, m->vcpus, m->memory, nets, m->nshares, m->ndisks, m->append);
}

/* FNV-1a; the text itself decides. */
static void hash_of(const char *kind, char out[20])
{
	uint64_t h = 0xcbf29ce484222325;
	for (; *kind; kind++)
		h = (h ^ (uint8_t)*kind) * 0x100000001b3;
	snprintf(out, 20, "%016llx", (unsigned long long)h);
}

/* ---- disks ---- */

bool microvm_copy_disk(int from, int to)
{
	struct stat st;
	off_t at = 0, end;
	if (fstat(from, &st) || ftruncate(to, st.st_size))
		return false;
	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		off_t out = at;
		if ((end = lseek(from, at, SEEK_HOLE)) < 0)
			return false;
		while (at < end)
			if (copy_file_range(from, &at, to, &out, (size_t)(end - at), 0) <= 0)
				return false;
	}
	return errno == ENXIO;        /* no more data */
}

/* ---- using ---- */

static int open_dir(int above, const char *name) { return openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }

/* What is as we knew it since the host has been up needs no second look: nobody wrote to it,
 * and no power cut could have taken what only the page cache had. */
static char *state_of(int state, int disk)
{
	char boot[40] = "";
	auto_close int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	auto_free char *a = file_identity(state), *b = file_identity(disk);
	if (fd < 0 || read(fd, boot, sizeof(boot) - 1) <= 0 || !a)
		return NULL;
	return xasprintf("boot %sstate %s\ndisk %s\n", boot, a, b ? b : "none");
}

static bool remember(int dir, int state, int disk)
{
	auto_free char *now = state_of(state, disk);
	return now && place_write(dir, "seen", now);
}

/* The state file has checksums; a disk has none, but was synced when it was made. */
static bool sound(int dir, int state, int disk, struct error *err)
{
	auto_free char *now = state_of(state, disk), *seen = place_read(dir, "seen", KEY_MOST);
	if (state < 0)
		return error_set(err, errno, "cannot open the snapshot");
	if (now && seen && !strcmp(now, seen))
		return true;
	const char *was = seen ? strstr(seen, "disk ") : NULL, *is = now ? strstr(now, "disk ") : NULL;
	if (!was || !is || strcmp(was, is))
		return error_set(err, 0, "the snapshot's disk is not the one that was made with it");
	if (!machine_state_check(state, true, err))
		return false;
	remember(dir, state, disk);
	return true;
}

int microvm_snapshot_open(const char *kind, int *disk, struct error *err)
{
	char hash[20];
	hash_of(kind, hash);
	auto_close int all = place_open("microvm", NULL);
	auto_close int dir = all >= 0 ? open_dir(all, hash) : -1;
	auto_free char *text = dir >= 0 ? place_read(dir, "key", KEY_MOST) : NULL;
	*disk = -1;
	if (!text || strcmp(text, kind))
		return -1;
	futimens(dir, NULL);          /* the last to go */
	auto_close int state = openat(dir, "state", O_RDONLY | O_CLOEXEC);
	*disk = openat(dir, "disk", O_RDONLY | O_CLOEXEC);
	if (sound(dir, state, *disk, err))
		return move_fd(&state);
	close_fd(disk);
	return -1;
}

/* First it is gone, then its files. */
static void drop(int all, const char *hash)
{
	char old[40];
	snprintf(old, sizeof(old), ".old-%d", (int)getpid());
	if (renameat(all, hash, all, old))
		return;
	auto_close int dir = open_dir(all, old);
	if (dir >= 0)
		place_empty(dir);
	unlinkat(all, old, AT_REMOVEDIR);
}

void microvm_snapshot_drop(const char *kind)
{
	char hash[20];
	auto_close int all = place_open("microvm", NULL);
	hash_of(kind, hash);
	if (all >= 0)
		drop(all, hash);
}

/* ---- making ---- */

struct old { char name[20]; struct timespec when; };
struct olds { int all; struct old list[64]; unsigned n; };

static int newest_first(const void *a, const void *b)
{
	const struct timespec *x = &((const struct old *)a)->when, *y = &((const struct old *)b)->when;
	return x->tv_sec != y->tv_sec ? (x->tv_sec < y->tv_sec) - (x->tv_sec > y->tv_sec) :
		(x->tv_nsec < y->tv_nsec) - (x->tv_nsec > y->tv_nsec);
}

static bool add_old(const char *name, void *opaque)
{
	struct olds *o = opaque;
	struct stat st;
	if (o->n < ARRAY_SIZE(o->list) && !fstatat(o->all, name, &st, AT_SYMLINK_NOFOLLOW)) {
		snprintf(o->list[o->n].name, sizeof(o->list[o->n].name), "%.19s", name);
		o->list[o->n++].when = st.st_mtim;
	}
	return true;
}

/* Those go that were not used for longest: kernels, images and programs are replaced. */
static void prune(int all)
{
	struct olds o = { .all = all };
	place_each(all, add_old, &o);
	qsort(o.list, o.n, sizeof(*o.list), newest_first);
	for (unsigned i = KINDS_MOST; i < o.n; i++)
		drop(all, o.list[i].name);
}

static bool ask(const struct instance *i, const char *socket, const char *command, json_t *args, int fd, struct error *err)
{
	json_t *o = control_call_at(i, socket, command, args, fd, SAVE_SECONDS, err);
	json_decref(args);
	json_decref(o);
	return o;
}

/* While the machine stands still. */
static bool write_files(int dir, const struct instance *i, const char *socket, const char *disk, struct error *err)
{
	auto_close int state = openat(dir, "state", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	auto_close int from = disk ? openat(i->dir, disk, O_RDONLY | O_CLOEXEC) : -1;
	auto_close int to = disk ? openat(dir, "disk", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
	if (state < 0 || (disk && (from < 0 || to < 0)))
		return error_set(err, errno, "cannot write a machine's snapshot");
	if (!ask(i, socket, "suspend", json_pack("{s:b}", "continue", true), state, err))
		return false;
	if (disk && (!microvm_copy_disk(from, to) || fsync(to)))
		return error_set(err, errno, "cannot copy a machine's disk");
	return remember(dir, state, to) || error_set(err, errno, "cannot write a machine's snapshot");
}

static bool write_paused(int dir, const struct instance *i, const char *socket, const char *disk, struct error *err)
{
	struct error why = { 0 };
	if (!ask(i, socket, "pause", NULL, -1, err))
		return false;
	bool ok = write_files(dir, i, socket, disk, err);
	return ask(i, socket, "unpause", NULL, -1, &why) ? ok : error_set(err, 0, "%s", why.text);
}

/* It appears whole; who is second finds the place taken, and that is as good. */
bool microvm_snapshot_make(const char *kind, const struct instance *i, const char *socket, const char *disk, struct error *err)
{
	char hash[20], tmp[40];
	hash_of(kind, hash);
	snprintf(tmp, sizeof(tmp), ".new-%d", (int)getpid());
	auto_close int all = place_open("microvm", err);
	if (all < 0)
		return false;
	drop(all, hash);
	auto_close int dir = mkdirat(all, tmp, 0700) ? -1 : open_dir(all, tmp);
	bool ok = dir >= 0 ? write_paused(dir, i, socket, disk, err) : error_set(err, errno, "cannot write a machine's snapshot");
	ok = ok && ((place_write(dir, "key", kind) && !renameat(all, tmp, all, hash)) || errno == ENOTEMPTY || errno == EEXIST ||
		    error_set(err, errno, "cannot keep a machine's snapshot"));
	if (dir >= 0)
		drop(all, tmp);
	prune(all);
	return ok;
}
