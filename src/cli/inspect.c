/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme inspect: the definition of an instance and the facts of its run. */
#include "cli/name.h"
#include "cli/options.h"

#include <jansson.h>
#include <stdio.h>

static int print_json(const struct instance *i, const struct definition *d)
{
	json_t *o = json_object();
	auto_free char *run = instance_keeper(i) ? instance_read(i, "run.json") : NULL;
	json_object_set_new(o, "name", json_string(i->name));
	json_object_set_new(o, "definition", definition_to_json(d));
	json_t *facts = run ? json_loads(run, 0, NULL) : NULL;
	json_object_set_new(o, "run", facts ? facts : json_null());
	json_dumpf(o, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(o);
	return 0;
}

static int print_text(const struct instance *i, const struct definition *d)
{
	struct error err = { 0 };
	auto_free char *run = instance_keeper(i) ? instance_read(i, "run.json") : NULL;
	if (!definition_print(d, NULL, false, &err))
		return cli_fail(&err);
	json_t *facts = run ? json_loads(run, 0, NULL) : NULL, *v;
	const char *key;
	json_object_foreach(facts, key, v) {
		if (json_is_string(v))
			printf("# %s: %s\n", key, json_string_value(v));
		else
			printf("# %s: %lld\n", key, json_integer_value(v));
	}
	json_decref(facts);
	return 0;
}

int verb_inspect(int argc, char **argv)
{
	struct format_option f = { NULL };
	struct error err = { 0 };
	int status;
	struct instance *i = cli_instance(format_options, &f, argc, argv, &status);
	if (!i)
		return status;
	int json = cli_format(&f, &err);
	struct definition *d = json < 0 ? NULL : instance_definition(i, &err);
	if (!d)
		status = json < 0 ? cli_usage(&err) : cli_fail(&err);
	else
		status = json ? print_json(i, d) : print_text(i, d);
	definition_free(d);
	instance_close(i);
	free(f.format);
	return status;
}
