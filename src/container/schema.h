/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON objects into C structs by table: a field names its member, its kind and
 * where it goes; every type and range is checked here, once.  Strings point
 * into the arena.  Unknown members are ignored, as the specification asks.
 */
#ifndef CONTAINER_SCHEMA_H
#define CONTAINER_SCHEMA_H

#include "container/json.h"

struct opt_i64 { bool set; int64_t v; };
struct opt_u64 { bool set; uint64_t v; };
struct opt_bool { bool set, v; };
struct pair { const char *key, *value; };
#define LIST(type) struct { type *v; unsigned n; }
struct strings { const char **v; unsigned n; };      /* v ends with NULL, never NULL itself once read */
struct pairs { struct pair *v; unsigned n; };
struct ids { uint32_t *v; unsigned n; };

enum field_kind {
	FIELD_STR, FIELD_BOOL, FIELD_U32, FIELD_I64, FIELD_U64, FIELD_OPT_I64, FIELD_OPT_U64, FIELD_OPT_BOOL,
	FIELD_STRINGS, FIELD_PAIRS, FIELD_IDS,
	FIELD_OBJECT,             /* in place */
	FIELD_POINTER,            /* allocated if present */
	FIELD_LIST,               /* LIST() of structs */
};

struct field {
	const char *name;
	enum field_kind kind;
	bool required;
	size_t offset;
	size_t size;                  /* POINTER, LIST: of the struct */
	const struct field *sub;      /* OBJECT, POINTER, LIST; ends with a NULL name */
};

#define FIELD(kind, type, name, member) { name, FIELD_##kind, false, offsetof(type, member), 0, NULL }
#define FIELD_MUST(kind, type, name, member) { name, FIELD_##kind, true, offsetof(type, member), 0, NULL }
#define FIELD_SUB(kind, type, name, member, of, table) \
	{ name, FIELD_##kind, false, offsetof(type, member), sizeof(of), table }

/* `where` is the path of `v` for errors: "process.user". */
bool schema_read(struct arena *a, const struct json *v, const char *where, const struct field *table,
	void *out, struct error *err);

#endif
