/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile images: the same bytes as a manifest, a configuration, a name, and as a layer's
 * tar, which is unpacked below a directory of its own; nothing may appear beside it.
 */
#include "image/manifest.h"
#include "image/unpack.h"
#include "base/place.h"
#include "lib/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const char digest[] = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static size_t put_entry(uint8_t *buf, const char *name, char type, const char *link, const char *data)
{
	size_t n = strlen(data);
	unsigned sum = 0;
	memset(buf, 0, 1024);
	snprintf((char *)buf, 100, "%s", name);
	memcpy(buf + 100, "0000755", 8);
	memcpy(buf + 108, "0000000", 8);
	memcpy(buf + 116, "0000000", 8);
	snprintf((char *)buf + 124, 12, "%011o", (unsigned)n);
	memcpy(buf + 136, "00000000000", 12);
	memset(buf + 148, ' ', 8);
	buf[156] = (uint8_t)type;
	snprintf((char *)buf + 157, 100, "%s", link);
	memcpy(buf + 257, "ustar\0" "00", 8);
	for (unsigned i = 0; i < 512; i++)
		sum += buf[i];
	snprintf((char *)buf + 148, 8, "%06o", sum);
	memcpy(buf + 512, data, n);
	return n ? 1024 : 512;
}

static size_t tar_sample(uint8_t *buf)
{
	size_t n = 0;
	n += put_entry(buf + n, "dir/", '5', "", "");
	n += put_entry(buf + n, "dir/file", '0', "", "content");
	n += put_entry(buf + n, "dir/hard", '1', "dir/file", "");
	n += put_entry(buf + n, "link", '2', "../../..", "");
	n += put_entry(buf + n, "link/file", '0', "", "x");
	n += put_entry(buf + n, ".wh.gone", '0', "", "");
	n += put_entry(buf + n, "dir/.wh..wh..opq", '0', "", "");
	n += put_entry(buf + n, "pipe", '6', "", "");
	memset(buf + n, 0, 1024);
	return n + 1024;
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	char *text = (char *)buf;
	switch (n) {
	case 0:
		return tar_sample(buf);
	case 1:
		return (size_t)snprintf(text, FUZZ_MAX, "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a\",\"digest\":\"%s\",\"size\":7},"
			"\"layers\":[{\"digest\":\"%s\",\"size\":1,\"annotations\":{\"a\":\"b\"}}]}", digest, digest);
	case 2:
		return (size_t)snprintf(text, FUZZ_MAX, "{\"manifests\":[{\"digest\":\"%s\",\"size\":1,\"platform\":{\"os\":\"linux\","
			"\"architecture\":\"amd64\",\"variant\":\"v1\"}}]}", digest);
	case 3:
		return (size_t)snprintf(text, FUZZ_MAX, "{\"os\":\"linux\",\"config\":{\"Env\":[\"A=b\"],\"Cmd\":[\"sh\"],\"User\":\"u\","
			"\"ExposedPorts\":{\"80/tcp\":{}},\"Labels\":{\"a\":\"b\"}},\"rootfs\":{\"diff_ids\":[\"%s\"]}}", digest);
	case 4:
		return (size_t)snprintf(text, FUZZ_MAX, "localhost:5000/a/b-c__d.e:tag@%s", digest);
	default:
		return 0;
	}
}

static void check(bool ok, const struct error *err)
{
	if (!ok && !err->text[0])
		abort();              /* each refusal has its sentence */
}

static void as_text(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct manifest m;
	struct image_config c;
	struct reference r;
	struct error err = { 0 };
	auto_free char *name = strndup((const char *)data, MIN(size, (size_t)400));
	check(manifest_parse(&a, (const char *)data, size, &m, &err), &err);
	err.text[0] = 0;
	check(image_config_parse(&a, (const char *)data, size, &c, &err), &err);
	err.text[0] = 0;
	check(reference_parse(name, &r, &err), &err);
	arena_free(&a);
}

/* TOP/cage is the root: what got out of it stands in TOP, which then cannot be removed. */
static void as_layer(const uint8_t *data, size_t size)
{
	char top[] = "/tmp/abyme-fuzz-image-XXXXXX", hex[DIGEST_HEX + 1];
	struct error err = { 0 };
	auto_close int fd = memfd_create("layer", MFD_CLOEXEC);
	if (fd < 0 || !fd_pwrite_full(fd, data, size, 0) || !mkdtemp(top))
		abort();
	auto_close int dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || mkdirat(dir, "cage", 0755))
		abort();
	auto_close int root = openat(dir, "cage", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(unpack_tar(fd, root, hex, &err), &err);
	place_empty(root);
	if (unlinkat(dir, "cage", AT_REMOVEDIR) || rmdir(top))
		abort();
}

void fuzz_one(const uint8_t *data, size_t size)
{
	as_text(data, size);
	as_layer(data, size);
}
