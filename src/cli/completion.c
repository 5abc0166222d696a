/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme completion WORD...: what may come next; for the shell's completion. */
#include "cli/options.h"
#include "instance/store.h"

#include <stdio.h>

static bool print_name(const char *name, void *opaque)
{
	printf("%s\n", name);
	return true;
}

int verb_completion(int argc, char **argv)
{
	if (argc < 2) {
		for (const struct verb *v = verbs; v->name; v++)
			printf("%s\n", v->name);
		return 0;
	}
	if (!strcmp(argv[1], "run") || !strcmp(argv[1], "create") || !strcmp(argv[1], "set"))
		for (const struct cli_option *o = definition_options; o->name; o++)
			printf("%s\n", o->name);
	if (!strcmp(argv[1], "run") || !strcmp(argv[1], "create"))
		printf("--name\n--dry-run\n--format\n--rm\n--detach\n");
	else
		instance_each(print_name, NULL, NULL);
	return 0;
}
