/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies in and out of a root, as tar streams: what `abyme cp` does, on either side. Both
 * the tree and the stream may be hostile and may change meanwhile; each step is one look-up
 * that cannot lead out of `root`.
 */
#ifndef CONTAINER_COPY_H
#define CONTAINER_COPY_H

#include "base/error.h"

struct copy {
	int root;                     /* paths are below it, whatever links say */
	const char *path;
	/* out: what the file or directory is called in the stream ("": a directory is ".").
	 * in: what its first entry becomes in a directory, of which all others are below ("": its content
	 * goes in there); where `path` is no directory, it becomes `path`. NULL: every entry keeps its name,
	 * and `path` is a directory. */
	const char *name;
	bool follow;                  /* out: a link at `path` means what it leads to */
	bool owners;                  /* in: they and set-ID bits are kept, if we may */
	bool confined;                /* in: not even a link of the destination leads out of it */
};

bool copy_out(const struct copy *c, int to, struct error *err);
bool copy_in(const struct copy *c, int from, struct error *err);

#endif
