/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON into structs by table: schema.h. */
#include "container/schema.h"

#include <stdio.h>

struct list { void *v; unsigned n; };

static const char *const kind_words[] = {
	[FIELD_STR] = "a string", [FIELD_BOOL] = "true or false", [FIELD_U32] = "a number from 0 to 4294967295",
	[FIELD_I64] = "a whole number", [FIELD_U64] = "a whole number from 0",
	[FIELD_OPT_I64] = "a whole number", [FIELD_OPT_U64] = "a whole number from 0",
	[FIELD_OPT_BOOL] = "true or false", [FIELD_STRINGS] = "a list of strings",
	[FIELD_PAIRS] = "an object of strings", [FIELD_IDS] = "a list of numbers from 0 to 4294967295",
	[FIELD_OBJECT] = "an object", [FIELD_POINTER] = "an object", [FIELD_LIST] = "a list of objects",
};

static bool read_u32(const struct json *v, uint32_t *out)
{
	uint64_t n;
	if (!json_u64(v, &n) || n > UINT32_MAX)
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool read_scalar(const struct json *v, enum field_kind kind, void *out)
{
	switch (kind) {
	case FIELD_STR:
		*(const char **)out = v->text;
		return v->type == JSON_STRING;
	case FIELD_BOOL:
		*(bool *)out = v->type == JSON_BOOL && *v->text == 't';
		return v->type == JSON_BOOL;
	case FIELD_OPT_BOOL:
		*(struct opt_bool *)out = (struct opt_bool){ true, v->type == JSON_BOOL && *v->text == 't' };
		return v->type == JSON_BOOL;
	case FIELD_U32:
		return read_u32(v, out);
	case FIELD_I64:
		return json_i64(v, out);
	case FIELD_U64:
		return json_u64(v, out);
	case FIELD_OPT_I64:
		((struct opt_i64 *)out)->set = true;
		return json_i64(v, &((struct opt_i64 *)out)->v);
	case FIELD_OPT_U64:
		((struct opt_u64 *)out)->set = true;
		return json_u64(v, &((struct opt_u64 *)out)->v);
	default:
		return false;
	}
}

static bool read_strings(struct arena *a, const struct json *v, struct strings *out)
{
	if (v->type != JSON_ARRAY)
		return false;
	out->v = arena_alloc(a, (v->count + 1ull) * sizeof(*out->v));
	out->n = 0;
	for (const struct json *m = v->child; m; m = m->next) {
		if (m->type != JSON_STRING)
			return false;
		out->v[out->n++] = m->text;
	}
	return true;
}

static bool read_pairs(struct arena *a, const struct json *v, struct pairs *out)
{
	if (v->type != JSON_OBJECT)
		return false;
	out->v = arena_alloc(a, v->count * sizeof(*out->v));
	out->n = 0;
	for (const struct json *m = v->child; m; m = m->next) {
		if (m->type != JSON_STRING)
			return false;
		out->v[out->n++] = (struct pair){ m->key, m->text };
	}
	return true;
}

static bool read_ids(struct arena *a, const struct json *v, struct ids *out)
{
	if (v->type != JSON_ARRAY)
		return false;
	out->v = arena_alloc(a, v->count * sizeof(*out->v));
	out->n = 0;
	for (const struct json *m = v->child; m; m = m->next)
		if (!read_u32(m, &out->v[out->n++]))
			return false;
	return true;
}

static bool read_list(struct arena *a, const struct json *v, const char *where, const struct field *f,
	struct list *out, struct error *err)
{
	out->v = arena_alloc(a, v->count * f->size);
	out->n = 0;
	for (const struct json *m = v->child; m; m = m->next) {
		char here[160];
		snprintf(here, sizeof(here), "%s[%u]", where, out->n);
		if (!schema_read(a, m, here, f->sub, (char *)out->v + out->n++ * f->size, err))
			return false;
	}
	return true;
}

/* What holds other values: *done says that the kind was one of these and right. */
static bool read_composite(struct arena *a, const struct json *v, const char *where, const struct field *f,
	void *out, bool *done, struct error *err)
{
	*done = true;
	if ((f->kind == FIELD_OBJECT || f->kind == FIELD_POINTER) && v->type == JSON_OBJECT) {
		if (f->kind == FIELD_POINTER)
			out = *(void **)out = arena_alloc(a, f->size);
		return schema_read(a, v, where, f->sub, out, err);
	}
	if (f->kind == FIELD_LIST && v->type == JSON_ARRAY)
		return read_list(a, v, where, f, out, err);
	*done = false;
	return true;
}

static bool read_field(struct arena *a, const struct json *v, const char *where, const struct field *f,
	void *out, struct error *err)
{
	bool ok = f->kind == FIELD_STRINGS ? read_strings(a, v, out) : f->kind == FIELD_PAIRS ? read_pairs(a, v, out) :
		f->kind == FIELD_IDS ? read_ids(a, v, out) : read_scalar(v, f->kind, out);
	if (ok)
		return true;
	if (!read_composite(a, v, where, f, out, &ok, err))
		return false;
	return ok || error_set(err, 0, "%s must be %s", where, kind_words[f->kind]);
}

bool schema_read(struct arena *a, const struct json *v, const char *where, const struct field *table,
	void *out, struct error *err)
{
	if (v->type != JSON_OBJECT)
		return error_set(err, 0, "%s must be an object", where);
	for (const struct field *f = table; f->name; f++) {
		char here[160];
		snprintf(here, sizeof(here), "%s%s%s", where, *where ? "." : "", f->name);
		const struct json *m = json_get(v, f->name);
		if (!m && f->required)
			return error_set(err, 0, "%s is missing", here);
		if (m && !read_field(a, m, here, f, (char *)out + f->offset, err))
			return false;
	}
	return true;
}
