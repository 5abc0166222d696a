/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The struct vcpu, and behind it the room that its engine addresses from there. */
#include "engine/engine.h"

#include <stdlib.h>
#include <sys/mman.h>

static size_t bytes(const struct engine_ops *engine) { return VCPU_ROOM + engine->vcpu_room; }

struct vcpu *vcpu_alloc(const struct engine_ops *engine)
{
	struct vcpu *v = mmap(NULL, bytes(engine), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (v == MAP_FAILED)
		abort();
	v->engine = engine;
	return v;
}

void vcpu_free(struct vcpu *v) { munmap(v, bytes(v->engine)); }
