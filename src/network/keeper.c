/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper of a network: see keeper.h.  Single-threaded; it talks to the
 * switch synchronously, with a limit.  Clients (net/message.h) are processes of
 * the same user; a client's ports go when it closes.
 */
#include "network/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "base/log.h"
#include "jail/jail.h"
#include "net/ring.h"

enum { LINGER_MS = 1000 };

void keeper_wake(struct network_keeper *k, unsigned ms)
{
	struct itimerspec t = { .it_value = { ms / 1000, (long)(ms % 1000) * 1000000 } };
	timerfd_settime(k->timer, 0, &t, NULL);
}

/* ---- clients ---- */

static void client_gone(struct keeper_client *c)
{
	struct network_keeper *k = c->keeper;
	struct keeper_client **p = &k->clients;
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	keeper_detach(k, c);
	if (c->capture >= 0)
		json_decref(keeper_switch_call(k, json_pack("{s:s, s:i}", "op", "capture-end", "capture", c->capture), NULL, 0, NULL));
	loop_fd_del(c->watch);
	close(c->fd);
	free(c);
	if (!k->nports && !k->held)
		keeper_wake(k, LINGER_MS);
}

static json_t *run_inspect(struct network_keeper *k)
{
	return json_pack("{s:i, s:i, s:i, s:i, s:o}", "keeper", (int)getpid(), "switch", (int)k->switch_pid,
			 "nat", (int)k->nat_pid, "switch-starts", (int)k->switch_starts, "ports", keeper_list_ports(k));
}

static json_t *run_stats(struct network_keeper *k, struct error *err)
{
	json_t *all = json_array(), *hits = NULL;
	for (bool more = true; more; ) {
		json_t *page = keeper_switch_call(k, json_pack("{s:s, s:I}", "op", "stats", "from",
							       (json_int_t)json_array_size(all)), NULL, 0, err);
		if (!page) {
			json_decref(all);
			json_decref(hits);
			return NULL;
		}
		more = message_flag(page, "more") && json_array_size(json_object_get(page, "ports"));
		json_array_extend(all, json_object_get(page, "ports"));
		json_decref(hits);
		hits = json_incref(json_object_get(page, "rule-hits"));
		json_decref(page);
	}
	return json_pack("{s:o, s:o}", "ports", all, "rule-hits", hits ? hits : json_array());
}

static bool read_definition(struct network_keeper *k, struct error *err)
{
	struct network_definition *d = network_definition(k->network, err);
	if (!d)
		return false;
	network_definition_free(k->definition);
	k->definition = d;
	k->kind = network_kind(d);
	k->has_subnet = d->subnet && subnet_parse(d->subnet, &k->subnet, NULL);
	k->has_subnet6 = k->has_subnet && d->subnet6 && subnet6_parse(d->subnet6, k->prefix6, NULL);
	return true;
}

static json_t *run_reload(struct network_keeper *k, struct error *err)
{
	return read_definition(k, err) && keeper_switch_configure(k, err) ? json_object() : NULL;
}

static json_t *run_stop(struct network_keeper *k, bool force, struct error *err)
{
	if (k->nports && !force)
		return error_null(err, 0, "network '%s' has %u members that run: stop them first, or use --force",
				  k->network->name, k->nports);
	k->ending = true;
	loop_stop(k->loop);
	return json_object();
}

/* Rings for one who looks on; they go with his connection. */
static json_t *run_capture(struct keeper_client *c, const json_t *o, int fds[PORT_FDS], unsigned *nfds, struct error *err)
{
	struct ring_fds r;
	if (c->capture >= 0 || !ring_make(&r, err))
		return c->capture >= 0 ? error_null(err, 0, "one capture a connection") : NULL;
	const int made[PORT_FDS] = { r.memory, r.to_switch, r.to_port };
	json_t *answer = keeper_switch_call(c->keeper, json_pack("{s:s, s:s, s:b}", "op", "capture", "port", message_text(o, "port", ""),
								 "drops", (int)message_flag(o, "drops")), made, PORT_FDS, err);
	if (!answer) {
		ring_fds_close(&r);
		return NULL;
	}
	c->capture = (int)message_number(answer, "capture", 0);
	memcpy(fds, made, sizeof(made));
	*nfds = PORT_FDS;
	return answer;
}

