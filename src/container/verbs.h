/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verbs of abyme-oci: each parses, calls lifecycle.h, prints. */
#ifndef CONTAINER_VERBS_H
#define CONTAINER_VERBS_H

#include "container/args.h"
#include "container/lifecycle.h"

struct oci {
	char root[4096];                  /* of the records */
	char **argv;                      /* of the whole program */
	bool systemd;                     /* --systemd-cgroup */
};

struct oci_verb {
	const char *name, *usage, *help;
	/* argv[0] is the verb; the program's status, -1 with `err` filled */
	int (*run)(struct oci *o, int argc, char **argv, struct error *err);
};
extern const struct oci_verb oci_verbs[];

int oci_create(struct oci *o, int argc, char **argv, struct error *err);
int oci_run(struct oci *o, int argc, char **argv, struct error *err);
int oci_start(struct oci *o, int argc, char **argv, struct error *err);
int oci_exec(struct oci *o, int argc, char **argv, struct error *err);
int oci_kill(struct oci *o, int argc, char **argv, struct error *err);
int oci_delete(struct oci *o, int argc, char **argv, struct error *err);
int oci_state(struct oci *o, int argc, char **argv, struct error *err);
int oci_list(struct oci *o, int argc, char **argv, struct error *err);
int oci_ps(struct oci *o, int argc, char **argv, struct error *err);
int oci_pause(struct oci *o, int argc, char **argv, struct error *err);
int oci_resume(struct oci *o, int argc, char **argv, struct error *err);
int oci_update(struct oci *o, int argc, char **argv, struct error *err);
int oci_events(struct oci *o, int argc, char **argv, struct error *err);
int oci_spec(struct oci *o, int argc, char **argv, struct error *err);
int oci_archive(struct oci *o, int argc, char **argv, struct error *err);
int oci_extract(struct oci *o, int argc, char **argv, struct error *err);
int oci_features(struct oci *o, int argc, char **argv, struct error *err);

/* Options, then exactly one ID (or at least, with more: what follows it is
 * argv[*at]); the container, or NULL. */
struct container *verb_container(struct oci *o, const struct arg *table, int argc, char **argv, int *at, struct error *err);
/* "TERM", "SIGTERM", "15", "RTMIN+3"; -1. */
int signal_number(const char *text);
/* The exit status for a wait status. */
int exit_status(int status);

#endif
