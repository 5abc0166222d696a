/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON of hostile origin, read into an arena: depth, size and strings are
 * bounded here, once.  Numbers keep their text, so that 64-bit values stay
 * exact (rlimits of 2^64-1 are common in config.json).  Strings are NUL-free
 * UTF-8.  Writing is into a growing buffer.
 */
#ifndef CONTAINER_JSON_H
#define CONTAINER_JSON_H

#include "base/error.h"
#include "base/util.h"

enum { JSON_DEPTH_MAX = 64, JSON_BYTES_MAX = 16 << 20 };
enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_type type;
	unsigned count;           /* array, object: members */
	const char *key;          /* in an object */
	const char *text;         /* string; number as written; "true" or "false" */
	struct json *child;       /* first member */
	struct json *next;        /* sibling */
};

/* Memory that is given back all at once. */
struct arena { struct arena_block *blocks; };
void *arena_alloc(struct arena *a, size_t n);          /* zeroed, aligned to 8 */
char *arena_copy(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
void arena_free(struct arena *a);

/* `what` names the text in errors. The result lives in the arena; NULL on error. */
struct json *json_parse(struct arena *a, const char *text, size_t size, const char *what, struct error *err);
/* A whole file, at most JSON_BYTES_MAX bytes, as text with a NUL behind it. */
char *json_read_file(struct arena *a, int dirfd, const char *path, size_t *size, struct error *err);
/* Both. */
struct json *json_load(struct arena *a, int dirfd, const char *path, struct error *err);

const struct json *json_get(const struct json *o, const char *key);   /* NULL: absent or null */
const char *json_str(const struct json *o, const char *key);          /* NULL: absent or no string */
bool json_is(const struct json *o, const char *key);                  /* true only if present and true */
bool json_u64(const struct json *v, uint64_t *out);
bool json_i64(const struct json *v, int64_t *out);

/* Writing: commas are put where they belong. */
struct json_out {
	char *text;
	size_t length, room;
	bool comma;
};
void json_open(struct json_out *o, const char *key, char bracket);    /* '{' or '['; key NULL in arrays */
void json_close(struct json_out *o, char bracket);
void json_put_str(struct json_out *o, const char *key, const char *value);
void json_put_u64(struct json_out *o, const char *key, uint64_t value);
void json_put_i64(struct json_out *o, const char *key, int64_t value);
void json_put_bool(struct json_out *o, const char *key, bool value);
void json_put_raw(struct json_out *o, const char *key, const char *json);
void json_out_free(struct json_out *o);

#endif
