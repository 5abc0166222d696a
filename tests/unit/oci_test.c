/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON, config.json and command lines of the container runtime. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "container/args.h"
#include "container/spec.h"

static const struct json *parse(struct arena *a, const char *text)
{
	struct error err = { 0 };
	const struct json *v = json_parse(a, text, strlen(text), "test", &err);
	assert_true(v || err.text[0]);
	return v;
}

static void json_values(void **state)
{
	struct arena a = { 0 };
	uint64_t u;
	int64_t i;
	const struct json *v = parse(&a, " {\"a\" : [1, -2, 18446744073709551615, 1.5e3], \"s\":\"x\\n\\u00e9\\ud83d\\ude00\\\"\", \"t\":true,\"n\":null}");
	const struct json *l = json_get(v, "a")->child;
	assert_true(json_u64(l, &u) && u == 1);
	assert_true(json_i64(l->next, &i) && i == -2);
	assert_false(json_u64(l->next, &u));
	assert_true(json_u64(l->next->next, &u) && u == UINT64_MAX);
	assert_false(json_i64(l->next->next, &i));
	assert_false(json_i64(l->next->next->next, &i));
	assert_string_equal(json_str(v, "s"), "x\n\xc3\xa9\xf0\x9f\x98\x80\"");
	assert_true(json_is(v, "t"));
	assert_null(json_get(v, "n"));
	arena_free(&a);
}

static void json_refused(void **state)
{
	static const char *const bad[] = { "", "{", "[1,]", "{\"a\":1,}", "{a:1}", "01", "-", "1.", "1e", "\"\\u0000\"", "\"\\ud800\"",
		"\"\\udc00x\"", "\"\\x\"", "\"a", "\"\n\"", "tru", "1 2", "[1 2]", "{\"a\" 1}", "nul", "+1", "\"\\u12g4\"", "'a'" };
	struct arena a = { 0 };
	for (unsigned n = 0; n < ARRAY_SIZE(bad); n++)
		assert_null(parse(&a, bad[n]));
	char deep[JSON_DEPTH_MAX * 2 + 3];
	memset(deep, '[', sizeof(deep));
	assert_null(json_parse(&a, deep, sizeof(deep), "test", NULL));
	memset(deep + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	assert_non_null(json_parse(&a, deep, JSON_DEPTH_MAX * 2, "test", NULL));
	arena_free(&a);
}

static void json_written(void **state)
{
	struct json_out o = { 0 };
	json_open(&o, NULL, '{');
	json_put_str(&o, "a\"", "\\\x01\xc3\xa9");
	json_open(&o, "l", '[');
	json_put_u64(&o, NULL, UINT64_MAX);
	json_put_i64(&o, NULL, -1);
	json_close(&o, ']');
	json_put_bool(&o, "b", false);
	json_close(&o, '}');
	assert_string_equal(o.text, "{\"a\\\"\":\"\\\\\\u0001\xc3\xa9\",\"l\":[18446744073709551615,-1],\"b\":false}");
	json_out_free(&o);
}

#define CONFIG(process, linux_part) "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"},\"process\":{\"args\":[\"x\"],\"cwd\":\"/\"" \
	process "},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}" linux_part "}}"

static void refused(const char *text, const char *word)
{
	struct error err = { 0 };
	struct spec *s = spec_parse(text, strlen(text), &err);
	if (s || !strstr(err.text, word))
		fail_msg("'%s' for %s", err.text, text);
}

static void config_refused(void **state)
{
	refused("[]", "must be an object");
	refused("{}", "ociVersion is missing");
	refused("{\"ociVersion\":\"2.0\",\"root\":{\"path\":\"r\"},\"linux\":{}}", "not supported");
	refused(CONFIG(",\"user\":{\"uid\":-1}", "]"), "process.user.uid must be a number from 0");
	refused(CONFIG(",\"user\":{\"uid\":4294967296}", "]"), "process.user.uid");
	refused(CONFIG(",\"env\":[1]", "]"), "process.env must be a list of strings");
	refused(CONFIG(",\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,\"hard\":1}]", "]"), "RLIMIT_X");
	refused(CONFIG(",\"oomScoreAdj\":1001", "]"), "oomScoreAdj");
	refused(CONFIG("", ",{\"type\":\"mount\"}]"), "twice");
	refused(CONFIG("", ",{\"type\":\"moon\"}]"), "moon");
	refused(CONFIG("", ",{\"type\":\"pid\",\"path\":\"proc\"}]"), "absolute");
	refused(CONFIG("", ",{\"type\":\"user\"}]"), "uidMappings");
	refused(CONFIG("", "],\"uidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":1}]"), "'user' namespace");
	refused(CONFIG("", ",{\"type\":\"user\"}],\"uidMappings\":[{\"containerID\":9,\"hostID\":0,\"size\":4294967295}],"
		"\"gidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":1}]"), "past the last ID");
	refused("{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":[{\"type\":\"user\"}]}}", "'mount' namespace");
	refused("{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"},\"process\":{\"args\":[],\"cwd\":\"/\"},\"linux\":{}}", "nothing to run");
	refused("{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"},\"process\":{\"args\":[\"x\"],\"cwd\":\"a\"},\"linux\":{}}", "absolute");
}

static void config_read(void **state)
{
	static const char text[] = CONFIG(",\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"hard\":18446744073709551615,\"soft\":0}]",
		",{\"type\":\"network\",\"path\":\"/n\"}],\"unknown\":{\"x\":[]}");
	struct error err = { 0 };
	struct spec *s = spec_parse(text, sizeof(text) - 1, &err);
	assert_non_null(s);
	assert_true(s->process->rlimits.v[0].hard == UINT64_MAX);
	assert_string_equal(s->ns_path[NS_NET], "/n");
	assert_true(s->ns_new == BIT(NS_MOUNT));
	assert_null(s->process->args.v[1]);
	spec_free(s);
}

static void command_lines(void **state)
{
	bool flag = false, off = true;
	const char *text = NULL;
	struct opt_i64 number = { 0 };
	const struct arg table[] = { { "flag", 'f', ARG_FLAG, &flag }, { "off", 0, ARG_FLAG, &off }, { "text", 't', ARG_TEXT, &text },
		{ "number", 0, ARG_NUMBER, &number }, { NULL } };
	char *argv[] = { "v", "-f", "--off=false", "-text", "a=b", "--number=-5", "--", "--id", NULL };
	int at = 1;
	assert_true(args_parse(table, 8, argv, &at, NULL));
	assert_true(flag && !off && number.v == -5 && at == 7);
	assert_string_equal(text, "a=b");
	char *bad[] = { "v", "--none", NULL }, *missing[] = { "v", "--text", NULL }, *word[] = { "v", "--number", "x", NULL };
	at = 1;
	assert_false(args_parse(table, 2, bad, &at, NULL));
	at = 1;
	assert_false(args_parse(table, 2, missing, &at, NULL));
	at = 1;
	assert_false(args_parse(table, 3, word, &at, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_values), cmocka_unit_test(json_refused), cmocka_unit_test(json_written),
		cmocka_unit_test(config_refused), cmocka_unit_test(config_read), cmocka_unit_test(command_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
