/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of images: [REGISTRY/]REPOSITORY[:TAG][@sha256:DIGEST], with the
 * distribution project's rules: without a registry (a first part with '.' or ':',
 * or "localhost") docker.io is meant, and there library/ for a single word;
 * without tag and digest, the tag latest.
 */
#ifndef IMAGE_REFERENCE_H
#define IMAGE_REFERENCE_H

#include "base/error.h"
#include "base/util.h"

enum { DIGEST_HEX = 64, REFERENCE_MAX = 250 };

struct reference {
	char registry[REFERENCE_MAX + 1], repository[REFERENCE_MAX + 1], tag[129];
	char digest[DIGEST_HEX + 1];          /* hexadecimal, or "" */
	char full[REFERENCE_MAX + 1];         /* the whole, with every part said */
};

bool reference_parse(const char *text, struct reference *r, struct error *err);
/* What a user would write for it: points into `full`. */
const char *reference_familiar(const char *full);

/* "sha256:<64 hexadecimal digits>" to the digits; false: it is something else. */
bool digest_parse(const char *text, char hex[DIGEST_HEX + 1]);

#endif
