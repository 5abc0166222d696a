/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON writer: json.h. */
#include "container/json.h"

#include <inttypes.h>
#include <stdio.h>

static void add(struct json_out *o, const char *s, size_t n)
{
	if (o->room - o->length <= n) {
		o->room = (o->room + n) * 2 + 256;
		o->text = xrealloc(o->text, o->room);
	}
	memcpy(o->text + o->length, s, n);
	o->length += n;
	o->text[o->length] = 0;
}

static void quoted(struct json_out *o, const char *s)
{
	char code[8];
	add(o, "\"", 1);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			snprintf(code, sizeof(code), "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			snprintf(code, sizeof(code), "\\u%04x", c);
		else
			snprintf(code, sizeof(code), "%c", c);
		add(o, code, strlen(code));
	}
	add(o, "\"", 1);
}

static void lead(struct json_out *o, const char *key)
{
	if (o->comma)
		add(o, ",", 1);
	o->comma = true;
	if (key) {
		quoted(o, key);
		add(o, ":", 1);
	}
}

void json_open(struct json_out *o, const char *key, char bracket)
{
	lead(o, key);
	add(o, &bracket, 1);
	o->comma = false;
}

void json_close(struct json_out *o, char bracket)
{
	add(o, &bracket, 1);
	o->comma = true;
}

void json_put_raw(struct json_out *o, const char *key, const char *json)
{
	lead(o, key);
	add(o, json, strlen(json));
}

void json_put_str(struct json_out *o, const char *key, const char *value)
{
	lead(o, key);
	quoted(o, value);
}

void json_put_u64(struct json_out *o, const char *key, uint64_t value)
{
	char t[24];
	snprintf(t, sizeof(t), "%" PRIu64, value);
	json_put_raw(o, key, t);
}

void json_put_i64(struct json_out *o, const char *key, int64_t value)
{
	char t[24];
	snprintf(t, sizeof(t), "%" PRId64, value);
	json_put_raw(o, key, t);
}

void json_put_bool(struct json_out *o, const char *key, bool value)
{
	json_put_raw(o, key, value ? "true" : "false");
}

void json_out_free(struct json_out *o)
{
	free(o->text);
	*o = (struct json_out){ 0 };
}
