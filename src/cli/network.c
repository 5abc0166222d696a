/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme network create, edit, list, inspect, delete, start, stop; more in network_*.c. */
#include "cli/network.h"
#include "cli/table.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum { STOP_TRIES = 6000 };      /* of 10 ms */

#define TARGET struct network_definition

static bool set_ipv6(void *target, const char *value, struct error *err)
{
	struct network_definition *d = target;
	free(d->subnet6);
	d->subnet6 = xstrdup("auto");
	return true;
}

static bool append(char ***list, unsigned *n, unsigned most, const char *value, const char *what, struct error *err)
{
	if (*n >= most)
		return error_set(err, 0, "at most %u %s can be given", most, what);
	*list = xrealloc(*list, (*n + 1) * sizeof(**list));
	(*list)[(*n)++] = xstrdup(value);
	return true;
}

static bool add_peer(void *target, const char *value, struct error *err)
{
	struct network_definition *d = target;
	return append(&d->peers, &d->npeers, NETWORK_MAX_PEERS, value, "peers", err);
}

static bool add_rule(void *target, const char *value, struct error *err)
{
	struct network_definition *d = target;
	return append(&d->rules, &d->nrules, NETWORK_MAX_RULES, value, "rules", err);
}

static bool no_rules(void *target, const char *value, struct error *err)
{
	struct network_definition *d = target;
	while (d->nrules)
		free(d->rules[--d->nrules]);
	return true;
}

static const struct cli_option definition_table[] = {
	TEXT("--kind", "nat|internal|host-only|bridged|vxlan", kind, "what it leads to (default nat)"),
	TEXT("--subnet", "auto|CIDR|none", subnet, "addresses of its members"),
	CALL("--ipv6", NULL, set_ipv6, "IPv6, too, with a fresh local prefix"),
	TEXT("--subnet6", "PREFIX/64", subnet6, "IPv6 with this prefix"),
	TEXT("--interface", "NAME", interface, "the TAP's name, or the interface to be plugged into"),
	TEXT("--uplink", "packet|macvtap", uplink, "kind bridged: how it is plugged in (default packet)"),
	TEXT("--boot-file", "URL", boot_file, "what members boot from by network (PXE)"),
	TEXT("--domain", "NAME", domain, "of its members' names (default abyme)"),
	NUMBER("--mtu", "BYTES", mtu, "longest packet, 1280 to 65520 (default 1500)"),
	NUMBER("--poll", "MICROSECONDS", poll, "how long the switch spins before it sleeps"),
	FLAG("--vlan-aware", vlan_aware, "members may be in VLANs"),
	FLAG("--isolate", isolate, "members reach the outside, not each other"),
	FLAG("--host-loopback", host_loopback, "kind nat: members reach the host's own services"),
	FLAG("--no-guard", no_guard, "members may use any MAC and IP address"),
	NUMBER("--vni", "N", vni, "kind vxlan: the network's number"),
	NUMBER("--vxlan-port", "N", vxlan_port, "kind vxlan: UDP port (default 4789)"),
	CALL("--peer", "ADDRESS", add_peer, "kind vxlan: another host, or a multicast group (repeatable)"),
	CALL("--rule", "RULE", add_rule, "allow|deny in|out [tcp|udp|icmp] [from SET] [to SET] [port N] [on NAME] (repeatable)"),
	CALL("--no-rules", NULL, no_rules, "forget all rules so far"),
	TEXT("--jail", "auto|require|none", jail, "how much of the switch's jail must be there"),
	{ NULL }
};

struct network *network_tool_open(const struct cli_option *options, void *target, int argc, char **argv, int *status)
{
	const struct cli_group groups[] = { { options, target }, { NULL } };
	const char *name = NULL;
	struct error err = { 0 };
	*status = cli_parse(groups, argc, argv, &name, 1, 1);
	if (*status >= 0)
		return NULL;
	struct network *n = network_open(name, &err);
	if (!n)
		*status = cli_fail(&err);
	return n;
}

/* ---- create, edit ---- */

static int network_new(int argc, char **argv)
{
	struct network_definition *d = xnew(struct network_definition);
	const struct cli_group groups[] = { { definition_table, d }, { NULL } };
	const char *name = NULL;
	struct error err = { 0 };
	int status = cli_parse(groups, argc, argv, &name, 1, 1);
	if (status >= 0)
		return status;
	if (!network_name_ok(name, &err) || !network_definition_resolve(d, name, &err))
		return cli_usage(&err);
	struct network *n = network_create(name, d, &err);
	status = n ? printf("%s\n", name) < 0 : cli_fail(&err);
	network_close(n);
	network_definition_free(d);
	return status;
}

