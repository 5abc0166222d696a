/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of a definition that is about the program of an image. */
#ifndef INSTANCE_PROGRAM_H
#define INSTANCE_PROGRAM_H

#include "instance/definition.h"

/* Defaults and checks; nothing for a machine of disks. */
bool program_resolve(struct definition *d, char why[160], struct error *err);

/* What an image's configuration says, where the definition does not. `entrypoint` takes
 * the place of the image's (NULL: not said; "": none). The command in `d` is what stood
 * behind the image's name. Sets digest. */
bool program_take_image(struct definition *d, const char *entrypoint, struct error *err);

/* "HOST:/INSIDE[:ro]" in its parts; source of a named volume: its directory, made. */
struct volume { char source[4096], target[4096]; bool readonly; };
bool volume_parse(const char *text, struct volume *v, struct error *err);

struct restart { enum { RESTART_NO, RESTART_ALWAYS, RESTART_FAILURE } when; unsigned most; /* 0: for ever */ };
bool restart_parse(const char *text, struct restart *r, struct error *err);

#endif
