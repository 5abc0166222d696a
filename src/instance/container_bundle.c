/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a program finds on this side of the wall: its image's root, and the bundle. */
#include "instance/container_keeper.h"
#include "instance/container_config.h"
#include "instance/container_network.h"
#include "base/place.h"
#include "container/cgroup.h"
#include "container/subids.h"
#include "image/mount.h"
#include "jail/spawn.h"
#include "session/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

static bool write_small(const struct instance *i, const char *file, const char *text, struct error *err)
{
	auto_close int fd = openat(i->dir, file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	/* read inside by anybody, whatever our umask */
	if (fd >= 0 && !fchmod(fd, 0644) && fd_write_full(fd, text, strlen(text)))
		return true;
	return error_set(err, errno, "cannot write '%s' of instance '%s'", file, i->name);
}

static bool write_names(struct container_keeper *k, struct error *err)
{
	const char *host = k->definition->hostname ? k->definition->hostname : k->instance->name;
	auto_free char *hosts = xasprintf("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\t%s\n", host);
	auto_free char *line = xasprintf("%s\n", host);
	auto_free char *resolver = container_own_network(k->definition) ? NULL : place_read(AT_FDCWD, "/etc/resolv.conf", 65536);
	return write_small(k->instance, "hosts", hosts, err) && write_small(k->instance, "hostname", line, err) &&
		write_small(k->instance, "resolv.conf", resolver ? resolver : "", err);
}

static bool private_mounts(struct error *err)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		return error_set(err, errno, "cannot make a mount namespace");
	return true;
}

/* What was opened before is of the host's mounts, which an overlay here may not use. */
static bool reopen(struct container_keeper *k, struct error *err)
{
	auto_close int dir = open(k->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || dup3(dir, k->instance->dir, O_CLOEXEC) < 0 || fchdir(k->instance->dir))
		return error_set(err, errno, "cannot open the directory of instance '%s'", k->instance->name);
	return true;
}

static bool mount_image(struct container_keeper *k, struct error *err)
{
	struct image_store s;
	if (!image_store_open(&s, err))
		return false;
	bool ok = image_mount(&s, k->definition->digest, k->instance->dir, err);
	image_store_close(&s);
	return ok;
}

static bool write_config(struct container_keeper *k, struct error *err)
{
	const bool guest = definition_isolation(k->definition) == ISOLATION_MICROVM;
	auto_free char *init = xasprintf("%.*s/abyme-init", (int)(strrchr(k->oci, '/') - k->oci), k->oci);
	const struct container_place place = { .init = guest ? "/init" : init, .bundle = k->bundle, .inside = guest ? GUEST_BUNDLE : k->bundle,
					       .name = k->instance->name, .rootless = k->rootless, .in_guest = guest,
					       .own_network = !guest && container_own_network(k->definition) };
	auto_free char *text = container_config(k->definition, &place, err);
	return text && write_small(k->instance, "config.json", text, err);
}

/* Paths that hold whatever the working directory is. */
static bool find_paths(struct container_keeper *k, struct error *err)
{
	char link[64];
	auto_close int oci = helper_open("abyme-oci", err);
	if (oci < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", oci);
	ssize_t n = readlink(link, k->oci, sizeof(k->oci) - 1);
	if (n < 0 || fchdir(k->instance->dir) || !getcwd(k->bundle, sizeof(k->bundle)))
		return error_set(err, errno, "cannot find the instance's directory");
	k->oci[n] = 0;
	snprintf(k->records, sizeof(k->records), "%.4000s/oci", k->bundle);
	k->shim = (struct shim){ .oci = k->oci, .records = k->records, .bundle = k->bundle, .id = k->instance->name,
				 .terminal = k->definition->tty };
	return true;
}

/* An ordinary user may limit only where the systemd of his own makes the groups. */
static bool own_systemd(void)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	auto_free char *socket = run ? xasprintf("%s/systemd/private", run) : NULL;
	return socket && cgroups_unified() && !access(socket, F_OK);
}

/* Root of a user namespace looks for its state where root's is, if nobody says otherwise. */
static bool enter_namespaces(struct container_keeper *k, struct error *err)
{
	auto_free char *state = place_state(err);
	if (!state || setenv("ABYME_STATE", state, 1))
		return false;
	k->rootless = geteuid() != 0;
	k->shim.systemd = k->rootless && definition_isolation(k->definition) == ISOLATION_CONTAINER && own_systemd();
	return subids_enter(err) && private_mounts(err) && reopen(k, err);
}

bool container_bundle(struct container_keeper *k, struct error *err)
{
	return find_paths(k, err) && enter_namespaces(k, err) && mount_image(k, err) && write_names(k, err) && write_config(k, err);
}
