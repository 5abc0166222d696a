/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making an image ready to run: see install.h. */
#include "image/install.h"
#include "image/unpack.h"

#include <errno.h>

/* Docker's gzipped layers and OCI's alike: the bytes say what they are. */
static bool check_layer(const struct descriptor *d, const struct image_store *s, struct error *err)
{
	uint64_t size;
	auto_close int fd = blob_open(s, d->hex, &size);
	if (fd < 0)
		return error_set(err, errno, "the image store lacks the layer sha256:%s", d->hex);
	return size == d->size || error_set(err, 0, "the layer sha256:%.12s has %llu bytes, the manifest says %llu", d->hex,
					    (unsigned long long)size, (unsigned long long)d->size);
}

/* All layers first: one sync serves them all. */
static bool unpack_layers(struct image_store *s, const struct oci_image *i, char (*tmp)[48], struct error *err)
{
	bool any = false;
	for (unsigned k = 0; k < i->nlayers; k++) {
		const struct descriptor *d = &i->manifest.layers.v[k];
		char diff[DIGEST_HEX + 1];
		memcpy(diff, i->diffs[k], sizeof(diff));
		if (!check_layer(d, s, err) || !layer_unpack(s, d->hex, diff, tmp[k], err))
			return false;
		any |= *tmp[k] != 0;
	}
	if (any && syncfs(s->tmp))
		return error_set(err, errno, "cannot write the image store");
	for (unsigned k = 0; k < i->nlayers; k++) {
		if (!layer_keep(s, tmp[k], i->diffs[k], err))
			return false;
		tmp[k][0] = 0;
	}
	return true;
}

bool image_install(struct image_store *s, const char *hex, const char *full, struct error *err)
{
	char tmp[IMAGE_MAX_LAYERS][48] = { "" };
	struct oci_image *i = oci_image_load(s, hex, err);
	bool ok = i && unpack_layers(s, i, tmp, err);
	for (unsigned k = 0; k < IMAGE_MAX_LAYERS; k++)
		layer_drop(s, tmp[k]);
	oci_image_free(i);
	return ok && (!full || image_tag(s, full, hex, err));
}
