/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * evp aes-128-gcm|sha256: what `openssl speed -evp` does, block sizes of 16 bytes to
 * 16 KiB, but a fixed amount of work each, and its tags or digests are printed, so that
 * runs can be compared.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 16384 };
static const struct { int size, aes, sha; } work[] = {        /* some 35 ms natively each */
	{ 16, 1200000, 120000 }, { 64, 800000, 90000 }, { 256, 500000, 50000 },
	{ 1024, 180000, 18000 }, { 8192, 30000, 2400 }, { LARGEST, 15000, 1200 },
};

static void must(int good)
{
	if (good != 1) {
		fputs("evp: libcrypto failed\n", stderr);
		exit(1);
	}
}

static void print(const unsigned char *bytes, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		printf("%02x", bytes[k]);
	putchar('\n');
}

static void aes_gcm(unsigned char *buf, int size, int count)
{
	static const unsigned char key[16] = "sixteen bytes...", iv[12] = "twelve bytes";
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	unsigned char tag[16];
	int n;

	must(EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, key, iv));
	while (count--)
		must(EVP_EncryptUpdate(c, buf, &n, buf, size));
	must(EVP_EncryptFinal_ex(c, buf, &n));
	must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, sizeof(tag), tag));
	print(tag, sizeof(tag));
	EVP_CIPHER_CTX_free(c);
}

static void sha256(unsigned char *buf, int size, int count)
{
	unsigned char digest[EVP_MAX_MD_SIZE] = { 0 };
	EVP_MD *md = EVP_MD_fetch(NULL, "sha256", NULL);

	must(md != NULL);
	while (count--) {
		must(EVP_Digest(buf, (size_t)size, digest, NULL, md, NULL));
		memcpy(buf, digest, 16);
	}
	print(digest, 32);
	EVP_MD_free(md);
}

int main(int argc, char **argv)
{
	static unsigned char buf[LARGEST + 16];
	int aes = argc > 1 && !strcmp(argv[1], "aes-128-gcm");

	for (unsigned k = 0; k < sizeof(work) / sizeof(work[0]); k++)
		if (aes)
			aes_gcm(buf, work[k].size, work[k].aes);
		else
			sha256(buf, work[k].size, work[k].sha);
	return 0;
}
