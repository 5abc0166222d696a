/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Manifests and configurations: see manifest.h. */
#include "image/manifest.h"

#include <stdio.h>

#define END { NULL, FIELD_STR, false, 0, 0, NULL }

static const struct field platform_fields[] = {
	FIELD(STR, struct descriptor, "os", os),
	FIELD(STR, struct descriptor, "architecture", architecture),
	FIELD(STR, struct descriptor, "variant", variant),
	END
};
static const struct field descriptor_fields[] = {
	FIELD(STR, struct descriptor, "mediaType", media_type),
	FIELD_MUST(STR, struct descriptor, "digest", digest),
	FIELD_MUST(U64, struct descriptor, "size", size),
	{ "platform", FIELD_OBJECT, false, 0, 0, platform_fields },      /* into the descriptor itself */
	FIELD(PAIRS, struct descriptor, "annotations", annotations),
	END
};
static const struct field manifest_fields[] = {
	FIELD(STR, struct manifest, "mediaType", media_type),
	FIELD_SUB(POINTER, struct manifest, "config", config, struct descriptor, descriptor_fields),
	FIELD_SUB(LIST, struct manifest, "layers", layers, struct descriptor, descriptor_fields),
	FIELD_SUB(LIST, struct manifest, "manifests", manifests, struct descriptor, descriptor_fields),
	END
};

static bool check(struct descriptor *d, const char *what, struct error *err)
{
	if (!digest_parse(d->digest, d->hex))
		return error_set(err, 0, "the digest '%.80s' of the manifest's %s is not of the form sha256:...", d->digest, what);
	return d->size <= INT64_MAX || error_set(err, 0, "the size of the manifest's %s is out of range", what);
}

static bool check_list(descriptors *list, const char *what, unsigned most, struct error *err)
{
	if (list->n > most)
		return error_set(err, 0, "a manifest with %u %ss is more than this program takes (%u)", list->n, what, most);
	for (unsigned i = 0; i < list->n; i++)
		if (!check(&list->v[i], what, err))
			return false;
	return true;
}

bool manifest_parse(struct arena *a, const char *text, size_t size, struct manifest *m, struct error *err)
{
	memset(m, 0, sizeof(*m));
	struct json *v = json_parse(a, text, size, "the manifest", err);
	if (!v || !schema_read(a, v, "manifest", manifest_fields, m, err) ||
	    !check_list(&m->layers, "layer", IMAGE_MAX_LAYERS, err) ||
	    !check_list(&m->manifests, "manifest", IMAGE_MAX_MANIFESTS, err))
		return false;
	if (m->config)
		return check(m->config, "config", err);
	return m->manifests.n || error_set(err, 0, "the manifest has neither a config nor manifests (schema 1 is too old to be read)");
}

const struct descriptor *manifest_choose(const struct manifest *index, struct error *err)
{
	char have[160] = "";
	for (unsigned i = 0; i < index->manifests.n; i++) {
		const struct descriptor *d = &index->manifests.v[i];
		const char *os = d->os ? d->os : "linux", *arch = d->architecture ? d->architecture : "amd64";
		size_t n = strlen(have);
		if (!strcmp(os, "linux") && !strcmp(arch, "amd64"))
			return d;
		snprintf(have + n, sizeof(have) - n, "%s%.20s/%.20s", n ? ", " : "", os, arch);
	}
	return error_null(err, 0, "the image has no variant for linux/amd64; there is: %s", *have ? have : "none");
}

void descriptor_put(struct json_out *o, const char *key, const char *type, const char *hex, uint64_t size)
{
	char digest[DIGEST_HEX + 8];
	snprintf(digest, sizeof(digest), "sha256:%s", hex);
	json_open(o, key, '{');
	json_put_str(o, "mediaType", type);
	json_put_str(o, "digest", digest);
	json_put_u64(o, "size", size);
	json_close(o, '}');
}

