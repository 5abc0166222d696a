/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A container's interfaces: see container_network.h. */
#include "instance/container_network.h"
#include "container/channel.h"
#include "jail/spawn.h"
#include "network/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

enum { MAX_FRAME = 66 << 10, MAX_ARGS = 256 };

bool container_own_network(const struct definition *d)
{
	return !d->nnets || strcmp(d->nets[0].name, "host") != 0;
}

/* ---- inside ---- */

struct inside {
	pid_t pid;
	const char *ifname;
	uint8_t mac[6];
	const char *ip, *gateway;
	unsigned prefix, mtu;
	int send;                     /* the TAP goes here */
};

/* A child in the container's network namespace; its sentence comes by a pipe. */
static bool in_namespace(const struct inside *i, bool (*fn)(const struct inside *, struct error *), struct error *err)
{
	char path[40];
	struct error why = { 0 };
	int pipe_fd[2];
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)i->pid);
	auto_close int ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || pipe2(pipe_fd, O_CLOEXEC))
		return error_set(err, errno, "cannot open the container's network namespace");
	pid_t pid = fork();
	if (!pid) {
		bool ok = setns(ns, CLONE_NEWNET) ? error_set(&why, errno, "cannot enter the container's network namespace") : fn(i, &why);
		fd_write_full(pipe_fd[1], &why, sizeof(why));
		_exit(!ok);
	}
	close(pipe_fd[1]);
	bool heard = pid > 0 && fd_read_full(pipe_fd[0], &why, sizeof(why));
	close(pipe_fd[0]);
	int status = wait_child(pid);
	if (!heard)
		return error_set(err, 0, "the process that sets up the container's network died");
	if (status)
		*err = why;
	return !status;
}

static bool bring_up(int s, const char *ifname, struct error *err)
{
	struct ifreq r = { 0 };
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", ifname);
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	return !ioctl(s, SIOCSIFFLAGS, &r) || error_set(err, errno, "cannot bring up '%s' in the container", ifname);
}

static bool loopback(const struct inside *i, struct error *err)
{
	auto_close int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return s >= 0 ? bring_up(s, "lo", err) : error_set(err, errno, "cannot make a socket in the container");
}

static bool make_tap(const struct inside *i, struct error *err)
{
	auto_close int tap = network_make_tap(i->ifname, false, err);
	return tap >= 0 && (send_descriptor(i->send, tap, "tap", 3) || error_set(err, errno, "cannot pass a TAP on"));
}

static bool set_address(int s, const struct inside *i, struct error *err)
{
	struct ifreq r = { .ifr_addr.sa_family = AF_INET };
	struct sockaddr_in *a = (struct sockaddr_in *)(void *)&r.ifr_addr;
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", i->ifname);
	if (inet_pton(AF_INET, i->ip, &a->sin_addr) != 1 || ioctl(s, SIOCSIFADDR, &r))
		return error_set(err, errno, "cannot set the address of '%s' in the container", i->ifname);
	a->sin_addr.s_addr = htonl(i->prefix ? ~0u << (32 - i->prefix) : 0);
	return !ioctl(s, SIOCSIFNETMASK, &r) || error_set(err, errno, "cannot set the netmask of '%s' in the container", i->ifname);
}

static bool set_route(int s, const struct inside *i, struct error *err)
{
	struct rtentry r = { .rt_flags = RTF_UP | RTF_GATEWAY };
	struct sockaddr_in *to = (struct sockaddr_in *)(void *)&r.rt_dst, *mask = (struct sockaddr_in *)(void *)&r.rt_genmask,
		*via = (struct sockaddr_in *)(void *)&r.rt_gateway;
	to->sin_family = mask->sin_family = via->sin_family = AF_INET;
	if (inet_pton(AF_INET, i->gateway, &via->sin_addr) != 1)
		return true;
	return !ioctl(s, SIOCADDRT, &r) || errno == EEXIST || error_set(err, errno, "cannot set the route of the container");
}

static bool configure(const struct inside *i, struct error *err)
{
	struct ifreq r = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };
	auto_close int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", i->ifname);
	memcpy(r.ifr_hwaddr.sa_data, i->mac, 6);
	if (s < 0 || ioctl(s, SIOCSIFHWADDR, &r))
		return error_set(err, errno, "cannot set the MAC address of '%s' in the container", i->ifname);
	r.ifr_mtu = (int)i->mtu;
	if (i->mtu && ioctl(s, SIOCSIFMTU, &r))
		return error_set(err, errno, "cannot set the MTU of '%s' in the container", i->ifname);
	return (!*i->ip || set_address(s, i, err)) && bring_up(s, i->ifname, err) && (!*i->gateway || set_route(s, i, err));
}

/* ---- outside ---- */

static int tap_in(struct inside *i, struct error *err)
{
	int pair[2], tap = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return error_minus(err, errno, "cannot create a socket pair");
	i->send = pair[1];
	bool ok = in_namespace(i, make_tap, err) && terminal_receive(pair[0], &tap, err);
	close(pair[0]);
	close(pair[1]);
	return ok ? tap : -1;
}

