/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of images: see reference.h. */
#include "image/reference.h"

#include <stdio.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

bool digest_parse(const char *text, char hex[DIGEST_HEX + 1])
{
	if (!text || strncmp(text, "sha256:", 7) || strspn(text + 7, "0123456789abcdef") != DIGEST_HEX || text[7 + DIGEST_HEX])
		return false;
	memcpy(hex, text + 7, DIGEST_HEX + 1);
	return true;
}

static bool is_registry(const char *part, size_t n)
{
	return memchr(part, '.', n) || memchr(part, ':', n) || (n == 9 && !memcmp(part, "localhost", 9)) ||
		(n && part[0] == '[');
}

/* distribution's grammar: words of a-z0-9, joined by '.', '_', '__' or '-'s; words
 * joined by '/'. */
static bool repository_ok(const char *p)
{
	for (bool first = true; *p || first; first = false) {
		size_t n = strspn(p, LOWER), s;
		if (!n)
			return false;
		p += n;
		s = strspn(p, "._-/");
		bool dashes = s && strspn(p, "-") == s, under = s == 2 && p[0] == '_' && p[1] == '_';
		if (s > 1 && !dashes && !under)
			return false;
		if (s && !p[s])
			return false;
		p += s;
	}
	return true;
}

static bool registry_ok(const char *p)
{
	size_t n = *p == '[' ? strcspn(p, "]") + 1 : strspn(p, LOWER UPPER ".-");
	uint64_t port;
	return n && n <= strlen(p) && (!p[n] || (p[n] == ':' && parse_u64(p + n + 1, 1, 65535, &port)));
}

static bool tag_ok(const char *p)
{
	size_t n = strlen(p);
	return n <= 128 && strspn(p, LOWER UPPER "_.-") == n && n && p[0] != '.' && p[0] != '-';
}

static bool split(char *text, struct reference *r)
{
	char *at = strchr(text, '@'), *slash, *colon;
	if (at) {
		*at = 0;
		if (!digest_parse(at + 1, r->digest))
			return false;
	}
	slash = strrchr(text, '/');
	colon = strrchr(slash ? slash : text, ':');
	if (colon)
		*colon = 0;
	snprintf(r->tag, sizeof(r->tag), "%s", colon ? colon + 1 : at ? "" : "latest");
	if (colon && (strlen(colon + 1) > 128 || !tag_ok(colon + 1)))
		return false;
	slash = strchr(text, '/');
	if (slash && is_registry(text, (size_t)(slash - text)))
		*slash++ = 0;
	else
		slash = NULL;
	snprintf(r->registry, sizeof(r->registry), "%s", slash ? text : "docker.io");
	const char *path = slash ? slash : text;
	bool library = !strcmp(r->registry, "docker.io") && !strchr(path, '/');
	snprintf(r->repository, sizeof(r->repository), "%s%s", library ? "library/" : "", path);
	return registry_ok(r->registry) && repository_ok(r->repository);
}

bool reference_parse(const char *text, struct reference *r, struct error *err)
{
	auto_free char *copy = xstrdup(text);
	memset(r, 0, sizeof(*r));
	if (strlen(text) > REFERENCE_MAX - 20 || !split(copy, r))
		return error_set(err, 0, "'%.100s' is not an image's name: write [REGISTRY/]NAME[:TAG], in small letters", text);
	int n = snprintf(r->full, sizeof(r->full), "%s/%s%s%s%s%s", r->registry, r->repository, *r->tag ? ":" : "", r->tag,
			 *r->digest ? "@sha256:" : "", r->digest);
	return n < (int)sizeof(r->full) || error_set(err, 0, "the image's name '%.100s' is too long", text);
}

const char *reference_familiar(const char *full)
{
	if (!strncmp(full, "docker.io/library/", 18))
		return full + 18;
	return strncmp(full, "docker.io/", 10) ? full : full + 10;
}
