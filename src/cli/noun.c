/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs that are nouns with verbs of their own: abyme disk create, abyme snapshot list. */
#include "cli/cli.h"

#include <stdio.h>

static int list_all(const struct verb *all, const char *noun, FILE *to)
{
	fprintf(to, "usage: abyme %s VERB ...\n", noun);
	for (; all->name; all++)
		fprintf(to, "  %-8s %-38s %s\n", all->name, all->synopsis, all->help);
	return 0;
}

int cli_noun(const struct verb *all, int argc, char **argv)
{
	struct error err;
	const char *noun = argv[0], *word = argc > 1 ? argv[1] : "";
	if (!strcmp(word, CLI_COMPLETE)) {
		for (const struct verb *v = all; v->name && argc == 2; v++)
			printf("%s\n", v->name);
		return 0;
	}
	for (const struct verb *v = all; v->name; v++) {
		if (strcmp(word, v->name))
			continue;
		auto_free char *name = xasprintf("%s ", noun);
		if (argc == 3 && !strcmp(argv[2], "--help"))
			printf("usage: abyme %s %s %s\n%s\n", noun, word, v->synopsis, v->help);
		argv[1] = name;               /* no verb of its own: only the options are listed */
		return v->run(argc - 1, argv + 1);
	}
	if (argc < 2 || !strcmp(word, "--help") || !strcmp(word, "-h")) {
		list_all(all, noun, argc > 1 ? stdout : stderr);
		return argc > 1 ? 0 : STATUS_USAGE;
	}
	error_set(&err, 0, "'%s %s' is not known: abyme %s --help lists what is", noun, word, noun);
	return cli_usage(&err);
}
