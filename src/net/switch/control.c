/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of the keeper to its switch: see serve.h. */
#include "net/switch/control.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "net/message.h"

enum { STATS_PAGE = 64, MAX_POLL_US = 1000, GATEWAY_HOST = 1, SERVICE_HOST = 2 };

struct request { json_t *body; struct message *message; };
struct operation {
	const char *name;
	/* The answer (a new reference), or NULL with err. */
	json_t *(*run)(struct switch_process *w, struct request *r, struct error *err);
};

/* ---- ports ---- */

static void read_vlans(struct sw_port_config *c, const json_t *list)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v) {
		uint64_t first = (uint64_t)json_integer_value(json_array_get(v, 0));
		uint64_t last = (uint64_t)json_integer_value(json_array_get(v, 1));
		for (uint64_t n = first; n >= 1 && n <= last && n < VLANS - 1; n++)
			c->vlans[n / 64] |= 1ull << (n % 64);
	}
}

static void read_mac(uint8_t mac[6], const char *text)
{
	unsigned b[6] = { 0 };
	sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]);
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
}

static void read_port(struct sw_port_config *c, const json_t *o)
{
	struct in_addr v4;
	*c = (struct sw_port_config){ .vid = (uint16_t)message_number(o, "vlan", VLAN_DEFAULT),
		.uplink = message_flag(o, "uplink"), .trunk = message_flag(o, "trunk"),
		.isolated = message_flag(o, "isolated"), .guard = message_flag(o, "guard"),
		.rate_in = message_number(o, "rate-in", 0), .burst_in = message_number(o, "burst-in", 0),
		.rate_out = message_number(o, "rate-out", 0), .burst_out = message_number(o, "burst-out", 0) };
	snprintf(c->name, sizeof(c->name), "%s", message_text(o, "name", "?"));
	snprintf(c->group, sizeof(c->group), "%s", message_text(o, "group", ""));
	read_mac(c->mac, message_text(o, "mac", ""));
	read_vlans(c, json_object_get(o, "vlans"));
	c->has_ip = inet_pton(AF_INET, message_text(o, "ip", ""), &v4) == 1;
	c->ip = c->has_ip ? ntohl(v4.s_addr) : 0;
	c->has_ip6 = inet_pton(AF_INET6, message_text(o, "ip6", ""), c->ip6.b) == 1;
}

static const struct { const char *type; struct link *(*make)(struct sw *, const struct link_request *, struct error *); }
link_types[] = {
	{ "ring", link_ring }, { "tap", link_tap }, { "packet", link_packet }, { "vxlan", link_vxlan },
};

static json_t *run_add(struct switch_process *w, struct request *r, struct error *err)
{
	const char *type = message_text(r->body, "type", "");
	struct sw_port_config c;
	read_port(&c, json_object_get(r->body, "port"));
	for (unsigned i = 0; i < ARRAY_SIZE(link_types); i++) {
		if (strcmp(type, link_types[i].type))
			continue;
		struct link_request q = { &c, r->message->fd, r->message->nfds, json_object_get(r->body, "port") };
		struct link *l = link_types[i].make(w->sw, &q, err);
		if (!l)
			return NULL;
		r->message->nfds = 0;      /* the link's now */
		l->id = (uint32_t)message_number(r->body, "id", 0);
		if (process_add_link(w, l, err))
			return json_object();
		sw_port_remove(l->port);
		l->ops->free(l);
		return NULL;
	}
	return error_null(err, 0, "the switch knows no port of type '%s'", type);
}

static struct link *named(struct switch_process *w, struct request *r, struct error *err)
{
	struct link *l = process_find_link(w, message_number(r->body, "id", UINT64_MAX));
	return l ? l : error_null(err, 0, "the switch has no such port");
}

static json_t *run_change(struct switch_process *w, struct request *r, struct error *err)
{
	struct link *l = named(w, r, err);
	struct sw_port_config c;
	if (!l)
		return NULL;
	read_port(&c, json_object_get(r->body, "port"));
	sw_port_configure(l->port, &c);
	return json_object();
}

static json_t *run_remove(struct switch_process *w, struct request *r, struct error *err)
{
	struct link *l = named(w, r, err);
	if (!l)
		return NULL;
	process_remove_link(w, l);
	return json_object();
}

/* ---- the network ---- */

static void read_services(struct services *s, const json_t *n)
{
	struct in_addr a;
	const char *kind = message_text(n, "kind", "");
	*s = (struct services){ .nat = !strcmp(kind, "nat"), .host = !strcmp(kind, "host-only") };
	snprintf(s->domain, sizeof(s->domain), "%s", message_text(n, "domain", "abyme"));
	snprintf(s->boot, sizeof(s->boot), "%s", message_text(n, "boot-file", ""));
	s->on = inet_pton(AF_INET, message_text(n, "network", ""), &a) == 1;
	s->base = s->on ? ntohl(a.s_addr) : 0;
	s->mask = inet_pton(AF_INET, message_text(n, "mask", ""), &a) == 1 ? ntohl(a.s_addr) : 0;
	s->ip = s->base + SERVICE_HOST;
	s->gateway = s->nat || s->host ? s->base + GATEWAY_HOST : 0;
	s->on6 = inet_pton(AF_INET6, message_text(n, "prefix6", ""), s->prefix6) == 1;
	memcpy(s->ip6.b, s->prefix6, 16);
	s->ip6.b[15] = SERVICE_HOST;
	/* locally administered; the same wherever the network is */
	memcpy(s->mac, "\x02\xab", 2);
	be32_put(s->mac + 2, s->ip);
}

