/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Annotations org.systemd.property.NAME=VALUE, by which an engine sets further
 * properties: true, 'text', ['text', ...], 5, uint32 5, int64 5, uint64 5.  A time
 * NAMESec in seconds becomes NAMEUSec.
 */
#include <ctype.h>
#include <stdio.h>

#include "container/scope.h"

#define PREFIX "org.systemd.property."

struct reader { struct arena *arena; const char *p; };

static bool word(struct reader *r, const char *text)
{
	size_t n = strlen(text);
	r->p += strspn(r->p, " ");
	bool hit = !strncmp(r->p, text, n);
	r->p += hit ? n : 0;
	return hit;
}

static bool at_end(struct reader *r)
{
	r->p += strspn(r->p, " ");
	return !*r->p;
}

/* '...' or "..." ; NULL: none */
static const char *quoted(struct reader *r)
{
	r->p += strspn(r->p, " ");
	char quote = *r->p, *out, *start;
	if (quote != '\'' && quote != '"')
		return NULL;
	out = start = arena_alloc(r->arena, strlen(r->p));
	for (r->p++; *r->p && *r->p != quote; r->p++) {
		r->p += *r->p == '\\' && r->p[1];
		*out++ = *r->p;
	}
	if (*r->p != quote)
		return NULL;
	r->p++;
	return start;
}

static bool number(struct reader *r, struct scope_property *v)
{
	static const struct { const char *word, *type; bool is_signed; uint64_t max; } kinds[] = {
		{ "uint32 ", "u", false, UINT32_MAX }, { "uint64 ", "t", false, UINT64_MAX },
		{ "int32 ", "i", true, INT32_MAX }, { "int64 ", "x", true, INT64_MAX }, { "", "i", true, INT32_MAX },
	};
	unsigned k = 0;
	while (!word(r, kinds[k].word))
		k++;
	r->p += strspn(r->p, " ");
	bool minus = kinds[k].is_signed && *r->p == '-';
	size_t n = strspn(r->p + minus, "0123456789");
	auto_free char *digits = strndup(r->p + minus, n);
	if (!n || !parse_u64(digits, 0, kinds[k].max, &v->number))
		return false;
	r->p += minus + n;
	v->number = minus ? -v->number : v->number;
	v->type = kinds[k].type;
	return true;
}

static bool list(struct reader *r, struct scope_property *v)
{
	const char *one;
	v->type = "as";
	v->strings.v = arena_alloc(r->arena, (strlen(r->p) + 1) * sizeof(char *));
	if (word(r, "]"))
		return true;
	do {
		if (!(one = quoted(r)))
			return false;
		v->strings.v[v->strings.n++] = one;
	} while (word(r, ","));
	return word(r, "]");
}

static bool value(struct reader *r, struct scope_property *v)
{
	bool yes = word(r, "true");
	if (yes || word(r, "false")) {
		v->type = "b";
		v->number = yes;
	} else if (word(r, "[")) {
		return list(r, v) && at_end(r);
	} else if ((v->text = quoted(r))) {
		v->type = "s";
	} else if (!number(r, v)) {
		return false;
	}
	return at_end(r);
}

static bool is_name(const char *name)
{
	size_t n = 0;
	while (isalnum((unsigned char)name[n]))
		n++;
	return n && !name[n] && n < 64;
}

/* "TimeoutStopSec" exists in files only: on the bus it is TimeoutStopUSec. */
static bool in_microseconds(struct arena *a, struct scope_property *v)
{
	size_t n = strlen(v->name);
	if (n < 4 || strcmp(v->name + n - 3, "Sec") || (n > 4 && !strcmp(v->name + n - 4, "USec")))
		return true;
	if (!strchr("iuxt", *v->type) || v->type[1] || v->number > UINT64_MAX / 1000000)
		return false;
	v->name = arena_printf(a, "%.*sUSec", (int)n - 3, v->name);
	v->type = "t";
	v->number *= 1000000;
	return true;
}

static bool add(struct scope_properties *p, const struct pair *a, struct error *err)
{
	struct reader r = { p->arena, a->value };
	struct scope_property v = { .name = a->key + strlen(PREFIX) };
	if (!is_name(v.name))
		return error_set(err, 0, "annotation '%s' names no property of a systemd unit", a->key);
	if (!value(&r, &v) || !in_microseconds(p->arena, &v))
		return error_set(err, 0, "annotation '%s': '%s' is no value like true, 'text', ['a', 'b'] or uint64 5", a->key, a->value);
	struct scope_property *to = scope_add(p, v.name, v.type);
	if (!to)
		return error_set(err, 0, "annotation '%s': at most %d properties of a systemd unit", a->key, SCOPE_PROPERTIES_MAX);
	*to = v;
	return true;
}

bool scope_annotations(struct scope_properties *p, const struct pairs *annotations, struct error *err)
{
	for (unsigned i = 0; i < annotations->n; i++)
		if (!strncmp(annotations->v[i].key, PREFIX, strlen(PREFIX)) && !add(p, &annotations->v[i], err))
			return false;
	return true;
}
