/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header of a small bzImage (Linux, boot.rst): a boot sector and one of set-up code. */
#ifndef TESTS_BZIMAGE_H
#define TESTS_BZIMAGE_H

#include <string.h>

#include "base/util.h"

enum { BZ_HEAD = 0x400 };

/* Relocatable, of protocol 2.15, with a 64-bit entry; the other fields are 0. */
static void put_bzimage_header(uint8_t k[BZ_HEAD], uint32_t align, uint64_t preferred, uint32_t room)
{
	memset(k, 0, BZ_HEAD);
	k[0x1f1] = 1;
	le16_put(k + 0x1fe, 0xaa55);
	k[0x200] = 0xeb;
	k[0x201] = 0x6a;
	memcpy(k + 0x202, "HdrS", 4);
	le16_put(k + 0x206, 0x20f);
	k[0x211] = 1;
	le32_put(k + 0x22c, 0x7fffffff);
	le32_put(k + 0x230, align);
	k[0x234] = k[0x236] = 1;
	le32_put(k + 0x238, 100);
	le64_put(k + 0x258, preferred);
	le32_put(k + 0x260, room);
}

#endif
