/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The choice of engine and CPU model: see engines.h. */
#include "instance/engines.h"
#include "instance/definition.h"
#include "engine/engine.h"
#include "x86/model.h"

#include <stdio.h>

const struct engine_ops *const engines[] = { &engine_kvm, &engine_jit, &engine_interp, NULL };

const struct engine_ops *engine_find(const char *name, size_t n)
{
	for (const struct engine_ops *const *e = engines; *e; e++)
		if (strlen((*e)->name) == n && !strncmp((*e)->name, name, n))
			return *e;
	return NULL;
}

bool engine_options_ok(const struct engine_ops *e, const char *text, struct error *err)
{
	const char *options = strchr(text, ',');
	if (!options)
		return true;
	return e->options_ok ? e->options_ok(options + 1, err) : error_set(err, 0, "engine %s has no options", e->name);
}

/* The first that can run here and knows the options. */
static bool choose(struct definition *d, const char *options, char why[160], struct error *err)
{
	struct error first = { 0 };
	for (const struct engine_ops *const *e = engines; *e; e++) {
		struct error e1 = { 0 };
		if (!engine_options_ok(*e, options, &e1) || ((*e)->probe && !(*e)->probe(&e1))) {
			first = first.text[0] ? first : e1;
			continue;
		}
		char *full = xasprintf("%s%s", (*e)->name, options);
		free(d->engine);
		d->engine = full;
		snprintf(why, 160, "%s%s%.130s", (*e)->name, first.text[0] ? ": " : "", first.text);
		return true;
	}
	return error_set(err, 0, "no engine can run here: %s; see abyme doctor", first.text);
}

static bool resolve_engine(struct definition *d, char why[160], struct error *err)
{
	size_t n = strcspn(d->engine, ",");
	auto_free char *options = xstrdup(d->engine + n);
	if (n == 4 && !strncmp(d->engine, "auto", n))
		return choose(d, options, why, err);
	const struct engine_ops *e = engine_find(d->engine, n);
	if (!e)
		return error_set(err, 0, "engine '%s' is not known: use auto, kvm, jit or interp", d->engine);
	snprintf(why, 160, "asked for");
	struct error e1 = { 0 };
	if (!engine_options_ok(e, options, err))
		return false;
	if (e->probe && !e->probe(&e1))
		return error_set(err, 0, "engine '%s' cannot run here: %s", e->name, e1.text);
	return true;
}

static bool resolve_cpu(struct definition *d, struct error *err)
{
	if (d->cpu)
		return x86_model_find(d->cpu, err) != NULL;
	const struct x86_model *best = x86_model_find("abyme-v3.1", NULL);
	const struct engine_ops *e = engine_find(d->engine, strcspn(d->engine, ","));
	d->cpu = xstrdup(best && e && e->model_ok(best, NULL) ? "abyme-v3.1" : "abyme-v2.1");
	return true;
}

bool engine_resolve(struct definition *d, char why[160], struct error *err)
{
	return resolve_engine(d, why, err) && resolve_cpu(d, err);
}
