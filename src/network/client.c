/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Joining a network: see client.h. */
#include "network/client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>

#include "network/keeper.h"

enum { CALL_MS = 60000, TRIES = 500 };

static int dial(const struct network *n, bool start, struct error *err)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	for (unsigned i = 0; ; i++) {
		struct error why = { 0 };
		int fd = network_dial(n, &why);
		if (fd >= 0 || why.code != ECONNREFUSED || i == TRIES)
			return fd >= 0 ? fd : error_minus(err, 0, "%s", why.text);
		if (!start && !network_keeper_pid(n))
			return error_minus(err, ECONNREFUSED, "network '%s' is not running", n->name);
		if (start && !network_keeper_start(n, err))
			return -1;
		if (i)
			nanosleep(&pause, NULL);      /* one that is just ending, or just starting */
	}
}

/* A keeper that nobody needs ends; whoever spoke to it in that moment asks the next. */
static bool keeper_left(const struct error *err)
{
	return err->code == EPIPE || err->code == ECONNRESET;
}

int network_ask(const struct network *n, bool start, json_t *body, const int *fds, unsigned nfds, struct message *m,
		struct error *err)
{
	struct error why = { 0 };
	int fd = -1;
	for (unsigned i = 0; i < TRIES && (fd = dial(n, start, &why)) >= 0; i++) {
		if (message_call(fd, json_incref(body), fds, nfds, m, CALL_MS, &why))
			break;
		close(move_fd(&fd));
		if (!keeper_left(&why))
			break;
	}
	json_decref(body);
	if (fd < 0 && err)
		*err = why;
	return fd;
}

json_t *network_call(const struct network *n, bool start, json_t *body, struct error *err)
{
	struct message m;
	auto_close int fd = network_ask(n, start, body, NULL, 0, &m, err);
	json_t *answer = fd >= 0 ? json_incref(m.body) : NULL;
	if (fd >= 0)
		message_free(&m);
	return answer;
}

json_t *network_parse_trunk(const char *text, struct error *err)
{
	json_t *list = json_array();
	char buf[256];
	if (!strcmp(text, "all"))
		text = "1-4094";
	snprintf(buf, sizeof(buf), "%s", text);
	char *save = NULL;
	for (char *word = strtok_r(buf, ":", &save); word; word = strtok_r(NULL, ":", &save)) {
		char *dash = strchr(word, '-');
		uint64_t first, last;
		if (dash)
			*dash++ = 0;
		if (!parse_u64(word, 1, 4094, &first) || !parse_u64(dash ? dash : word, first, 4094, &last)) {
			json_decref(list);
			return error_null(err, 0, "trunk '%s' is not a list of VLANs: write 10:20-30 or all", text);
		}
		json_array_append_new(list, json_pack("[I, I]", (json_int_t)first, (json_int_t)last));
	}
	return list;
}

static bool rate_of(const char *text, const char *what, uint64_t otherwise, uint64_t *value, struct error *err)
{
	*value = otherwise;
	return !text || (parse_size(text, value) && *value) ||
		error_set(err, 0, "%s '%s' is not a number of bytes%s: write 10M", what, text, *what == 'r' ? " a second" : "");
}

/* A bucket holds two of the largest segments at least, or those would never pass. */
static bool put_limits(json_t *o, const struct network_limits *l, struct error *err)
{
	uint64_t both, up, down, burst;
	if (!rate_of(l->rate, "rate", 0, &both, err) || !rate_of(l->rate_up, "rate", both, &up, err) ||
	    !rate_of(l->rate_down, "rate", both, &down, err) || !rate_of(l->burst, "burst", 0, &burst, err))
		return false;
	const struct { const char *rate, *burst; uint64_t value; } ways[] = { { "rate-in", "burst-in", up }, { "rate-out", "burst-out", down } };
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		uint64_t room = MAX(burst ? burst : ways[i].value / 10, 2ull * NET_FRAME_MAX);
		json_object_set_new(o, ways[i].rate, json_integer((json_int_t)ways[i].value));
		json_object_set_new(o, ways[i].burst, json_integer((json_int_t)room));
	}
	if (l->group)
		json_object_set_new(o, "group", json_string(l->group));
	if (l->isolated)
		json_object_set_new(o, "isolated", json_true());
	return true;
}

