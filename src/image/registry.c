/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pulling from a registry: see registry.h. */
#include "image/registry_http.h"
#include "image/install.h"

#include <stdio.h>
#include <time.h>

enum { TRIES = 6 };

/* ---- content ---- */

/* What came before a break stays; the rest is asked for. */
static bool get_blob(struct registry *r, struct image_store *s, const struct descriptor *d, struct error *err)
{
	struct blob b;
	auto_free char *path = xasprintf("blobs/sha256:%s", d->hex);
	auto_close int have = blob_open(s, d->hex, NULL);
	if (have >= 0) {
		registry_tell(r, "is here", d->hex, d->size);
		return true;
	}
	if (!blob_begin(&b, s, err))
		return false;
	struct sink k = { .registry = r, .blob = &b, .most = d->size, .err = err };
	bool ok = false;
	CURLcode c = CURLE_OK;
	for (unsigned i = 0; i < TRIES && !ok && !err->text[0]; i++) {
		const struct timespec pause = { .tv_nsec = i ? 300000000 : 0 };
		nanosleep(&pause, NULL);
		ok = registry_request(r, path, b.size, NULL, &k, &c, err) && b.size == d->size;
		if (c == CURLE_OK && k.status >= 400 && k.status < 500)
			break;
	}
	if (!ok && c == CURLE_OK && !err->text[0] && k.status == 200)
		error_set(err, 0, "the registry sends less than it promised");
	ok = ok ? blob_keep(&b, d->hex, err) : registry_refused(r, path, &k, c, err);
	blob_drop(&b);
	free(k.text);
	if (ok)
		registry_tell(r, "fetched", d->hex, d->size);
	return ok;
}

/* Into the store; `want` (digits) or "" for what the tag means. */
static bool get_manifest(struct registry *r, struct image_store *s, const char *which, const char *want, char hex[DIGEST_HEX + 1],
			 struct arena *a, struct manifest *m, struct error *err)
{
	struct sink k = { .registry = r, .err = err };
	CURLcode c;
	auto_free char *path = xasprintf("manifests/%s", which);
	bool ok = registry_request(r, path, 0, NULL, &k, &c, err) || registry_refused(r, path, &k, c, err);
	ok = ok && blob_put(s, k.text ? k.text : "", k.n, hex, err);
	if (ok && *want && strcmp(want, hex))
		ok = error_set(err, 0, "the manifest has the digest sha256:%s, where sha256:%s was asked for", hex, want);
	ok = ok && manifest_parse(a, k.text, k.n, m, err);
	free(k.text);
	return ok;
}

static bool pull(struct registry *r, struct image_store *s, struct arena *a, struct error *err)
{
	struct manifest m;
	char hex[DIGEST_HEX + 1], digest[DIGEST_HEX + 8];
	snprintf(digest, sizeof(digest), "sha256:%s", r->name->digest);
	if (!get_manifest(r, s, *r->name->digest ? digest : r->name->tag, r->name->digest, hex, a, &m, err))
		return false;
	if (!m.config) {
		const struct descriptor *mine = manifest_choose(&m, err);
		if (!mine || !get_manifest(r, s, mine->digest, mine->hex, hex, a, &m, err))
			return false;
		if (!m.config)
			return error_set(err, 0, "an index inside an index is not taken");
	}
	if (!get_blob(r, s, m.config, err))
		return false;
	for (unsigned i = 0; i < m.layers.n; i++)
		if (!get_blob(r, s, &m.layers.v[i], err))
			return false;
	return image_install(s, hex, r->name->full, err);
}

bool registry_pull(struct image_store *s, const struct reference *name, const struct registry_options *o, struct error *err)
{
	struct arena a = { 0 };
	struct registry r;
	bool ok = registry_begin(&r, name, o, "pull", err) && pull(&r, s, &a, err);
	registry_end(&r);
	arena_free(&a);
	return ok;
}
