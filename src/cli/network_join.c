/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme network join: a TAP interface in a network namespace becomes a port, for
 * as long as this program runs.  stats: what went through the ports.
 */
#include "cli/network.h"
#include "cli/table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "net/message.h"

enum { MAX_PUBLISH = 16, AGAIN_TRIES = 600 };
struct join_options { char *as, *netns, *ifname, *mac, *ip, *trunk; unsigned vlan; bool address; struct network_limits limits;
	const char *publish[MAX_PUBLISH]; unsigned npublish; };
#define TARGET struct join_options
static bool add_publish(void *target, const char *value, struct error *err)
{
	struct join_options *o = target;
	if (o->npublish == MAX_PUBLISH)
		return error_set(err, 0, "at most %d ports can be published", MAX_PUBLISH);
	o->publish[o->npublish++] = value;
	return true;
}

static const struct cli_option join_table[] = {
	TEXT("--as", "INSTANCE", as, "the name to be known by"),
	TEXT("--netns", "NAME|PATH", netns, "the network namespace (default: this one)"),
	TEXT("--ifname", "NAME", ifname, "name of the interface there (default eth0)"),
	TEXT("--mac", "MAC", mac, "its MAC address"),
	TEXT("--ip", "ADDRESS", ip, "its IPv4 address"),
	TEXT("--trunk", "N:N-N", trunk, "a trunk port of these VLANs"),
	NUMBER("--vlan", "N", vlan, "an access port of this VLAN"),
	TEXT("--rate", "SIZE", limits.rate, "bytes a second at most, each way"),
	TEXT("--rate-up", "SIZE", limits.rate_up, "the same of what it sends"),
	TEXT("--rate-down", "SIZE", limits.rate_down, "the same of what it gets"),
	TEXT("--burst", "SIZE", limits.burst, "so much may come at once"),
	TEXT("--group", "NAME", limits.group, "a name for rules, shared by many"),
	FLAG("--isolated", limits.isolated, "apart from other isolated members"),
	CALL("--publish", "[ADDR:]HOSTPORT:PORT[/udp]", add_publish, "reach its port from the host (repeatable)"),
	FLAG("--address", address, "give the interface its address and bring it up"),
	{ NULL }
};

static bool enter(const char *netns, struct error *err)
{
	auto_free char *path = strchr(netns, '/') ? xstrdup(netns) : xasprintf("/run/netns/%s", netns);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		return error_set(err, errno, "cannot enter the network namespace '%s'", netns);
	return true;
}

static bool configure(const char *ifname, const struct network_joined *j, const uint8_t mac[6], bool address, struct error *err)
{
	struct ifreq r = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };
	struct sockaddr_in *a = (struct sockaddr_in *)(void *)&r.ifr_addr;
	auto_close int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", ifname);
	memcpy(r.ifr_hwaddr.sa_data, mac, 6);
	if (s < 0 || ioctl(s, SIOCSIFHWADDR, &r))
		return error_set(err, errno, "cannot set the MAC address of '%s'", ifname);
	r.ifr_mtu = (int)j->mtu;
	if (ioctl(s, SIOCSIFMTU, &r))
		return error_set(err, errno, "cannot set the MTU of '%s'", ifname);
	if (!address)
		return true;
	if (j->ip[0]) {
		memset(&r.ifr_addr, 0, sizeof(r.ifr_addr));
		a->sin_family = AF_INET;
		inet_pton(AF_INET, j->ip, &a->sin_addr);
		int bad = ioctl(s, SIOCSIFADDR, &r);
		a->sin_addr.s_addr = htonl(~0u << (32 - j->prefix));
		if (bad || ioctl(s, SIOCSIFNETMASK, &r))
			return error_set(err, errno, "cannot set the address of '%s'", ifname);
	}
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	return !ioctl(s, SIOCSIFFLAGS, &r) || error_set(err, errno, "cannot bring up '%s'", ifname);
}

/* 02: locally administered; the same name gets the same address. */
static void make_mac(const char *network, const char *name, uint8_t mac[6])
{
	uint64_t h = 14695981039346656037ull;
	for (const char *p = name; *p; p++)
		h = (h ^ (uint8_t)*p) * 1099511628211ull;
	for (const char *p = network; *p; p++)
		h = (h ^ (uint8_t)*p) * 1099511628211ull;
	mac[0] = 2;
	for (unsigned i = 1; i < 6; i++)
		mac[i] = (uint8_t)(h >> (8 * i));
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
	unsigned b[6];
	char end;
	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6 || b[0] & 1)
		return false;
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return true;
}

