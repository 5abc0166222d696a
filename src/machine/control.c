/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: see control.h.  Clients are the machine's owner (the
 * socket lies in a directory of mode 0700), yet their bytes are bounded and
 * checked.  A client that does not read its replies is dropped.
 */
#include "machine/control.h"
#include "disk/disk.h"
#include "device/keyboard.h"
#include "device/mouse.h"
#include "device/vga/screen.h"
#include "machine/control_disks.h"
#include "machine/machine.h"
#include "machine/trouble.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/socket.h>

enum { LINE_MAX_BYTES = 16384, MAX_CLIENTS = 16 };

struct deferred {
	struct control *control;
	struct request { struct control_client *client; json_t *id, *args; int fd; } request;
	control_work *work;
	pthread_t thread;
	json_t *args, *result;
	struct error err;
};

struct control {
	struct machine *machine;
	struct loop_fd *watch;
	struct control_client *clients;
	unsigned nclients;
	bool saving;
	struct deferred *deferred;        /* one at a time */
};

struct control_client {
	struct control *control;
	struct control_client *next;
	int fd, passed;                /* passed: descriptor for the next command */
	struct loop_fd *watch;
	size_t len;
	char line[LINE_MAX_BYTES];
};

struct command {
	const char *name;
	/* The result (a new reference), or NULL with err. */
	json_t *(*run)(struct control *c, struct request *r, struct error *err);
};

static void client_gone(struct control_client *k)
{
	struct control_client **p = &k->control->clients;
	while (*p != k)
		p = &(*p)->next;
	*p = k->next;
	k->control->nclients--;
	loop_fd_del(k->watch);
	close(k->fd);
	if (k->passed >= 0)
		close(k->passed);
	free(k);
}

static bool client_alive(const struct control *c, const struct control_client *k)
{
	for (const struct control_client *i = c->clients; i; i = i->next)
		if (i == k)
			return true;
	return false;
}

static bool send_object(struct control_client *k, json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text)
		return false;
	auto_free char *line = xasprintf("%s\n", text);
	size_t n = strlen(line);
	free(text);
	return send(k->fd, line, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n;
}

/* Steals id and result. */
static bool reply(struct control_client *k, json_t *id, json_t *result, const struct error *err)
{
	json_t *o = json_object();
	if (id)
		json_object_set_new(o, "id", id);
	if (result)
		json_object_set_new(o, "return", result);
	else
		json_object_set_new(o, "error", json_string(err->text));
	return send_object(k, o);
}

/* ---- commands ---- */

static json_t *run_pause(struct control *c, struct request *r, struct error *err)
{
	machine_pause(c->machine);
	return json_object();
}

static json_t *run_unpause(struct control *c, struct request *r, struct error *err)
{
	trouble_unpause(c->machine);
	return json_object();
}

static json_t *run_stop(struct control *c, struct request *r, struct error *err)
{
	if (c->machine->paused)
		return error_null(err, 0, "the machine is paused: unpause it first");
	machine_power_button(c->machine);
	return json_object();
}

static json_t *run_kill(struct control *c, struct request *r, struct error *err)
{
	machine_end_request(c->machine, END_KILLED, 0);
	return json_object();
}

static json_t *run_status(struct control *c, struct request *r, struct error *err)
{
	struct machine *m = c->machine;
	char why[400];
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}",
			 "name", m->config->name, "state", m->paused ? "paused" : "running",
			 "engine", m->engine->name, "cpu", m->model->name,
			 "vcpus", (json_int_t)m->nvcpus, "memory", (json_int_t)m->config->memory,
			 "uptime_ns", (json_int_t)clock_now(m->clock));
	if (m->config->engine_options && *m->config->engine_options)
		json_object_set_new(o, "engine-options", json_string(m->config->engine_options));
	if (trouble_describe(m, why, sizeof(why)))
		json_object_set_new(o, "reason", json_string(why));
	return o;
}

