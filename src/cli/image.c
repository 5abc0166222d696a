/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme images, load, save, rmi, image: what is only looked up is done here, the rest
 * by abyme-image, which alone links what reads archives.
 */
#include "cli/cli.h"
#include "cli/helper.h"
#include "image/manifest.h"

#include <stdio.h>

enum { MAX_WORDS = 64 };

/* ---- by the helper ---- */

struct image_options { char *name, *output, *credentials; };
static const struct cli_option name_options[] = {
	{ "--name", "NAME[:TAG]", "call it so, whatever the archive says", OPTION_STRING, offsetof(struct image_options, name) },
	{ NULL }
};
static const struct cli_option output_options[] = {
	{ "--output", "FILE", "write to FILE instead of standard output", OPTION_STRING, offsetof(struct image_options, output) },
	{ "-o", "FILE", "the same", OPTION_STRING, offsetof(struct image_options, output) },
	{ NULL }
};

static const struct cli_option pull_options[] = {
	{ "--credentials", "FILE", "log in with the USER:PASSWORD that stands in FILE", OPTION_STRING,
	  offsetof(struct image_options, credentials) },
	{ NULL }
};

/* VERB [OPTION VALUE] WORD... for the helper. */
static int hand_over(const char *verb, const struct cli_option *options, unsigned min, unsigned max, int argc, char **argv)
{
	struct image_options o = { 0 };
	const struct cli_group groups[] = { { options, &o }, { NULL } };
	const char *words[MAX_WORDS] = { NULL };
	char *args[MAX_WORDS + 8] = { (char *)"abyme-image", (char *)verb };
	unsigned n = 2;
	int status = cli_parse(groups, argc, argv, words, min, max);
	if (status >= 0)
		return status;
	const struct { const char *option; char *value; } given[] = { { "--name", o.name }, { "--output", o.output },
		{ "--credentials", o.credentials } };
	for (unsigned i = 0; i < ARRAY_SIZE(given); i++)
		if (given[i].value) {
			args[n++] = (char *)given[i].option;
			args[n++] = given[i].value;
		}
	args[n++] = (char *)"--";
	for (unsigned i = 0; i < max && words[i]; i++)
		args[n++] = (char *)words[i];
	status = cli_helper(args);
	free(o.name);
	free(o.output);
	free(o.credentials);
	return status;
}

int verb_load(int argc, char **argv) { return hand_over("load", name_options, 1, 1, argc, argv); }
int verb_pull(int argc, char **argv) { return hand_over("pull", pull_options, 1, 1, argc, argv); }
int verb_push(int argc, char **argv) { return hand_over("push", pull_options, 1, 2, argc, argv); }
int verb_save(int argc, char **argv) { return hand_over("save", output_options, 1, MAX_WORDS, argc, argv); }
int verb_rmi(int argc, char **argv) { return hand_over("rmi", NULL, 1, MAX_WORDS, argc, argv); }
static int image_import(int argc, char **argv) { return hand_over("import", NULL, 2, 2, argc, argv); }
static int image_prune(int argc, char **argv) { return hand_over("prune", NULL, 0, 0, argc, argv); }

/* ---- looked up here ---- */

struct listing { struct image_store *store; struct json_out *json; /* NULL: a table */ };

static void list_json(struct json_out *o, const char *name, const char *hex, const struct oci_image *i, const char *why)
{
	json_open(o, NULL, '{');
	json_put_str(o, "name", name);
	json_put_str(o, "digest", hex);
	if (!i)
		json_put_str(o, "error", why);
	if (i && i->config.created)
		json_put_str(o, "created", i->config.created);
	if (i)
		json_put_u64(o, "size", i->bytes);
	if (i)
		json_put_u64(o, "layers", i->nlayers);
	json_close(o, '}');
}

static bool list_one(const char *full, const char *hex, void *opaque)
{
	struct listing *l = opaque;
	struct error err = { 0 };
	struct oci_image *i = oci_image_load(l->store, hex, &err);
	const char *name = reference_familiar(full), *created = i && i->config.created ? i->config.created : "-";
	if (l->json)
		list_json(l->json, name, hex, i, err.text);
	else if (i)
		printf("%-40s %-14.12s %-20.19s %8llu K\n", name, hex, created, (unsigned long long)(i->bytes + 1023) / 1024);
	else
		printf("%-40s %-14.12s %s\n", name, hex, err.text);
	oci_image_free(i);
	return true;
}

