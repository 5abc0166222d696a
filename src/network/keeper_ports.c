/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports of a network, and the addresses that go with them.  An instance's
 * address is its lease for as long as the pool lasts, whether it runs or not.
 */
#include "network/keeper.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>

#include "net/ring.h"

enum { FIRST_HOST = 10, MAX_CLIENT_PORTS = 4000, VLAN_LAST = 4094 };

/* ---- ports ---- */

struct keeper_port *keeper_port_new(struct network_keeper *k, const char *type, json_t *config, const int *fds,
				    unsigned nfds)
{
	struct keeper_port *p = xnew(struct keeper_port);
	*p = (struct keeper_port){ .next = k->ports, .id = ++k->next_id, .type = type, .config = config, .nfds = nfds };
	memcpy(p->fd, fds, nfds * sizeof(int));
	k->ports = p;
	return p;
}

void keeper_port_remove(struct network_keeper *k, struct keeper_port *p)
{
	struct keeper_port **at = &k->ports;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	if (p->in_switch)
		json_decref(keeper_switch_call(k, json_pack("{s:s, s:I}", "op", "remove", "id", (json_int_t)p->id), NULL, 0, NULL));
	k->nports -= p->owner != NULL;
	if (p->owner)
		uplink_unpublish(k, p->config);
	for (unsigned i = 0; i < p->nfds; i++)
		close(p->fd[i]);
	json_decref(p->config);
	free(p);
}

void keeper_detach(struct network_keeper *k, struct keeper_client *c)
{
	for (struct keeper_port *p = k->ports, *next; p; p = next) {
		next = p->next;
		if (p->owner == c)
			keeper_port_remove(k, p);
	}
}

static struct keeper_port *port_named(const struct network_keeper *k, const char *name)
{
	for (struct keeper_port *p = k->ports; p; p = p->next)
		if (!strcmp(message_text(p->config, "name", ""), name))
			return p;
	return NULL;
}

json_t *keeper_list_ports(struct network_keeper *k)
{
	json_t *list = json_array();
	for (struct keeper_port *p = k->ports; p; p = p->next) {
		json_t *o = json_copy(p->config);
		json_object_set_new(o, "id", json_integer(p->id));
		json_object_set_new(o, "type", json_string(p->type));
		json_object_set_new(o, "connected", json_boolean(p->in_switch));
		json_array_append_new(list, o);
	}
	return list;
}

/* ---- addresses ---- */

static bool leased(const struct network_keeper *k, uint32_t ip, const char *except)
{
	const char *name;
	json_t *v;
	json_object_foreach(k->leases, name, v)
		if (json_integer_value(v) == (json_int_t)ip && strcmp(name, except))
			return true;
	return false;
}

/* An address whose instance is not attached, when all are given away. */
static uint32_t take_over(struct network_keeper *k)
{
	const char *name;
	json_t *v;
	json_object_foreach(k->leases, name, v)
		if (!port_named(k, name)) {
			uint32_t ip = (uint32_t)json_integer_value(v);
			json_object_del(k->leases, name);
			return ip;
		}
	return 0;
}

static uint32_t fresh_address(struct network_keeper *k, const char *name)
{
	uint32_t last = k->subnet.base | ~k->subnet.mask, first = k->subnet.base + FIRST_HOST;
	if (first >= last)
		first = k->subnet.base + 3;      /* small subnets */
	for (uint32_t ip = first; ip < last; ip++)
		if (!leased(k, ip, name))
			return ip;
	return take_over(k);
}

static bool lease(struct network_keeper *k, const char *name, const char *wanted, uint32_t *ip, struct error *err)
{
	struct in_addr a;
	uint32_t last = k->subnet.base | ~k->subnet.mask;
	*ip = (uint32_t)json_integer_value(json_object_get(k->leases, name));
	if (wanted) {
		if (inet_pton(AF_INET, wanted, &a) != 1 || (ntohl(a.s_addr) & k->subnet.mask) != k->subnet.base ||
		    ntohl(a.s_addr) < k->subnet.base + 3 || ntohl(a.s_addr) >= last)
			return error_set(err, 0, "address '%s' is not one for a member of %s", wanted, k->definition->subnet);
		if (leased(k, ntohl(a.s_addr), name))
			return error_set(err, 0, "address %s belongs to another instance", wanted);
		*ip = ntohl(a.s_addr);
	} else if (!*ip || (*ip & k->subnet.mask) != k->subnet.base) {
		*ip = fresh_address(k, name);
	}
	if (!*ip)
		return error_set(err, 0, "network '%s' has no address left in %s", k->network->name, k->definition->subnet);
	json_object_set_new(k->leases, name, json_integer((json_int_t)*ip));
	char *text = json_dumps(k->leases, JSON_INDENT(1) | JSON_SORT_KEYS);
	bool ok = text && network_write(k->network, "leases.json", text, err);
	free(text);
	return ok;
}

static void put_addresses(struct network_keeper *k, json_t *config, uint32_t ip)
{
	struct in_addr a = { htonl(ip) };
	uint8_t v6[16];
	char text[64];
	inet_ntop(AF_INET, &a, text, sizeof(text));
	json_object_set_new(config, "ip", json_string(text));
	if (!k->has_subnet6)
		return;
	memcpy(v6, k->prefix6, 16);
	uint32_t host = htonl(ip & ~k->subnet.mask);
	memcpy(v6 + 12, &host, 4);
	inet_ntop(AF_INET6, v6, text, sizeof(text));
	json_object_set_new(config, "ip6", json_string(text));
}

