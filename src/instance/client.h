/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other end of a machine's control socket (machine/control.h). */
#ifndef INSTANCE_CLIENT_H
#define INSTANCE_CLIENT_H

#include "instance/store.h"

/* One command and its result (a new reference), or NULL. `fd` >= 0 is passed
 * along; `seconds` 0 waits as long as it takes. */
struct json_t *control_call(const struct instance *i, const char *command, int fd, unsigned seconds,
			    struct error *err);
/* The same with arguments (borrowed, may be NULL). */
struct json_t *control_call_with(const struct instance *i, const char *command, struct json_t *args,
				 int fd, unsigned seconds, struct error *err);
/* The same on another socket of the instance's. */
struct json_t *control_call_at(const struct instance *i, const char *socket, const char *command, struct json_t *args,
			       int fd, unsigned seconds, struct error *err);
/* The same, result dropped. */
bool control_do(const struct instance *i, const char *command, struct error *err);

/* SIGTERM to the keeper, which kills the machine. */
bool instance_kill(const struct instance *i, struct error *err);
/* Until no keeper runs; false after `seconds`. */
bool instance_wait_stopped(const struct instance *i, unsigned seconds);

#endif