int verb_images(int argc, char **argv)
{
	struct format_option f = { NULL };
	const struct cli_group groups[] = { { format_options, &f }, { NULL } };
	struct image_store s;
	struct error err = { 0 };
	int status = cli_parse(groups, argc, argv, NULL, 0, 0);
	if (status >= 0)
		return status;
	int json = cli_format(&f, &err);
	free(f.format);
	if (json < 0)
		return cli_usage(&err);
	if (!image_store_open(&s, &err))
		return cli_fail(&err);
	struct json_out out = { 0 };
	struct listing l = { &s, json ? &out : NULL };
	json_open(&out, NULL, '[');
	if (!json)
		printf("%-40s %-14s %-20s %10s\n", "NAME", "DIGEST", "CREATED", "SIZE");
	image_each(&s, list_one, &l);
	json_close(&out, ']');
	if (json)
		printf("%s\n", out.text);
	json_out_free(&out);
	image_store_close(&s);
	return 0;
}

/* The manifest and the configuration, as they are. */
static bool print_image(struct image_store *s, const char *name, struct error *err)
{
	char full[REFERENCE_MAX + 1], hex[DIGEST_HEX + 1];
	size_t n;
	struct oci_image *i = image_find(s, name, full, hex, err) ? oci_image_load(s, hex, err) : NULL;
	if (!i)
		return false;
	auto_free char *manifest = blob_text(s, hex, &n, err), *config = blob_text(s, i->manifest.config->hex, &n, err);
	struct json_out o = { 0 };
	json_open(&o, NULL, '{');
	json_put_str(&o, "name", reference_familiar(full));
	json_put_str(&o, "digest", hex);
	json_put_raw(&o, "manifest", manifest ? manifest : "null");
	json_put_raw(&o, "config", config ? config : "null");
	json_close(&o, '}');
	printf("%s\n", o.text);
	json_out_free(&o);
	oci_image_free(i);
	return true;
}

static int with_names(int argc, char **argv, unsigned words, bool (*fn)(struct image_store *, const char *const *, struct error *))
{
	const char *names[2] = { NULL };
	struct image_store s;
	struct error err = { 0 };
	int status = cli_words(argc, argv, names, words, words);
	if (status >= 0)
		return status;
	if (!image_store_open(&s, &err))
		return cli_fail(&err);
	status = fn(&s, names, &err) ? 0 : cli_fail(&err);
	image_store_close(&s);
	return status;
}

static bool inspect(struct image_store *s, const char *const *names, struct error *err)
{
	return print_image(s, names[0], err);
}

static bool tag(struct image_store *s, const char *const *names, struct error *err)
{
	char full[REFERENCE_MAX + 1], hex[DIGEST_HEX + 1];
	struct reference r;
	return image_find(s, names[0], full, hex, err) && reference_parse(names[1], &r, err) &&
		(!*r.digest || error_set(err, 0, "a tag is a name without a digest")) && image_tag(s, r.full, hex, err);
}

static int image_inspect(int argc, char **argv) { return with_names(argc, argv, 1, inspect); }
static int image_tag_verb(int argc, char **argv) { return with_names(argc, argv, 2, tag); }

static const struct verb image_verbs[] = {
	{ "ls", "[--format json]", "the same as abyme images", verb_images },
	{ "import", "TARBALL|DIR|- NAME[:TAG]", "a root file system becomes an image", image_import },
	{ "inspect", "NAME", "an image's manifest and configuration", image_inspect },
	{ "tag", "NAME NEW[:TAG]", "a further name", image_tag_verb },
	{ "pull", "[--credentials FILE] NAME", "the same as abyme pull", verb_pull },
	{ "push", "[--credentials FILE] NAME [TO]", "the same as abyme push", verb_push },
	{ "load", "[--name NAME] FILE|DIR|-", "the same as abyme load", verb_load },
	{ "save", "[--output FILE] NAME...", "the same as abyme save", verb_save },
	{ "rm", "NAME...", "the same as abyme rmi", verb_rmi },
	{ "prune", "", "free what no name and no instance needs", image_prune },
	{ NULL }
};

int verb_image(int argc, char **argv) { return cli_noun(image_verbs, argc, argv); }