/* ---- attach ---- */

static bool put_vlan(struct network_keeper *k, json_t *config, const json_t *from, struct error *err)
{
	uint64_t vlan = message_number(from, "vlan", 0);
	json_t *vlans = json_object_get(from, "vlans");
	if ((vlan || vlans) && !k->definition->vlan_aware)
		return error_set(err, 0, "network '%s' has no VLANs: abyme network edit %s --vlan-aware", k->network->name,
				 k->network->name);
	if (vlan > VLAN_LAST)
		return error_set(err, 0, "VLAN %llu is out of range: from 1 to 4094", (unsigned long long)vlan);
	json_object_set_new(config, "vlan", json_integer(vlan ? (json_int_t)vlan : 1));
	if (vlans) {
		json_object_set_new(config, "trunk", json_true());
		json_object_set(config, "vlans", vlans);
	}
	return true;
}

static void copy_if_there(json_t *to, const json_t *from, const char *key)
{
	json_t *v = json_object_get(from, key);
	if (v)
		json_object_set(to, key, v);
}

static json_t *port_config(struct network_keeper *k, const json_t *o, const char *name, struct error *err)
{
	static const char *const copied[] = { "mac", "group", "rate-in", "burst-in", "rate-out", "burst-out", "isolated", "publish" };
	json_t *config = json_pack("{s:s}", "name", name);
	uint32_t ip;
	for (unsigned i = 0; i < ARRAY_SIZE(copied); i++)
		copy_if_there(config, o, copied[i]);
	if (k->definition->isolate)
		json_object_set_new(config, "isolated", json_true());
	bool trunk = json_object_get(o, "vlans");
	json_object_set_new(config, "guard", json_boolean(!trunk && !k->definition->no_guard));
	if (!put_vlan(k, config, o, err))
		goto undo_config;
	if (k->has_subnet && message_number(config, "vlan", 1) == 1) {
		if (!lease(k, name, message_text(o, "ip", NULL), &ip, err))
			goto undo_config;
		put_addresses(k, config, ip);
	} else if (message_text(o, "ip", NULL)) {
		error_set(err, 0, "network '%s' gives no addresses there: leave out ip=", k->network->name);
		goto undo_config;
	}
	return config;
undo_config:
	json_decref(config);
	return NULL;
}

/* Memory for a new port, or that of one which outlived its keeper. */
static bool port_fds(struct message *m, const char *type, int fds[PORT_FDS], unsigned *nfds, struct error *err)
{
	struct ring_fds r;
	*nfds = 0;
	if (!strcmp(type, "tap") && m->nfds == 1) {
		fds[(*nfds)++] = message_take_fd(m, 0);
		return true;
	}
	if (strcmp(type, "ring"))
		return error_set(err, 0, "a port of type '%s' cannot be attached", type);
	if (m->nfds == PORT_FDS) {
		for (; *nfds < PORT_FDS; (*nfds)++)
			fds[*nfds] = message_take_fd(m, *nfds);
		return true;
	}
	if (!ring_make(&r, err))
		return false;
	fds[0] = r.memory;
	fds[1] = r.to_switch;
	fds[2] = r.to_port;
	*nfds = PORT_FDS;
	return true;
}

/* Where the outside is, for members that are told and do not ask by DHCP. */
static void put_gateway(const struct network_keeper *k, json_t *answer)
{
	struct in_addr a = { htonl(k->subnet.base + 1) };
	char text[32];
	if (!k->has_subnet)
		return;
	json_object_set_new(answer, "prefix", json_integer(k->subnet.prefix));
	if (k->kind == NETWORK_nat || k->kind == NETWORK_host_only)
		json_object_set_new(answer, "gateway", json_string(inet_ntop(AF_INET, &a, text, sizeof(text))));
}

json_t *keeper_attach(struct network_keeper *k, struct keeper_client *c, struct message *m, int fds[PORT_FDS],
		      unsigned *nfds, struct error *err)
{
	const char *instance = message_text(m->body, "instance", ""), *type = message_text(m->body, "type", "ring");
	unsigned index = (unsigned)message_number(m->body, "index", 0);
	char name[96];
	snprintf(name, sizeof(name), index ? "%.63s.%u" : "%.63s", instance, index);
	if (!*instance || port_named(k, name) || k->nports >= MAX_CLIENT_PORTS)
		return error_null(err, 0, !*instance ? "a port needs the name of an instance" : k->nports >= MAX_CLIENT_PORTS ?
				  "the network has no port left" : "that instance is on the network already");
	json_t *config = port_config(k, m->body, name, err);
	if (!config)
		return NULL;
	if (!port_fds(m, type, fds, nfds, err)) {
		json_decref(config);
		return NULL;
	}
	struct keeper_port *p = keeper_port_new(k, strcmp(type, "tap") ? "ring" : "tap", config, fds, *nfds);
	p->owner = c;
	k->nports++;
	if (!uplink_publish(k, config, err) || (!keeper_switch_add(k, p, err) && k->switch_sock >= 0)) {
		keeper_port_remove(k, p);
		return NULL;
	}
	json_t *answer = json_deep_copy(config);
	json_object_set_new(answer, "mtu", json_integer(k->definition->mtu));
	put_gateway(k, answer);
	return answer;
}