/* The name is the word that is no option's; options change what is there. */
static int network_edit(int argc, char **argv)
{
	struct error err = { 0 };
	struct network *n = argc > 1 ? network_open(argv[1], &err) : NULL;
	struct network_definition *d = n ? network_definition(n, &err) : xnew(struct network_definition);
	const struct cli_group groups[] = { { definition_table, d }, { NULL } };
	const char *name = NULL;
	if (!d)
		return cli_fail(&err);
	int status = cli_parse(groups, argc, argv, &name, 1, 1);
	if (status >= 0)
		return status;
	if (!n)
		return cli_fail(&err);
	if (!network_definition_resolve(d, n->name, &err))
		return cli_usage(&err);
	if (!network_set_definition(n, d, &err))
		return cli_fail(&err);
	json_t *answer = network_call(n, false, json_pack("{s:s}", "op", "reload"), &err);
	status = answer || err.code == ECONNREFUSED ? 0 : cli_fail(&err);
	json_decref(answer);
	network_definition_free(d);
	network_close(n);
	return status;
}

/* ---- list, inspect ---- */

static bool collect(const char *name, void *opaque)
{
	struct network *n = network_open(name, NULL);
	struct network_definition *d = n ? network_definition(n, NULL) : NULL;
	if (d) {
		json_t *o = network_definition_json(d);
		json_object_set_new(o, "name", json_string(name));
		json_object_set_new(o, "running", json_boolean(network_keeper_pid(n) != 0));
		json_array_append_new(opaque, o);
	}
	network_definition_free(d);
	network_close(n);
	return true;
}

static const char *text_of(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "-";
}

static int network_list(int argc, char **argv)
{
	struct format_option f = { NULL };
	const struct cli_group groups[] = { { format_options, &f }, { NULL } };
	struct error err = { 0 };
	int status = cli_parse(groups, argc, argv, NULL, 0, 0), json = cli_format(&f, &err);
	size_t i;
	json_t *o, *all = json_array();
	if (status >= 0)
		return status;
	if (json < 0)
		return cli_usage(&err);
	if (!network_each(collect, all, &err))
		return cli_fail(&err);
	if (json) {
		json_dumpf(all, stdout, JSON_INDENT(2));
		printf("\n");
	} else {
		printf("%-20s %-10s %-8s %-18s %-24s %5s\n", "NAME", "KIND", "STATE", "SUBNET", "SUBNET6", "MTU");
		json_array_foreach(all, i, o)
			printf("%-20s %-10s %-8s %-18s %-24s %5d\n", text_of(o, "name"), text_of(o, "kind"),
			       json_is_true(json_object_get(o, "running")) ? "running" : "idle", text_of(o, "subnet"),
			       text_of(o, "subnet6"), (int)json_integer_value(json_object_get(o, "mtu")));
	}
	json_decref(all);
	free(f.format);
	return 0;
}

static void print_ports(json_t *ports)
{
	size_t i;
	json_t *o;
	printf("%-24s %-7s %-5s %-18s %-16s %s\n", "PORT", "TYPE", "LINK", "MAC", "IP", "VLAN");
	json_array_foreach(ports, i, o)
		printf("%-24s %-7s %-5s %-18s %-16s %s%d\n", text_of(o, "name"), text_of(o, "type"),
		       json_is_true(json_object_get(o, "connected")) ? "up" : "down", text_of(o, "mac"), text_of(o, "ip"),
		       json_is_true(json_object_get(o, "trunk")) ? "trunk " : "",
		       (int)json_integer_value(json_object_get(o, "vlan")));
}

static int network_inspect(int argc, char **argv)
{
	struct format_option f = { NULL };
	struct error err = { 0 };
	int status, json;
	struct network *n = network_tool_open(format_options, &f, argc, argv, &status);
	if (!n)
		return status;
	if ((json = cli_format(&f, &err)) < 0)
		return cli_usage(&err);
	struct network_definition *d = network_definition(n, &err);
	json_t *run = d ? network_call(n, false, json_pack("{s:s}", "op", "inspect"), NULL) : NULL;
	if (!d)
		return cli_fail(&err);
	if (json) {
		json_t *o = network_definition_json(d);
		json_object_set_new(o, "name", json_string(n->name));
		if (run)
			json_object_set(o, "run", run);
		json_dumpf(o, stdout, JSON_INDENT(2));
		printf("\n");
		json_decref(o);
	} else {
		auto_free char *text = network_definition_yaml(d, &err);
		printf("%s", text ? text : "");
		if (run)
			print_ports(json_object_get(run, "ports"));
	}
	json_decref(run);
	network_definition_free(d);
	network_close(n);
	free(f.format);
	return 0;
}

