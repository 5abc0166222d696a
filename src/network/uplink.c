/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What leads out of a network, by its kind (keeper.h): descriptors are opened
 * here, with the rights of the user, and given to the switch, which has none.
 */
#include "network/keeper.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/log.h"
#include "jail/spawn.h"
#include "net/ring.h"
#include "network/client.h"
#include "network/macvtap.h"

enum { NAT_MS = 15000, GATEWAY = 1, SERVICE = 2, SOCKET_BUFFER = 4 << 20 };

/* An uplink carries all VLANs, the default one without a tag. */
static json_t *uplink_config(const struct network_keeper *k, const char *name)
{
	json_t *o = json_pack("{s:s, s:b, s:i}", "name", name, "uplink", 1, "vlan", 1);
	if (k->definition->vlan_aware) {
		json_object_set_new(o, "trunk", json_true());
		json_object_set_new(o, "vlans", json_pack("[[i, i]]", 1, 4094));
	}
	return o;
}

static bool add(struct network_keeper *k, const char *type, json_t *config, const int *fds, unsigned nfds, struct error *err)
{
	return keeper_switch_add(k, keeper_port_new(k, type, config, fds, nfds), err);
}

static void dotted(uint32_t a, char text[32])
{
	struct in_addr in = { htonl(a) };
	inet_ntop(AF_INET, &in, text, 32);
}

/* ---- nat ---- */

static json_t *nat_setup(const struct network_keeper *k)
{
	const struct subnet *s = &k->subnet;
	char net[32], mask[32], gateway[32], dns[32], dhcp[32], prefix[64] = "";
	dotted(s->base, net);
	dotted(s->mask, mask);
	dotted(s->base + GATEWAY, gateway);
	dotted(s->base + SERVICE, dns);
	dotted(s->base + SERVICE + 1, dhcp);
	if (k->has_subnet6)
		inet_ntop(AF_INET6, k->prefix6, prefix, sizeof(prefix));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:b}", "op", "setup", "network", net, "mask", mask,
			 "gateway", gateway, "dns", dns, "dhcp", dhcp, "prefix6", prefix, "mtu", (int)k->definition->mtu,
			 "host-loopback", (int)k->definition->host_loopback);
}

static bool nat_call(struct network_keeper *k, json_t *body, const int *fds, unsigned nfds, struct error *err)
{
	struct message m;
	if (k->nat_sock < 0) {
		json_decref(body);
		return error_set(err, 0, "the network's NAT is being restarted");
	}
	bool ok = message_call(k->nat_sock, body, fds, nfds, &m, NAT_MS, err);
	message_free(&m);
	return ok;
}

static bool nat_spawn(struct network_keeper *k, const int fds[PORT_FDS], struct error *err)
{
	char *argv[] = { "abyme-nat", "--jail", k->definition->jail, NULL };
	struct jail jail = { .role = JAIL_NET_USER };
	int pair[2];
	jail_mode_parse(k->definition->jail, &jail.mode);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "cannot create the channel of the network's NAT");
	k->nat_pid = helper_spawn(argv[0], argv, &jail, pair[1], -1, err);
	close(pair[1]);
	k->nat_sock = pair[0];
	if (k->nat_pid > 0 && nat_call(k, nat_setup(k), fds, PORT_FDS, err))
		return true;
	close(move_fd(&k->nat_sock));
	return false;
}

static bool start_nat(struct network_keeper *k, struct error *err)
{
	struct ring_fds r;
	if (!ring_make(&r, err))
		return false;
	const int fds[PORT_FDS] = { r.memory, r.to_switch, r.to_port };
	return nat_spawn(k, fds, err) && add(k, "ring", uplink_config(k, "nat"), fds, PORT_FDS, err);
}

static bool publish_list(struct network_keeper *k, const json_t *config, const char *op, struct error *err)
{
	size_t i;
	json_t *spec;
	json_array_foreach(json_object_get(config, "publish"), i, spec)
		if (!nat_call(k, json_pack("{s:s, s:O, s:s}", "op", op, "spec", spec, "ip", message_text(config, "ip", "")),
			      NULL, 0, err))
			return false;
	return true;
}

bool uplink_publish(struct network_keeper *k, const json_t *config, struct error *err)
{
	if (!json_array_size(json_object_get(config, "publish")))
		return true;
	if (k->kind != NETWORK_nat)
		return error_set(err, 0, "only networks of kind nat publish ports: members of '%s' are reached at their own "
				 "addresses", k->network->name);
	if (publish_list(k, config, "publish", err))
		return true;
	uplink_unpublish(k, config);
	return false;
}

void uplink_unpublish(struct network_keeper *k, const json_t *config)
{
	if (k->kind == NETWORK_nat)
		publish_list(k, config, "unpublish", NULL);
}

/* The NAT has died: a new one goes on with its port; connections are lost. */
void uplink_died(struct network_keeper *k, pid_t pid)
{
	struct error err = { 0 };
	if (pid != k->nat_pid)
		return;
	k->nat_pid = 0;
	close(move_fd(&k->nat_sock));
	for (struct keeper_port *p = k->ports; p; p = p->next)
		if (!p->owner && !nat_spawn(k, p->fd, &err))
			log_error("the NAT of network '%s' cannot be restarted: %s", k->network->name, err.text);
	for (struct keeper_port *p = k->ports; p && k->nat_pid; p = p->next)
		if (p->owner && !publish_list(k, p->config, "publish", &err))
			log_warn("%s", err.text);
}

