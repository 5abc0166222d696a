/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attach NETWORK TURNS PORTS: join and leave TURNS times; then have PORTS ports at
 * once and send a frame from the first to each, until all have got one, once when
 * asked and again after 5 seconds (when a switch may have died).
 */
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "network/client.h"

enum { MOST = 4000, TRIES = 600 };

static struct ring ring[MOST];
static struct network_joined joined[MOST];

static bool join(const char *network, unsigned i, struct error *err)
{
	char name[32], mac[24];
	snprintf(name, sizeof(name), "m%u", i);
	snprintf(mac, sizeof(mac), "02:00:00:00:%02x:%02x", i >> 8 & 255, i & 255);
	struct network_join j = { .network = network, .instance = name, .mac = mac };
	return network_join_ring(&j, NULL, &joined[i], err) && ring_open(&ring[i], &joined[i].ring, false, err);
}

static void leave(unsigned i)
{
	ring_close(&ring[i]);
	ring_fds_close(&joined[i].ring);
	close(joined[i].lease);
}

static void broadcast(void)
{
	uint8_t *b = ring_reserve(&ring[0], NET_HDR + 60);
	if (!b)
		return;
	memset(b, 0, NET_HDR + 60);
	memset(b + NET_HDR, 0xff, 6);
	memcpy(b + NET_HDR + 6, "\2\0\0\0\0\0", 6);
	b[NET_HDR + 12] = 0x88;
	b[NET_HDR + 13] = 0xb5;
	ring_commit(&ring[0], NET_HDR + 60);
	ring_publish(&ring[0]);
}

static unsigned drain(unsigned i)
{
	unsigned n = 0;
	size_t len;
	while (ring_peek(&ring[i], &len)) {
		ring_release(&ring[i], len);
		n++;
	}
	ring_done(&ring[i]);
	return n;
}

static bool reach_all(unsigned ports)
{
	static bool got[MOST];
	const struct timespec pause = { .tv_nsec = 100000000 };
	memset(got, 0, sizeof(got));
	for (unsigned t = 0; t < TRIES; t++) {
		unsigned have = 0;
		broadcast();
		nanosleep(&pause, NULL);
		for (unsigned i = 1; i < ports; i++)
			have += got[i] |= drain(i) > 0;
		if (have == ports - 1)
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct error err = { 0 };
	struct rlimit r;
	const struct timespec pause = { .tv_sec = 5 };
	if (argc != 4)
		return 2;
	if (!getrlimit(RLIMIT_NOFILE, &r)) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
	unsigned turns = (unsigned)atoi(argv[2]), ports = MIN((unsigned)atoi(argv[3]), (unsigned)MOST);
	for (unsigned i = 0; i < turns + ports; i++) {
		unsigned at = i < turns ? i % 64 : i - turns;
		if (!join(argv[1], at, &err)) {
			fprintf(stderr, "attach: %s\n", err.text);
			return 1;
		}
		if (i < turns)
			leave(at);
	}
	for (unsigned k = 0; k < 2 && ports; k++) {
		if (!reach_all(ports))
			return 1;
		printf("%u ports: each got a broadcast of the first\n", ports);
		fflush(stdout);
		if (!k)
			nanosleep(&pause, NULL);
	}
	return 0;
}
