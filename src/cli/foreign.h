/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks in other vendors' formats, written by qemu-img (Debian's qemu-utils). */
#ifndef CLI_FOREIGN_H
#define CLI_FOREIGN_H

#include "cli/disk.h"

/* Do we leave this format to qemu-img, as a target; as a source? */
bool foreign_target(const char *format);
bool foreign_source(const char *path);
/* Is it written in one go, so that it cannot go on where it was? */
bool foreign_in_one_go(const char *format);
/* The same piece by piece, under a log (disk/resume.h) by which an interrupted one goes on. `i`: the source, or NULL if
 * it is only qemu-img's to read. What has failed is gone, what was stopped stays. */
struct foreign_job { const char *from, *from_format, *to, *format; struct image *i; uint64_t rate; };
bool foreign_go_on(const struct foreign_job *j, struct error *err);
/* `from_format`: in our words; NULL: by the file's first bytes. */
bool foreign_convert(const char *from, const char *from_format, const char *to, const char *format, struct error *err);

#endif