bool network_limits_ok(const struct network_limits *l, struct error *err)
{
	json_t *o = json_object();
	bool ok = put_limits(o, l, err) && (!l->group || network_name_ok(l->group, err));
	json_decref(o);
	return ok;
}

static json_t *request_of(const struct network_join *j, const char *type, struct error *err)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:i}", "op", "attach", "type", type, "instance", j->instance, "index", (int)j->index);
	if (j->mac)
		json_object_set_new(o, "mac", json_string(j->mac));
	if (j->ip)
		json_object_set_new(o, "ip", json_string(j->ip));
	if (j->vlan)
		json_object_set_new(o, "vlan", json_integer(j->vlan));
	if (j->npublish) {
		json_t *list = json_array();
		for (unsigned i = 0; i < j->npublish; i++)
			json_array_append_new(list, json_string(j->publish[i]));
		json_object_set_new(o, "publish", list);
	}
	json_t *vlans = j->trunk ? network_parse_trunk(j->trunk, err) : NULL;
	if (vlans)
		json_object_set_new(o, "vlans", vlans);
	if ((!j->trunk || vlans) && put_limits(o, &j->limits, err))
		return o;
	json_decref(o);
	return NULL;
}

static void copy_text(char *to, size_t size, const json_t *o, const char *key)
{
	snprintf(to, size, "%s", message_text(o, key, ""));
}

static bool join(const struct network_join *j, const char *type, const int *fds, unsigned nfds,
		 struct network_joined *out, struct error *err)
{
	struct message m;
	*out = (struct network_joined){ .lease = -1, .ring = { -1, -1, -1 } };
	struct network *n = network_open(j->network, err);
	json_t *body = n ? request_of(j, type, err) : NULL;
	auto_close int fd = body ? network_ask(n, true, body, fds, nfds, &m, err) : -1;
	network_close(n);
	if (fd < 0) {
		if (body)
			error_prefix(err, "cannot join network '%s'", j->network);
		return false;
	}
	copy_text(out->ip, sizeof(out->ip), m.body, "ip");
	copy_text(out->ip6, sizeof(out->ip6), m.body, "ip6");
	copy_text(out->gateway, sizeof(out->gateway), m.body, "gateway");
	out->mtu = (unsigned)message_number(m.body, "mtu", 1500);
	out->prefix = (unsigned)message_number(m.body, "prefix", 24);
	if (!strcmp(type, "ring"))
		out->ring = (struct ring_fds){ message_take_fd(&m, 0), message_take_fd(&m, 1), message_take_fd(&m, 2) };
	out->lease = move_fd(&fd);
	message_free(&m);
	return true;
}

bool network_join_ring(const struct network_join *j, const struct ring_fds *old, struct network_joined *out,
		       struct error *err)
{
	const int fds[] = { old ? old->memory : -1, old ? old->to_switch : -1, old ? old->to_port : -1 };
	return join(j, "ring", fds, old ? 3 : 0, out, err);
}

bool network_join_tap(const struct network_join *j, int tap, struct network_joined *out, struct error *err)
{
	return join(j, "tap", &tap, 1, out, err);
}

bool network_set_up_tap(int fd, const char *name, struct error *err)
{
	int size = NET_HDR;
	return (!ioctl(fd, TUNSETVNETHDRSZ, &size) && !ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)) ||
		error_set(err, errno, "cannot set up the interface '%s'", name);
}

int network_make_tap(const char *name, bool persist, struct error *err)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	auto_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_minus(err, errno, "cannot open /dev/net/tun");
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &r))
		return error_minus(err, errno, "cannot make the interface '%s' (it takes CAP_NET_ADMIN)", name);
	if (!network_set_up_tap(fd, name, err))
		return -1;
	if (persist && ioctl(fd, TUNSETPERSIST, 1))
		return error_minus(err, errno, "cannot set up the interface '%s'", name);
	return move_fd(&fd);
}
