/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pushing to a registry: what it lacks, each in one piece, then the manifest: see registry.h. */
#include "image/registry_http.h"

#include <stdio.h>

static bool send_request(struct registry *r, const char *path, struct sending *u, struct error *err)
{
	struct sink k = { .registry = r, .err = err };
	CURLcode c;
	bool ok = registry_request(r, path, 0, u, &k, &c, err) || registry_refused(r, path, &k, c, err);
	free(k.text);
	return ok;
}

static bool has_blob(struct registry *r, const char *path)
{
	struct sending u = { .method = "HEAD", .fd = -1 };
	struct error ignored = { 0 };
	return send_request(r, path, &u, &ignored);
}

/* Where an upload goes is the registry's to say; in the clear only to this host. */
static char *upload_place(struct registry *r, const char *hex, struct error *err)
{
	struct sending u = { .method = "POST", .text = "" };
	if (!send_request(r, "blobs/uploads/", &u, err))
		return NULL;
	const char *at = r->location;
	if (*at != '/' && strncmp(at, "https://", 8) && !(registry_loopback(r) && !strncmp(at, "http://", 7)))
		return error_null(err, 0, "the registry '%s' does not say where an upload goes", r->name->registry);
	return xasprintf("%s%cdigest=sha256:%s", at, strchr(at, '?') ? '&' : '?', hex);
}

static bool put_blob(struct registry *r, const struct image_store *s, const char *hex, struct error *err)
{
	struct sending u = { .method = "PUT", .type = "application/octet-stream" };
	auto_free char *path = xasprintf("blobs/sha256:%s", hex);
	auto_close int fd = blob_open(s, hex, &u.size);
	if (fd < 0)
		return error_set(err, 0, "the image store lacks the blob sha256:%s", hex);
	if (has_blob(r, path)) {
		registry_tell(r, "is there", hex, u.size);
		return true;
	}
	auto_free char *place = upload_place(r, hex, err);
	u.fd = fd;
	if (!place || !send_request(r, place, &u, err))
		return false;
	registry_tell(r, "sent", hex, u.size);
	return true;
}

static bool put_manifest(struct registry *r, const struct oci_image *i, const struct image_store *s, struct error *err)
{
	size_t n;
	auto_free char *text = blob_text(s, i->hex, &n, err);
	auto_free char *path = xasprintf("manifests/%s", r->name->tag);
	struct sending u = { .method = "PUT", .text = text, .size = n,
			     .type = i->manifest.media_type ? i->manifest.media_type : MEDIA_OCI_MANIFEST };
	return text && send_request(r, path, &u, err);
}

static bool push(struct registry *r, struct image_store *s, const struct oci_image *i, struct error *err)
{
	if (!put_blob(r, s, i->manifest.config->hex, err))
		return false;
	for (unsigned k = 0; k < i->manifest.layers.n; k++)
		if (!put_blob(r, s, i->manifest.layers.v[k].hex, err))
			return false;
	return put_manifest(r, i, s, err);
}

bool registry_push(struct image_store *s, const char *hex, const struct reference *to, const struct registry_options *o, struct error *err)
{
	struct registry r;
	if (*to->digest)
		return error_set(err, 0, "an image is pushed by a tag, not by a digest");
	struct oci_image *i = oci_image_load(s, hex, err);
	bool ok = registry_begin(&r, to, o, "pull,push", err) && i && push(&r, s, i, err);
	registry_end(&r);
	oci_image_free(i);
	return ok;
}
