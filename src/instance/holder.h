/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which instance has a disk that somebody else wants. */
#ifndef INSTANCE_HOLDER_H
#define INSTANCE_HOLDER_H

#include "base/error.h"

/* False if the file (open as `fd`) is locked against such a use and a running instance other than
 * `self` has it as a disk: the error names that. True says only that none is known. One that is
 * just ending is waited for, unless `self` is NULL. */
bool holder_unknown(const char *path, int fd, bool readonly, const char *self, struct error *err);

#endif
