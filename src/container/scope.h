/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A container's control group as a scope of systemd (systemd.scope(5)): its name, its
 * properties, and who makes it.  systemd keeps what the properties say; the group is
 * delegated, so everything else in it is ours.
 */
#ifndef CONTAINER_SCOPE_H
#define CONTAINER_SCOPE_H

#include <sys/types.h>

#include "container/spec.h"

struct scope {
	char *slice, *unit;       /* "system.slice", "abyme-ID.scope"; unit NULL: not systemd's */
	bool user;                /* of the caller's own systemd */
};

/* linux.cgroupsPath is "SLICE:PREFIX:NAME"; NULL: the default slice and the ID. */
bool scope_name(struct scope *s, const char *cgroups_path, const char *id, bool user, struct error *err);
void scope_free(struct scope *s);

struct scope_device { const char *path; uint64_t value; };
/* A property and its value by its D-Bus signature: "b", "i", "u", "x", "t": number; "s": text;
 * "as": strings; "ay": bytes; "au": ids; "a(st)": devices. */
struct scope_property {
	const char *name, *type;
	uint64_t number;
	const char *text;
	struct strings strings;
	LIST(uint8_t) bytes;
	struct ids ids;
	LIST(struct scope_device) devices;
};
enum { SCOPE_PROPERTIES_MAX = 64 };
struct scope_properties {
	struct arena *arena;
	bool v1;                  /* limits in the units of version 1 */
	struct scope_property v[SCOPE_PROPERTIES_MAX];   /* a later one of the same name replaces the value */
	unsigned n;
};

/* The entry of this name, made if need be; NULL when there are too many. */
struct scope_property *scope_add(struct scope_properties *p, const char *name, const char *type);
void scope_add_number(struct scope_properties *p, const char *name, const char *type, uint64_t number);
void scope_add_text(struct scope_properties *p, const char *name, const char *text);
/* What a scope for this process needs whatever its limits are. */
void scope_basics(struct scope_properties *p, const struct scope *s, const char *id, pid_t pid);
/* Limits. `cpu_max` is what that file of the group says now; NULL: a new one. */
bool scope_resources(struct scope_properties *p, const struct spec_resources *r, const char *cpu_max, struct error *err);
/* org.systemd.property.NAME: a value as busctl and GVariant write it. */
bool scope_annotations(struct scope_properties *p, const struct pairs *annotations, struct error *err);

/* Who makes scopes: systemd over D-Bus (systemd_bus.c). Each waits until it is done. */
struct scope_manager {
	bool (*start)(const struct scope *s, const struct scope_properties *p, struct error *err);
	bool (*set)(const struct scope *s, const struct scope_properties *p, struct error *err);
	bool (*attach)(const struct scope *s, pid_t pid, struct error *err);
	bool (*stop)(const struct scope *s, struct error *err);      /* true also if there is none */
};
extern const struct scope_manager systemd_manager;
/* Once, by a program that may have such containers; the others need no loader. */
void scope_use(const struct scope_manager *m);

#endif
