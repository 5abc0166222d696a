/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of registry.h: one request at a time, by libcurl, to one repository. */
#ifndef IMAGE_REGISTRY_HTTP_H
#define IMAGE_REGISTRY_HTTP_H

#include <curl/curl.h>

#include "image/blob.h"
#include "image/manifest.h"
#include "image/registry.h"

struct registry {
	CURL *curl;
	char base[600];
	const struct reference *name;
	const struct registry_options *options;
	char *authorization;          /* a header line, or NULL */
	const char *scope;            /* what a token is asked for: "pull" or "pull,push" */
	char challenge[2048];         /* of the last 401 */
	char location[2048];          /* where the last answer leads, "" */
};

/* Where an answer's body goes: memory, or a blob. */
struct sink {
	struct registry *registry;
	char *text; size_t n;
	struct blob *blob;
	uint64_t most;                /* bytes that were promised */
	bool resumed;                 /* asked for the rest only */
	long status;
	struct error *err;
};

/* What is sent; method NULL: GET. */
struct sending {
	const char *method;           /* HEAD, POST or PUT */
	const char *type;             /* of the body */
	int fd;                       /* its bytes, or: */
	const char *text;
	uint64_t size, sent;
};


/* End what was begun, also after a failure. */
bool registry_begin(struct registry *r, const struct reference *name, const struct registry_options *o, const char *scope, struct error *err);
void registry_end(struct registry *r);
bool registry_loopback(const struct registry *r);

/* A path below the repository, one of the registry's (with a slash), or a URL; logs in
 * once if it is asked for. True: a status of 2xx. */
bool registry_request(struct registry *r, const char *path, uint64_t from, struct sending *u, struct sink *k, CURLcode *c, struct error *err);
/* Why not, in a sentence. */
bool registry_refused(const struct registry *r, const char *path, const struct sink *k, CURLcode c, struct error *err);
void registry_tell(const struct registry *r, const char *what, const char *hex, uint64_t size);

#endif
