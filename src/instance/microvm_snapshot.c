/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machines that wait for their first request, as files: see microvm_snapshot.h. */
#include "instance/microvm_snapshot.h"
#include "instance/client.h"
#include "base/place.h"
#include "jail/spawn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum { KINDS_MOST = 6, KEY_MOST = 8192, SAVE_SECONDS = 120 };

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
static void file_of(const char *kind, const char *suffix, char out[40])
{
	uint64_t h = 0xcbf29ce484222325;
	for (; *kind; kind++)
		h = (h ^ (uint8_t)*kind) * 0x100000001b3;
	snprintf(out, 40, "%016llx.%s", (unsigned long long)h, suffix);
}

/* ---- using ---- */

int microvm_snapshot_open(const char *kind)
{
	char key[40], state[40];
	auto_close int dir = place_open("microvm", NULL);
	file_of(kind, "key", key);
	file_of(kind, "state", state);
	auto_free char *text = dir >= 0 ? place_read(dir, key, KEY_MOST) : NULL;
	if (!text || strcmp(text, kind))
		return -1;
	return openat(dir, state, O_RDONLY | O_CLOEXEC);
}

void microvm_snapshot_drop(const char *kind)
{
	static const char *const suffixes[] = { "key", "state" };
	char name[40];
	auto_close int dir = place_open("microvm", NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(suffixes) && dir >= 0; i++) {
		file_of(kind, suffixes[i], name);
		unlinkat(dir, name, 0);
	}
}

/* ---- making ---- */

struct old { char name[NAME_MAX + 1]; struct timespec when; };

static int newest_first(const void *a, const void *b)
{
	const struct timespec *x = &((const struct old *)a)->when, *y = &((const struct old *)b)->when;
	return x->tv_sec != y->tv_sec ? (x->tv_sec < y->tv_sec) - (x->tv_sec > y->tv_sec) :
		(x->tv_nsec < y->tv_nsec) - (x->tv_nsec > y->tv_nsec);
}

static bool ends(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);
	return n > m && !strcmp(name + n - m, suffix);
}

/* The oldest go: kernels and programs are replaced. */
static void prune(int dir)
{
	struct old list[64];
	struct stat st;
	unsigned n = 0;
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	for (struct dirent *e; d && n < ARRAY_SIZE(list) && (e = readdir(d)); ) {
		if (!ends(e->d_name, ".state") || fstatat(dir, e->d_name, &st, 0))
			continue;
		snprintf(list[n].name, sizeof(list[n].name), "%s", e->d_name);
		list[n++].when = st.st_mtim;
	}
	if (d)
		closedir(d);
	qsort(list, n, sizeof(*list), newest_first);
	for (unsigned i = KINDS_MOST; i < n; i++) {
		unlinkat(dir, list[i].name, 0);
		strcpy(list[i].name + strlen(list[i].name) - 5, "key");
		unlinkat(dir, list[i].name, 0);
	}
}

static bool save(const struct instance *i, const char *socket, int fd, struct error *err)
{
	json_t *args = json_pack("{s:b}", "continue", true);
	json_t *o = control_call_at(i, socket, "suspend", args, fd, SAVE_SECONDS, err);
	json_decref(args);
	json_decref(o);
	return o;
}

bool microvm_snapshot_make(const char *kind, const struct instance *i, const char *socket, struct error *err)
{
	char key[40], state[40], tmp[40];
	auto_close int dir = place_open("microvm", err);
	file_of(kind, "key", key);
	file_of(kind, "state", state);
	snprintf(tmp, sizeof(tmp), ".%d", (int)getpid());
	auto_close int fd = dir < 0 ? -1 : openat(dir, tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return dir < 0 ? false : error_set(err, errno, "cannot write a machine's snapshot");
	unlinkat(dir, key, 0);        /* the key is there only while its state is whole */
	bool ok = save(i, socket, fd, err) && (!renameat(dir, tmp, dir, state) || error_set(err, errno, "cannot keep a machine's snapshot"));
	if (!ok)
		unlinkat(dir, tmp, 0);
	ok = ok && (place_write(dir, key, kind) || error_set(err, errno, "cannot keep a machine's snapshot"));
	prune(dir);
	return ok;
}
