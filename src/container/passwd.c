/* SPDX-License-Identifier: GPL-2.0-or-later */
/* passwd(5) and group(5) of a hostile root: see passwd.h. */
#include "container/passwd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "container/root_path.h"

enum { LINES_MAX = 65536, FIELDS = 7 };

static FILE *open_file(int root, const char *path)
{
	struct stat st;
	int fd = root_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	FILE *f = fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) ? fdopen(fd, "r") : NULL;
	if (!f && fd >= 0)
		close(fd);
	return f;
}

/* Call fn with the fields of each line, until it returns true. */
static bool each_line(int root, const char *path, bool (*fn)(char *const *field, unsigned n, void *opaque), void *opaque)
{
	char line[4096], *field[FIELDS];
	unsigned lines = 0;
	bool found = false;
	FILE *f = open_file(root, path);
	while (f && !found && lines++ < LINES_MAX && fgets(line, sizeof(line), f)) {
		char *p = line;
		unsigned n = 0;
		line[strcspn(line, "\n")] = 0;
		while (n < FIELDS && p)
			field[n++] = strsep(&p, ":");
		found = fn(field, n, opaque);
	}
	if (f)
		fclose(f);
	return found;
}

struct query { const char *name; bool numeric; uint64_t number; struct passwd_user *u; };

static bool id_of(const char *text, uint32_t *out)
{
	uint64_t v;
	if (!parse_u64(text, 0, UINT32_MAX - 1, &v))
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool match_user(char *const *f, unsigned n, void *opaque)
{
	struct query *q = opaque;
	uint32_t uid;
	if (n < 4 || !id_of(f[2], &uid) || (q->numeric ? uid != q->number : strcmp(f[0], q->name)))
		return false;
	q->u->uid = uid;
	q->name = q->numeric ? NULL : q->name;
	return id_of(f[3], &q->u->gid);
}

static bool match_group(char *const *f, unsigned n, void *opaque)
{
	struct query *q = opaque;
	return n >= 3 && !strcmp(f[0], q->name) && id_of(f[2], &q->u->gid);
}

static bool join_group(char *const *f, unsigned n, void *opaque)
{
	struct query *q = opaque;
	uint32_t gid;
	char *list = n >= 4 ? f[3] : NULL;
	if (!list || !id_of(f[2], &gid) || q->u->ngroups == PASSWD_GROUPS)
		return false;
	for (char *who; (who = strsep(&list, ",")); )
		if (!strcmp(who, q->name) && gid != q->u->gid && q->u->ngroups < PASSWD_GROUPS)
			q->u->groups[q->u->ngroups++] = gid;
	return false;
}

bool passwd_find(int root, const char *text, struct passwd_user *u, struct error *err)
{
	size_t n = strcspn(text, ":");
	auto_free char *name = strndup(text, n);
	const char *group = text[n] ? text + n + 1 : NULL;
	struct query q = { .name = name, .u = u };
	*u = (struct passwd_user){ 0 };
	q.numeric = parse_u64(name, 0, UINT32_MAX - 1, &q.number);
	bool known = *name && each_line(root, "etc/passwd", match_user, &q);
	if (!known && q.numeric)
		u->uid = (uint32_t)q.number;
	else if (!known && *name)
		return error_set(err, 0, "the container has no user '%.60s'", name);
	if (known && !q.numeric && !group)
		each_line(root, "etc/group", join_group, &q);
	if (!group || id_of(group, &u->gid))
		return true;
	q.name = group;
	return each_line(root, "etc/group", match_group, &q) || error_set(err, 0, "the container has no group '%.60s'", group);
}

bool passwd_find_in(const char *bundle, const char *text, struct passwd_user *u, struct error *err)
{
	auto_free char *path = xasprintf("%s/rootfs", bundle);
	auto_close int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_set(err, errno, "cannot open the container's root");
	return passwd_find(root, text, u, err);
}
