/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debian archives in apt's sources (sources.list(5)): one-line and deb822 style. */
#include "install/install.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>

enum { MAX_LINE = 4096 };

bool mirror_parse(const char *url, struct mirror *m, struct error *err)
{
	size_t p = !strncmp(url, "http://", 7) ? 4 : !strncmp(url, "https://", 8) ? 5 : 0;
	const char *host = url + p + 3;
	size_t n = p ? strcspn(host, "/") : 0;
	*m = (struct mirror){ 0 };
	for (const char *c = url; *c; c++)
		if (*c <= ' ' || *c > '~' || *c == '\'' || *c == '"')
			n = 0;
	if (!n || memchr(host, '@', n))
		return error_set(err, 0, "'%s' is not the address of a mirror: write http://HOST/debian", url);
	m->protocol = xasprintf("%.*s", (int)p, url);
	m->host = xasprintf("%.*s", (int)n, host);
	m->directory = xstrdup(host[n] ? host + n : "/");
	return true;
}

void mirror_free(struct mirror *m)
{
	free(m->protocol);
	free(m->host);
	free(m->directory);
}

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = list; (p = strstr(p, word)); p += n)
		if ((p == list || isspace((unsigned char)p[-1])) && (!p[n] || isspace((unsigned char)p[n])))
			return true;
	return false;
}

/* "deb [options] ADDRESS SUITE COMPONENT..." */
static char *from_line(char *line, const char *suite)
{
	char *save, *word = strtok_r(line, " \t\n", &save);
	if (!word || strcmp(word, "deb"))
		return NULL;
	word = strtok_r(NULL, " \t\n", &save);
	if (word && *word == '[') {
		while (word && !strchr(word, ']'))
			word = strtok_r(NULL, " \t\n", &save);
		word = strtok_r(NULL, " \t\n", &save);
	}
	const char *address = word, *its = strtok_r(NULL, " \t\n", &save), *rest = strtok_r(NULL, "", &save);
	bool fits = address && its && rest && !strncmp(address, "http", 4) && !strcmp(its, suite) && has_word(rest, "main");
	return fits ? xstrdup(address) : NULL;
}

struct stanza { char types[64], uris[MAX_LINE], suites[256], components[256]; };

static void take_field(struct stanza *s, const char *line)
{
	const struct { const char *key; char *to; size_t room; } fields[] = {
		{ "Types:", s->types, sizeof(s->types) }, { "URIs:", s->uris, sizeof(s->uris) },
		{ "Suites:", s->suites, sizeof(s->suites) }, { "Components:", s->components, sizeof(s->components) } };
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		if (!strncasecmp(line, fields[i].key, strlen(fields[i].key)))
			snprintf(fields[i].to, fields[i].room, "%s", line + strlen(fields[i].key));
}

static char *from_stanza(struct stanza *s, const char *suite)
{
	char *save, *first = strtok_r(s->uris, " \t\n", &save);
	bool fits = first && !strncmp(first, "http", 4) && has_word(s->types, "deb") && has_word(s->suites, suite) &&
		    has_word(s->components, "main");
	char *address = fits ? xstrdup(first) : NULL;
	*s = (struct stanza){ 0 };
	return address;
}

static char *from_file(const char *path, bool stanzas, const char *suite)
{
	FILE *f = fopen(path, "re");
	char line[MAX_LINE], *found = NULL;
	struct stanza s = { 0 };
	while (f && !found && fgets(line, sizeof(line), f)) {
		if (!stanzas)
			found = from_line(line, suite);
		else if (line[strspn(line, " \t\r\n")])
			take_field(&s, line);
		else
			found = from_stanza(&s, suite);
	}
	if (f)
		fclose(f);
	return found || !stanzas ? found : from_stanza(&s, suite);
}

static int is_source(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');
	return dot && (!strcmp(dot, ".list") || !strcmp(dot, ".sources"));
}

char *mirror_find(const char *apt, const char *suite)
{
	auto_free char *list = xasprintf("%s/sources.list", apt), *parts = xasprintf("%s/sources.list.d", apt);
	struct dirent **names;
	char *found = from_file(list, false, suite);
	int n = scandir(parts, &names, is_source, alphasort);
	for (int i = 0; i < n; i++) {
		auto_free char *path = xasprintf("%s/%s", parts, names[i]->d_name);
		if (!found)
			found = from_file(path, !strcmp(strrchr(path, '.'), ".sources"), suite);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return found;
}
