/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme: finds the verb and runs it. */
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>

static const struct verb *find_verb(const char *name)
{
	if (!strcmp(name, "ps"))
		name = "ls";
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	for (const struct verb *v = verbs; v->name; v++)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

int main(int argc, char **argv)
{
	struct error err;
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1 && !strcmp(argv[1], "--version")) {
		printf("abyme %s\n", ABYME_VERSION);
		return 0;
	}
	if (argc < 2) {
		verb_help(argc, argv);
		return STATUS_USAGE;
	}
	const struct verb *v = find_verb(argv[1]);
	if (v)
		return v->run(argc - 1, argv + 1);
	error_set(&err, 0, "'%s' is not a verb; abyme help lists them", argv[1]);
	return cli_usage(&err);
}
