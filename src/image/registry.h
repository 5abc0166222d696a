/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images from registries (OCI distribution-spec 1.1, Docker registry API v2), by libcurl:
 * HTTPS, or HTTP where the registry is this host's loopback. Answers are hostile: all
 * content is held against its digest and promised size.
 */
#ifndef IMAGE_REGISTRY_H
#define IMAGE_REGISTRY_H

#include "image/store.h"

struct registry_options {
	const char *credentials;      /* "USER:PASSWORD", NULL: none */
	bool progress;                /* on standard error */
};

/* Fetch what is missing, unpack it, tag it. A transfer that breaks off goes on where it
 * stopped, a few times. */
bool registry_pull(struct image_store *s, const struct reference *r, const struct registry_options *o, struct error *err);
/* Send what the registry lacks of an image of the store, then its manifest as that tag. */
bool registry_push(struct image_store *s, const char *hex, const struct reference *to, const struct registry_options *o, struct error *err);

#endif
