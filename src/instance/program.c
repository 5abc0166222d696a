/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs of images: defaults, checks, and what the image says. See program.h. */
#include "instance/program.h"
#include "base/place.h"
#include "container/possible.h"
#include "container/verbs.h"
#include "image/manifest.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum { MOST_VOLUMES = 7 };

/* ---- volumes ---- */

/* A volume with a name is a directory of the state directory, made when it is first used. */
static bool named_volume(const char *name, char source[4096], struct error *err)
{
	if (!instance_name_ok(name, err))
		return false;
	auto_free char *kind = xasprintf("volumes/%s", name);
	auto_close int fd = place_open(kind, err);
	auto_free char *state = fd >= 0 ? place_state(err) : NULL;
	if (!state)
		return false;
	return snprintf(source, 4096, "%s/%s", state, kind) < 4096 || error_set(err, ENAMETOOLONG, "volume '%s'", name);
}

bool volume_parse(const char *text, struct volume *v, struct error *err)
{
	const char *colon = strchr(text, ':');
	size_t n = colon ? strcspn(colon + 1, ":") : 0;
	const char *mode = colon && colon[1 + n] ? colon + n + 2 : "rw";
	if (!colon || colon == text || colon[1] != '/' || n >= sizeof(v->target) || colon - text >= PATH_MAX ||
	    (strcmp(mode, "ro") && strcmp(mode, "rw")))
		return error_set(err, 0, "volume '%s' is not of the form HOST:/INSIDE or HOST:/INSIDE:ro", text);
	auto_free char *host = strndup(text, (size_t)(colon - text));
	snprintf(v->target, sizeof(v->target), "%.*s", (int)n, colon + 1);
	v->readonly = !strcmp(mode, "ro");
	if (host[0] != '/' && host[0] != '.')
		return named_volume(host, v->source, err);
	return realpath(host, v->source) || error_set(err, errno, "cannot find '%s' of volume '%s'", host, text);
}

/* ---- checks ---- */

bool restart_parse(const char *text, struct restart *r, struct error *err)
{
	uint64_t n = 0;
	*r = (struct restart){ RESTART_NO, 0 };
	if (!text || !strcmp(text, "no"))
		return true;
	r->when = strncmp(text, "on-failure", 10) ? RESTART_ALWAYS : RESTART_FAILURE;
	if (!strcmp(text, "always") || !strcmp(text, "unless-stopped") || !strcmp(text, "on-failure"))
		return true;
	if (strncmp(text, "on-failure:", 11) || !parse_u64(text + 11, 1, UINT32_MAX, &n))
		return error_set(err, 0, "--restart takes no, always, unless-stopped or on-failure[:N], not '%s'", text);
	r->most = (unsigned)n;
	return true;
}

static bool check_limits(const struct definition *d, struct error *err)
{
	uint64_t v;
	if (d->memory && (!parse_size(d->memory, &v) || v < 4 * MiB))
		return error_set(err, 0, "memory size '%s' is not a size from 4M on: write 512M or 2G", d->memory);
	if (d->io && (!parse_size(d->io, &v) || !v))
		return error_set(err, 0, "--io takes bytes a second, as in 10M, not '%s'", d->io);
	return true;
}

static bool check_words(const struct definition *d, struct error *err)
{
	struct restart r;
	for (unsigned i = 0; i < d->nenv; i++)
		if (!strchr(d->env[i], '=') || d->env[i][0] == '=')
			return error_set(err, 0, "--env takes NAME=VALUE, not '%s'", d->env[i]);
	for (unsigned i = 0; i < d->ntmpfs; i++)
		if (d->tmpfs[i][0] != '/')
			return error_set(err, 0, "--tmpfs takes /INSIDE[:OPTION,...], not '%s'", d->tmpfs[i]);
	if (d->stop_signal && signal_number(d->stop_signal) <= 0)
		return error_set(err, 0, "'%s' is not a signal", d->stop_signal);
	if (d->workdir && d->workdir[0] != '/')
		return error_set(err, 0, "--workdir takes an absolute path, not '%s'", d->workdir);
	return restart_parse(d->restart, &r, err);
}

static bool only_for_images(const struct definition *d, struct error *err)
{
	const struct { bool said; const char *option; } given[] = { { d->nvolumes, "--volume" }, { d->nenv, "--env" },
		{ d->ntmpfs, "--tmpfs" }, { d->ncap_add, "--cap-add" }, { d->ncap_drop, "--cap-drop" }, { d->ndevices, "--device" },
		{ d->privileged, "--privileged" }, { d->read_only, "--read-only" }, { d->user, "--user" },
		{ d->workdir, "--workdir" }, { d->init, "--init" }, { d->restart, "--restart" }, { d->pids, "--pids" }, { d->io, "--io" },
		{ d->isolation && strcmp(d->isolation, "vm"), "--isolation" } };
	for (unsigned i = 0; i < ARRAY_SIZE(given); i++)
		if (given[i].said)
			return error_set(err, 0, "%s is for images: name one, or leave it out", given[i].option);
	return true;
}

