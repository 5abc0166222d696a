/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's network interfaces, with the addresses that the host says. */
#include "guest/guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static bool bring_up(int s, struct ifreq *r)
{
	r->ifr_flags = IFF_UP | IFF_RUNNING;
	return !ioctl(s, SIOCSIFFLAGS, r);
}

static bool set_mac(int s, struct ifreq *r, const char *mac)
{
	unsigned b[6];
	if (!mac || sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return true;
	r->ifr_hwaddr.sa_family = ARPHRD_ETHER;
	for (unsigned i = 0; i < 6; i++)
		r->ifr_hwaddr.sa_data[i] = (char)b[i];
	return !ioctl(s, SIOCSIFHWADDR, r);
}

static bool set_address(int s, struct ifreq *r, const struct guest_net *n)
{
	struct sockaddr_in *a = (struct sockaddr_in *)(void *)&r->ifr_addr;
	*a = (struct sockaddr_in){ .sin_family = AF_INET };
	if (inet_pton(AF_INET, n->ip, &a->sin_addr) != 1 || ioctl(s, SIOCSIFADDR, r))
		return false;
	*a = (struct sockaddr_in){ .sin_family = AF_INET };
	a->sin_addr.s_addr = htonl(n->prefix && n->prefix <= 32 ? ~0u << (32 - n->prefix) : 0);
	return !ioctl(s, SIOCSIFNETMASK, r);
}

static bool set_route(int s, const char *gateway)
{
	struct rtentry r = { .rt_flags = RTF_UP | RTF_GATEWAY };
	struct sockaddr_in *via = (struct sockaddr_in *)(void *)&r.rt_gateway;
	r.rt_dst.sa_family = r.rt_genmask.sa_family = AF_INET;
	*via = (struct sockaddr_in){ .sin_family = AF_INET };
	return inet_pton(AF_INET, gateway, &via->sin_addr) == 1 && (!ioctl(s, SIOCADDRT, &r) || errno == EEXIST);
}

static bool one_up(int s, const struct guest_net *n, unsigned index, struct error *err)
{
	struct ifreq r = { 0 };
	snprintf(r.ifr_name, sizeof(r.ifr_name), "eth%u", index);
	if (!set_mac(s, &r, n->mac))
		return error_set(err, errno, "cannot set the MAC address of '%s'", r.ifr_name);
	r.ifr_mtu = (int)n->mtu;
	if (n->mtu && ioctl(s, SIOCSIFMTU, &r))
		return error_set(err, errno, "cannot set the MTU of '%s'", r.ifr_name);
	if ((n->ip && *n->ip && !set_address(s, &r, n)) || !bring_up(s, &r))
		return error_set(err, errno, "cannot bring up '%s'", r.ifr_name);
	return !n->gateway || !*n->gateway || set_route(s, n->gateway) || error_set(err, errno, "cannot set the default route");
}

bool guest_links_up(const struct guest_net *nets, unsigned n, struct error *err)
{
	auto_close int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq lo = { .ifr_name = "lo" };
	if (s < 0 || !bring_up(s, &lo))
		return error_set(err, errno, "cannot bring up 'lo'");
	for (unsigned i = 0; i < n; i++)
		if (!one_up(s, &nets[i], i, err))
			return false;
	return true;
}