/* ---- start, stop, delete ---- */

static int network_start(int argc, char **argv)
{
	struct error err = { 0 };
	int status;
	struct network *n = network_tool_open(NULL, NULL, argc, argv, &status);
	json_t *answer = n ? network_call(n, true, json_pack("{s:s}", "op", "hold"), &err) : NULL;
	if (n)
		status = answer ? 0 : cli_fail(&err);
	json_decref(answer);
	network_close(n);
	return status;
}

struct stop_options { bool force; };
static const struct cli_option stop_table[] = {
	{ "--force", NULL, "even if members run", OPTION_FLAG, offsetof(struct stop_options, force) },
	{ NULL }
};

static int stop(struct network *n, bool force)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	struct error err = { 0 };
	json_t *answer = network_call(n, false, json_pack("{s:s, s:b}", "op", "stop", "force", force), &err);
	json_decref(answer);
	if (!answer && err.code != ECONNREFUSED)
		return cli_fail(&err);
	for (unsigned i = 0; i < STOP_TRIES && network_keeper_pid(n); i++)
		nanosleep(&pause, NULL);
	return 0;
}

static int network_stop(int argc, char **argv)
{
	struct stop_options o = { false };
	int status;
	struct network *n = network_tool_open(stop_table, &o, argc, argv, &status);
	if (n)
		status = stop(n, o.force);
	network_close(n);
	return status;
}

static int network_delete(int argc, char **argv)
{
	struct stop_options o = { false };
	struct error err = { 0 };
	int status;
	struct network *n = network_tool_open(stop_table, &o, argc, argv, &status);
	if (n && !(status = stop(n, o.force)) && !network_remove(n, &err))
		status = cli_fail(&err);
	network_close(n);
	return status;
}

static const struct verb network_verbs[] = {
	{ "create", "NAME [--kind KIND] [OPTIONS]", "make a network", network_new },
	{ "list", "[--format json]", "the networks there are (also: ls)", network_list },
	{ "inspect", "[--format json] NAME", "its definition and its ports", network_inspect },
	{ "edit", "NAME OPTIONS", "change its definition", network_edit },
	{ "delete", "[--force] NAME", "remove it (also: rm)", network_delete },
	{ "start", "NAME", "let it run without members", network_start },
	{ "stop", "[--force] NAME", "end that", network_stop },
	{ "stats", "[--format json] NAME", "frames and drops of its ports", network_tool_stats },
	{ "capture", "NAME FILE.pcapng [OPTIONS]", "write its frames to a file", network_tool_capture },
	{ "trace", "NAME FROM TO[:PORT]", "walk a packet, name what drops it", network_tool_trace },
	{ "join", "NAME --as INSTANCE [OPTIONS]", "plug an interface of a network namespace in", network_tool_join },
};

static const char *same_word(const char *word)
{
	return !strcmp(word, "ls") ? "list" : !strcmp(word, "rm") ? "delete" : word;
}

int verb_network(int argc, char **argv)
{
	struct error err;
	const char *word = same_word(argc > 1 ? argv[1] : "--help");
	for (unsigned i = 0; i < ARRAY_SIZE(network_verbs); i++)
		if (!strcmp(word, network_verbs[i].name)) {
			if (argc == 3 && !strcmp(argv[2], "--help"))
				printf("usage: abyme network %s %s\n%s\n", word, network_verbs[i].synopsis, network_verbs[i].help);
			argv[1] = "network ";
			return network_verbs[i].run(argc - 1, argv + 1);
		}
	if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
		printf("usage: abyme network VERB ...\n");
		for (unsigned i = 0; i < ARRAY_SIZE(network_verbs); i++)
			printf("  %-8s %-38s %s\n", network_verbs[i].name, network_verbs[i].synopsis, network_verbs[i].help);
		return argc > 1 ? 0 : STATUS_USAGE;
	}
	error_set(&err, 0, "'network %s' is not known: abyme network --help lists what is", word);
	return cli_usage(&err);
}
