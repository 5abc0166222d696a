/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keeper's switch: start, restart, requests. */
#include "network/keeper.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/log.h"
#include "jail/spawn.h"
#include "net/ring.h"

enum { ANSWER_MS = 15000, SLOW_RESTART_MS = 1000 };

static void set_links(struct network_keeper *k, bool up)
{
	for (struct keeper_port *p = k->ports; p; p = p->next)
		if (!strcmp(p->type, "ring"))
			ring_set_link(&(struct ring_fds){ p->fd[0], p->fd[1], p->fd[2] }, up);
}

/* The switch tells of ports that it has closed itself. */
static void event(struct network_keeper *k, const json_t *o)
{
	uint64_t id = message_number(o, "id", 0);
	if (strcmp(message_text(o, "event", ""), "broken"))
		return;
	for (struct keeper_port *p = k->ports; p; p = p->next)
		if (p->id == id) {
			log_warn("port '%s' broke the rules of its memory and is closed", message_text(p->config, "name", "?"));
			p->in_switch = false;
			if (!strcmp(p->type, "ring"))
				ring_set_link(&(struct ring_fds){ p->fd[0], p->fd[1], p->fd[2] }, false);
		}
}

static void switch_talks(void *opaque, int events)
{
	struct network_keeper *k = opaque;
	struct message m;
	if (!message_receive(k->switch_sock, &m, NULL) || !m.body)
		loop_fd_events(k->switch_watch, 0);      /* SIGCHLD tells the rest */
	else
		event(k, m.body);
	message_free(&m);
}

json_t *keeper_switch_call(struct network_keeper *k, json_t *body, const int *fds, unsigned nfds, struct error *err)
{
	if (k->switch_sock < 0) {
		json_decref(body);
		return error_null(err, 0, "the switch is being restarted");
	}
	struct message m;
	struct error why = { 0 };
	json_t *answer = message_call(k->switch_sock, body, fds, nfds, &m, ANSWER_MS, &why);
	while (answer && json_object_get(answer, "event")) {      /* it came in between */
		event(k, answer);
		message_free(&m);
		answer = message_answer(k->switch_sock, &m, ANSWER_MS, &why);
	}
	if (answer)
		return answer;
	if (why.code == ETIMEDOUT && k->switch_pid > 0) {
		log_error("the switch does not answer: it is killed");
		kill(k->switch_pid, SIGKILL);
	}
	error_set(err, 0, "%s", why.text);
	return NULL;
}

bool keeper_switch_add(struct network_keeper *k, struct keeper_port *p, struct error *err)
{
	json_t *answer = keeper_switch_call(k, json_pack("{s:s, s:I, s:s, s:O}", "op", "add", "id", (json_int_t)p->id,
							 "type", p->type, "port", p->config), p->fd, p->nfds, err);
	json_decref(answer);
	p->in_switch = answer != NULL;
	if (p->in_switch && !strcmp(p->type, "ring"))
		ring_set_link(&(struct ring_fds){ p->fd[0], p->fd[1], p->fd[2] }, true);
	return p->in_switch;
}

bool keeper_switch_configure(struct network_keeper *k, struct error *err)
{
	json_t *n = network_definition_json(k->definition);
	char text[64];
	json_object_set_new(n, "name", json_string(k->network->name));
	if (k->has_subnet) {
		struct in_addr base = { htonl(k->subnet.base) }, mask = { htonl(k->subnet.mask) };
		json_object_set_new(n, "network", json_string(inet_ntop(AF_INET, &base, text, sizeof(text))));
		json_object_set_new(n, "mask", json_string(inet_ntop(AF_INET, &mask, text, sizeof(text))));
	}
	if (k->has_subnet6)
		json_object_set_new(n, "prefix6", json_string(inet_ntop(AF_INET6, k->prefix6, text, sizeof(text))));
	json_t *answer = keeper_switch_call(k, json_pack("{s:s, s:o}", "op", "configure", "network", n), NULL, 0, err);
	json_decref(answer);
	return answer;
}

static bool spawn(struct network_keeper *k, struct error *err)
{
	char *argv[] = { "abyme-switch", "--jail", k->definition->jail, NULL };
	struct jail jail = { .role = JAIL_SWITCH };
	int pair[2], size = MESSAGE_MAX * 4;
	jail_mode_parse(k->definition->jail, &jail.mode);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "cannot create the switch's channel");
	for (unsigned i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	k->switch_pid = helper_spawn(argv[0], argv, &jail, pair[1], -1, err);
	close(pair[1]);
	k->switch_sock = pair[0];
	if (k->switch_pid > 0)
		return true;
	close(move_fd(&k->switch_sock));
	return false;
}

bool keeper_switch_start(struct network_keeper *k, struct error *err)
{
	k->switch_started_ns = monotonic_ns();
	k->switch_starts++;
	if (!spawn(k, err))
		return false;
	if (!keeper_switch_configure(k, err))
		return false;
	k->switch_watch = loop_fd_add(k->loop, k->switch_sock, LOOP_READ, switch_talks, k);
	for (struct keeper_port *p = k->ports; p; p = p->next) {
		struct error why = { 0 };
		if (!keeper_switch_add(k, p, &why))
			log_warn("port '%s' is lost: %s", message_text(p->config, "name", "?"), why.text);
	}
	return true;
}

/* Reaped: ports go down, and up again with the next switch. One that dies at once is
 * not started in a hurry. */
void keeper_switch_died(struct network_keeper *k)
{
	k->switch_pid = 0;
	set_links(k, false);
	if (k->switch_watch)
		loop_fd_del(k->switch_watch);
	k->switch_watch = NULL;
	if (k->switch_sock >= 0)
		close(move_fd(&k->switch_sock));
	log_warn("the switch of network '%s' has died: it is started again", k->network->name);
	keeper_wake(k, monotonic_ns() - k->switch_started_ns < SLOW_RESTART_MS * 1000000ull ? SLOW_RESTART_MS : 1);
}
