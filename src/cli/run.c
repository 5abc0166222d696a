/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme run, create: from options to an instance; run starts it, too. */
#include "cli/run.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "image/store.h"
#include "instance/program.h"
#include "cli/table.h"

#include <stdio.h>
#include <sys/wait.h>

struct run_options { char *name; char *format; char *entrypoint; bool rm, detach, dry_run; };

#define TARGET struct run_options
static const struct cli_option create_options[] = {
	TEXT("--name", "NAME", name, "name of the instance (default: a made-up one)"),
	FLAG("--dry-run", dry_run, "print the resolved definition, do nothing"),
	TEXT("--entrypoint", "PROGRAM", entrypoint, "instead of the image's; '' for none"),
	TEXT("--format", "json", format, "with --dry-run: print JSON"),
	{ NULL }
};
static const struct cli_option run_options[] = {
	FLAG("--rm", rm, "remove the instance when it ends"),
	FLAG("--detach", detach, "do not stay in the foreground"),
	FLAG("-d", detach, "the same"),
	{ NULL }
};

struct definition *definition_to_store(const struct definition *d, struct error *err)
{
	char why[160];
	struct definition *full = definition_copy(d);
	if (!full)
		return error_null(err, 0, "the definition cannot be copied");
	if (!definition_resolve(full, why, err)) {
		definition_free(full);
		return NULL;
	}
	if (d->isolation && !strcmp(d->isolation, "auto"))
		fprintf(stderr, "abyme: isolation %s\n", why);
	free(full->engine);
	full->engine = xstrdup(d->engine ? d->engine : "auto");
	return full;
}

static int dry_run(const struct definition *d, const struct run_options *o)
{
	struct error err = { 0 };
	char why[160] = "";
	int json = cli_format(&(struct format_option){ o->format }, &err);
	struct definition *full = json < 0 ? NULL : definition_copy(d);
	bool ok = full && definition_resolve(full, why, &err) && definition_print(full, why, json > 0, &err);
	definition_free(full);
	return ok ? 0 : cli_usage(&err);
}

/* An image that an instance was made from stays as long as the instance. */
static bool note_use(const struct instance *i, const char *digest, struct error *err)
{
	struct image_store s;
	if (!image_store_open(&s, err))
		return false;
	bool ok = image_use(&s, i->name, digest, err);
	image_store_close(&s);
	return ok;
}

/* The instance on disk, or NULL with *status. */
static struct instance *make_instance(struct definition *d, const struct run_options *o, int *status)
{
	struct error err = { 0 };
	if (o->name && !instance_name_ok(o->name, &err)) {
		*status = cli_usage(&err);
		return NULL;
	}
	struct definition *full = definition_to_store(d, &err);
	if (!full) {
		*status = cli_usage(&err);
		return NULL;
	}
	struct instance *i = instance_create(o->name ? o->name : d->name, full, &err);
	if (i && full->digest && !note_use(i, full->digest, &err)) {
		instance_remove(i, NULL);
		instance_close(i);
		i = NULL;
	}
	definition_free(full);
	if (!i)
		*status = cli_fail(&err);
	return i;
}

/* ---- the foreground ---- */

static int final_status(struct keeper_link *link)
{
	struct keeper_report r = { 0 };
	int status = 0;
	if (!fd_read_full(link->report, &r, sizeof(r)))
		snprintf(r.text, sizeof(r.text), "the keeper process died");
	waitpid(link->pid, &status, 0);
	if (r.text[0])
		fprintf(stderr, "abyme: %s\n", r.text);
	return r.word == KEEPER_ENDED ? r.status : STATUS_FAILED;
}

static int detached(const struct instance *i, struct keeper_link *link, const char *verb)
{
	fd_write_full(link->leash, "d", 1);
	fprintf(stderr, "abyme: detached; abyme %s %s comes back, abyme kill %s ends it\n", verb, i->name, i->name);
	return 0;
}

