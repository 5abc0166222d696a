/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Command lines as engines write them: "--name value", "--name=value", "-name",
 * "-n value", "--flag", "--flag=false", "--" ends the options.
 */
#ifndef CONTAINER_ARGS_H
#define CONTAINER_ARGS_H

#include "container/schema.h"

enum arg_kind { ARG_FLAG, ARG_TEXT, ARG_NUMBER, ARG_LIST, ARG_IGNORED, ARG_IGNORED_TEXT };

struct arg {
	const char *name;         /* NULL ends the table */
	char letter;
	enum arg_kind kind;
	void *out;                /* bool, const char *, struct opt_i64, struct strings (with room) */
};

/* Takes options from argv[*at] on; *at is then the first positional. */
bool args_parse(const struct arg *table, int argc, char **argv, int *at, struct error *err);

#endif
