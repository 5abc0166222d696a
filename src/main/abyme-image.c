/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-image: what takes images in and gives them out; abyme calls it, so that only
 * this program links libarchive, libcurl and libcrypto.  An ordinary user's runs as root
 * of a user namespace, so that an image's files keep their owners.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/place.h"
#include "container/args.h"
#include "container/subids.h"
#include "image/install.h"
#include "image/registry.h"

struct command {
	const char *name;
	int min, max;                 /* words behind the options */
	bool (*run)(struct image_store *s, int argc, char **argv, struct error *err);
};

static const char *name_option, *output_option, *credentials_file;

static bool do_load(struct image_store *s, int argc, char **argv, struct error *err)
{
	return image_load_archive(s, argv[0], name_option, stdout, err);
}

static bool do_import(struct image_store *s, int argc, char **argv, struct error *err)
{
	struct reference r;
	if (!reference_parse(argv[1], &r, err) || !image_import(s, argv[0], r.full, err))
		return false;
	printf("%s\n", reference_familiar(r.full));
	return true;
}

/* A file appears whole, or not at all. */
static bool do_save(struct image_store *s, int argc, char **argv, struct error *err)
{
	if (!output_option) {
		if (isatty(1))
			return error_set(err, 0, "an archive is nothing for a terminal: add --output FILE");
		return image_save(s, argv, (unsigned)argc, 1, err);
	}
	auto_free char *tmp = xasprintf("%s.tmp-%d", output_option, (int)getpid());
	auto_close int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_set(err, errno, "cannot write '%s'", output_option);
	bool ok = image_save(s, argv, (unsigned)argc, fd, err) &&
		(!rename(tmp, output_option) || error_set(err, errno, "cannot write '%s'", output_option));
	if (!ok)
		unlink(tmp);
	return ok;
}

/* The password comes in a file, not in a list that everybody may read. */
static bool login(struct registry_options *o, struct error *err)
{
	char *credentials = credentials_file ? place_read(AT_FDCWD, credentials_file, 4096) : NULL;
	if (credentials_file && !credentials)
		return error_set(err, errno, "cannot read '%s'", credentials_file);
	if (credentials)
		credentials[strcspn(credentials, "\r\n")] = 0;
	*o = (struct registry_options){ .credentials = credentials, .progress = isatty(2) };
	return true;
}

static bool do_pull(struct image_store *s, int argc, char **argv, struct error *err)
{
	struct reference r;
	struct registry_options o;
	if (!login(&o, err) || !reference_parse(argv[0], &r, err) || !registry_pull(s, &r, &o, err))
		return false;
	printf("%s\n", reference_familiar(r.full));
	return true;
}

static bool do_push(struct image_store *s, int argc, char **argv, struct error *err)
{
	char full[REFERENCE_MAX + 1], hex[DIGEST_HEX + 1];
	struct reference to;
	struct registry_options o;
	if (!login(&o, err) || !image_find(s, argv[0], full, hex, err) || !reference_parse(argc > 1 ? argv[1] : argv[0], &to, err) ||
	    !registry_push(s, hex, &to, &o, err))
		return false;
	printf("%s\n", reference_familiar(to.full));
	return true;
}

/* A tag that instances were made from may go; their image stays until they go, too. */
static bool do_rmi(struct image_store *s, int argc, char **argv, struct error *err)
{
	for (int i = 0; i < argc; i++) {
		char full[REFERENCE_MAX + 1], hex[DIGEST_HEX + 1];
		if (!image_find(s, argv[i], full, hex, err))
			return false;
		if (!*full)
			return error_set(err, 0, "sha256:%.12s has tags: remove those", hex);
		if (!image_untag(s, full, err))
			return false;
		printf("%s\n", reference_familiar(full));
	}
	image_sweep(s, err);
	return true;
}

static bool do_prune(struct image_store *s, int argc, char **argv, struct error *err)
{
	int64_t freed = image_sweep(s, err);
	if (freed < 0)
		return error_set(err, 0, "%s", err->text[0] ? err->text : "the image store is busy: try again later");
	printf("%lld bytes freed\n", (long long)freed);
	return true;
}

static const struct command commands[] = {
	{ "load", 1, 1, do_load },
	{ "import", 2, 2, do_import },
	{ "pull", 1, 1, do_pull },
	{ "push", 1, 2, do_push },
	{ "save", 1, 64, do_save },
	{ "rmi", 1, 64, do_rmi },
	{ "prune", 0, 0, do_prune },
	{ NULL }
};

static bool run(int argc, char **argv, struct error *err)
{
	struct image_store s;
	const struct command *c = commands;
	const struct arg table[] = { { "name", 0, ARG_TEXT, &name_option }, { "output", 'o', ARG_TEXT, &output_option },
		{ "credentials", 0, ARG_TEXT, &credentials_file }, { NULL } };
	int at = 2;
	while (c->name && (argc < 2 || strcmp(c->name, argv[1])))
		c++;
	if (!c->name)
		return error_set(err, 0, "abyme-image is called by abyme: see abyme-image(1)");
	if (!args_parse(table, argc, argv, &at, err))
		return false;
	if (argc - at < c->min || argc - at > c->max)
		return error_set(err, 0, "abyme-image %s: wrong number of words", c->name);
	auto_free char *state = place_state(err);
	if (!state || setenv("ABYME_STATE", state, 1) || !subids_enter(err) || !image_store_open(&s, err))
		return false;
	bool ok = c->run(&s, argc - at, argv + at, err);
	image_store_close(&s);
	return ok;
}

int main(int argc, char **argv)
{
	struct error err = { 0 };
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	if (run(argc, argv, &err) && (!fflush(stdout) || error_set(&err, errno, "cannot write")))
		return 0;
	fprintf(stderr, "abyme: %s\n", err.text);
	return 1;
}
