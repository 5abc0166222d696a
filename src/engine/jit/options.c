/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What follows the engine's name: --engine jit,verify,eager,hot=RUNS,cache=SIZE. */
#include <string.h>
#include "base/util.h"
#include "engine/jit/jit.h"

static bool hot_option(struct jit_vm *vm, const char *text, struct error *err)
{
	uint64_t runs;

	if (!parse_u64(text, 1, HOT_RUNS, &runs))
		return error_set(err, 0, "a block cannot be hot after '%s' runs: use 1 to %d", text, HOT_RUNS);
	vm->hot_runs = (unsigned)runs;
	return true;
}

static bool option(struct jit_vm *vm, const char *word, struct error *err)
{
	uint64_t size;

	if (!strcmp(word, "verify"))
		return vm->verifies = true;
	if (!strcmp(word, "eager"))
		return vm->eager = true;
	if (!strncmp(word, "hot=", 4))
		return hot_option(vm, word + 4, err);
	if (strncmp(word, "cache=", 6))
		return error_set(err, 0, "engine jit has no option '%s': use verify or cache=SIZE", word);
	if (!parse_size(word + 6, &size) || size < CACHE_LEAST || size > CACHE_MOST || size % CACHE_LEAST)
		return error_set(err, 0, "the code cache cannot have the size '%s': use 1M to 1G, in whole MiB", word + 6);
	vm->size = size;
	return true;
}

bool jit_options_ok(const char *text, struct error *err)
{
	auto_free struct jit_vm *vm = xnew(struct jit_vm);
	return jit_options(vm, text, err);
}

bool jit_options(struct jit_vm *vm, const char *text, struct error *err)
{
	auto_free char *copy = xstrdup(text ? text : "");
	char *rest = NULL;

	vm->size = CACHE_SIZE;
	vm->hot_runs = HOT_RUNS;
	for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
		if (!option(vm, word, err))
			return false;
	return true;
}