static void put_counter(void *object, const char *name, uint64_t value)
{
	json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *run_stats(struct control *c, struct request *r, struct error *err)
{
	json_t *o = run_status(c, r, err), *counters = json_object();
	if (c->machine->engine->stats)
		c->machine->engine->stats(c->machine, put_counter, counters);
	json_object_set_new(o, "counters", counters);
	return o;
}

/* ---- suspend: on its own thread, as draining needs the loop ---- */

struct save_job { struct control *control; struct request request; bool was_paused, stay, ok; char engine[64]; struct error err; };

static void save_done(void *opaque)
{
	struct save_job *j = opaque;
	struct control *c = j->control;
	struct control_client *k = j->request.client;
	c->saving = false;
	if (client_alive(c, k) && !reply(k, j->request.id, j->ok ? json_object() : NULL, &j->err))
		client_gone(k);
	memcpy(c->machine->next_engine, j->engine, sizeof(j->engine));
	if (j->ok && !j->stay)
		machine_end_request(c->machine, j->engine[0] ? END_ENGINE : END_SUSPENDED, 0);
	else if (!j->was_paused)
		machine_unpause(c->machine);
	free(j);
}

static void *save_thread(void *opaque)
{
	struct save_job *j = opaque;
	j->ok = machine_save(j->control->machine, j->request.fd, &j->err);
	close(j->request.fd);
	loop_post(j->control->machine->loop, save_done, j);
	return NULL;
}

static json_t *run_suspend(struct control *c, struct request *r, struct error *err)
{
	/* with an engine: the keeper starts the machine again, under that one */
	const char *engine = json_string_value(json_object_get(r->args, "engine"));
	pthread_t thread;
	if (engine && c->machine->config->gdb_fd >= 0)
		return error_null(err, 0, "the engine cannot be changed while gdb is served (--gdb)");
	if (engine && strlen(engine) >= sizeof(c->machine->next_engine))
		return error_null(err, 0, "the engine's options are too long");
	if (r->fd < 0)
		return error_null(err, 0, "suspend needs a file descriptor to write to");
	if (c->saving || c->deferred)
		return error_null(err, 0, "the machine is busy with a snapshot or a suspend: try again when it is done");
	struct save_job *j = xnew(struct save_job);
	/* it ends then, if it is not to continue */
	*j = (struct save_job){ c, *r, .was_paused = c->machine->paused, .stay = json_is_true(json_object_get(r->args, "continue")) };
	snprintf(j->engine, sizeof(j->engine), "%s", engine ? engine : "");
	int e = pthread_create(&thread, NULL, save_thread, j);
	if (e) {
		free(j);
		return error_null(err, e, "cannot start saving");
	}
	pthread_detach(thread);
	c->saving = true;
	r->fd = -1;
	r->client = NULL;      /* answered by save_done */
	return NULL;
}

/* ---- work on a thread of its own ---- */

static void deferred_done(void *opaque)
{
	struct deferred *j = opaque;
	struct control *c = j->control;
	struct control_client *k = j->request.client;
	pthread_join(j->thread, NULL);
	c->deferred = NULL;
	if (!client_alive(c, k)) {
		json_decref(j->result);
		json_decref(j->request.id);
	} else if (!reply(k, j->request.id, j->result, &j->err)) {
		client_gone(k);
	}
	json_decref(j->args);
	free(j);
}

static void *deferred_thread(void *opaque)
{
	struct deferred *j = opaque;
	j->result = j->work(j->control->machine, j->args, &j->err);
	loop_post(j->control->machine->loop, deferred_done, j);
	return NULL;
}

static json_t *defer(struct control *c, struct request *r, control_work *work, struct error *err)
{
	if (c->deferred || c->saving)
		return error_null(err, 0, "the machine is busy with a snapshot or a suspend: try again when it is done");
	struct deferred *j = xnew(struct deferred);
	*j = (struct deferred){ .control = c, .request = *r, .work = work, .args = json_incref(r->args) };
	int e = pthread_create(&j->thread, NULL, deferred_thread, j);
	if (e) {
		json_decref(j->args);
		free(j);
		return error_null(err, e, "cannot start a thread");
	}
	c->deferred = j;
	r->client = NULL;      /* answered by deferred_done */
	return NULL;
}

void control_finish(struct machine *m)
{
	if (!m->server || !m->server->deferred)
		return;
	for (unsigned i = 0; i < m->config->ndisks; i++)
		if (m->disks[i])
			disk_drain(m->disks[i]);   /* it may wait for transfers to end */
	pthread_join(m->server->deferred->thread, NULL);
	m->server->deferred = NULL;
}

static json_t *run_snapshot_create(struct control *c, struct request *r, struct error *err)
{
	return defer(c, r, control_snapshot_create, err);
}

static json_t *run_snapshot_delete(struct control *c, struct request *r, struct error *err)
{
	return defer(c, r, control_snapshot_delete, err);
}

static json_t *run_disk_limits(struct control *c, struct request *r, struct error *err)
{
	return control_disk_limits(c->machine, r->args, err);
}

static json_t *screen_as_text(struct control *c, int fd, struct error *err)
{
	board_lock(c->machine);
	auto_free char *text = screen_text(c->machine, err);
	board_unlock(c->machine);
	if (!text)
		return NULL;
	return fd_write_full(fd, text, strlen(text)) ? json_object() :
	       error_null(err, errno, "cannot write the screen's text");
}

static json_t *run_screenshot(struct control *c, struct request *r, struct error *err)
{
	struct image img = { 0 };
	if (r->fd < 0)
		return error_null(err, 0, "screenshot needs a file descriptor to write to");
	const char *format = json_string_value(json_object_get(r->args, "format"));
	if (format && !strcmp(format, "text"))
		return screen_as_text(c, r->fd, err);
	board_lock(c->machine);
	bool ok = screen_render(c->machine, &img, err);
	board_unlock(c->machine);
	ok = ok && image_write_png(&img, r->fd, err);
	json_t *o = ok ? json_pack("{s:i,s:i}", "width", img.width, "height", img.height) : NULL;
	image_free(&img);
	return o;
}

static json_t *on_keyboard(struct control *c, struct request *r, const char *argument,
			   bool (*press)(struct machine *, const char *, struct error *),
			   struct error *err)
{
	const char *text = json_string_value(json_object_get(r->args, argument));
	if (!text)
		return error_null(err, 0, "the argument '%s' is missing", argument);
	board_lock(c->machine);
	bool ok = press(c->machine, text, err);
	json_t *o = ok ? json_pack("{s:i}", "waiting", typist_waiting(c->machine)) : NULL;
	board_unlock(c->machine);
	return o;
}

static json_t *run_key(struct control *c, struct request *r, struct error *err)
{
	return on_keyboard(c, r, "chord", keyboard_chord, err);
}

static json_t *run_type(struct control *c, struct request *r, struct error *err)
{
	return on_keyboard(c, r, "text", keyboard_type, err);
}

static bool move_and_click(struct machine *m, json_t *args, unsigned button, struct error *err)
{
	json_int_t dx = json_integer_value(json_object_get(args, "dx"));
	json_int_t dy = json_integer_value(json_object_get(args, "dy"));
	if (dx != (int16_t)dx || dy != (int16_t)dy)
		return error_set(err, 0, "the mouse does not go so far: at most 32767 steps");
	return mouse_move(m, (int)dx, (int)dy, 0, err) &&
	       (!button || (mouse_buttons(m, button, err) && mouse_buttons(m, 0, err)));
}

/* A place of the screen, in its pixels. */
static bool point_and_click(struct machine *m, json_t *args, unsigned button, struct error *err)
{
	json_int_t x = json_integer_value(json_object_get(args, "x")), y = json_integer_value(json_object_get(args, "y"));
	struct image img;
	if (!screen_render(m, &img, err))
		return false;
	json_int_t width = img.width, height = img.height;
	image_free(&img);
	if (x < 0 || y < 0 || x >= width || y >= height)
		return error_set(err, 0, "the screen has %d x %d pixels, from 0 on", (int)width, (int)height);
	unsigned px = (unsigned)(x * TABLET_MAX / MAX(width - 1, 1)), py = (unsigned)(y * TABLET_MAX / MAX(height - 1, 1));
	if (!tablet_move(m, px, py, 0, 0))
		return error_set(err, 0, "the guest uses no tablet: start it with --input virtio or usb, or move the mouse by steps");
	return !button || (tablet_move(m, px, py, 0, button) && tablet_move(m, px, py, 0, 0));
}

static json_t *run_mouse(struct control *c, struct request *r, struct error *err)
{
	static const struct { const char *name; unsigned button; } buttons[] = {
		{ "left", MOUSE_LEFT }, { "right", MOUSE_RIGHT }, { "middle", MOUSE_MIDDLE } };
	const char *click = json_string_value(json_object_get(r->args, "click"));
	unsigned button = 0;
	for (unsigned i = 0; click && i < ARRAY_SIZE(buttons); i++)
		if (!strcmp(buttons[i].name, click))
			button = buttons[i].button;
	if (click && !button)
		return error_null(err, 0, "'%.20s' is not a button: use left, right or middle", click);
	board_lock(c->machine);
	bool ok = json_object_get(r->args, "x") ? point_and_click(c->machine, r->args, button, err) :
		  move_and_click(c->machine, r->args, button, err);
	board_unlock(c->machine);
	return ok ? json_object() : NULL;
}

static json_t *run_change(struct control *c, struct request *r, struct error *err)
{
	return control_change(c->machine, r->args, move_fd(&r->fd), err);
}

static const struct command commands[] = {
	{ "status", run_status }, { "stats", run_stats }, { "pause", run_pause },
	{ "unpause", run_unpause }, { "stop", run_stop }, { "kill", run_kill },
	{ "suspend", run_suspend }, { "screenshot", run_screenshot },
	{ "key", run_key }, { "type", run_type }, { "mouse", run_mouse },
	{ "snapshot-create", run_snapshot_create }, { "snapshot-delete", run_snapshot_delete },
	{ "change", run_change }, { "disk-limits", run_disk_limits },
};

static const struct command *find_command(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if (name && !strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* ---- the wire ---- */

static bool run_line(struct control_client *k, const char *line, size_t n)
{
	struct error err = { 0 };
	json_error_t why;
	json_t *o = json_loadb(line, n, 0, &why), *result = NULL;
	struct request r = { k, json_incref(json_object_get(o, "id")), json_object_get(o, "arguments"),
			     k->passed };
	const char *name = json_string_value(json_object_get(o, "command"));
	const struct command *cmd = find_command(name);
	k->passed = -1;
	if (!json_is_object(o))
		error_set(&err, 0, "a request is one JSON object a line: %s", why.text);
	else if (!cmd)
		error_set(&err, 0, "unknown command '%.40s'", name ? name : "");
	else
		result = cmd->run(k->control, &r, &err);
	if (r.fd >= 0)
		close(r.fd);
	json_decref(o);
	return !r.client || reply(k, r.id, result, &err);
}

/* Run each complete line; false when the client must go. */
static bool run_lines(struct control_client *k)
{
	char *nl;
	while ((nl = memchr(k->line, '\n', k->len))) {
		size_t n = (size_t)(nl - k->line) + 1;
		if (!run_line(k, k->line, n - 1))
			return false;
		k->len -= n;
		memmove(k->line, nl + 1, k->len);
	}
	return k->len < sizeof(k->line);
}

static void take_descriptor(struct control_client *k, struct msghdr *msg)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		if (k->passed >= 0)
			close(k->passed);
		memcpy(&k->passed, CMSG_DATA(h), sizeof(int));
	}
}

static void client_ready(void *opaque, int events)
{
	struct control_client *k = opaque;
	union { char b[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } room;
	struct iovec v = { k->line + k->len, sizeof(k->line) - k->len };
	struct msghdr msg = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = room.b,
			      .msg_controllen = sizeof(room.b) };
	ssize_t n = recvmsg(k->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		take_descriptor(k, &msg);
		k->len += (size_t)n;
	}
	if (n <= 0 || !run_lines(k))
		client_gone(k);
}

static void accept_client(void *opaque, int events)
{
	struct control *c = opaque;
	int fd = accept4(c->machine->config->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (c->nclients == MAX_CLIENTS) {
		close(fd);
		return;
	}
	struct control_client *k = xnew(struct control_client);
	k->control = c;
	k->fd = fd;
	k->passed = -1;
	k->next = c->clients;
	c->clients = k;
	c->nclients++;
	k->watch = loop_fd_add(c->machine->loop, fd, LOOP_READ, client_ready, k);
	json_t *hello = json_pack("{s:{s:i, s:s}}", "abyme", "protocol", CONTROL_PROTOCOL,
				  "name", c->machine->config->name);
	if (!send_object(k, hello))
		client_gone(k);
}

bool control_start(struct machine *m, struct error *err)
{
	if (m->config->control_fd < 0)
		return true;
	struct control *c = xnew(struct control);
	c->machine = m;
	m->server = c;
	c->watch = loop_fd_add(m->loop, m->config->control_fd, LOOP_READ, accept_client, c);
	return c->watch || error_set(err, 0, "cannot watch the control socket");
}

void control_stop(struct machine *m)
{
	struct control *c = m->server;
	if (!c)
		return;
	while (c->clients)
		client_gone(c->clients);
	loop_fd_del(c->watch);
	free(c);
	m->server = NULL;
}
