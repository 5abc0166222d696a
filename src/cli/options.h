/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options that make or change a definition: run, create, set. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "cli/cli.h"
#include "instance/definition.h"

extern const struct cli_option definition_options[];   /* target: struct definition */
extern const struct cli_option program_options[];      /* the same; about the program of an image */

/* The first word of run: a disk file (it becomes the first disk), or an image. */
bool word_is_disk(const char *word);
bool definition_take_word(struct definition *d, const char *word, struct error *err);

/* From the working directory; to be freed. */
char *absolute_path(const char *path);

/* Print it resolved: --dry-run and inspect. */
bool definition_print(const struct definition *d, const char *why, bool json, struct error *err);

#endif