static bool leave(int home, const struct join_options *o, struct error *err)
{
	return !o->netns || (home >= 0 && !setns(home, CLONE_NEWNET)) ||
		error_set(err, errno, "cannot leave the network namespace '%s'", o->netns);
}

/* What of this program stays while the port lives. */
struct member { struct network_join join; char mac[24]; int tap; };

static bool join(const char *network, const struct join_options *o, struct member *m, struct network_joined *out,
		 struct error *err)
{
	const char *ifname = o->ifname ? o->ifname : "eth0";
	uint8_t mac[6];
	if (!o->as)
		return error_set(err, 0, "network join needs --as INSTANCE");
	make_mac(network, o->as, mac);
	if (o->mac && !parse_mac(o->mac, mac))
		return error_set(err, 0, "MAC address '%s' is not valid", o->mac);
	if (!network_limits_ok(&o->limits, err))
		return false;
	snprintf(m->mac, sizeof(m->mac), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	auto_close int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (o->netns && !enter(o->netns, err))
		return false;
	m->tap = network_make_tap(ifname, false, err);
	m->join = (struct network_join){ .network = network, .instance = o->as, .mac = m->mac, .ip = o->ip, .vlan = o->vlan,
					 .trunk = o->trunk, .limits = o->limits, .publish = o->publish, .npublish = o->npublish };
	/* a keeper that has to be started, now or later, belongs outside */
	if (m->tap < 0 || !leave(home, o, err) || !network_join_tap(&m->join, m->tap, out, err))
		return false;
	return (!o->netns || enter(o->netns, err)) && configure(ifname, out, mac, o->address, err) && leave(home, o, err);
}

/* Until the network ends, or its keeper dies. */
static bool stay(int lease)
{
	struct message m;
	while (message_receive(lease, &m, NULL) && m.body) {
		bool ended = !strcmp(message_text(m.body, "event", ""), "ended");
		message_free(&m);
		if (ended)
			return false;
	}
	return true;
}

/* With the keeper died what the interface was plugged into; the interface stays. */
static bool join_again(const struct member *m, struct network_joined *joined, struct error *err)
{
	const struct timespec pause = { .tv_nsec = 200000000 };
	for (unsigned i = 0; i < AGAIN_TRIES; i++) {
		nanosleep(&pause, NULL);      /* the old switch may still be dying */
		if (network_join_tap(&m->join, m->tap, joined, err))
			return true;
	}
	return false;
}

int network_tool_join(int argc, char **argv)
{
	struct join_options o = { 0 };
	struct network_joined joined;
	struct member m;
	struct error err = { 0 };
	int status;
	struct network *n = network_tool_open(join_table, &o, argc, argv, &status);
	if (!n)
		return status;
	if (!join(n->name, &o, &m, &joined, &err))
		return cli_fail(&err);
	printf("joined %s %s\n", joined.ip[0] ? joined.ip : "-", joined.ip6[0] ? joined.ip6 : "-");
	fflush(stdout);
	while (stay(joined.lease)) {
		close(joined.lease);
		if (!join_again(&m, &joined, &err))
			return cli_fail(&err);
		printf("joined again\n");
		fflush(stdout);
	}
	error_set(&err, 0, "network '%s' has ended", n->name);
	return cli_fail(&err);
}

/* ---- stats ---- */

static long long number(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void print_stats(json_t *ports)
{
	size_t i;
	json_t *o, *v;
	const char *why;
	printf("%-24s %12s %14s %12s %14s  %s\n", "PORT", "FRAMES IN", "BYTES IN", "FRAMES OUT", "BYTES OUT", "DROPS");
	json_array_foreach(ports, i, o) {
		printf("%-24s %12lld %14lld %12lld %14lld ", json_string_value(json_object_get(o, "name")), number(o, "rx-frames"),
		       number(o, "rx-bytes"), number(o, "tx-frames"), number(o, "tx-bytes"));
		json_object_foreach(json_object_get(o, "drops"), why, v)
			printf(" %s %lld", why, (long long)json_integer_value(v));
		printf("\n");
	}
}

int network_tool_stats(int argc, char **argv)
{
	struct format_option f = { NULL };
	struct error err = { 0 };
	int status;
	struct network *n = network_tool_open(format_options, &f, argc, argv, &status);
	if (!n)
		return status;
	int json = cli_format(&f, &err);
	if (json < 0)
		return cli_usage(&err);
	json_t *o = network_call(n, false, json_pack("{s:s}", "op", "stats"), &err);
	network_close(n);
	if (!o)
		return cli_fail(&err);
	if (json) {
		json_dumpf(o, stdout, JSON_INDENT(2));
		printf("\n");
	} else {
		print_stats(json_object_get(o, "ports"));
	}
	json_decref(o);
	free(f.format);
	return 0;
}
