/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client of the control socket: see client.h. */
#include "instance/client.h"
#include "base/fdpass.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

enum { MAX_LINE = 1 << 20, CALL_SECONDS = 10 };

static bool send_command(int sock, const char *command, json_t *args, int fd, struct error *err)
{
	auto_free char *text = args ? json_dumps(args, JSON_COMPACT) : NULL;
	auto_free char *line = xasprintf("{\"id\": 1, \"command\": \"%s\", \"arguments\": %s}\n",
					 command, text ? text : "{}");
	if (fds_send(sock, line, strlen(line), &fd, fd >= 0, 0) == (ssize_t)strlen(line))
		return true;
	return error_set(err, errno, "cannot send '%s' to the machine", command);
}

static ssize_t read_on(void *sock, char *buf, size_t n) { return fd_read_some(*(int *)sock, buf, n); }

/* The next line as an object, NULL at the end or after a time-out. */
static json_t *read_object(FILE *f)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n = getline(&line, &room, f);
	json_t *o = n > 0 && n < MAX_LINE ? json_loadb(line, (size_t)n, 0, NULL) : NULL;
	free(line);
	return o;
}

static json_t *result_of(json_t *o, const char *command, struct error *err)
{
	json_t *result = json_incref(json_object_get(o, "return"));
	const char *why = json_string_value(json_object_get(o, "error"));
	if (!result)
		error_set(err, 0, "%s", why ? why : "the machine does not answer");
	json_decref(o);
	return result;
}

struct json_t *control_call_at(const struct instance *i, const char *socket, const char *command, struct json_t *args,
			       int fd, unsigned seconds, struct error *err)
{
	struct timeval t = { .tv_sec = seconds };
	auto_close int sock = instance_connect(i, socket, err);
	if (sock < 0)
		return NULL;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	FILE *f = fopencookie(&sock, "r", (cookie_io_functions_t){ .read = read_on });
	json_decref(read_object(f));      /* the greeting */
	json_t *result = NULL;
	if (send_command(sock, command, args, fd, err))
		result = result_of(read_object(f), command, err);
	fclose(f);
	return result;
}

struct json_t *control_call_with(const struct instance *i, const char *command, struct json_t *args,
				 int fd, unsigned seconds, struct error *err)
{
	return control_call_at(i, "control.sock", command, args, fd, seconds, err);
}

struct json_t *control_call(const struct instance *i, const char *command, int fd, unsigned seconds,
			    struct error *err)
{
	return control_call_with(i, command, NULL, fd, seconds, err);
}

bool control_do(const struct instance *i, const char *command, struct error *err)
{
	json_t *o = control_call(i, command, -1, CALL_SECONDS, err);
	json_decref(o);
	return o != NULL;
}

bool instance_kill(const struct instance *i, struct error *err)
{
	pid_t pid = instance_keeper(i);
	if (!pid)
		return error_set(err, 0, "instance '%s' is not running", i->name);
	return !kill(pid, SIGTERM) || error_set(err, errno, "cannot kill instance '%s'", i->name);
}

bool instance_wait_stopped(const struct instance *i, unsigned seconds)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	for (unsigned n = 0; n < seconds * 50; n++) {
		if (!instance_keeper(i))
			return true;
		nanosleep(&pause, NULL);
	}
	return !instance_keeper(i);
}
