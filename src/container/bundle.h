/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pieces of config.json that whoever makes a bundle writes. */
#ifndef CONTAINER_BUNDLE_H
#define CONTAINER_BUNDLE_H

#include "container/json.h"

void bundle_strings(struct json_out *j, const char *key, const char *const *v, unsigned n);
void bundle_mount(struct json_out *j, const char *at, const char *type, const char *source, const char *const *options, unsigned n);
/* /proc, /dev and what is below it. */
void bundle_basic_mounts(struct json_out *j, uint64_t shm_size);
/* One or more entries {inside 0.., outside, size}. */
void bundle_map(struct json_out *j, const char *key, uint32_t inside, uint32_t outside, uint32_t size);
/* maskedPaths and readonlyPaths: what of /proc and /sys is nobody's business inside. */
void bundle_hidden_paths(struct json_out *j);
/* "capabilities": all the sets that root has; list of names. */
void bundle_caps(struct json_out *j, const char *const *names, unsigned n);
/* What a container's root has unless it is said otherwise; ends with NULL. */
extern const char *const bundle_default_caps[];
/* "seccomp": calls that are dangerous or that nobody needs fail with EPERM. Those that
 * CAP_SYS_ADMIN governs stay, where the container has it. */
void bundle_seccomp(struct json_out *j, bool admin);

#endif