static void let_go(struct keeper_link *link)
{
	close(link->leash);      /* letting go kills */
	link->leash = -1;
}

static int program_foreground(struct instance *i, const struct definition *d, struct keeper_link *link)
{
	const struct session s = { .fd = link->console, .tty = d->tty, .input = d->interactive };
	struct error err = { 0 };
	int status = 0;
	enum session_end end = session_join(&s, &status, &err);
	if (end == SESSION_DETACHED)
		return detached(i, link, "attach");
	if (end == SESSION_KILL || end == SESSION_SIGNAL)
		let_go(link);
	return final_status(link);
}

static int foreground(struct instance *i, struct keeper_link *link)
{
	int signal = 0;
	enum terminal_end end = terminal_join(link->console, link->report, &signal);
	if (end == TERMINAL_DETACHED)
		return detached(i, link, "console");
	if (end != TERMINAL_CLOSED)
		let_go(link);
	int status = final_status(link);
	return signal ? 128 + signal : status;
}

int run_instance(struct instance *i, const struct definition *d, const struct keeper_options *o)
{
	struct error err = { 0 };
	struct keeper_link link;
	if (!keeper_start(i, d, o, &link, &err))
		return cli_fail(&err);
	int status = 0;
	if (link.missing[0])
		fprintf(stderr, "abyme: this host does not grant all of the jail: %s (abyme doctor tells more)\n",
			link.missing);
	if (o->foreground)
		status = definition_isolation(d) == ISOLATION_VM ? foreground(i, &link) : program_foreground(i, d, &link);
	else
		printf("%s\n", i->name);
	keeper_link_close(&link);
	return status;
}

/* ---- verbs ---- */

static int start_new(struct instance *i, const struct run_options *o)
{
	struct error err = { 0 };
	char why[160];
	struct keeper_options k = { .foreground = !o->detach, .remove = o->rm, .state_fd = -1 };
	struct definition *d = instance_definition(i, &err);
	int status = d && definition_resolve(d, why, &err) ? run_instance(i, d, &k) : cli_fail(&err);
	definition_free(d);
	return status;
}

/* Behind an image's name stands its command. */
static int parse(int argc, char **argv, struct definition *d, struct run_options *o, bool run)
{
	struct error err = { 0 };
	const char *word = NULL;
	struct cli_group groups[] = { { create_options, o }, { definition_options, d }, { program_options, d },
				      { run ? run_options : NULL, o }, { NULL } };
	int at = cli_first_word(groups, argc, argv);
	bool image = at < argc && !word_is_disk(argv[at]);
	int status = cli_parse(groups, image ? at + 1 : argc, argv, &word, 0, 1);
	if (status < 0 && word && !definition_take_word(d, word, &err))
		status = cli_usage(&err);
	for (int i = at + 1; image && i < argc; i++)
		definition_append(&d->command, &d->ncommand, argv[i]);
	if (status < 0 && d->image && !o->dry_run && !program_take_image(d, o->entrypoint, &err))
		status = cli_fail(&err);
	return status;
}

static int run_or_create(int argc, char **argv, bool run)
{
	struct definition *d = xnew(struct definition);
	struct run_options o = { 0 };
	d->version = DEFINITION_VERSION;
	int status = parse(argc, argv, d, &o, run);
	if (status < 0 && o.dry_run)
		status = dry_run(d, &o);
	struct instance *i = status < 0 ? make_instance(d, &o, &status) : NULL;
	if (i && run)
		status = start_new(i, &o);
	else if (i)
		status = printf("%s\n", i->name) < 0;
	instance_close(i);
	definition_free(d);
	free(o.name);
	free(o.format);
	free(o.entrypoint);
	return status;
}

int verb_run(int argc, char **argv) { return run_or_create(argc, argv, true); }
int verb_create(int argc, char **argv) { return run_or_create(argc, argv, false); }