static json_t *run(struct keeper_client *c, struct message *m, int fds[PORT_FDS], unsigned *nfds, struct error *err)
{
	struct network_keeper *k = c->keeper;
	const char *op = message_text(m->body, "op", "");
	if (!strcmp(op, "attach"))
		return keeper_attach(k, c, m, fds, nfds, err);
	if (!strcmp(op, "inspect"))
		return run_inspect(k);
	if (!strcmp(op, "stats"))
		return run_stats(k, err);
	if (!strcmp(op, "capture"))
		return run_capture(c, m->body, fds, nfds, err);
	if (!strcmp(op, "hold")) {
		k->held = true;
		return json_object();
	}
	if (!strcmp(op, "reload"))
		return run_reload(k, err);
	if (!strcmp(op, "stop"))
		return run_stop(k, message_flag(m->body, "force"), err);
	if (!strcmp(op, "switch"))
		return keeper_switch_call(k, json_incref(json_object_get(m->body, "request")), m->fd, m->nfds, err);
	return error_null(err, 0, "the keeper does not know '%s'", op);
}

static void client_ready(void *opaque, int events)
{
	struct keeper_client *c = opaque;
	struct message m;
	struct error err = { 0 };
	int fds[PORT_FDS];
	unsigned nfds = 0;
	if (!message_receive(c->fd, &m, &err) || !m.body) {
		client_gone(c);
		return;
	}
	json_t *answer = run(c, &m, fds, &nfds, &err);
	if (!answer) {
		answer = json_pack("{s:s}", "error", err.text);
		nfds = 0;
	}
	message_free(&m);
	bool lent = c->capture >= 0 && nfds == PORT_FDS && json_object_get(answer, "capture");
	bool sent = message_send(c->fd, answer, fds, nfds, &err);
	for (unsigned i = 0; lent && i < nfds; i++)
		close(fds[i]);      /* a port's stay; a capture's are only passed on */
	if (!sent)
		client_gone(c);
}

