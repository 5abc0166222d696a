/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As returns.c, at an address that code may be made for. */
#define TOP 0x30000000
#include "returns.c"
