/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Manifests, indexes and configurations of images (OCI image-spec 1.1, Docker
 * registry schema 2), all of hostile origin: read by table, digests and counts
 * checked here, once.  Strings live in the arena.
 */
#ifndef IMAGE_MANIFEST_H
#define IMAGE_MANIFEST_H

#include "container/schema.h"
#include "image/store.h"

enum { IMAGE_MAX_LAYERS = 128, IMAGE_MAX_MANIFESTS = 1024 };

#define MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define MEDIA_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"

struct descriptor {
	const char *media_type, *digest;
	uint64_t size;
	const char *os, *architecture, *variant;      /* of its platform, NULL: not said */
	struct pairs annotations;
	char hex[DIGEST_HEX + 1];                     /* of the digest */
};
typedef LIST(struct descriptor) descriptors;

/* What a manifest's bytes say: an index has manifests, a manifest config and layers. */
struct manifest {
	const char *media_type;
	struct descriptor *config;
	descriptors layers, manifests;
};
bool manifest_parse(struct arena *a, const char *text, size_t size, struct manifest *m, struct error *err);
/* The entry of an index for this machine (linux/amd64), NULL. */
const struct descriptor *manifest_choose(const struct manifest *index, struct error *err);

/* Writing one; what a layer's first bytes say that it is. */
void descriptor_put(struct json_out *o, const char *key, const char *type, const char *hex, uint64_t size);
const char *layer_media_type(const struct image_store *s, const char *hex);

struct image_config {
	const char *created, *architecture, *os;
	struct {
		struct strings env, entrypoint, cmd;
		const char *user, *workdir, *stop_signal;
		struct pairs labels;
		const struct json *ports, *volumes;   /* objects whose keys matter; NULL */
	} run;
	struct strings diff_ids;
};
bool image_config_parse(struct arena *a, const char *text, size_t size, struct image_config *c, struct error *err);

/* An image of the store, whole: its manifest and its config. */
struct oci_image {
	struct arena arena;
	char hex[DIGEST_HEX + 1];
	struct manifest manifest;
	struct image_config config;
	const char (*diffs)[DIGEST_HEX + 1];          /* of each layer, the lowest first */
	unsigned nlayers;
	uint64_t bytes;                               /* of config and layers as they are kept */
};
struct oci_image *oci_image_load(const struct image_store *s, const char *hex, struct error *err);
void oci_image_free(struct oci_image *i);

#endif
