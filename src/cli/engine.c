/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme engine: what runs a machine's instructions; change it while it runs. */
#include "cli/cli.h"
#include "engine/engine.h"
#include "instance/client.h"
#include "instance/definition.h"
#include "instance/engines.h"
#include "instance/keeper.h"
#include "instance/store.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

enum { CALL_SECONDS = 10, CHANGE_SECONDS = 120 };

static bool can_run(const struct engine_ops *e, const char *cpu, struct error *err)
{
	const struct x86_model *m = x86_model_find(cpu, err);
	struct error why = { 0 };
	if (!m)
		return false;
	if (!strcmp(cpu, "max"))
		return error_set(err, 0, "CPU model 'max' does not move between engines: start the machine with --cpu abyme-v2.1");
	return (e->probe(&why) && e->model_ok(m, &why)) ||
	       error_set(err, 0, "engine '%s' cannot run here: %s", e->name, why.text);
}

/* Saved to a file of its directory; the keeper starts it again from there. */
static bool ask(const struct instance *i, const char *engine, struct error *err)
{
	unlinkat(i->dir, ENGINE_STATE, 0);
	auto_close int fd = openat(i->dir, ENGINE_STATE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(err, errno, "cannot write the state of '%s' to its directory", i->name);
	json_t *args = json_pack("{s:s}", "engine", engine);
	json_t *o = control_call_with(i, "suspend", args, fd, 0, err);
	json_decref(args);
	json_decref(o);
	if (!o)
		unlinkat(i->dir, ENGINE_STATE, 0);
	return o;
}

/* From a machine's status: the engine with its options, or NULL. */
static char *engine_of(json_t *status)
{
	const char *name = json_string_value(json_object_get(status, "engine"));
	const char *options = json_string_value(json_object_get(status, "engine-options"));
	return name ? xasprintf("%s%s%s", name, options ? "," : "", options ? options : "") : NULL;
}

/* What was asked for, with the definition's options where it says none and means the same engine. */
static char *with_options(const struct instance *i, const char *asked)
{
	char why[160];
	size_t n = strcspn(asked, ",");
	struct definition *d = asked[n] ? NULL : instance_definition(i, NULL);
	bool same = d && d->engine && engine_resolve(d, why, NULL) && !strncmp(d->engine, asked, n) && d->engine[n] == ',';
	char *text = xstrdup(same ? d->engine : asked);
	if (text[n] && !text[n + 1])      /* "jit,": none */
		text[n] = 0;
	definition_free(d);
	return text;
}

/* Until the machine answers from behind its keeper's new process. */
static bool wait_for(const struct instance *i, const char *engine, struct error *err)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	time_t end = time(NULL) + CHANGE_SECONDS;
	while (time(NULL) < end && instance_keeper(i)) {
		json_t *o = faccessat(i->dir, ENGINE_STATE, F_OK, 0) ? control_call(i, "status", -1, CALL_SECONDS, NULL) : NULL;
		auto_free char *now = engine_of(o);
		json_decref(o);
		if (now && !strcmp(now, engine))
			return true;
		if (now)
			return error_set(err, 0, "'%s' goes on under its old engine: its log says why (abyme logs --monitor %s)",
					 i->name, i->name);
		nanosleep(&pause, NULL);
	}
	return error_set(err, 0, "'%s' did not come back under engine %s; see abyme logs --monitor %s",
			 i->name, engine, i->name);
}

static bool change(const struct instance *i, const char *name, const char *cpu, struct error *err)
{
	const struct engine_ops *e = engine_find(name, strcspn(name, ","));
	if (!e)
		return error_set(err, 0, "engine '%s' is not known: use kvm, jit or interp", name);
	return engine_options_ok(e, name, err) && can_run(e, cpu, err) && ask(i, name, err) && wait_for(i, name, err);
}

int verb_engine(int argc, char **argv)
{
	const char *words[2] = { NULL };
	struct error err = { 0 };
	int status = cli_words(argc, argv, words, 1, 2);
	if (status >= 0)
		return status;
	struct instance *i = instance_open(words[0], &err);
	json_t *o = i ? control_call(i, "status", -1, CALL_SECONDS, &err) : NULL;
	const char *cpu = json_string_value(json_object_get(o, "cpu"));
	auto_free char *now = engine_of(o);
	auto_free char *wanted = i && words[1] ? with_options(i, words[1]) : NULL;
	bool ok = now;
	if (now && !wanted)
		printf("%s\n", now);
	else if (now && !cpu)
		ok = error_set(&err, 0, "the program of '%s' stays under what it was started with", words[0]);
	else if (now && strcmp(now, wanted))
		ok = change(i, wanted, cpu, &err);
	json_decref(o);
	instance_close(i);
	return ok ? 0 : cli_fail(&err);
}
