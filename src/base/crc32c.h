/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CRC-32C (RFC 3720, B.4), with the CPU's own instruction where it is there. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of n bytes; begin with 0, or go on with the result so far. */
uint32_t crc32c(uint32_t so_far, const void *p, size_t n);
/* The same without the instruction, for hosts that lack it. */
uint32_t crc32c_portable(uint32_t so_far, const void *p, size_t n);

#endif