const char *layer_media_type(const struct image_store *s, const char *hex)
{
	static const struct { const char *type; uint8_t magic[4]; size_t n; } kinds[] = {
		{ MEDIA_OCI_LAYER "+gzip", { 0x1f, 0x8b }, 2 }, { MEDIA_OCI_LAYER "+zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4 } };
	uint8_t head[4] = { 0 };
	auto_close int fd = blob_open(s, hex, NULL);
	for (unsigned i = 0; fd >= 0 && pread(fd, head, 4, 0) == 4 && i < ARRAY_SIZE(kinds); i++)
		if (!memcmp(head, kinds[i].magic, kinds[i].n))
			return kinds[i].type;
	return MEDIA_OCI_LAYER;
}

/* ---- config ---- */

static const struct field run_fields[] = {
	FIELD(STRINGS, struct image_config, "Env", run.env),
	FIELD(STRINGS, struct image_config, "Entrypoint", run.entrypoint),
	FIELD(STRINGS, struct image_config, "Cmd", run.cmd),
	FIELD(STR, struct image_config, "User", run.user),
	FIELD(STR, struct image_config, "WorkingDir", run.workdir),
	FIELD(STR, struct image_config, "StopSignal", run.stop_signal),
	FIELD(PAIRS, struct image_config, "Labels", run.labels),
	END
};
static const struct field rootfs_fields[] = {
	FIELD(STRINGS, struct image_config, "diff_ids", diff_ids),
	END
};
static const struct field config_fields[] = {
	FIELD(STR, struct image_config, "created", created),
	FIELD(STR, struct image_config, "architecture", architecture),
	FIELD(STR, struct image_config, "os", os),
	{ "config", FIELD_OBJECT, false, 0, 0, run_fields },
	{ "rootfs", FIELD_OBJECT, true, 0, 0, rootfs_fields },
	END
};

static const struct json *object_in(const struct json *o, const char *key)
{
	const struct json *v = o ? json_get(o, key) : NULL;
	return v && v->type == JSON_OBJECT ? v : NULL;
}

bool image_config_parse(struct arena *a, const char *text, size_t size, struct image_config *c, struct error *err)
{
	memset(c, 0, sizeof(*c));
	struct json *v = json_parse(a, text, size, "the image's configuration", err);
	if (!v || !schema_read(a, v, "", config_fields, c, err))
		return false;
	const struct json *run = object_in(v, "config");
	c->run.ports = object_in(run, "ExposedPorts");
	c->run.volumes = object_in(run, "Volumes");
	char hex[DIGEST_HEX + 1];
	for (unsigned i = 0; i < c->diff_ids.n; i++)
		if (!digest_parse(c->diff_ids.v[i], hex))
			return error_set(err, 0, "rootfs.diff_ids[%u] is not of the form sha256:...", i);
	if (c->os && *c->os && strcmp(c->os, "linux"))
		return error_set(err, 0, "the image is for %.40s, not for Linux", c->os);
	if (c->architecture && *c->architecture && strcmp(c->architecture, "amd64"))
		return error_set(err, 0, "the image is for %.40s, not for amd64", c->architecture);
	return true;
}

/* ---- a whole image ---- */

static bool load(struct oci_image *i, const struct image_store *s, struct error *err)
{
	size_t n;
	auto_free char *text = blob_text(s, i->hex, &n, err);
	if (!text || !manifest_parse(&i->arena, text, n, &i->manifest, err))
		return false;
	if (!i->manifest.config)
		return error_set(err, 0, "sha256:%.12s is an index, not an image", i->hex);
	auto_free char *config = blob_text(s, i->manifest.config->hex, &n, err);
	if (!config || !image_config_parse(&i->arena, config, n, &i->config, err))
		return false;
	i->nlayers = i->manifest.layers.n;
	if (i->nlayers != i->config.diff_ids.n)
		return error_set(err, 0, "the image has %u layers, but its configuration names %u", i->nlayers, i->config.diff_ids.n);
	char (*diffs)[DIGEST_HEX + 1] = arena_alloc(&i->arena, i->nlayers * sizeof(*diffs) + 1);
	i->bytes = i->manifest.config->size;
	for (unsigned k = 0; k < i->nlayers; k++) {
		digest_parse(i->config.diff_ids.v[k], diffs[k]);
		i->bytes += i->manifest.layers.v[k].size;
	}
	i->diffs = (const char (*)[DIGEST_HEX + 1])diffs;
	return true;
}

struct oci_image *oci_image_load(const struct image_store *s, const char *hex, struct error *err)
{
	struct oci_image *i = xnew(struct oci_image);
	snprintf(i->hex, sizeof(i->hex), "%s", hex);
	if (load(i, s, err))
		return i;
	error_prefix(err, "image sha256:%.12s: ", hex);
	oci_image_free(i);
	return NULL;
}

void oci_image_free(struct oci_image *i)
{
	if (!i)
		return;
	arena_free(&i->arena);
	free(i);
}
