/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks in other vendors' formats, written by qemu-img (Debian's qemu-utils). */
#ifndef CLI_FOREIGN_H
#define CLI_FOREIGN_H

#include "cli/disk.h"

/* Do we leave this format to qemu-img, as a target; as a source? */
bool foreign_target(const char *format);
bool foreign_source(const char *path);
/* `from_format`: in our words; NULL: by the file's first bytes. */
bool foreign_convert(const char *from, const char *from_format, const char *to, const char *format, struct error *err);

#endif
