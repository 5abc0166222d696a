/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: one file a verb (or a family of verbs).  A verb parses,
 * calls, prints; it returns the program's exit status.  Status 2: the command
 * line itself is wrong; 1: it could not be done.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/error.h"
#include "base/util.h"

#define ABYME_VERSION "0.1"
enum { STATUS_FAILED = 1, STATUS_USAGE = 2 };

struct verb {
	const char *name;
	const char *synopsis;      /* after the name */
	const char *help;          /* one line */
	int (*run)(int argc, char **argv);   /* argv[0] is the verb */
};
extern const struct verb verbs[];   /* verbs.c; ends with a NULL name */

/* Options are rows of tables: for parsing, for help, for completion. */
enum option_kind { OPTION_STRING, OPTION_UINT, OPTION_FLAG, OPTION_CALL };
struct cli_option {
	const char *name;          /* "--memory" */
	const char *argument;      /* for help; NULL: none */
	const char *help;
	enum option_kind kind;
	size_t offset;             /* of char *, unsigned or bool in the target */
	bool (*call)(void *target, const char *value, struct error *err);
};
struct cli_group { const struct cli_option *options; void *target; };

/* Options of all groups (ended by a NULL table) in any place, `--` ends them;
 * the rest goes to `words`, at least `min` and at most `max`. Strings set by
 * OPTION_STRING are malloc'ed. Prints help and exits by itself: returns -1 to go
 * on, else the status to end with. */
int cli_parse(const struct cli_group *groups, int argc, char **argv,
	      const char **words, unsigned min, unsigned max);

/* The same for a verb without options. */
int cli_words(int argc, char **argv, const char **words, unsigned min, unsigned max);

/* The whole of a verb NAME WORD, which does something with an instance. */
struct instance;
int cli_with_instance(int argc, char **argv, bool (*fn)(struct instance *i, const char *word, struct error *err));

/* The index of the first word that belongs to no option (argc: there is none): what
 * stands behind it may be another program's. */
int cli_first_word(const struct cli_group *groups, int argc, char **argv);

/* For `abyme completion`: as the first argument, makes cli_parse print what may follow
 * the word behind it (NULL: at the beginning), and end. */
#define CLI_COMPLETE "--complete"

/* A noun (argv[0]) with verbs of its own (argv[1]); the table ends with a NULL name. */
int cli_noun(const struct verb *all, int argc, char **argv);

/* "abyme: sentence"; returns the status. */
int cli_fail(const struct error *err);
int cli_usage(const struct error *err);

/* --format json of listing verbs. */
struct format_option { char *format; };
extern const struct cli_option format_options[];
/* 0 text, 1 json, -1 unknown (err filled). */
int cli_format(const struct format_option *f, struct error *err);

int verb_run(int argc, char **argv);
int verb_create(int argc, char **argv);
int verb_start(int argc, char **argv);
int verb_ls(int argc, char **argv);
int verb_inspect(int argc, char **argv);
int verb_edit(int argc, char **argv);
int verb_set(int argc, char **argv);
int verb_rm(int argc, char **argv);
int verb_stop(int argc, char **argv);
int verb_kill(int argc, char **argv);
int verb_chroot(int argc, char **argv);
int verb_pause(int argc, char **argv);
int verb_unpause(int argc, char **argv);
int verb_console(int argc, char **argv);
int verb_logs(int argc, char **argv);
int verb_suspend(int argc, char **argv);
int verb_screenshot(int argc, char **argv);
int verb_type(int argc, char **argv);
int verb_eject(int argc, char **argv);
int verb_change(int argc, char **argv);
int verb_mouse(int argc, char **argv);
int verb_key(int argc, char **argv);
int verb_resume(int argc, char **argv);
int verb_stats(int argc, char **argv);
int verb_engine(int argc, char **argv);
int verb_disk(int argc, char **argv);
int verb_machine(int argc, char **argv);
int verb_snapshot(int argc, char **argv);
int verb_clone(int argc, char **argv);
int verb_backup(int argc, char **argv);
int verb_network(int argc, char **argv);
int verb_exec(int argc, char **argv);
int verb_cp(int argc, char **argv);
int verb_attach(int argc, char **argv);
int verb_wait(int argc, char **argv);
int verb_top(int argc, char **argv);
int verb_update(int argc, char **argv);
int verb_image(int argc, char **argv);
int verb_images(int argc, char **argv);
int verb_pull(int argc, char **argv);
int verb_push(int argc, char **argv);
int verb_load(int argc, char **argv);
int verb_save(int argc, char **argv);
int verb_rmi(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_completion(int argc, char **argv);
int verb_help(int argc, char **argv);

#endif
