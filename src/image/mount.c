/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mounting an image: see mount.h.  Layers are named by their descriptors, seen from
 * /proc/self/fd, so that 128 of them fit into the page that mount options may take.
 */
#include "image/mount.h"
#include "image/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct layers { int fd[IMAGE_MAX_LAYERS + 1]; unsigned n; };

static void close_layers(struct layers *l)
{
	for (unsigned i = 0; i < l->n; i++)
		close(l->fd[i]);
}

/* From the top to the bottom, as overlayfs wants them; an image without layers has an
 * empty one. */
static bool open_layers(struct image_store *s, const char *hex, struct layers *l, struct error *err)
{
	struct oci_image *i = oci_image_load(s, hex, err);
	bool ok = i != NULL;
	l->n = 0;
	for (unsigned k = ok ? i->nlayers : 0; ok && k--; ) {
		int fd = layer_open(s, i->diffs[k]);
		ok = fd >= 0 || error_set(err, errno, "the image store lacks the layer sha256:%s", i->diffs[k]);
		if (ok)
			l->fd[l->n++] = fd;
	}
	oci_image_free(i);
	if (!ok || l->n)
		return ok;
	if ((mkdirat(s->dir, "empty", 0755) && errno != EEXIST) || (l->fd[0] = openat(s->dir, "empty", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return error_set(err, errno, "cannot make an empty layer");
	l->n = 1;
	return true;
}

static bool make_directories(int dir, struct error *err)
{
	static const char *const names[] = { "upper", "work", "rootfs" };
	struct stat st;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (mkdirat(dir, names[i], 0755) && errno != EEXIST)
			return error_set(err, errno, "cannot make '%s' of the container", names[i]);
	return !fstatat(dir, "upper", &st, 0) || error_set(err, errno, "cannot look at the container's directory");
}

static char *lower_list(const struct layers *l, const char *prefix)
{
	char *text = xmalloc(l->n * 24ull + 1), *p = text;
	*p = 0;
	for (unsigned i = 0; i < l->n; i++)
		p += sprintf(p, "%s%s%d", i ? ":" : "", prefix, l->fd[i]);
	return text;
}

static bool by_kernel(const struct layers *l, int dir)
{
	auto_free char *lower = lower_list(l, "");
	auto_free char *options = xasprintf("lowerdir=%s,upperdir=%d/upper,workdir=%d/work,userxattr,index=off,metacopy=off",
					    lower, dir, dir);
	auto_close int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char target[64];
	snprintf(target, sizeof(target), "%d/rootfs", dir);
	if (chdir("/proc/self/fd"))
		return false;
	bool ok = !mount("overlay", target, "overlay", MS_NODEV, options);
	int e = errno;
	if (here >= 0 && fchdir(here))
		ok = false;
	errno = e;
	return ok;
}

static void inherit(int fd) { fcntl(fd, F_SETFD, 0); }

/* It opens what it needs before it goes to the background. */
static bool by_fuse(const struct layers *l, int dir)
{
	auto_free char *lower = lower_list(l, "/proc/self/fd/");
	auto_free char *options = xasprintf("lowerdir=%s,upperdir=/proc/self/fd/%d/upper,workdir=/proc/self/fd/%d/work", lower, dir, dir);
	auto_free char *target = xasprintf("/proc/self/fd/%d/rootfs", dir);
	pid_t pid = fork();
	if (!pid) {
		for (unsigned i = 0; i < l->n; i++)
			inherit(l->fd[i]);
		inherit(dir);
		execlp("fuse-overlayfs", "fuse-overlayfs", "-o", options, target, (char *)NULL);
		_exit(127);
	}
	int status = wait_child(pid);
	return status >= 0 && WIFEXITED(status) && !WEXITSTATUS(status);
}

bool image_mount(struct image_store *s, const char *hex, int dir, struct error *err)
{
	struct layers l;
	bool ok = make_directories(dir, err) && open_layers(s, hex, &l, err);
	if (!ok)
		return false;
	if (!by_kernel(&l, dir)) {
		int why = errno;
		ok = by_fuse(&l, dir) || error_set(err, why, "this kernel does not mount overlays here (the package fuse-overlayfs may help)");
	}
	close_layers(&l);
	return ok;
}
