/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OVA: a tar whose first member is the descriptor, then (perhaps) a manifest of
 * digests, then the disks.  Members come from anywhere: plain files with plain names,
 * made new in a directory of ours.
 */
#include "ovf/ovf.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

enum { MEMBERS_MAX = 64, BLOCK = 1 << 16, MANIFEST_MAX = 1 << 20 };

static char *read_small(const char *dir, const char *name, size_t most, size_t *size)
{
	auto_free char *path = xasprintf("%s/%s", dir, name);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) || (size_t)st.st_size > most)
		return NULL;
	char *text = xcalloc(1, (size_t)st.st_size + 1);
	*size = (size_t)st.st_size;
	if (fd_read_full(fd, text, *size))
		return text;
	free(text);
	return NULL;
}

/* --- digests ---------------------------------------------------------------- */

static void hex_of(const uint8_t *sum, unsigned n, char hex[2 * EVP_MAX_MD_SIZE + 1])
{
	for (unsigned i = 0; i < n; i++)
		sprintf(hex + 2 * i, "%02x", sum[i]);
}

static bool digest(const char *dir, const char *name, const char *algorithm, char hex[2 * EVP_MAX_MD_SIZE + 1])
{
	auto_free char *path = xasprintf("%s/%s", dir, name);
	auto_free uint8_t *buf = xmalloc(BLOCK);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	const EVP_MD *md = EVP_get_digestbyname(algorithm);
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	bool ok = fd >= 0 && md && c && EVP_DigestInit_ex(c, md, NULL);
	for (ssize_t got = 1; ok && got; ) {
		got = read(fd, buf, BLOCK);
		ok = got >= 0 && EVP_DigestUpdate(c, buf, (size_t)got);
	}
	ok = ok && EVP_DigestFinal_ex(c, sum, &n);
	EVP_MD_CTX_free(c);
	hex_of(sum, n, hex);
	return ok;
}

/* "SHA256(disk.vmdk)= 0123..." */
static bool check_line(const char *dir, const char *line, const char *what, struct error *err)
{
	char algorithm[16], name[256], want[2 * EVP_MAX_MD_SIZE + 1], have[2 * EVP_MAX_MD_SIZE + 1];
	if (sscanf(line, " %15[^( ] (%255[^)]) = %128[0-9a-fA-F]", algorithm, name, want) != 3)
		return true;          /* an empty line */
	if (strchr(name, '/') || !digest(dir, name, algorithm, have))
		return error_set(err, 0, "'%s' lacks the file '%s' that its manifest names", what, name);
	return !strcasecmp(want, have) || error_set(err, 0, "'%s' is damaged: '%s' is not what its manifest says", what, name);
}

static bool check_manifest(const char *dir, const char *name, const char *what, struct error *err)
{
	size_t size;
	auto_free char *text = read_small(dir, name, MANIFEST_MAX, &size);
	char *save = NULL;
	for (char *line = text ? strtok_r(text, "\r\n", &save) : NULL; line; line = strtok_r(NULL, "\r\n", &save))
		if (!check_line(dir, line, what, err))
			return false;
	return true;
}

/* --- unpacking -------------------------------------------------------------- */

static bool copy_member(struct archive *a, const char *dir, const char *name, const char *what, struct error *err)
{
	auto_free char *path = xasprintf("%s/%s", dir, name);
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	const void *p;
	size_t n;
	la_int64_t at;
	int r;
	if (fd < 0)
		return error_set(err, errno, "cannot unpack '%s' of '%s'", name, what);
	while ((r = archive_read_data_block(a, &p, &n, &at)) == ARCHIVE_OK)
		if (!fd_pwrite_full(fd, p, n, (uint64_t)at))
			return error_set(err, errno, "cannot unpack '%s' of '%s'", name, what);
	return r == ARCHIVE_EOF || error_set(err, 0, "'%s' is cut short or damaged", what);
}

static bool unpack_one(struct archive *a, struct archive_entry *e, const char *dir, char **ovf, char **manifest,
		       const char *what, struct error *err)
{
	const char *name = archive_entry_pathname(e);
	if (name && !strncmp(name, "./", 2))
		name += 2;
	if (!name || !*name || strchr(name, '/') || !strcmp(name, "..") || archive_entry_filetype(e) != AE_IFREG)
		return error_set(err, 0, "'%s' is no OVA: '%s' in it is not a plain file", what, name ? name : "?");
	char **keep = has_suffix(name, ".ovf") ? ovf : has_suffix(name, ".mf") ? manifest : NULL;
	if (keep && !*keep)
		*keep = xstrdup(name);
	return copy_member(a, dir, name, what, err);
}

static bool unpack(const char *file, const char *dir, const char *what, char **ovf, char **manifest, struct error *err)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	int r = ARCHIVE_OK;
	archive_read_support_format_tar(a);
	bool ok = archive_read_open_filename(a, file, BLOCK) == ARCHIVE_OK ||
		  error_set(err, archive_errno(a), "cannot read '%s'", what);
	for (unsigned n = 0; ok && (r = archive_read_next_header(a, &e)) == ARCHIVE_OK; n++)
		ok = n < MEMBERS_MAX ? unpack_one(a, e, dir, ovf, manifest, what, err) :
		     error_set(err, 0, "'%s' has more than %d files in it", what, MEMBERS_MAX);
	if (ok && r != ARCHIVE_EOF)
		ok = error_set(err, 0, "'%s' is no OVA: it is not a tar archive, or a damaged one", what);
	archive_read_free(a);
	return ok;
}

