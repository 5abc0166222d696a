/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hops.c in the lowest 2 GiB, where a translator may know the addresses themselves. */
#define TOP 0x40000000
#include "hops.c"
