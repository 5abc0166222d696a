/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The child that unpacks, and what becomes of its work: see unpack.h. */
#include "image/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/place.h"
#include "container/caps.h"

struct answer { bool ok; char hex[DIGEST_HEX + 1]; struct error err; };

/* What is left to root: owners and modes of any file, file capabilities. */
static bool drop_rights(struct error *err)
{
	const uint64_t keep = BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_SETFCAP) |
		BIT(CAP_MKNOD);      /* a whiteout is a node, for kernels before 5.8 */
	const struct spec_caps caps = { .bits = { [CAPS_BOUNDING] = keep, [CAPS_EFFECTIVE] = keep, [CAPS_PERMITTED] = keep } };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return error_set(err, errno, "cannot give up rights before unpacking");
	return geteuid() || (caps_drop_bounding(&caps, err) && caps_set(&caps, err));
}

static NORETURN void child(int blob, int dir, int report)
{
	struct answer a = { 0 };
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	umask(0);
	setlocale(LC_CTYPE, "C.UTF-8");      /* names of any script, byte for byte */
	if (!geteuid() && (fchdir(dir) || chroot(".") || chdir("/")))
		error_set(&a.err, errno, "cannot go into the layer's directory");
	else
		a.ok = drop_rights(&a.err) && unpack_tar(blob, dir, a.hex, &a.err);
	_exit(!fd_write_full(report, &a, sizeof(a)));
}

static bool run_child(int blob, int dir, struct answer *a, struct error *err)
{
	int pipe_fd[2];
	if (pipe2(pipe_fd, O_CLOEXEC))
		return error_set(err, errno, "cannot create a pipe");
	pid_t pid = fork();
	if (!pid)
		child(blob, dir, pipe_fd[1]);
	close(pipe_fd[1]);
	bool heard = pid > 0 && fd_read_full(pipe_fd[0], a, sizeof(*a));
	close(pipe_fd[0]);
	wait_child(pid);
	if (!heard)
		return error_set(err, 0, "the process that unpacks a layer died");
	if (!a->ok)
		*err = a->err;
	return a->ok;
}

static bool unpack_into(const struct image_store *s, int blob, const char *tmp, char diff[DIGEST_HEX + 1], struct error *err)
{
	struct answer a;
	auto_close int dir = openat(s->tmp, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_set(err, errno, "cannot unpack into the image store");
	if (!run_child(blob, dir, &a, err))
		return false;
	if (*diff && strcmp(diff, a.hex))
		return error_set(err, 0, "a layer's tar has the digest sha256:%s, where the image's configuration says sha256:%s",
				 a.hex, diff);
	memcpy(diff, a.hex, sizeof(a.hex));
	return true;
}

bool layer_keep(const struct image_store *s, const char *tmp, const char *diff, struct error *err)
{
	if (!*tmp || !renameat(s->tmp, tmp, s->layers, diff))
		return true;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return error_set(err, errno, "cannot put a layer into the image store");
	layer_drop(s, tmp);           /* another has been faster */
	return true;
}

void layer_drop(const struct image_store *s, const char *tmp)
{
	auto_close int left = *tmp ? openat(s->tmp, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (left < 0)
		return;
	place_empty(left);
	unlinkat(s->tmp, tmp, AT_REMOVEDIR);
}

bool layer_unpack(const struct image_store *s, const char *blob_hex, char diff[DIGEST_HEX + 1], char tmp[48], struct error *err)
{
	tmp[0] = 0;
	if (*diff && !faccessat(s->layers, diff, F_OK, 0))
		return true;
	auto_close int blob = blob_open(s, blob_hex, NULL);
	if (blob < 0)
		return error_set(err, errno, "the image store lacks the layer sha256:%s", blob_hex);
	image_tmp_name(tmp);
	if (mkdirat(s->tmp, tmp, 0755))
		return error_set(err, errno, "cannot unpack into the image store");
	if (unpack_into(s, blob, tmp, diff, err))
		return true;
	layer_drop(s, tmp);
	error_prefix(err, "layer sha256:%.12s: ", blob_hex);
	return false;
}