/* Both ends speak frames with virtio_net_hdr of 12 bytes. */
static NORETURN void pass_frames(int tap, int line)
{
	static uint8_t buf[MAX_FRAME];
	prctl(PR_SET_NAME, "abyme-tap");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	const int keep[] = { tap, line };
	jail_close_fds(keep, ARRAY_SIZE(keep));
	for (;;) {
		struct pollfd p[] = { { tap, POLLIN, 0 }, { line, POLLIN, 0 } };
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		ssize_t n = p[0].revents ? read(tap, buf, sizeof(buf)) : 0;
		if (n > 0 && send(line, buf, (size_t)n, MSG_NOSIGNAL) < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EMSGSIZE)
			_exit(0);
		if (n < 0 && errno != EAGAIN && errno != EINTR && errno != EIO)
			_exit(0);         /* the namespace is gone */
		n = p[1].revents ? recv(line, buf, sizeof(buf), MSG_DONTWAIT) : -1;
		if (!n || (p[1].revents & (POLLHUP | POLLERR)))
			_exit(0);
		if (n > 0 && write(tap, buf, (size_t)n) < 0 && errno != EIO && errno != EAGAIN && errno != EINVAL)
			_exit(0);
	}
}

/* libslirp in its jail, and the process between it and the TAP. */
static bool user_network(const struct definition *d, bool first, int tap, struct error *err)
{
	char *argv[MAX_ARGS] = { "abyme-net-user", "--jail", (char *)(d->jail && strcmp(d->jail, "auto") ? d->jail : "auto") };
	struct jail jail = { .mode = JAIL_AUTO, .role = JAIL_NET_USER };
	int pair[2];
	unsigned n = 3;
	jail_mode_parse(argv[2], &jail.mode);
	for (unsigned i = 0; first && i < d->npublish && n + 2 < MAX_ARGS; i++) {
		argv[n++] = "--publish";
		argv[n++] = d->publish[i];
	}
	/* libslirp takes whole frames only */
	if (ioctl(tap, TUNSETOFFLOAD, 0) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "cannot create the network channel");
	bool ok = helper_spawn(argv[0], argv, &jail, pair[1], -1, err) > 0;
	close(pair[1]);
	pid_t pid = ok ? fork() : -1;
	if (!pid)
		pass_frames(tap, pair[0]);
	close(pair[0]);
	return ok && (pid > 0 || error_set(err, errno, "cannot start the network's process"));
}

bool container_write_resolver(const char *server, struct error *err)
{
	char text[128];
	auto_close int fd = open("resolv.conf", O_WRONLY | O_TRUNC | O_CLOEXEC);
	int n = snprintf(text, sizeof(text), "nameserver %s\n", server);
	return (fd >= 0 && fd_write_full(fd, text, (size_t)n)) || error_set(err, errno, "cannot write resolv.conf of the container");
}

/* A network of ours answers DNS at the second address of its subnet. */
void container_resolver(const struct network_joined *j, char out[64])
{
	struct in_addr a;
	snprintf(out, 64, "%s", j ? "" : USER_RESOLVER);
	if (!j || !j->prefix || inet_pton(AF_INET, j->ip, &a) != 1)
		return;
	a.s_addr = htonl((ntohl(a.s_addr) & ~0u << (32 - j->prefix)) + 2);
	inet_ntop(AF_INET, &a, out, 64);
}

/* The lease stays open as long as the shim lives. */
static bool one_network(const struct definition *d, unsigned k, const char *name, pid_t pid, struct error *err)
{
	const struct def_net *net = &d->nets[k];
	struct network_joined joined = { .ip = USER_ADDRESS, .gateway = USER_GATEWAY, .prefix = USER_PREFIX };
	char ifname[16];
	bool user = !strcmp(net->name, "user");
	snprintf(ifname, sizeof(ifname), "eth%u", k);
	struct inside i = { .pid = pid, .ifname = ifname };
	auto_close int tap = tap_in(&i, err);
	if (tap < 0 || !mac_parse(net->mac, i.mac))
		return false;
	unsigned index = 0;
	for (unsigned j = 0; j < k; j++)
		index += !strcmp(d->nets[j].name, net->name);
	struct network_join join = { .network = net->name, .instance = name, .index = index, .mac = net->mac, .ip = net->ip,
				     .vlan = net->vlan, .trunk = net->trunk, .limits = net->limits,
				     .publish = (const char *const *)d->publish, .npublish = k ? 0 : d->npublish };
	if (!(user ? user_network(d, k == 0, tap, err) : network_join_tap(&join, tap, &joined, err)))
		return false;
	i.ip = joined.ip;
	i.gateway = k ? "" : joined.gateway;
	i.prefix = joined.prefix;
	i.mtu = joined.mtu;
	char resolver[64];
	container_resolver(user ? NULL : &joined, resolver);
	return in_namespace(&i, configure, err) && (k || !*resolver || container_write_resolver(resolver, err));
}

bool container_network(const struct definition *d, const char *name, pid_t pid, struct error *err)
{
	const struct inside i = { .pid = pid };
	if (!container_own_network(d))
		return true;
	if (!in_namespace(&i, loopback, err))
		return false;
	for (unsigned k = 0; k < d->nnets; k++)
		if (strcmp(d->nets[k].name, "none") && !one_network(d, k, name, pid, err))
			return false;
	return true;
}
