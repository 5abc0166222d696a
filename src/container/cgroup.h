/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control groups of a container: one directory in each hierarchy of
 * version 1 that is mounted (and in a version 2 hierarchy beside them), or one
 * directory of version 2, which may be a scope of systemd (scope.h).  Limits that a host cannot give are an error, never
 * ignored.
 */
#ifndef CONTAINER_CGROUP_H
#define CONTAINER_CGROUP_H

#include <sys/types.h>

#include "container/scope.h"

enum { CGROUP_MAX = 16 };

struct cgroup_dir {
	char *controllers;        /* v1: "cpu,cpuacct"; "" for a v2 hierarchy */
	char *mount;              /* where the hierarchy is mounted */
	char *path;               /* the container's directory, under mount */
	bool v2;
	bool ours;                /* the directory exists and is the container's */
};

struct cgroups {
	bool v2;                  /* version 2 alone */
	struct scope scope;       /* systemd's: then the directory is known once it is there */
	unsigned n;
	struct cgroup_dir dir[CGROUP_MAX];
};

/* Where the version 2 hierarchy alone is; else there are hierarchies of version 1. */
bool cgroups_unified(void);
/* Read the host's hierarchies and work out the directories. */
bool cgroups_find(struct cgroups *c, const char *cgroups_path, const char *id, struct error *err);
void cgroups_free(struct cgroups *c);
/* Make them. Without the right to (an ordinary user), a hierarchy is left out. */
bool cgroups_make(struct cgroups *c, struct error *err);
/* See which of them another process has made. */
void cgroups_notice(struct cgroups *c);
/* Instead of cgroups_find(): a scope of systemd; and instead of cgroups_make() and
 * cgroups_join(): it is started with this process, and limits, in it (cgroup_scope.c). */
bool cgroups_find_scope(struct cgroups *c, const char *cgroups_path, const char *id, struct error *err);
bool cgroups_start_scope(struct cgroups *c, pid_t pid, const char *id, const struct spec *s, struct error *err);
/* The directories of version 1 that a scope has, though nobody wrote down that they were made. */
bool cgroups_expect_scope(struct cgroups *c, struct error *err);
/* This path in each hierarchy, for cgroups that have none yet. */
bool cgroups_find_path(struct cgroups *c, const char *path, struct error *err);
/* Where a process is, "self" or its number, becomes the directory. */
bool cgroups_locate(struct cgroups *c, const char *process, struct error *err);
bool cgroups_join(const struct cgroups *c, pid_t pid, struct error *err);
bool cgroups_limit(const struct cgroups *c, const struct spec_resources *r, bool update, struct error *err);
/* Numbers of config.json as version 2 counts them. */
uint64_t cgroup_cpu_weight(uint64_t shares);
uint64_t cgroup_io_weight(uint64_t weight);
bool cgroup_swap_alone(const struct spec_resources *r, int64_t *swap, struct error *err);
/* systemd is told of limits that were changed. */
bool cgroups_limit_scope(const struct cgroups *c, const struct spec_resources *r, struct error *err);
bool cgroups_attach_scope(const struct cgroups *c, pid_t pid, struct error *err);
void cgroups_stop_scope(const struct cgroups *c);
/* Empty directories, with sub-directories, are removed; waits for dying processes. */
bool cgroups_remove(const struct cgroups *c, struct error *err);
/* Process IDs in it and below; returns how many, at most `max` are stored; -1: error. */
int cgroups_pids(const struct cgroups *c, pid_t *pids, unsigned max, struct error *err);
bool cgroups_freeze(const struct cgroups *c, bool frozen, struct error *err);
bool cgroups_frozen(const struct cgroups *c);
/* SIGKILL to all that is in it, also to what is being forked. */
bool cgroups_kill(const struct cgroups *c, int sig, struct error *err);

/* A comma-separated list of controllers holds the word. */
bool cgroup_lists(const char *list, const char *word);
/* The directory with this controller, or NULL. */
const struct cgroup_dir *cgroups_with(const struct cgroups *c, const char *controller);
/* One file of a directory. Reading: false if it is not there. */
bool cgroup_write(const struct cgroup_dir *d, const char *file, const char *value, struct error *err);
bool cgroup_read(const struct cgroup_dir *d, const char *file, char *text, size_t room);

/* Devices: version 2 by a BPF program (cgroup_bpf.c). */
bool cgroup_bpf_devices(const struct cgroup_dir *d, const struct spec_device_rule *rules, unsigned n, struct error *err);
/* What every container may use: runtime-spec "Default Devices". */
extern const struct spec_device_rule cgroup_default_devices[];
extern const unsigned cgroup_default_devices_n;

struct json_out;
void cgroups_stats(const struct cgroups *c, struct json_out *out);
void cgroups_save(const struct cgroups *c, struct json_out *out);
bool cgroups_load(struct cgroups *c, const struct json *v, struct error *err);

#endif