json_t *ova_read(const char *file, const char *dir, const char *what, struct error *err)
{
	auto_free char *ovf = NULL, *manifest = NULL, *from = NULL;
	const char *slash = strrchr(file, '/');
	size_t size;
	if (has_suffix(file, ".ovf")) {
		from = path_directory(file);
		ovf = xstrdup(slash ? slash + 1 : file);
		manifest = xasprintf("%.*s.mf", (int)strlen(ovf) - 4, ovf);
	} else {
		from = xstrdup(dir);
		if (!unpack(file, dir, what, &ovf, &manifest, err))
			return NULL;
	}
	if (!ovf)
		return error_null(err, 0, "'%s' is no OVA: there is no descriptor (.ovf) in it", what);
	if (manifest && !check_manifest(from, manifest, what, err))
		return NULL;
	auto_free char *text = read_small(from, ovf, OVF_MAX_BYTES, &size);
	return text ? ovf_parse(text, size, what, err) : error_null(err, errno, "cannot read the descriptor of '%s'", what);
}

/* --- packing ---------------------------------------------------------------- */

static bool put_header(struct archive *a, const char *name, uint64_t size)
{
	struct archive_entry *e = archive_entry_new();
	archive_entry_set_pathname(e, name);
	archive_entry_set_size(e, (la_int64_t)size);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_mtime(e, time(NULL), 0);
	bool ok = archive_write_header(a, e) == ARCHIVE_OK;
	archive_entry_free(e);
	return ok;
}

static bool put_text(struct archive *a, const char *name, const char *text)
{
	return put_header(a, name, strlen(text)) && archive_write_data(a, text, strlen(text)) == (la_ssize_t)strlen(text);
}

static bool put_file(struct archive *a, const char *dir, const char *name, uint64_t size)
{
	auto_free char *path = xasprintf("%s/%s", dir, name);
	auto_free uint8_t *buf = xmalloc(BLOCK);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && put_header(a, name, size);
	for (ssize_t n = 1; ok && (n = read(fd, buf, BLOCK)) != 0; )
		ok = n > 0 && archive_write_data(a, buf, (size_t)n) == n;
	return ok;
}

static bool add_sizes(const char *dir, json_t *disks, struct error *err)
{
	json_t *d;
	size_t n;
	json_array_foreach(disks, n, d) {
		auto_free char *path = xasprintf("%s/%s", dir, json_string_value(json_object_get(d, "file")));
		struct stat st;
		if (stat(path, &st))
			return error_set(err, errno, "cannot read '%s'", path);
		json_object_set_new(d, "size", json_integer((json_int_t)st.st_size));
	}
	return true;
}

/* Of the descriptor, as it will be, and of each disk. */
static char *manifest_of(const char *dir, const char *ovf_name, const char *ovf, json_t *disks)
{
	char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned len;
	json_t *d;
	size_t n;
	EVP_Digest(ovf, strlen(ovf), sum, &len, EVP_sha256(), NULL);
	hex_of(sum, len, hex);
	char *text = xasprintf("SHA256(%s)= %s\n", ovf_name, hex);
	json_array_foreach(disks, n, d) {
		const char *name = json_string_value(json_object_get(d, "file"));
		char *more = digest(dir, name, "SHA256", hex) ? xasprintf("%sSHA256(%s)= %s\n", text, name, hex) : NULL;
		free(text);
		if (!(text = more))
			break;
	}
	return text;
}

static bool write_all(struct archive *a, const char *dir, json_t *machine, bool virtualbox, struct error *err)
{
	json_t *disks = json_object_get(machine, "disks"), *d;
	const char *name = json_string_value(json_object_get(machine, "name"));
	size_t n;
	auto_free char *ovf_name = xasprintf("%s.ovf", name), *mf_name = xasprintf("%s.mf", name);
	if (!add_sizes(dir, disks, err))
		return false;
	auto_free char *ovf = ovf_write(machine, virtualbox, err);
	auto_free char *manifest = ovf ? manifest_of(dir, ovf_name, ovf, disks) : NULL;
	bool ok = manifest && put_text(a, ovf_name, ovf) && put_text(a, mf_name, manifest);
	json_array_foreach(disks, n, d)
		ok = ok && put_file(a, dir, json_string_value(json_object_get(d, "file")),
				    (uint64_t)json_integer_value(json_object_get(d, "size")));
	return ok || error_set(err, archive_errno(a), "cannot write the archive");
}

bool ova_write(const char *file, const char *dir, json_t *machine, bool virtualbox, struct error *err)
{
	auto_free char *part = xasprintf("%s.part", file);
	struct archive *a = archive_write_new();
	archive_write_set_format_ustar(a);
	archive_write_set_bytes_in_last_block(a, 1);
	auto_close int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool ok = fd >= 0 || error_set(err, errno, "cannot write '%s'", part);
	bool made = ok;
	ok = ok && (archive_write_open_fd(a, fd) == ARCHIVE_OK || error_set(err, archive_errno(a), "cannot write '%s'", part));
	ok = ok && write_all(a, dir, machine, virtualbox, err);
	ok = ok && ((archive_write_close(a) == ARCHIVE_OK && !fsync(fd)) || error_set(err, errno, "cannot write '%s'", part));
	archive_write_free(a);
	ok = ok && (!rename(part, file) || error_set(err, errno, "cannot give '%s' its name", file));
	if (made && !ok)
		unlink(part);
	return ok;
}
