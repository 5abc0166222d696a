/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A root file system (tarball, or directory) as an image of one layer. */
#include "image/blob.h"
#include "image/install.h"
#include "image/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <time.h>

struct pack { struct blob *blob; struct archive *out, *in; struct archive_entry_linkresolver *links; struct error *err; };

static la_ssize_t give(struct archive *a, void *opaque, const void *data, size_t n)
{
	struct pack *p = opaque;
	if (blob_add(p->blob, data, n, p->err))
		return (la_ssize_t)n;
	archive_set_error(a, EIO, "%s", "the image store is full");
	return -1;
}

static bool pack_data(struct pack *p, struct archive_entry *e)
{
	static char buf[1 << 16];
	auto_close int fd = open(archive_entry_sourcepath(e), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return error_set(p->err, errno, "cannot read '%s'", archive_entry_pathname(e));
	for (la_int64_t left = archive_entry_size(e); left > 0; ) {
		size_t n = (size_t)MIN(left, (la_int64_t)sizeof(buf));
		if (!fd_read_full(fd, buf, n))
			return error_set(p->err, errno, "'%s' changed while it was read", archive_entry_pathname(e));
		if (archive_write_data(p->out, buf, n) != (la_ssize_t)n)
			return p->err->text[0] ? false : error_set(p->err, 0, "%s", archive_error_string(p->out));
		left -= (la_int64_t)n;
	}
	return true;
}

static bool pack_entry(struct pack *p, struct archive_entry *e)
{
	if (archive_entry_filetype(e) == AE_IFSOCK)
		return true;
	if (archive_write_header(p->out, e) < ARCHIVE_WARN)
		return p->err->text[0] ? false : error_set(p->err, 0, "%s", archive_error_string(p->out));
	return archive_entry_size(e) <= 0 || archive_entry_filetype(e) != AE_IFREG || pack_data(p, e);
}

/* Of several names of a file, the later ones become links to the first. */
static bool pack_walk(struct pack *p)
{
	struct archive_entry *e = archive_entry_new(), *spare = NULL;
	int status;
	bool ok = true;
	while (ok && (status = archive_read_next_header2(p->in, e)) != ARCHIVE_EOF) {
		if (status < ARCHIVE_WARN) {
			ok = error_set(p->err, archive_errno(p->in), "cannot read the directory");
			break;
		}
		archive_read_disk_descend(p->in);
		struct archive_entry *now = e;
		archive_entry_linkify(p->links, &now, &spare);
		ok = (!now || pack_entry(p, now)) && (!spare || pack_entry(p, spare));
		archive_entry_clear(e);
	}
	archive_entry_free(e);
	return ok;
}

static bool pack_directory(int dir, struct blob *b, struct error *err)
{
	struct pack p = { .blob = b, .out = archive_write_new(), .in = archive_read_disk_new(), .err = err,
			  .links = archive_entry_linkresolver_new() };
	auto_close int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	setlocale(LC_CTYPE, "C.UTF-8");
	archive_write_set_format_pax_restricted(p.out);
	archive_write_add_filter_gzip(p.out);
	archive_write_set_filter_option(p.out, "gzip", "compression-level", "1");
	archive_write_set_filter_option(p.out, "gzip", "timestamp", NULL);
	archive_entry_linkresolver_set_strategy(p.links, ARCHIVE_FORMAT_TAR);
	archive_read_disk_set_symlink_physical(p.in);
	archive_read_disk_set_behavior(p.in, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS);
	bool ok = !fchdir(dir) || error_set(err, errno, "cannot enter the directory");
	if (ok && (archive_write_open(p.out, &p, NULL, give, NULL) != ARCHIVE_OK || archive_read_disk_open(p.in, ".") != ARCHIVE_OK))
		ok = error_set(err, 0, "cannot pack the directory");
	ok = ok && pack_walk(&p) && (archive_write_close(p.out) == ARCHIVE_OK || err->text[0] ? !err->text[0] :
				     error_set(err, 0, "%s", archive_error_string(p.out)));
	archive_entry_linkresolver_free(p.links);
	archive_read_free(p.in);
	archive_write_free(p.out);
	return (here < 0 || !fchdir(here)) && ok;
}

static bool copy_file(int fd, struct blob *b, struct error *err)
{
	static char buf[1 << 16];
	ssize_t n;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (!blob_add(b, buf, (size_t)n, err))
			return false;
	return !n || error_set(err, errno, "cannot read the tarball");
}

static bool take_layer(struct image_store *s, const char *path, struct blob *b, struct error *err)
{
	struct stat st;
	auto_close int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(0);
	if (fd < 0 || fstat(fd, &st))
		return error_set(err, errno, "cannot open '%s'", path);
	return blob_begin(b, s, err) && (S_ISDIR(st.st_mode) ? pack_directory(fd, b, err) : copy_file(fd, b, err)) &&
		blob_keep(b, NULL, err);
}

static bool put_config(struct image_store *s, const char *diff, char hex[DIGEST_HEX + 1], size_t *size, struct error *err)
{
	struct json_out o = { 0 };
	char now[40];
	struct tm tm;
	time_t t = time(NULL);
	auto_free char *id = xasprintf("sha256:%s", diff);
	strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	json_open(&o, NULL, '{');
	json_put_str(&o, "created", now);
	json_put_str(&o, "architecture", "amd64");
	json_put_str(&o, "os", "linux");
	json_put_raw(&o, "config", "{\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"],"
		     "\"Cmd\":[\"/bin/sh\"]}");
	json_open(&o, "rootfs", '{');
	json_put_str(&o, "type", "layers");
	json_open(&o, "diff_ids", '[');
	json_put_str(&o, NULL, id);
	json_close(&o, ']');
	json_close(&o, '}');
	json_close(&o, '}');
	bool ok = blob_put(s, o.text, o.length, hex, err);
	*size = o.length;
	json_out_free(&o);
	return ok;
}

bool image_import(struct image_store *s, const char *path, const char *full, struct error *err)
{
	struct blob b = { .fd = -1 };
	struct json_out o = { 0 };
	char diff[DIGEST_HEX + 1] = "", tmp[48] = "", config[DIGEST_HEX + 1], hex[DIGEST_HEX + 1];
	size_t size = 0;
	bool ok = take_layer(s, path, &b, err) && layer_unpack(s, b.hex, diff, tmp, err) &&
		layer_keep(s, tmp, diff, err) && put_config(s, diff, config, &size, err);
	if (ok) {
		json_open(&o, NULL, '{');
		json_put_u64(&o, "schemaVersion", 2);
		json_put_str(&o, "mediaType", MEDIA_OCI_MANIFEST);
		descriptor_put(&o, "config", MEDIA_OCI_CONFIG, config, size);
		json_open(&o, "layers", '[');
		descriptor_put(&o, NULL, layer_media_type(s, b.hex), b.hex, b.size);
		json_close(&o, ']');
		json_close(&o, '}');
		ok = blob_put(s, o.text, o.length, hex, err) &&
			(!syncfs(s->tmp) || error_set(err, errno, "cannot write the image store")) && image_install(s, hex, full, err);
	}
	json_out_free(&o);
	blob_drop(&b);
	return ok;
}
