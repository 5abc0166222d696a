/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unattended installations by Debian's own installer: where the packages come from,
 * the answers to its questions, an initrd that has them, and how far it is.
 */
#ifndef INSTALL_INSTALL_H
#define INSTALL_INSTALL_H

#include "base/error.h"
#include "base/util.h"

/* --- mirror.c: http://HOST[:PORT]/DIRECTORY in its parts, owned --------------------- */
struct mirror { char *protocol, *host, *directory; };
bool mirror_parse(const char *url, struct mirror *m, struct error *err);
/* The archive of `suite` in the sources of an apt that is configured below `apt`
 * ("/etc/apt"): its address, to be freed; NULL if there is none that has `main`. */
char *mirror_find(const char *apt, const char *suite);
void mirror_free(struct mirror *m);

/* --- preseed.c: the installer's questions answered, to be freed ----------------------- */
struct answers {
	const char *hostname, *password, *suite;
	const struct mirror *mirror;
	const char *security;     /* address of the security archive, or NULL */
};
char *preseed_text(const struct answers *a);
/* What the installed system's last words on the console are. */
#define INSTALL_DONE "ABYME-INSTALLED"
/* A line that the kernel starts the installer with. */
#define INSTALL_APPEND "auto=true priority=critical console=ttyS0 quiet DEBIAN_FRONTEND=text TERM=dumb"

/* --- initrd.c: a descriptor of `initrd` followed by an archive of one file -------------- */
int initrd_with(const char *initrd, const char *name, const char *text, struct error *err);

/* --- progress.c: what the installer says on its console ----------------------------------- */
struct progress {
	char line[400];           /* the one that grows */
	size_t len;
	char before[400];         /* some of those before it: the text of a question */
	char step[100];           /* what it does now, "" at first */
	unsigned percent;
	bool done;                /* it has said INSTALL_DONE */
	bool asks;                /* a question that nobody answers: `before` */
};
/* True if step or percent have changed. */
bool progress_take(struct progress *p, char c);

#endif
