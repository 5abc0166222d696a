/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256, libcrypto's. Only programs that take images in link it. */
#ifndef IMAGE_SHA256_H
#define IMAGE_SHA256_H

#include "image/reference.h"

struct sha256 { void *context; };

void sha256_begin(struct sha256 *h);
void sha256_add(struct sha256 *h, const void *data, size_t n);
/* Ends it: the digits, or hex NULL to drop it. */
void sha256_end(struct sha256 *h, char hex[DIGEST_HEX + 1]);

#endif
