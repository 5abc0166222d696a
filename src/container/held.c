/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Containers that wait for their command: see held.h. */
#include "container/held.h"
#include "container/channel.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

/* ---- in the first process ---- */

static void append(struct strings *list, const char *text)
{
	list->v = xrealloc(list->v, (list->n + 2) * sizeof(*list->v));
	list->v[list->n++] = text;
	list->v[list->n] = NULL;
}

static bool take(struct launch *l, char *text, size_t n, struct error *err)
{
	struct strings args = { 0 }, env = { xcalloc(1, sizeof(char *)), 0 };
	for (char *p = text; p < text + n; p += strlen(p) + 1) {
		if (*p == 'A')
			append(&args, p + 1);
		else if (*p == 'E')
			append(&env, p + 1);
		else if (*p == 'H' && sethostname(p + 1, strlen(p + 1)))
			return error_set(err, errno, "cannot set the host name '%.64s'", p + 1);
	}
	if (!args.n)
		return error_set(err, 0, "there is no command");
	l->process->args = args;
	l->process->env = env;
	return true;
}

bool held_receive(struct launch *l, int from, struct error *err)
{
	uint8_t head[4];
	uint32_t n = fd_read_full(from, head, sizeof(head)) ? le32_get(head) : 0;
	if (!n || n > HELD_MOST)
		return error_set(err, 0, "the container is held: it is not started by 'start'");
	char *text = xmalloc(n + 1);      /* kept: the new program's words are in it */
	text[n] = 0;
	return fd_read_full(from, text, n) ? take(l, text, n, err) : error_set(err, 0, "the container's command did not come");
}

/* ---- who starts it ---- */

struct message { char *text; size_t used; };

static void put(struct message *m, char kind, const char *text)
{
	size_t n = strlen(text) + 2;
	m->text = xrealloc(m->text, m->used + n);
	m->text[m->used] = kind;
	memcpy(m->text + m->used + 1, text, n - 1);
	m->used += n;
}

static bool converse(int fd, const struct message *m, struct error *err)
{
	uint8_t head[4];
	char text[400];
	size_t n = 0;
	le32_put(head, (uint32_t)m->used);
	if (m->used > HELD_MOST || !fd_write_full(fd, head, sizeof(head)) || !fd_write_full(fd, m->text, m->used))
		return error_set(err, m->used > HELD_MOST ? E2BIG : errno, "cannot start the container");
	for (ssize_t r; n < sizeof(text) - 1 && (r = read(fd, text + n, sizeof(text) - 1 - n)) > 0; )
		n += (size_t)r;
	text[n] = 0;
	return !n || error_set(err, 0, "%s", text);
}

bool held_start(const char *record, const struct strings *args, const struct strings *env, const char *hostname, struct error *err)
{
	struct message m = { 0 };
	auto_free char *path = xasprintf("%s/start", record);
	auto_close int fd = connect_unix(path, err);
	for (unsigned i = 0; i < args->n; i++)
		put(&m, 'A', args->v[i]);
	for (unsigned i = 0; i < env->n; i++)
		put(&m, 'E', env->v[i]);
	if (hostname)
		put(&m, 'H', hostname);
	bool ok = fd >= 0 && converse(fd, &m, err);
	free(m.text);
	return ok;
}
