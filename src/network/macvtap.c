/* SPDX-License-Identifier: GPL-2.0-or-later */
/* macvtap(4) by rtnetlink(7): see macvtap.h. */
#include "network/macvtap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "network/client.h"

enum { ATTRIBUTES = 256 };
struct request { struct nlmsghdr h; struct ifinfomsg i; char room[ATTRIBUTES]; };

/* No other network on this host has that name, and the next keeper of this one finds it. */
static void name_of(int dir, char name[IFNAMSIZ])
{
	struct stat st = { 0 };
	fstat(dir, &st);
	snprintf(name, IFNAMSIZ, "abm%04x%08x", (unsigned)st.st_dev & 0xffff, (unsigned)st.st_ino);
}

/* An attribute; without data: one that holds what follows, until close_nest(). */
static struct rtattr *put(struct request *r, unsigned short type, const void *data, size_t n)
{
	struct rtattr *a = (struct rtattr *)(void *)((char *)r + NLMSG_ALIGN(r->h.nlmsg_len));
	*a = (struct rtattr){ .rta_type = type, .rta_len = (unsigned short)RTA_LENGTH(n) };
	if (n)
		memcpy(RTA_DATA(a), data, n);
	r->h.nlmsg_len = NLMSG_ALIGN(r->h.nlmsg_len) + (uint32_t)RTA_ALIGN(a->rta_len);
	return a;
}

static void close_nest(const struct request *r, struct rtattr *a)
{
	a->rta_len = (unsigned short)((const char *)r + r->h.nlmsg_len - (char *)a);
}

/* The kernel's answer: 0 or an error number. */
static int call(struct request *r)
{
	struct { struct nlmsghdr h; struct nlmsgerr e; char more[512]; } answer;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	auto_close int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (s < 0 || sendto(s, r, r->h.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return errno;
	ssize_t n = recv(s, &answer, sizeof(answer), 0);
	if (n < 0)
		return errno;
	return (size_t)n < sizeof(answer.h) + sizeof(answer.e) || answer.h.nlmsg_type != NLMSG_ERROR ? EPROTO : -answer.e.error;
}

static struct request request_for(unsigned short type, unsigned short flags)
{
	return (struct request){ .h = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = type,
					.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags) },
				 .i = { .ifi_family = AF_UNSPEC } };
}

static int make(const char *name, unsigned lower)
{
	static const char kind[] = "macvtap";
	const uint32_t mode = MACVLAN_MODE_PASSTHRU;
	struct request r = request_for(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	r.i.ifi_flags = r.i.ifi_change = IFF_UP;
	put(&r, IFLA_IFNAME, name, strlen(name) + 1);
	put(&r, IFLA_LINK, &lower, sizeof(lower));
	struct rtattr *info = put(&r, IFLA_LINKINFO, NULL, 0);
	put(&r, IFLA_INFO_KIND, kind, sizeof(kind));
	struct rtattr *data = put(&r, IFLA_INFO_DATA, NULL, 0);
	put(&r, IFLA_MACVLAN_MODE, &mode, sizeof(mode));
	close_nest(&r, data);
	close_nest(&r, info);
	return call(&r);
}

/* What the kernel says of its character device; false: it is no macvtap. */
static bool device_of(const char *name, dev_t *dev)
{
	char path[128];
	unsigned major, minor;
	snprintf(path, sizeof(path), "/sys/class/net/%s/tap%u/dev", name, if_nametoindex(name));
	FILE *f = fopen(path, "re");
	bool ok = f && fscanf(f, "%u:%u", &major, &minor) == 2;
	if (f)
		fclose(f);
	if (ok)
		*dev = makedev(major, minor);
	return ok;
}

void macvtap_remove(int dir)
{
	char name[IFNAMSIZ];
	dev_t dev;
	struct request r = request_for(RTM_DELLINK, 0);
	name_of(dir, name);
	r.i.ifi_index = (int)if_nametoindex(name);
	if (r.i.ifi_index && device_of(name, &dev))
		call(&r);
}

static bool is_device(int fd, dev_t dev)
{
	struct stat st;
	return fd >= 0 && !fstat(fd, &st) && S_ISCHR(st.st_mode) && st.st_rdev == dev;
}

/* Its node: /dev may have none, or that of another namespace's interface. */
static int open_node(const char *name, dev_t dev, int dir, struct error *err)
{
	static const char node[] = "macvtap.node";
	char path[32];
	snprintf(path, sizeof(path), "/dev/tap%u", if_nametoindex(name));
	auto_close int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (is_device(fd, dev))
		return move_fd(&fd);
	close_fd(&fd);
	unlinkat(dir, node, 0);
	if (!mknodat(dir, node, S_IFCHR | 0600, dev))
		fd = openat(dir, node, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int e = errno;
	unlinkat(dir, node, 0);
	return is_device(fd, dev) ? move_fd(&fd) : error_minus(err, e, "cannot open the macvtap device '%s'", path);
}

static bool refused(int e, const char *lower, struct error *err)
{
	if (e == EOPNOTSUPP)
		return error_set(err, 0, "this host's kernel has no macvtap: use --uplink packet");
	if (e == EINVAL || e == EBUSY)
		return error_set(err, 0, "interface '%s' is in use by another macvlan, macvtap or bridge: use --uplink packet", lower);
	return error_set(err, e, "cannot make a macvtap interface on '%s' (it takes CAP_NET_ADMIN)", lower);
}

int macvtap_open(const char *lower, int dir, struct error *err)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	char name[IFNAMSIZ];
	dev_t dev;
	unsigned index = if_nametoindex(lower);
	if (!index)
		return error_minus(err, 0, "there is no interface '%s' on this host", lower);
	name_of(dir, name);
	macvtap_remove(dir);      /* of a keeper that was killed */
	int e = make(name, index);
	if (e) {
		refused(e, lower, err);
		return -1;
	}
	auto_close int fd = -1;
	if (!device_of(name, &dev))
		error_set(err, 0, "the kernel does not tell of the device of macvtap interface '%s': is /sys mounted?", name);
	else
		fd = open_node(name, dev, dir, err);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &r))
		error_set(err, errno, "cannot set up the macvtap interface '%s'", name);
	else if (fd >= 0 && network_set_up_tap(fd, name, err))
		return move_fd(&fd);
	macvtap_remove(dir);
	return -1;
}