static void accept_client(void *opaque, int events)
{
	struct network_keeper *k = opaque;
	int fd = accept4(k->listen, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	struct keeper_client *c = xnew(struct keeper_client);
	*c = (struct keeper_client){ .keeper = k, .fd = fd, .next = k->clients, .capture = -1 };
	k->clients = c;
	c->watch = loop_fd_add(k->loop, fd, LOOP_READ, client_ready, c);
}

/* ---- events ---- */

static void timer_ready(void *opaque, int events)
{
	struct network_keeper *k = opaque;
	struct error err = { 0 };
	uint64_t n;
	ssize_t got UNUSED = read(k->timer, &n, sizeof(n));
	if (!k->switch_pid && !keeper_switch_start(k, &err)) {
		log_error("the switch of network '%s' cannot be started: %s", k->network->name, err.text);
		keeper_wake(k, LINGER_MS);
	} else if (!k->nports && !k->held) {
		loop_stop(k->loop);
	}
}

static void signal_ready(void *opaque, int events)
{
	struct network_keeper *k = opaque;
	struct signalfd_siginfo info;
	int status;
	if (read(k->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo != SIGCHLD) {
		loop_stop(k->loop);
		return;
	}
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0; ) {
		if (pid == k->switch_pid)
			keeper_switch_died(k);
		else
			uplink_died(k, pid);
	}
}

/* ---- start and end ---- */

static void take_signals(struct network_keeper *k)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	k->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool open_log(struct network_keeper *k, struct error *err)
{
	int fd = openat(k->network->dir, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct rlimit r;
	if (fd < 0 || null < 0)
		return error_set(err, errno, "cannot write the log of network '%s'", k->network->name);
	dup2(null, 0);
	dup2(null, 1);
	dup2(fd, 2);
	close(null);
	log_setup(fd, LOG_INFO);
	if (!getrlimit(RLIMIT_NOFILE, &r)) {      /* three a port */
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
	return true;
}

static void warn_of_clash(struct network_keeper *k)
{
	char by[64];
	if (k->has_subnet && k->kind == NETWORK_nat && subnet_in_use(&k->subnet, by))
		log_warn("subnet %s is in use on this host by now (%s): members cannot reach that", k->definition->subnet, by);
}

static bool start(struct network_keeper *k, struct error *err)
{
	auto_free char *leases = network_read(k->network, "leases.json");
	k->leases = leases ? json_loads(leases, 0, NULL) : NULL;
	if (!json_is_object(k->leases))
		k->leases = json_object();
	k->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	k->loop = loop_new(err);
	if (!k->loop || k->timer < 0 || !read_definition(k, err))
		return false;
	warn_of_clash(k);
	if (!keeper_switch_start(k, err) || !uplink_start(k, err) || (k->listen = network_listen(k->network, err)) < 0)
		return false;
	loop_fd_add(k->loop, k->signals, LOOP_READ, signal_ready, k);
	loop_fd_add(k->loop, k->timer, LOOP_READ, timer_ready, k);
	loop_fd_add(k->loop, k->listen, LOOP_READ, accept_client, k);
	keeper_wake(k, 10 * LINGER_MS);
	return true;
}

static void end(struct network_keeper *k)
{
	unlinkat(k->network->dir, "keeper.sock", 0);
	for (struct keeper_client *c = k->clients; k->ending && c; c = c->next)      /* else they come again */
		message_send(c->fd, json_pack("{s:s}", "event", "ended"), NULL, 0, NULL);
	const pid_t children[] = { k->switch_pid, k->nat_pid };
	for (unsigned i = 0; i < ARRAY_SIZE(children); i++)
		if (children[i] > 0) {
			kill(children[i], SIGKILL);
			waitpid(children[i], NULL, 0);
		}
	uplink_end(k);
}

/* ABYME_STATE and the like may be relative; nothing here opens paths afterwards. */
static NORETURN void keeper_main(const struct network *n, int report)
{
	struct error err = { 0 };
	struct network_keeper *k = xnew(struct network_keeper);
	const int keep[] = { n->dir, report };
	*k = (struct network_keeper){ .network = n, .report = report, .switch_sock = -1, .nat_sock = -1, .listen = -1 };
	prctl(PR_SET_NAME, "abyme-network");
	jail_close_fds(keep, ARRAY_SIZE(keep));
	setsid();
	take_signals(k);
	bool busy = !network_lock(n, NULL);
	bool ok = !busy && open_log(k, &err) && start(k, &err);
	if (ok || busy)
		fd_write_full(report, busy ? "B" : "R", 1);
	else
		fd_write_full(report, err.text, strlen(err.text));
	close(report);
	if (ok)
		loop_run(k->loop);
	if (!busy)
		end(k);
	_exit(!ok);
}

bool network_keeper_start(const struct network *n, struct error *err)
{
	int report[2];
	char text[480] = "";
	size_t got = 0;
	if (pipe2(report, O_CLOEXEC))
		return error_set(err, errno, "cannot create a pipe");
	pid_t pid = fork();
	if (pid == 0) {          /* twice: the keeper is nobody's child */
		if (fork())
			_exit(0);
		keeper_main(n, report[1]);
	}
	close(report[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	for (ssize_t r; got < sizeof(text) - 1 && (r = read(report[0], text + got, sizeof(text) - 1 - got)) > 0; )
		got += (size_t)r;
	close(report[0]);
	if (!strcmp(text, "R") || !strcmp(text, "B"))
		return true;
	return error_set(err, 0, "network '%s' cannot be started: %s", n->name, got ? text : "its keeper died");
}
