/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The root file system of a container, built in its own mount namespace by its
 * first process.  Everything is mounted on descriptors that were looked up
 * below the root (root_path.h), with the descriptor-based mount calls, so that
 * nothing a container's files say can lead a mount elsewhere.
 */
#ifndef CONTAINER_ROOTFS_H
#define CONTAINER_ROOTFS_H

#include "container/cgroup.h"
#include "container/mount_options.h"

struct rootfs {
	const struct spec *spec;
	const struct cgroups *cgroups;
	const char *path;               /* of the root, on the host */
	struct mount_plan *plans;       /* one a mount */
	int tree;                       /* the root as a detached mount, or -1 */
	int fd;                         /* the root once it is attached */
	int null;                       /* the host's /dev/null, O_PATH: masks files */
	bool no_pivot;
	bool userns;                    /* mknod is not ours: devices are bound */
	bool (*placed)(void *arg, struct error *err);   /* wait until the cgroups are joined */
	void *arg;
};

/* In the runtime: read all options; where the container has a user namespace of
 * its own, open what it binds with our rights and map IDs. */
bool rootfs_plan(struct rootfs *r, struct arena *a, struct error *err);
bool rootfs_open_sources(struct rootfs *r, struct error *err);
bool rootfs_map_ids(struct rootfs *r, int userns, struct error *err);
void rootfs_close(struct rootfs *r);

/* In the container's first process, in this order. */
bool rootfs_attach(struct rootfs *r, struct error *err);     /* the root, private */
bool rootfs_mount_all(struct rootfs *r, struct error *err);
bool rootfs_devices(struct rootfs *r, struct error *err);
bool rootfs_seal_paths(struct rootfs *r, struct error *err); /* masked, read-only, the root itself */
bool rootfs_enter(struct rootfs *r, struct error *err);      /* pivot_root */
/* In the runtime, after the end: of a container in the host's mount namespace. */
void rootfs_detach(const struct spec *s, const char *path);

/* A detached copy of what is at (dir, path), all below it too if `below`; -1. */
int mount_clone(int dir, const char *path, bool below);
bool mount_attach(int tree, int target);
bool mount_attributes(int fd, uint64_t set, uint64_t clear, bool below);
bool mount_propagation(int fd, uint64_t propagation, bool below);
/* A detached new file system; data and super are option lists; source may be NULL. */
int mount_new(const char *type, const char *source, const struct strings *super, const struct strings *data,
	uint64_t attributes, struct error *err);
/* A descriptor of a user namespace with these mappings; -1. */
int userns_make(const struct id_maps *uids, const struct id_maps *gids, struct error *err);
/* tmpcopyup: the files of one directory into another. */
bool copy_tree(int from, int to, struct error *err);
/* A mount of type "cgroup": what the container may see of its groups. */
bool rootfs_mount_cgroup(struct rootfs *r, const struct mount_plan *p, int target, struct error *err);

#endif
