/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests to a container's keeper, on control.sock: a line with a JSON object each, as a
 * machine takes them (abyme-control(7)). A request is answered before the next is read;
 * the clients are the instance's owner.
 */
#include "instance/container_keeper.h"
#include "instance/container_config.h"

#include <jansson.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { LINE_MOST = 16384, PATIENCE_SECONDS = 5 };

bool container_tell(struct container_keeper *k, const char *const *words, char **said, struct error *err)
{
	char *text = NULL;
	if (!k->pid)
		return error_set(err, 0, "the program of '%s' does not run now", k->instance->name);
	int status = k->wall->runtime(k, words, &text, err);
	if (text && (status > 0 || (status < 0 && !err->text[0])))
		error_set(err, 0, "%s", shim_sentence(text));
	if (!status && said)
		*said = move_ptr(text);
	free(text);
	return !status;
}

static json_t *do_status(struct container_keeper *k, json_t *args, struct error *err)
{
	const char *state = !k->pid ? "restarting" : k->paused ? "paused" : "running";
	return json_pack("{s:s, s:s, s:s, s:i, s:I, s:I}", "state", state, "engine", k->wall->engine ? k->wall->engine(k) : k->wall->isolation,
			 "isolation", k->wall->isolation,
			 "pid", (int)k->pid, "uptime_ns", (json_int_t)(k->pid ? time(NULL) - k->started : 0) * 1000000000,
			 "restarts", (json_int_t)k->restarts);
}

static json_t *do_signal(struct container_keeper *k, json_t *args, struct error *err)
{
	const char *name = json_string_value(json_object_get(args, "signal"));
	const char *const words[] = { "kill", k->shim.id, name ? name : "KILL", NULL };
	return container_tell(k, words, NULL, err) ? json_object() : NULL;
}

/* The program is asked to end, and not started again. */
static json_t *do_stop(struct container_keeper *k, json_t *args, struct error *err)
{
	const char *sig = k->definition->stop_signal ? k->definition->stop_signal : "TERM";
	const char *const words[] = { "kill", k->shim.id, sig, NULL };
	k->stopped = true;
	if (!k->pid) {
		container_kill_all(k);
		return json_object();
	}
	return container_tell(k, words, NULL, err) ? json_object() : NULL;
}

static json_t *freeze(struct container_keeper *k, bool frozen, struct error *err)
{
	if (!k->pid || !k->wall->freeze(k, frozen, err))
		return k->pid ? NULL : error_null(err, 0, "the program of '%s' does not run now", k->instance->name);
	k->paused = frozen;
	return json_object();
}

static json_t *do_pause(struct container_keeper *k, json_t *args, struct error *err) { return freeze(k, true, err); }
static json_t *do_unpause(struct container_keeper *k, json_t *args, struct error *err) { return freeze(k, false, err); }

static json_t *do_stats(struct container_keeper *k, json_t *args, struct error *err)
{
	auto_free char *said = NULL;
	const char *const words[] = { "events", "--stats", k->shim.id, NULL };
	if (!container_tell(k, words, &said, err))
		return NULL;
	json_t *o = json_loads(said, 0, NULL), *data = o ? json_incref(json_object_get(o, "data")) : NULL;
	json_decref(o);
	return data ? data : error_null(err, 0, "the container runtime's statistics cannot be read");
}

static json_t *do_top(struct container_keeper *k, json_t *args, struct error *err)
{
	auto_free char *said = NULL;
	const char *const words[] = { "ps", k->shim.id, NULL };
	return container_tell(k, words, &said, err) ? json_pack("{s:s}", "text", said) : NULL;
}

/* New limits, from a definition that is stored already. */
static json_t *do_update(struct container_keeper *k, json_t *args, struct error *err)
{
	struct definition *d = instance_definition(k->instance, err);
	auto_free char *text = d ? container_resources(d, definition_isolation(d) == ISOLATION_MICROVM, err) : NULL;
	definition_free(d);
	return text && k->wall->update(k, text, err) ? json_object() : NULL;
}

static const struct { const char *name; json_t *(*run)(struct container_keeper *, json_t *, struct error *); } commands[] = {
	{ "status", do_status }, { "stop", do_stop }, { "signal", do_signal }, { "pause", do_pause }, { "unpause", do_unpause },
	{ "stats", do_stats }, { "top", do_top }, { "update", do_update },
};

static json_t *answer(struct container_keeper *k, json_t *request)
{
	struct error err = { 0 };
	const char *name = json_string_value(json_object_get(request, "command"));
	json_t *result = NULL;
	unsigned i = 0;
	while (i < ARRAY_SIZE(commands) && (!name || strcmp(commands[i].name, name)))
		i++;
	if (i < ARRAY_SIZE(commands))
		result = commands[i].run(k, json_object_get(request, "arguments"), &err);
	else
		error_set(&err, 0, "a container has no '%.60s'", name ? name : "");
	return result ? json_pack("{s:o}", "return", result) : json_pack("{s:s}", "error", err.text);
}

static bool send_line(int fd, json_t *o)
{
	auto_free char *text = json_dumps(o, JSON_COMPACT);
	auto_free char *line = text ? xasprintf("%s\n", text) : NULL;
	json_decref(o);
	return line && send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line);
}

/* A greeting, then one request: what the house's own client does. */
static void serve(struct container_keeper *k, int fd)
{
	const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	char line[LINE_MOST];
	size_t n = 0;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!send_line(fd, json_pack("{s:s, s:i}", "abyme", "container", "version", 1)))
		return;
	for (ssize_t r; n < sizeof(line) && (r = fd_read_some(fd, line + n, sizeof(line) - n)) > 0; ) {
		n += (size_t)r;
		if (memchr(line, '\n', n))
			break;
	}
	json_t *request = json_loadb(line, n, JSON_DISABLE_EOF_CHECK, NULL);
	send_line(fd, request ? answer(k, request) : json_pack("{s:s}", "error", "this is no request"));
	json_decref(request);
}

static void control_ready(void *opaque, int events)
{
	struct container_keeper *k = opaque;
	auto_close int fd = accept4(k->control_listen, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		serve(k, fd);
}

bool container_control_start(struct container_keeper *k, struct error *err)
{
	k->control_listen = instance_listen(k->instance, "control.sock", err);
	if (k->control_listen < 0)
		return false;
	loop_fd_add(k->loop, k->control_listen, LOOP_READ, control_ready, k);
	return true;
}
