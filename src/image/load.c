/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taking in archives: `docker save`'s and OCI layouts.  Each member is hashed into
 * tmp/; its name in the archive is a key in a list and never a path.  What the index
 * then names is kept, the rest dropped.
 */
#include "image/blob.h"
#include "image/install.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>

#include "container/root_path.h"

enum { MAX_MEMBERS = 4096 };

struct member { char *name, *link; struct blob blob; };
struct source {
	struct image_store *store;
	struct member *v;
	unsigned n;
	const char *name;             /* instead of the archive's own tags */
	FILE *told;
	struct arena arena;
};

/* ---- members ---- */

static struct member *add(struct source *s, const char *name, struct error *err)
{
	while (!strncmp(name, "./", 2))
		name += 2;
	if (s->n == MAX_MEMBERS)
		return error_null(err, 0, "the archive has more than %d files: it is no image", MAX_MEMBERS);
	s->v = xrealloc(s->v, (s->n + 1) * sizeof(*s->v));
	s->v[s->n] = (struct member){ .name = xstrdup(name), .blob = { .fd = -1 } };
	return &s->v[s->n++];
}

/* The last of a name counts, as in any tar; links (old `docker save`) are followed once. */
static struct member *find(struct source *s, const char *name, bool follow)
{
	for (unsigned i = s->n; i--; ) {
		struct member *m = &s->v[i];
		if (strcmp(m->name, name))
			continue;
		if (!m->link || !follow)
			return m->link ? NULL : m;
		/* "../DIR/layer.tar" */
		const char *to = m->link;
		while (!strncmp(to, "../", 3))
			to += 3;
		return find(s, to, false);
	}
	return NULL;
}

static bool read_member(struct source *s, struct archive *a, struct archive_entry *e, struct error *err)
{
	static char buf[1 << 16];
	const char *name = archive_entry_pathname(e), *link = archive_entry_symlink(e);
	la_ssize_t n;
	if (!name || !(S_ISREG(archive_entry_mode(e)) || link) || archive_entry_hardlink(e))
		return true;
	struct member *m = add(s, name, err);
	if (!m)
		return false;
	if (link) {
		m->link = xstrdup(link);
		return true;
	}
	if (!blob_begin(&m->blob, s->store, err))
		return false;
	while ((n = archive_read_data(a, buf, sizeof(buf))) > 0)
		if (!blob_add(&m->blob, buf, (size_t)n, err))
			return false;
	blob_close(&m->blob);
	return !n || error_set(err, 0, "the archive cannot be read: %s", archive_error_string(a));
}

static bool read_archive(struct source *s, int fd, struct error *err)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	int status = ARCHIVE_FATAL;
	bool ok = true;
	setlocale(LC_CTYPE, "C.UTF-8");
	archive_read_support_format_tar(a);
	archive_read_support_filter_all(a);
	if (archive_read_open_fd(a, fd, 1 << 17) == ARCHIVE_OK)
		while (ok && ((status = archive_read_next_header(a, &e)) == ARCHIVE_OK || status == ARCHIVE_WARN))
			ok = read_member(s, a, e, err);
	if (ok && status != ARCHIVE_EOF)
		ok = error_set(err, 0, "this is no archive of images: %s", archive_error_string(a));
	archive_read_free(a);
	return ok;
}

static bool read_file(struct source *s, int root, const char *path, struct error *err)
{
	static char buf[1 << 16];
	struct stat st;
	auto_close int fd = root_open_plain(root, path, O_RDONLY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return error_set(err, fd < 0 ? errno : 0, "cannot read '%s' of the layout", path);
	struct member *m = add(s, path, err);
	if (!m || !blob_begin(&m->blob, s->store, err))
		return false;
	ssize_t n;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (!blob_add(&m->blob, buf, (size_t)n, err))
			return false;
	blob_close(&m->blob);
	return !n || error_set(err, errno, "cannot read '%s' of the layout", path);
}

/* index.json, and every blob that is there. */
static bool read_layout(struct source *s, int root, struct error *err)
{
	int fd = root_open_plain(root, "blobs/sha256", O_RDONLY | O_DIRECTORY);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d)
		return error_set(err, errno, "this directory is no OCI layout: it has no blobs/sha256");
	bool ok = read_file(s, root, "index.json", err);
	for (struct dirent *e; ok && (e = readdir(d)); ) {
		auto_free char *path = xasprintf("blobs/sha256/%s", e->d_name);
		if (e->d_name[0] != '.')
			ok = read_file(s, root, path, err);
	}
	closedir(d);
	return ok;
}

