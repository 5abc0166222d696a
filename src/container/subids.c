/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The user namespace of an ordinary user: see subids.h. */
#include "container/subids.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>

#include "container/launch.h"

/* "NAME-or-ID:FIRST:COUNT" */
static bool range_of(char *line, const char *name, uint32_t id, struct id_map *m)
{
	char *p = line, *who = strsep(&p, ":"), *first = strsep(&p, ":"), *count = strsep(&p, ":\n");
	uint64_t number, f, n;
	bool mine = (name && !strcmp(who, name)) || (parse_u64(who, 0, UINT32_MAX, &number) && number == id);
	if (!mine || !first || !count || !parse_u64(first, 1, UINT32_MAX - 1, &f) || !parse_u64(count, 1, UINT32_MAX - f, &n))
		return false;
	*m = (struct id_map){ .inside = 1, .outside = (uint32_t)f, .size = (uint32_t)n };
	return true;
}

static bool find_range(const char *file, struct id_map *m)
{
	char line[256];
	struct passwd *pw = getpwuid(getuid());
	bool found = false;
	FILE *f = fopen(file, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = range_of(line, pw ? pw->pw_name : NULL, getuid(), m);
	if (f)
		fclose(f);
	return found;
}

void subids_maps(struct id_map room[4], struct id_maps *uids, struct id_maps *gids)
{
	room[0] = (struct id_map){ 0, geteuid(), 1 };
	room[2] = (struct id_map){ 0, getegid(), 1 };
	bool both = find_range("/etc/subuid", &room[1]) && find_range("/etc/subgid", &room[3]) &&
		(!access("/usr/bin/newuidmap", X_OK) || !access("/bin/newuidmap", X_OK));
	*uids = (struct id_maps){ room, both ? 2 : 1 };
	*gids = (struct id_maps){ room + 2, both ? 2 : 1 };
}

/* newuidmap has to be called from outside: by a child that stays there. */
static NORETURN void map_parent(int go, int answer)
{
	struct id_map room[4];
	struct id_maps uids, gids;
	struct error err = { 0 };
	char c;
	subids_maps(room, &uids, &gids);
	bool ok = read(go, &c, 1) == 1 && write_id_maps(getppid(), &uids, &gids, &err);
	fd_write_full(answer, &err, sizeof(err));
	_exit(!ok);
}

static bool enter(int go[2], int answer[2], struct error *err)
{
	struct error why = { 0 };
	pid_t pid = fork();
	if (!pid) {
		close(go[1]);
		map_parent(go[0], answer[1]);
	}
	close(answer[1]);
	answer[1] = -1;
	bool made = pid > 0 && !unshare(CLONE_NEWUSER);
	int e = errno;
	if (made)
		fd_write_full(go[1], "g", 1);
	close(go[1]);
	go[1] = -1;
	bool heard = made && fd_read_full(answer[0], &why, sizeof(why));
	int status = wait_child(pid);
	if (!made)
		return error_set(err, e, "this host lets an ordinary user make no user namespace");
	if (!heard || status) {
		*err = why;
		return why.text[0] ? false : error_set(err, 0, "cannot map the IDs of a user namespace");
	}
	return !setresuid(0, 0, 0) && !setresgid(0, 0, 0) ? true : error_set(err, errno, "cannot become root of a user namespace");
}

bool subids_enter(struct error *err)
{
	int go[2] = { -1, -1 }, answer[2] = { -1, -1 };
	if (!geteuid())
		return true;
	bool ok = !pipe2(go, O_CLOEXEC) && !pipe2(answer, O_CLOEXEC) ? enter(go, answer, err) :
		error_set(err, errno, "cannot create a pipe");
	const int fds[] = { go[0], go[1], answer[0], answer[1] };
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return ok;
}