/* What a machine cannot have. */
static bool check_machine(const struct definition *d, struct error *err)
{
	if (d->ndevices)
		return error_set(err, 0, "--device gives a device of the host, which a micro-VM cannot have: use --isolation container");
	if (d->nvolumes > MOST_VOLUMES)
		return error_set(err, 0, "a micro-VM has at most %d volumes", MOST_VOLUMES);
	for (unsigned i = 0; i < d->nnets; i++)
		if (!strcmp(d->nets[i].name, "host"))
			return error_set(err, 0, "network host is for containers: a micro-VM has interfaces of its own");
	return true;
}

/* What was asked for decides, then what the host grants. */
static void choose(struct definition *d, char why[160])
{
	struct error e = { 0 };
	bool machine = d->kernel || (d->board && !strcmp(d->board, "microvm")) || (d->engine && strncmp(d->engine, "auto", 4));
	bool possible = !machine && container_possible(&e);
	free(d->isolation);
	d->isolation = xstrdup(possible ? "container" : "microvm");
	snprintf(why, 160, "%s: %.130s", d->isolation, machine ? "a kernel, an engine or its board was asked for" :
		 possible ? "this host grants namespaces, and that is the quickest wall" : e.text);
}

bool program_resolve(struct definition *d, char why[160], struct error *err)
{
	why[0] = 0;
	static const char *const words[] = { "auto", "container", "microvm", "vm" };
	bool known = !d->isolation;
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		known |= d->isolation && !strcmp(d->isolation, words[i]);
	if (!known)
		return error_set(err, 0, "isolation '%s' is not known: use container, microvm, vm or auto", d->isolation);
	if (!d->image)
		return only_for_images(d, err);
	if (d->isolation && !strcmp(d->isolation, "vm"))
		return error_set(err, 0, "isolation vm is for disks, which bring their own kernel: images run in a container or a microvm");
	if (!d->isolation || !strcmp(d->isolation, "auto"))
		choose(d, why);
	return (d->nnets || definition_add_net(d, "user", err)) && check_limits(d, err) && check_words(d, err) &&
		(strcmp(d->isolation, "microvm") || check_machine(d, err));
}

/* ---- what the image says ---- */

static bool has_variable(const struct definition *d, const char *entry)
{
	size_t n = strcspn(entry, "=") + 1;
	for (unsigned i = 0; i < d->nenv; i++)
		if (!strncmp(d->env[i], entry, n))
			return true;
	return false;
}

/* The image's come first, as a user expects of `env`. */
static void merge_env(struct definition *d, const struct strings *env)
{
	char **own = d->env;
	unsigned nown = d->nenv, n = 0;
	char **all = xcalloc(env->n + nown + 1, sizeof(*all));
	for (unsigned i = 0; i < env->n; i++)
		if (strchr(env->v[i], '=') && !has_variable(d, env->v[i]))
			all[n++] = xstrdup(env->v[i]);
	for (unsigned i = 0; i < nown; i++)
		all[n++] = own[i];
	free(own);
	d->env = all;
	d->nenv = n;
}

static void merge_command(struct definition *d, const struct image_config *c, const char *entrypoint)
{
	char **given = d->command;
	unsigned ngiven = d->ncommand;
	d->command = NULL;
	d->ncommand = 0;
	if (entrypoint && *entrypoint)
		definition_append(&d->command, &d->ncommand, entrypoint);
	for (unsigned i = 0; !entrypoint && i < c->run.entrypoint.n; i++)
		definition_append(&d->command, &d->ncommand, c->run.entrypoint.v[i]);
	for (unsigned i = 0; i < ngiven; i++)
		definition_append(&d->command, &d->ncommand, given[i]);
	for (unsigned i = 0; !ngiven && !entrypoint && i < c->run.cmd.n; i++)
		definition_append(&d->command, &d->ncommand, c->run.cmd.v[i]);
	for (unsigned i = 0; i < ngiven; i++)
		free(given[i]);
	free(given);
}

static void take_text(char **field, const char *value)
{
	if (!*field && value && *value)
		*field = xstrdup(value);
}

static bool take(struct definition *d, struct image_store *s, const char *entrypoint, struct error *err)
{
	char full[REFERENCE_MAX + 1], hex[DIGEST_HEX + 1];
	struct oci_image *i = image_find(s, d->image, full, hex, err) ? oci_image_load(s, hex, err) : NULL;
	if (!i)
		return false;
	free(d->digest);
	d->digest = xstrdup(hex);
	merge_env(d, &i->config.run.env);
	merge_command(d, &i->config, entrypoint);
	take_text(&d->user, i->config.run.user);
	take_text(&d->workdir, i->config.run.workdir);
	take_text(&d->stop_signal, i->config.run.stop_signal);
	oci_image_free(i);
	return d->ncommand || error_set(err, 0, "image '%s' names no program: give a command", d->image);
}

bool program_take_image(struct definition *d, const char *entrypoint, struct error *err)
{
	struct image_store s;
	if (!image_store_open(&s, err))
		return false;
	bool ok = take(d, &s, entrypoint, err);
	image_store_close(&s);
	return ok;
}