static char *text_of(struct source *s, struct member *m, struct error *err)
{
	size_t size = m->blob.size;
	if (size > JSON_BYTES_MAX)
		return error_null(err, 0, "'%.80s' is too long", m->name);
	char *text = arena_alloc(&s->arena, size + 1);
	auto_close int fd = blob_reopen(&m->blob);
	if (fd < 0 || !fd_pread_full(fd, text, size, 0))
		return error_null(err, errno, "cannot read '%.80s'", m->name);
	return text;
}

/* ---- what came becomes images ---- */

static bool keep(struct member *m, const char *want, struct error *err)
{
	return !m->blob.name[0] || blob_keep(&m->blob, want, err);
}

static bool keep_digest(struct source *s, const struct descriptor *d, struct error *err)
{
	auto_free char *name = xasprintf("blobs/sha256/%s", d->hex);
	struct member *m = find(s, name, true);
	auto_close int have = m ? -1 : blob_open(s->store, d->hex, NULL);
	if (!m)
		return have >= 0 || error_set(err, 0, "the archive lacks '%s'", name);
	if (m->blob.size != d->size)
		return error_set(err, 0, "'%s' has %llu bytes, where %llu were promised", name, (unsigned long long)m->blob.size,
				 (unsigned long long)d->size);
	return keep(m, d->hex, err);
}

static bool tell(struct source *s, const char *full, const char *hex)
{
	if (full && *full)
		fprintf(s->told, "%s\n", reference_familiar(full));
	else
		fprintf(s->told, "sha256:%s\n", hex);
	return true;
}

/* A tag of the archive's, or the name that was asked for. */
static bool name_of(struct source *s, const char *tag, struct reference *r, struct error *err)
{
	r->full[0] = 0;
	if (s->name)
		tag = s->name;
	return !tag || reference_parse(tag, r, err);
}

static bool install(struct source *s, const char *hex, const char *tag, struct error *err)
{
	struct reference r;
	return name_of(s, tag, &r, err) && image_install(s->store, hex, r.full[0] ? r.full : NULL, err) && tell(s, r.full, hex);
}

static const char *annotation(const struct descriptor *d, const char *key)
{
	for (unsigned i = 0; i < d->annotations.n; i++)
		if (!strcmp(d->annotations.v[i].key, key))
			return d->annotations.v[i].value;
	return NULL;
}

/* containerd's annotation holds the whole name, the specification's often only a tag. */
static const char *oci_name(const struct descriptor *d)
{
	struct reference r;
	const char *whole = annotation(d, "io.containerd.image.name"), *ref = annotation(d, "org.opencontainers.image.ref.name");
	if (whole)
		return whole;
	return ref && (strchr(ref, ':') || strchr(ref, '/')) && reference_parse(ref, &r, NULL) ? ref : NULL;
}

static bool load_manifest(struct source *s, const struct descriptor *d, const char *tag, bool inner, struct error *err);

static bool load_parts(struct source *s, const struct manifest *m, const struct descriptor *d, const char *tag, bool inner,
		       struct error *err)
{
	if (!m->config) {
		const struct descriptor *mine = inner ? NULL : manifest_choose(m, err);
		if (inner)
			return error_set(err, 0, "an index inside an index is not taken");
		return mine && load_manifest(s, mine, tag, true, err);
	}
	if (!keep_digest(s, m->config, err))
		return false;
	for (unsigned i = 0; i < m->layers.n; i++)
		if (!keep_digest(s, &m->layers.v[i], err))
			return false;
	return install(s, d->hex, tag, err);
}

static bool load_manifest(struct source *s, const struct descriptor *d, const char *tag, bool inner, struct error *err)
{
	struct manifest m;
	struct arena a = { 0 };
	size_t n;
	if (!keep_digest(s, d, err))
		return false;
	auto_free char *text = blob_text(s->store, d->hex, &n, err);
	bool ok = text && manifest_parse(&a, text, n, &m, err) && load_parts(s, &m, d, tag, inner, err);
	arena_free(&a);
	return ok;
}

