/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images as one tar: an OCI layout, with the manifest.json of `docker save` beside it,
 * so that old readers and new ones take it.  The same images give the same bytes.
 */
#include "image/install.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <sys/stat.h>

struct save {
	struct image_store *store;
	struct archive *out;
	struct json_out index, docker;
	struct strings done;          /* digests that are in it */
	struct arena arena;
};

static bool failed(struct save *s, struct error *err)
{
	return error_set(err, archive_errno(s->out), "cannot write the archive");
}

static bool put_header(struct save *s, const char *name, uint64_t size, struct error *err)
{
	struct archive_entry *e = archive_entry_new();
	archive_entry_set_pathname(e, name);
	archive_entry_set_size(e, (la_int64_t)size);
	archive_entry_set_filetype(e, S_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_mtime(e, 0, 0);
	bool ok = archive_write_header(s->out, e) == ARCHIVE_OK || failed(s, err);
	archive_entry_free(e);
	return ok;
}

static bool put_data(struct save *s, const void *data, size_t n, struct error *err)
{
	return archive_write_data(s->out, data, n) == (la_ssize_t)n || failed(s, err);
}

static bool put_text(struct save *s, const char *name, const char *text, size_t n, struct error *err)
{
	return put_header(s, name, n, err) && put_data(s, text, n, err);
}

/* Once, whatever image needs it. */
static bool put_blob(struct save *s, const char *hex, struct error *err)
{
	static char buf[1 << 16];
	uint64_t size;
	for (unsigned i = 0; i < s->done.n; i++)
		if (!strcmp(s->done.v[i], hex))
			return true;
	s->done.v = xrealloc(s->done.v, (s->done.n + 1) * sizeof(*s->done.v));
	s->done.v[s->done.n++] = arena_copy(&s->arena, hex, DIGEST_HEX);
	auto_close int fd = blob_open(s->store, hex, &size);
	auto_free char *name = xasprintf("blobs/sha256/%s", hex);
	if (fd < 0)
		return error_set(err, errno, "the image store lacks the content sha256:%s", hex);
	if (!put_header(s, name, size, err))
		return false;
	for (uint64_t left = size; left; ) {
		size_t n = MIN(left, sizeof(buf));
		if (!fd_read_full(fd, buf, n))
			return error_set(err, errno, "cannot read the content sha256:%s", hex);
		if (!put_data(s, buf, n, err))
			return false;
		left -= n;
	}
	return true;
}

static void index_entry(struct save *s, const struct oci_image *i, const char *full, uint64_t size)
{
	struct json_out *o = &s->index;
	const char *tag = strrchr(full, ':');
	auto_free char *digest = xasprintf("sha256:%s", i->hex);
	json_open(o, NULL, '{');
	json_put_str(o, "mediaType", i->manifest.media_type ? i->manifest.media_type : MEDIA_OCI_MANIFEST);
	json_put_str(o, "digest", digest);
	json_put_u64(o, "size", size);
	if (*full && !strchr(full, '@') && tag) {
		json_open(o, "annotations", '{');
		json_put_str(o, "io.containerd.image.name", full);
		json_put_str(o, "org.opencontainers.image.ref.name", tag + 1);
		json_close(o, '}');
	}
	json_close(o, '}');
}

static void docker_entry(struct save *s, const struct oci_image *i, const char *full)
{
	struct json_out *o = &s->docker;
	json_open(o, NULL, '{');
	auto_free char *config = xasprintf("blobs/sha256/%s", i->manifest.config->hex);
	json_put_str(o, "Config", config);
	json_open(o, "RepoTags", '[');
	if (*full && !strchr(full, '@'))
		json_put_str(o, NULL, reference_familiar(full));
	json_close(o, ']');
	json_open(o, "Layers", '[');
	for (unsigned k = 0; k < i->nlayers; k++) {
		auto_free char *name = xasprintf("blobs/sha256/%s", i->manifest.layers.v[k].hex);
		json_put_str(o, NULL, name);
	}
	json_close(o, ']');
	json_close(o, '}');
}

static bool save_one(struct save *s, const char *name, struct error *err)
{
	char full[REFERENCE_MAX + 1], hex[DIGEST_HEX + 1];
	uint64_t size = 0;
	if (!image_find(s->store, name, full, hex, err))
		return false;
	struct oci_image *i = oci_image_load(s->store, hex, err);
	if (!i)
		return false;
	auto_close int fd = blob_open(s->store, hex, &size);
	bool ok = put_blob(s, hex, err) && put_blob(s, i->manifest.config->hex, err);
	for (unsigned k = 0; ok && k < i->nlayers; k++)
		ok = put_blob(s, i->manifest.layers.v[k].hex, err);
	index_entry(s, i, full, size);
	docker_entry(s, i, full);
	oci_image_free(i);
	return ok;
}

static bool save_all(struct save *s, char *const *names, unsigned n, struct error *err)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	json_open(&s->index, NULL, '{');
	json_put_u64(&s->index, "schemaVersion", 2);
	json_put_str(&s->index, "mediaType", MEDIA_OCI_INDEX);
	json_open(&s->index, "manifests", '[');
	json_open(&s->docker, NULL, '[');
	if (!put_text(s, "oci-layout", layout, sizeof(layout) - 1, err))
		return false;
	for (unsigned i = 0; i < n; i++)
		if (!save_one(s, names[i], err))
			return false;
	json_close(&s->index, ']');
	json_close(&s->index, '}');
	json_close(&s->docker, ']');
	return put_text(s, "index.json", s->index.text, s->index.length, err) &&
		put_text(s, "manifest.json", s->docker.text, s->docker.length, err);
}

bool image_save(struct image_store *store, char *const *names, unsigned n, int fd, struct error *err)
{
	struct save s = { .store = store, .out = archive_write_new() };
	archive_write_set_format_ustar(s.out);
	archive_write_set_bytes_in_last_block(s.out, 1);
	bool ok = archive_write_open_fd(s.out, fd) == ARCHIVE_OK || failed(&s, err);
	ok = ok && save_all(&s, names, n, err) && (archive_write_close(s.out) == ARCHIVE_OK || failed(&s, err));
	archive_write_free(s.out);
	json_out_free(&s.index);
	json_out_free(&s.docker);
	free(s.done.v);
	arena_free(&s.arena);
	return ok;
}
