/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directories of networks: see network.h. */
#include "network/network.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/place.h"
#include "base/socket.h"

enum { MAX_FILE = 4 << 20 };

bool network_name_ok(const char *name, struct error *err)
{
	static const char *const reserved[] = { "user", "none", "host", "vhost-user" };
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
	for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++)
		if (!strcmp(name, reserved[i]))
			return error_set(err, 0, "'%s' means something else: choose another name", name);
	if (n == strlen(name) && n >= 1 && n <= 63 && isalnum((unsigned char)name[0]))
		return true;
	return error_set(err, 0, "'%s' cannot be a network's name: use letters, digits, '-', '_' and '.', "
			 "beginning with a letter or digit, at most 63", name);
}

static int store_open(struct error *err)
{
	return place_open("networks", err);
}

static struct network *network_of(const char *name, int dir)
{
	struct network *n = xnew(struct network);
	n->name = xstrdup(name);
	n->dir = dir;
	return n;
}

void network_close(struct network *n)
{
	if (!n)
		return;
	close(n->dir);
	free(n->name);
	free(n);
}

struct network *network_open(const char *name, struct error *err)
{
	if (!network_name_ok(name, err))
		return NULL;
	auto_close int store = store_open(err);
	if (store < 0)
		return NULL;
	int dir = openat(store, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_null(err, errno == ENOENT ? 0 : errno,
				  "there is no network '%s': abyme network create %s makes one, abyme network list "
				  "shows what there is", name, name);
	return network_of(name, dir);
}

bool network_exists(const char *name)
{
	struct network *n = network_open(name, NULL);
	bool there = n != NULL;
	network_close(n);
	return there;
}

bool network_write(const struct network *n, const char *file, const char *text, struct error *err)
{
	return place_write(n->dir, file, text) ||
		error_set(err, errno, "cannot write '%s' of network '%s'", file, n->name);
}

char *network_read(const struct network *n, const char *file)
{
	return place_read(n->dir, file, MAX_FILE);
}

struct network_definition *network_definition(const struct network *n, struct error *err)
{
	auto_free char *text = network_read(n, "network.yaml");
	if (!text)
		return error_null(err, 0, "network '%s' has no readable network.yaml", n->name);
	auto_free char *what = xasprintf("%s/network.yaml", n->name);
	return network_definition_parse(text, strlen(text), what, err);
}

bool network_set_definition(const struct network *n, const struct network_definition *d, struct error *err)
{
	auto_free char *text = network_definition_yaml(d, err);
	return text && network_write(n, "network.yaml", text, err);
}

struct filling { const char *name; const struct network_definition *d; struct error *err; };

static bool fill(int dir, void *opaque)
{
	const struct filling *f = opaque;
	struct network fresh = { (char *)f->name, dir };
	return network_set_definition(&fresh, f->d, f->err);
}

struct network *network_create(const char *name, const struct network_definition *d, struct error *err)
{
	if (!network_name_ok(name, err))
		return NULL;
	auto_close int store = store_open(err);
	if (store < 0)
		return NULL;
	int dir = place_make(store, name, fill, &(struct filling){ name, d, err });
	if (dir >= 0)
		return network_of(name, dir);
	if (errno == EEXIST)
		error_set(err, 0, "network '%s' exists already: abyme network delete %s removes it", name, name);
	else if (errno)
		error_set(err, errno, "cannot create network '%s'", name);
	return NULL;
}

bool network_remove(struct network *n, struct error *err)
{
	auto_close int store = store_open(err);
	return store >= 0 && (place_remove(store, n->name, n->dir) ||
		error_set(err, errno, "cannot remove network '%s'", n->name));
}

bool network_each(bool (*fn)(const char *name, void *opaque), void *opaque, struct error *err)
{
	auto_close int store = store_open(err);
	int all = store < 0 ? 0 : place_each(store, fn, opaque);
	return all < 0 ? error_set(err, errno, "cannot list the networks") : all;
}

/* ---- the keeper's lock and socket ---- */

bool network_lock(const struct network *n, struct error *err)
{
	return place_lock(n->dir) || error_set(err, errno, "cannot lock network '%s'", n->name);
}

pid_t network_keeper_pid(const struct network *n) { return place_holder(n->dir); }

int network_listen(const struct network *n, struct error *err)
{
	int fd = unix_listen_at(n->dir, "keeper.sock", SOCK_SEQPACKET | SOCK_NONBLOCK, 1024);
	return fd >= 0 ? fd : error_minus(err, errno, "cannot listen for network '%s'", n->name);
}

int network_dial(const struct network *n, struct error *err)
{
	int fd = unix_connect_at(n->dir, "keeper.sock", SOCK_SEQPACKET), e = errno == ENOENT ? ECONNREFUSED : errno;
	return fd >= 0 ? fd : error_minus(err, e, "cannot connect to the keeper of network '%s'", n->name);
}
