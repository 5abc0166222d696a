/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>

void sha256_begin(struct sha256 *h)
{
	h->context = EVP_MD_CTX_new();
	EVP_DigestInit_ex(h->context, EVP_sha256(), NULL);
}

void sha256_add(struct sha256 *h, const void *data, size_t n)
{
	EVP_DigestUpdate(h->context, data, n);
}

void sha256_end(struct sha256 *h, char hex[DIGEST_HEX + 1])
{
	uint8_t sum[32] = { 0 };
	EVP_DigestFinal_ex(h->context, sum, NULL);
	EVP_MD_CTX_free(h->context);
	h->context = NULL;
	for (unsigned i = 0; hex && i < sizeof(sum); i++)
		snprintf(hex + 2 * i, 3, "%02x", sum[i]);
}