static bool read_rules(struct switch_process *w, const json_t *list, struct error *err)
{
	struct acl *a = json_array_size(list) ? xnew(struct acl) : NULL;
	size_t i;
	json_t *text;
	json_array_foreach(list, i, text)
		if (a->n == ACL_RULES || !acl_parse(json_string_value(text), &a->rule[a->n++], err)) {
			free(a);
			return false;
		}
	policy_set_rules(w->policy, a);
	return true;
}

static json_t *run_configure(struct switch_process *w, struct request *r, struct error *err)
{
	const json_t *n = json_object_get(r->body, "network");
	w->sw->mtu = (unsigned)MIN(message_number(n, "mtu", 1500), (uint64_t)SW_MTU_MAX);
	w->sw->vlan_aware = message_flag(n, "vlan-aware");
	w->poll_us = (unsigned)MIN(message_number(n, "poll", 0), (uint64_t)MAX_POLL_US);
	w->spin_us = MAX(w->poll_us, strcmp(message_text(n, "kind", ""), "nat") ? 0u : RING_POLL_NAT);
	for (struct link *l = w->links; l; l = l->next)
		process_poll_time(w, l);
	read_services(&w->policy->services, n);
	return read_rules(w, json_object_get(n, "rules"), err) ? json_object() : NULL;
}

static json_t *port_stats(const struct link *l)
{
	const struct sw_port *p = l->port;
	json_t *drops = json_object();
	for (unsigned i = 1; i < SW_DROP_COUNT; i++)
		if (p->drops[i])
			json_object_set_new(drops, sw_drop_name[i], json_integer((json_int_t)p->drops[i]));
	return json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "id", (json_int_t)l->id, "name", p->c.name,
			 "rx-frames", (json_int_t)p->rx_frames, "rx-bytes", (json_int_t)p->rx_bytes,
			 "tx-frames", (json_int_t)p->tx_frames, "tx-bytes", (json_int_t)p->tx_bytes,
			 "stations", (json_int_t)p->stations, "drops", drops);
}

static json_t *run_stats(struct switch_process *w, struct request *r, struct error *err)
{
	uint64_t from = message_number(r->body, "from", 0), n = 0;
	json_t *ports = json_array();
	struct link *l = w->links;
	for (; l && json_array_size(ports) < STATS_PAGE; l = l->next)
		if (n++ >= from)
			json_array_append_new(ports, port_stats(l));
	json_t *hits = json_array();
	for (unsigned i = 0; w->policy->acl && i < w->policy->acl->n; i++)
		json_array_append_new(hits, json_integer((json_int_t)w->policy->acl->rule[i].hits));
	return json_pack("{s:o, s:o, s:b, s:I}", "rule-hits", hits, "ports", ports, "more", l != NULL, "stations", (json_int_t)w->sw->fdb.used);
}

static json_t *run_capture(struct switch_process *w, struct request *r, struct error *err)
{
	struct ring_fds fds = { r->message->fd[0], r->message->fd[1], r->message->fd[2] };
	unsigned slot;
	if (r->message->nfds != 3 || !policy_capture(w->policy, &fds, message_text(r->body, "port", ""),
						     message_flag(r->body, "drops"), &slot, err))
		return r->message->nfds == 3 ? NULL : error_null(err, 0, "a capture needs three descriptors");
	r->message->nfds = 0;      /* the capture's now */
	return json_pack("{s:i}", "capture", (int)slot);
}

static json_t *run_capture_end(struct switch_process *w, struct request *r, struct error *err)
{
	policy_capture_end(w->policy, (unsigned)message_number(r->body, "capture", CAPTURES));
	return json_object();
}

static json_t *run_trace(struct switch_process *w, struct request *r, struct error *err)
{
	return trace_walk(w->policy, r->body, err);
}

static const struct operation operations[] = {
	{ "capture", run_capture }, { "capture-end", run_capture_end }, { "trace", run_trace },
	{ "configure", run_configure }, { "add", run_add }, { "change", run_change },
	{ "remove", run_remove }, { "stats", run_stats },
};

static json_t *run(struct switch_process *w, struct request *r, struct error *err)
{
	const char *op = message_text(r->body, "op", "");
	for (unsigned i = 0; i < ARRAY_SIZE(operations); i++)
		if (!strcmp(op, operations[i].name))
			return operations[i].run(w, r, err);
	return error_null(err, 0, "the switch does not know '%s'", op);
}

bool control_talk(struct switch_process *w)
{
	struct message m;
	struct error err = { 0 };
	if (!message_receive(w->keeper, &m, &err) || !m.body)
		return false;
	struct request r = { m.body, &m };
	json_t *answer = run(w, &r, &err);
	if (!answer)
		answer = json_pack("{s:s}", "error", err.text);
	bool ok = message_send(w->keeper, answer, NULL, 0, NULL);
	message_free(&m);
	return ok;
}

void control_broken(struct switch_process *w, const struct link *l)
{
	message_send(w->keeper, json_pack("{s:s, s:I}", "event", "broken", "id", (json_int_t)l->id), NULL, 0, NULL);
}

void control_end(struct switch_process *w)
{
	close(w->keeper);
}
