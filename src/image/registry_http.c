/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to a registry, and who we are to it: see registry_http.h. */
#include "image/registry_http.h"

#include <errno.h>
#include <stdio.h>

#define ACCEPT "Accept: " MEDIA_OCI_MANIFEST ", " MEDIA_OCI_INDEX ", " MEDIA_DOCKER_MANIFEST ", " MEDIA_DOCKER_LIST
enum { MAX_MANIFEST = 4 << 20, STALL_SECONDS = 60, CONNECT_SECONDS = 30 };

static bool loopback(const char *host)
{
	return !strncmp(host, "localhost", 9) || !strncmp(host, "127.", 4) || !strncmp(host, "[::1]", 5);
}

/* ---- one request ---- */

static void take_location(struct registry *r, const char *line, size_t n)
{
	static const char name[] = "location:";
	if (n < sizeof(name) || strncasecmp(line, name, sizeof(name) - 1))
		return;
	size_t from = sizeof(name) - 1;
	while (from < n && line[from] == ' ')
		from++;
	snprintf(r->location, sizeof(r->location), "%.*s", (int)strcspn(line + from, "\r\n"), line + from);
}

static size_t take_header(char *line, size_t size, size_t n, void *opaque)
{
	struct sink *k = opaque;
	static const char name[] = "www-authenticate:";
	if (n > sizeof(name) && !strncasecmp(line, name, sizeof(name) - 1))
		snprintf(k->registry->challenge, sizeof(k->registry->challenge), "%.*s", (int)(n - sizeof(name) + 1), line + sizeof(name) - 1);
	take_location(k->registry, line, n);
	return size * n;
}

static bool to_blob(struct sink *k, const char *data, size_t n)
{
	if (k->resumed && k->status == 200) {      /* it sends all, from the start */
		const struct image_store *s = k->blob->store;
		blob_drop(k->blob);
		if (!blob_begin(k->blob, s, k->err))
			return false;
		k->resumed = false;
	}
	if (n > k->most - k->blob->size)
		return error_set(k->err, 0, "the registry sends more than it promised");
	return blob_add(k->blob, data, n, k->err);
}

static size_t take_body(char *data, size_t size, size_t n, void *opaque)
{
	struct sink *k = opaque;
	n *= size;
	if (!k->status)
		curl_easy_getinfo(k->registry->curl, CURLINFO_RESPONSE_CODE, &k->status);
	if (k->blob && (k->status == 200 || k->status == 206))
		return to_blob(k, data, n) ? n : 0;
	if (k->n + n > MAX_MANIFEST)
		return error_set(k->err, 0, "the registry's answer is too long") ? n : 0;
	k->text = xrealloc(k->text, k->n + n + 1);
	memcpy(k->text + k->n, data, n);
	k->n += n;
	k->text[k->n] = 0;
	return n;
}

static size_t give_body(char *data, size_t size, size_t n, void *opaque)
{
	struct sending *u = opaque;
	n = MIN(n * size, u->size - u->sent);
	if (u->text) {
		memcpy(data, u->text + u->sent, n);
	} else {
		ssize_t r = pread(u->fd, data, n, (off_t)u->sent);
		if (r < 0 || (!r && n))
			return CURL_READFUNC_ABORT;
		n = (size_t)r;
	}
	u->sent += n;
	return n;
}

/* A body is sent once, to where we were told: no redirection. */
static struct curl_slist *prepare_sending(CURL *curl, struct sending *u, struct curl_slist *headers)
{
	auto_free char *type = u->type ? xasprintf("Content-Type: %s", u->type) : NULL;
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	if (!strcmp(u->method, "HEAD")) {
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
		return headers;
	}
	u->sent = 0;
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, u->method);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_body);
	curl_easy_setopt(curl, CURLOPT_READDATA, u);
	curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)u->size);
	headers = curl_slist_append(headers, "Expect:");
	return type ? curl_slist_append(headers, type) : headers;
}

static CURLcode perform(struct registry *r, const char *url, const char *accept, const char *authorization, uint64_t from,
			struct sending *u, struct sink *k)
{
	char range[32];
	struct curl_slist *headers = curl_slist_append(NULL, accept);
	if (authorization)
		headers = curl_slist_append(headers, authorization);
	curl_easy_reset(r->curl);
	r->location[0] = 0;
	curl_easy_setopt(r->curl, CURLOPT_URL, url);
	curl_easy_setopt(r->curl, CURLOPT_USERAGENT, "abyme");
	curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "https,http");
	curl_easy_setopt(r->curl, CURLOPT_REDIR_PROTOCOLS_STR, loopback(r->name->registry) ? "https,http" : "https");
	curl_easy_setopt(r->curl, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(r->curl, CURLOPT_MAXREDIRS, 8L);
	curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(r->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
	curl_easy_setopt(r->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(r->curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
	curl_easy_setopt(r->curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(r->curl, CURLOPT_HEADERDATA, k);
	curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, k);
	snprintf(range, sizeof(range), "%llu-", (unsigned long long)from);
	if (from)
		curl_easy_setopt(r->curl, CURLOPT_RANGE, range);
	if (u && u->method)
		headers = prepare_sending(r->curl, u, headers);
	curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, headers);
	k->resumed = from > 0;
	k->status = 0;
	k->n = 0;
	CURLcode c = curl_easy_perform(r->curl);
	curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &k->status);
	curl_slist_free_all(headers);
	return c;
}

/* ---- who we are ---- */

/* key="value" of a challenge. */
static bool parameter(const char *text, const char *key, char *out, size_t room)
{
	auto_free char *find = xasprintf("%s=\"", key);
	const char *p = strcasestr(text, find);
	if (!p)
		return false;
	p += strlen(find);
	snprintf(out, room, "%.*s", (int)strcspn(p, "\""), p);
	return true;
}

static char *basic(const struct registry *r)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = (const uint8_t *)r->options->credentials;
	size_t n = strlen(r->options->credentials);
	auto_free char *out = xcalloc(1, n * 2 + 8);
	for (size_t i = 0, o = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
		out[o++] = digits[v >> 18];
		out[o++] = digits[v >> 12 & 63];
		out[o++] = i + 1 < n ? digits[v >> 6 & 63] : '=';
		out[o++] = i + 2 < n ? digits[v & 63] : '=';
	}
	return xasprintf("Authorization: Basic %s", out);
}

