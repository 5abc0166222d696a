/* SPDX-License-Identifier: GPL-2.0-or-later */
/* archive and extract: files out of a container that runs, and into it, as tar streams. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "container/copy.h"
#include "container/verbs.h"

/* What its first process sees as "/", with all that is mounted there. */
static int open_root(struct container *c, struct error *err)
{
	char path[64];
	auto_close int pidfd = container_pidfd(c);
	struct pollfd q = { pidfd, POLLIN, 0 };
	snprintf(path, sizeof(path), "/proc/%d/root", c->pid);
	auto_close int root = pidfd >= 0 ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	if (root < 0 || poll(&q, 1, 0))
		return error_minus(err, root < 0 && pidfd >= 0 ? errno : 0, "container '%s' does not run", c->id);
	return move_fd(&root);
}

static int copy(struct oci *o, int argc, char **argv, bool (*fn)(const struct copy *, int, struct error *), int stream, struct error *err)
{
	struct copy c = { .root = -1 };
	const struct arg table[] = { { "follow", 'L', ARG_FLAG, &c.follow }, { "owners", 'a', ARG_FLAG, &c.owners },
		{ "name", 'n', ARG_TEXT, &c.name }, { NULL } };
	int at;
	struct container *box = verb_container(o, table, argc, argv, &at, err);
	bool ok = box && (at + 1 == argc || error_set(err, 0, "%s takes an ID and a path", argv[0]));
	auto_close int root = ok ? open_root(box, err) : -1;
	c.root = root;
	c.path = ok ? argv[at] : "";
	if (!c.name && stream == 1)
		c.name = "";
	ok = root >= 0 && fn(&c, stream, err);
	container_close(box);
	return ok ? 0 : -1;
}

int oci_archive(struct oci *o, int argc, char **argv, struct error *err) { return copy(o, argc, argv, copy_out, 1, err); }
int oci_extract(struct oci *o, int argc, char **argv, struct error *err) { return copy(o, argc, argv, copy_in, 0, err); }
