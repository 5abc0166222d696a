/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of units: systemd.unit(5), "String Escaping for Inclusion in Unit Names". */
#include <ctype.h>
#include <stdio.h>

#include "container/scope.h"

enum { UNIT_NAME_MAX = 255 };

static bool plain(char c)
{
	return isalnum((unsigned char)c) || (c && strchr(":_.-", c));
}

/* A dash is left: in the name of a scope it means nothing. A leading dot is no name of a directory. */
static char *escape(const char *text)
{
	char *out = xcalloc(strlen(text) * 4 + 1, 1), *p = out;
	for (const char *c = text; *c; c++) {
		if (plain(*c) && (c > text || *c != '.'))
			*p++ = *c;
		else
			p += sprintf(p, "\\x%02x", (unsigned char)*c);
	}
	return out;
}

/* systemd.slice(5): dashes separate the slices above it, so none may be without a name. */
static bool is_slice(const char *name)
{
	size_t n = strlen(name), tail = strlen(".slice");
	if (n <= tail || n > UNIT_NAME_MAX || strcmp(name + n - tail, ".slice"))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!plain(name[i]) && name[i] != '\\')
			return false;
	bool dash_at_end = *name == '-' || name[n - tail - 1] == '-';
	return !strcmp(name, "-.slice") || (*name != '.' && !dash_at_end && !strstr(name, "--"));
}

static bool split(const char *path, char *part[3])
{
	unsigned n = 0;
	for (const char *p = path; p; p = strchr(p, ':'), p += p != NULL) {
		if (n < 3)
			part[n] = strndup(p, strcspn(p, ":"));
		n++;
	}
	return n == 3;
}

static bool build(struct scope *s, char *part[3], const char *whole, struct error *err)
{
	if (*part[0] && !is_slice(part[0]))
		return error_set(err, 0, "linux.cgroupsPath '%s': '%s' is not the name of a systemd slice", whole, part[0]);
	if (!*part[2])
		return error_set(err, 0, "linux.cgroupsPath '%s': the name after the second colon is missing", whole);
	auto_free char *prefix = escape(part[1]), *name = escape(part[2]);
	s->slice = xstrdup(*part[0] ? part[0] : s->user ? "user.slice" : "system.slice");
	s->unit = xasprintf("%s%s%s.scope", prefix, *prefix ? "-" : "", name);
	if (strlen(s->unit) > UNIT_NAME_MAX)
		return error_set(err, 0, "linux.cgroupsPath '%.80s...': a systemd unit's name has at most %d characters", whole,
			UNIT_NAME_MAX);
	return true;
}

bool scope_name(struct scope *s, const char *path, const char *id, bool user, struct error *err)
{
	auto_free char *own = path && *path ? NULL : xasprintf(":abyme:%s", id);
	const char *whole = own ? own : path;
	char *part[3] = { NULL };
	*s = (struct scope){ .user = user };
	bool ok = split(whole, part) ? build(s, part, whole, err) :
		error_set(err, 0, "linux.cgroupsPath '%s' must be SLICE:PREFIX:NAME with --systemd-cgroup", whole);
	for (unsigned i = 0; i < 3; i++)
		free(part[i]);
	if (!ok)
		scope_free(s);
	return ok;
}

void scope_free(struct scope *s)
{
	free(move_ptr(s->slice));
	free(move_ptr(s->unit));
}