static bool read_token(struct registry *r, const char *text, size_t n, struct error *err)
{
	struct arena a = { 0 };
	const struct json *v = json_parse(&a, text, n, "the registry's token", err);
	const char *token = v ? json_str(v, "token") : NULL;
	if (v && !token)
		token = json_str(v, "access_token");
	if (token && strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") == strlen(token))
		r->authorization = xasprintf("Authorization: Bearer %s", token);
	else if (v)
		error_set(err, 0, "the registry gave no token");
	arena_free(&a);
	return r->authorization;
}

/* distribution's token authentication: the realm is asked, with our credentials if any. */
static bool get_token(struct registry *r, struct error *err)
{
	char realm[600], service[300] = "";
	struct sink k = { .registry = r, .err = err };
	if (!parameter(r->challenge, "realm", realm, sizeof(realm)))
		return error_set(err, 0, "the registry asks for a login that is not understood");
	if (strncmp(realm, "https://", 8) && !(loopback(r->name->registry) && !strncmp(realm, "http://", 7)))
		return error_set(err, 0, "the registry wants a login over an insecure connection");
	parameter(r->challenge, "service", service, sizeof(service));
	char *escaped = curl_easy_escape(r->curl, service, 0);
	auto_free char *url = xasprintf("%s?service=%s&scope=repository:%s:%s", realm, escaped ? escaped : "", r->name->repository, r->scope);
	auto_free char *own = r->options->credentials ? basic(r) : NULL;
	curl_free(escaped);
	CURLcode c = perform(r, url, "Accept: application/json", own, 0, NULL, &k);
	bool ok = c == CURLE_OK && k.status == 200 ? read_token(r, k.text ? k.text : "", k.n, err) :
		err->text[0] ? false : error_set(err, 0, "the registry refuses the login%s", r->options->credentials ? "" : ": give --credentials");
	free(k.text);
	return ok;
}

static bool log_in(struct registry *r, struct error *err)
{
	const char *p = r->challenge + strspn(r->challenge, " \t");
	if (!strncasecmp(p, "Basic", 5)) {
		if (!r->options->credentials)
			return error_set(err, 0, "the registry '%s' wants a login: give --credentials FILE", r->name->registry);
		r->authorization = basic(r);
		return true;
	}
	return get_token(r, err);
}

bool registry_refused(const struct registry *r, const char *path, const struct sink *k, CURLcode c, struct error *err)
{
	if (err->text[0])
		return false;
	if (c != CURLE_OK)
		return error_set(err, 0, "cannot reach the registry '%s': %s", r->name->registry, curl_easy_strerror(c));
	if (k->status == 404)
		return error_set(err, 0, "the registry '%s' has no %s/%s", r->name->registry, r->name->repository, path);
	if (k->status == 401 || k->status == 403)
		return error_set(err, 0, "the registry '%s' does not let us have '%s'", r->name->registry, r->name->repository);
	return error_set(err, 0, "the registry '%s' answers with status %ld", r->name->registry, k->status);
}

bool registry_request(struct registry *r, const char *path, uint64_t from, struct sending *u, struct sink *k, CURLcode *c, struct error *err)
{
	bool elsewhere = !strncmp(path, "https://", 8) || !strncmp(path, "http://", 7);
	auto_free char *url = elsewhere ? xstrdup(path) : *path == '/' ? xasprintf("%s%s", r->base, path) :
		xasprintf("%s/v2/%s/%s", r->base, r->name->repository, path);
	size_t n = strlen(r->base);
	bool ours = !strncmp(url, r->base, n) && url[n] == '/';      /* others do not get our token */
	*c = perform(r, url, ACCEPT, ours ? r->authorization : NULL, from, u, k);
	if (*c == CURLE_OK && k->status == 401 && ours && !r->authorization) {
		if (!log_in(r, err))
			return false;
		*c = perform(r, url, ACCEPT, r->authorization, from, u, k);
	}
	return *c == CURLE_OK && k->status >= 200 && k->status < 300;
}

bool registry_begin(struct registry *r, const struct reference *name, const struct registry_options *o, const char *scope, struct error *err)
{
	bool hub = !strcmp(name->registry, "docker.io");
	*r = (struct registry){ .curl = curl_easy_init(), .name = name, .options = o, .scope = scope };
	snprintf(r->base, sizeof(r->base), "%s://%s", loopback(name->registry) ? "http" : "https", hub ? "registry-1.docker.io" : name->registry);
	return r->curl || error_set(err, 0, "cannot set up libcurl");
}

void registry_end(struct registry *r)
{
	curl_easy_cleanup(r->curl);
	free(r->authorization);
}

bool registry_loopback(const struct registry *r) { return loopback(r->name->registry); }

void registry_tell(const struct registry *r, const char *what, const char *hex, uint64_t size)
{
	if (r->options->progress)
		fprintf(stderr, "%.12s  %-9s %8llu KiB\n", hex, what, (unsigned long long)(size + 1023) / 1024);
}
