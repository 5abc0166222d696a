/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process beside a program in a container: it starts it through abyme-oci, holds
 * its terminal or pipes, and speaks frames (frame.h) over one socket, until it has ended.
 * It is the same for a container of this host and for one inside a guest.
 */
#ifndef SESSION_SHIM_H
#define SESSION_SHIM_H

#include <sys/types.h>

#include "session/frame.h"

struct shim {
	const char *oci;              /* the runtime's program */
	const char *records;          /* its --root */
	const char *bundle;           /* with config.json and rootfs/ */
	const char *id;
	bool terminal;                /* config.json asks for one */
	bool systemd;                 /* which makes the control groups */
	/* The container is made, its program not yet started; may be NULL. */
	bool (*created)(pid_t pid, void *opaque, struct error *err);
	/* Instead of `abyme-oci start`; may be NULL. With `held`, its create gets --held. */
	bool (*start)(void *opaque, struct error *err);
	bool held;
	bool leave;                   /* its record goes with the machine, or at the next start */
	const struct frames *early;   /* what was read of the socket already; may be NULL, or be set by start() */
	/* It has ended; the other side does not know yet. May be NULL. */
	void (*ended)(void *opaque);
	void *opaque;
};

/* The container's own program, from nothing to its removal; the status it ended with. */
int shim_main(int sock, const struct shim *s);

/* A further program in it. The first frame is FRAME_START:
 *     {"args": [...], "env": [...], "cwd": "...", "user": "...", "terminal": false, "detach": false}
 * of which only args must be there; or, a tar stream of files (container/copy.h),
 *     {"copy": "out" or "in", "path": "...", "name": "...", "follow": false, "owners": false} */
int shim_exec(int sock, const struct shim *s);
/* The same in a container that does not run: it is made for it and goes again, and its own
 * program, which need not even be there, is not started. */
int shim_rest(int sock, const struct shim *s);

/* abyme-oci VERB ...: its status, and what it wrote (to be freed). words end with NULL. */
int shim_oci(const struct shim *s, const char *const *words, char **output);
/* The first line of what it wrote, without its name before it: why it failed. */
const char *shim_sentence(char *said);

#endif
