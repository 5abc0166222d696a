/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme completion WORD...: what may come next; for the shell's completion. */
#include "cli/cli.h"
#include "instance/store.h"

#include <stdio.h>

static bool print_name(const char *name, void *opaque)
{
	printf("%s\n", name);
	return true;
}

/* Verbs whose words are no names of instances. */
static bool takes_names(const char *verb)
{
	static const char *const others[] = { "run", "create", "ls", "resume", "disk", "doctor", "completion", "help" };
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		if (!strcmp(verb, others[i]))
			return false;
	return true;
}

static int of_verb(const struct verb *v, char *before)
{
	char *argv[] = { (char *)v->name, CLI_COMPLETE, before, NULL };
	if (takes_names(v->name) && (!before || before[0] != '-'))
		instance_each(print_name, NULL, NULL);
	return v->run(before ? 3 : 2, argv);
}

int verb_completion(int argc, char **argv)
{
	for (const struct verb *v = verbs; v->name; v++) {
		if (argc < 2)
			printf("%s\n", v->name);
		else if (!strcmp(argv[1], v->name) && v->run != verb_completion && v->run != verb_help)
			return of_verb(v, argc > 2 ? argv[argc - 1] : NULL);
	}
	return 0;
}