static bool load_oci(struct source *s, struct member *m, struct error *err)
{
	struct manifest index;
	const char *text = text_of(s, m, err);
	if (!text || !manifest_parse(&s->arena, text, m->blob.size, &index, err))
		return false;
	for (unsigned i = 0; i < index.manifests.n; i++)
		if (!load_manifest(s, &index.manifests.v[i], oci_name(&index.manifests.v[i]), false, err))
			return false;
	return true;
}

/* ---- docker save: manifest.json ---- */

struct docker_image { const char *config; struct strings tags, layers; };
static const struct field docker_fields[] = {
	FIELD_MUST(STR, struct docker_image, "Config", config),
	FIELD(STRINGS, struct docker_image, "RepoTags", tags),
	FIELD(STRINGS, struct docker_image, "Layers", layers),
	{ NULL, FIELD_STR, false, 0, 0, NULL }
};

static bool put_member(struct source *s, struct json_out *o, const char *key, const char *file, struct error *err)
{
	struct member *m = find(s, file, true);
	if (!m)
		return error_set(err, 0, "the archive lacks '%.120s'", file);
	if (!keep(m, NULL, err))
		return false;
	descriptor_put(o, key, key ? MEDIA_OCI_CONFIG : layer_media_type(s->store, m->blob.hex), m->blob.hex, m->blob.size);
	return true;
}

/* docker save has no manifest: one is made of what it lists. */
static bool docker_manifest(struct source *s, const struct docker_image *d, struct json_out *o, struct error *err)
{
	json_open(o, NULL, '{');
	json_put_u64(o, "schemaVersion", 2);
	json_put_str(o, "mediaType", MEDIA_OCI_MANIFEST);
	if (!put_member(s, o, "config", d->config, err))
		return false;
	json_open(o, "layers", '[');
	for (unsigned i = 0; i < d->layers.n; i++)
		if (!put_member(s, o, NULL, d->layers.v[i], err))
			return false;
	json_close(o, ']');
	json_close(o, '}');
	return true;
}

static bool load_docker_image(struct source *s, const struct json *v, struct error *err)
{
	struct docker_image d = { 0 };
	struct json_out o = { 0 };
	char hex[DIGEST_HEX + 1];
	bool ok = schema_read(&s->arena, v, "manifest.json", docker_fields, &d, err) && docker_manifest(s, &d, &o, err) &&
		blob_put(s->store, o.text, o.length, hex, err);
	json_out_free(&o);
	if (ok && (!d.tags.n || s->name))
		return install(s, hex, NULL, err);
	for (unsigned i = 0; ok && i < d.tags.n; i++)
		ok = install(s, hex, d.tags.v[i], err);
	return ok;
}

static bool load_docker(struct source *s, struct member *m, struct error *err)
{
	const char *text = text_of(s, m, err);
	const struct json *list = text ? json_parse(&s->arena, text, m->blob.size, "manifest.json", err) : NULL;
	if (!list)
		return false;
	if (list->type != JSON_ARRAY)
		return error_set(err, 0, "manifest.json must be a list");
	for (const struct json *v = list->child; v; v = v->next)
		if (!load_docker_image(s, v, err))
			return false;
	return true;
}

static bool load_all(struct source *s, struct error *err)
{
	struct member *docker = find(s, "manifest.json", true), *oci = find(s, "index.json", true);
	if (oci)              /* where both are, it keeps the manifests as they were */
		return load_oci(s, oci, err);
	return docker ? load_docker(s, docker, err) :
		error_set(err, 0, "the archive has neither index.json (OCI) nor manifest.json (docker save)");
}

bool image_load_archive(struct image_store *store, const char *path, const char *name, FILE *told, struct error *err)
{
	struct source s = { .store = store, .name = name, .told = told };
	struct stat st;
	auto_close int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(0);
	if (fd < 0 || fstat(fd, &st))
		return error_set(err, errno, "cannot open '%s'", path);
	bool ok = (S_ISDIR(st.st_mode) ? read_layout(&s, fd, err) : read_archive(&s, fd, err)) && load_all(&s, err);
	for (unsigned i = 0; i < s.n; i++) {
		blob_drop(&s.v[i].blob);
		free(s.v[i].name);
		free(s.v[i].link);
	}
	free(s.v);
	arena_free(&s.arena);
	return ok;
}