/* ---- host-only ---- */

static bool set_address(const struct network_keeper *k, const char *name, struct error *err)
{
	struct ifreq r = { 0 };
	struct sockaddr_in *a = (struct sockaddr_in *)(void *)&r.ifr_addr;
	auto_close int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	a->sin_family = AF_INET;
	if (k->has_subnet) {
		a->sin_addr.s_addr = htonl(k->subnet.base + GATEWAY);
		int bad = ioctl(s, SIOCSIFADDR, &r);
		a->sin_addr.s_addr = htonl(k->subnet.mask);
		if (bad || ioctl(s, SIOCSIFNETMASK, &r))
			return error_set(err, errno, "cannot give interface '%s' its address (it takes CAP_NET_ADMIN)", name);
	}
	memset(&r.ifr_addr, 0, sizeof(r.ifr_addr));
	r.ifr_mtu = (int)k->definition->mtu;
	if (ioctl(s, SIOCSIFMTU, &r))
		return error_set(err, errno, "cannot set the MTU of interface '%s'", name);
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	return !ioctl(s, SIOCSIFFLAGS, &r) || error_set(err, errno, "cannot bring interface '%s' up", name);
}

static bool start_host(struct network_keeper *k, struct error *err)
{
	int tap = network_make_tap(k->definition->interface, false, err);
	if (tap < 0)
		return false;
	return add(k, "tap", uplink_config(k, "host"), &tap, 1, err) && set_address(k, k->definition->interface, err);
}

/* ---- bridged ---- */

static bool set_up_packet(int fd, const char *name, struct error *err)
{
	int one = 1, size = SOCKET_BUFFER;
	unsigned index = if_nametoindex(name);
	struct packet_mreq promiscuous = { .mr_ifindex = (int)index, .mr_type = PACKET_MR_PROMISC };
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)index };
	if (!index)
		return error_set(err, 0, "there is no interface '%s' on this host", name);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return error_set(err, errno, "cannot plug into interface '%s'", name);
	return true;
}

static bool by_macvtap(const struct network_keeper *k)
{
	return k->kind == NETWORK_bridged && k->definition->uplink && !strcmp(k->definition->uplink, "macvtap");
}

static bool start_macvtap(struct network_keeper *k, struct error *err)
{
	int fd = macvtap_open(k->definition->interface, k->network->dir, err);
	return fd >= 0 && add(k, "tap", uplink_config(k, k->definition->interface), &fd, 1, err);
}

static bool start_bridge(struct network_keeper *k, struct error *err)
{
	if (by_macvtap(k))
		return start_macvtap(k, err);
	auto_close int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(err, errno, "plugging into interface '%s' takes CAP_NET_RAW", k->definition->interface);
	if (!set_up_packet(fd, k->definition->interface, err))
		return false;
	int own = move_fd(&fd);
	return add(k, "packet", uplink_config(k, k->definition->interface), &own, 1, err);
}

/* ---- vxlan ---- */

static bool join_groups(const struct network_keeper *k, int fd, struct error *err)
{
	for (unsigned i = 0; i < k->definition->npeers; i++) {
		struct ip_mreqn m = { 0 };
		if (inet_pton(AF_INET, k->definition->peers[i], &m.imr_multiaddr) != 1)
			return error_set(err, 0, "VXLAN peer '%s' is not an IPv4 address", k->definition->peers[i]);
		if (!IN_MULTICAST(ntohl(m.imr_multiaddr.s_addr)))
			continue;
		m.imr_ifindex = k->definition->interface ? (int)if_nametoindex(k->definition->interface) : 0;
		int off = 0;
		if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)) ||
		    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &off, sizeof(off)) ||
		    (m.imr_ifindex && setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m))))
			return error_set(err, errno, "cannot join multicast group %s (--interface says where)",
					 k->definition->peers[i]);
	}
	return true;
}

static bool start_vxlan(struct network_keeper *k, struct error *err)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)k->definition->vxlan_port) };
	int size = SOCKET_BUFFER, one = 1;
	auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return error_set(err, errno, "cannot use UDP port %u for VXLAN", k->definition->vxlan_port);
	if (!join_groups(k, fd, err))
		return false;
	json_t *config = uplink_config(k, "vxlan"), *peers = json_array();
	for (unsigned i = 0; i < k->definition->npeers; i++)
		json_array_append_new(peers, json_string(k->definition->peers[i]));
	json_object_set_new(config, "vni", json_integer(k->definition->vni));
	json_object_set_new(config, "port", json_integer(k->definition->vxlan_port));
	json_object_set_new(config, "peers", peers);
	int own = move_fd(&fd);
	return add(k, "vxlan", config, &own, 1, err);
}

void uplink_end(const struct network_keeper *k)
{
	if (k->kind == NETWORK_bridged)
		macvtap_remove(k->network->dir);
}

bool uplink_start(struct network_keeper *k, struct error *err)
{
	switch (k->kind) {
	case NETWORK_nat: return start_nat(k, err);
	case NETWORK_host_only: return start_host(k, err);
	case NETWORK_bridged: return start_bridge(k, err);
	case NETWORK_vxlan: return start_vxlan(k, err);
	default: return true;
	}
}
