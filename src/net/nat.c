/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NAT process of a network: see nat.h.  TCP to the outside is net/tcp.h's; libslirp
 * has all else: UDP, ICMP, the host behind the gateway, DNS, published ports.  Members'
 * segments arrive unsplit, as large as they were made: libslirp takes them whole, so
 * their checksum is completed here.
 */
#include "net/nat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <sys/socket.h>

#include "base/log.h"
#include "net/message.h"
#include "net/ring.h"
#include "net/slirp_poll.h"
#include "net/tcp.h"
#include "net/user.h"

/* libslirp's windows end at 64 KiB: with segments as long, each would wait for the
 * last one's answer. Three of these fill a window. */
enum { MTU_BEST = 21866 };
enum { EARLY = 8 << 10 };      /* a frame so long is worth a wake-up of its own */
enum { BATCH = 128, SEND_WAIT_MS = 20, KEEPER = 0, BELL = 1, TCP = 2, OWN = 3 };

struct nat {
	Slirp *slirp;
	struct tcp *tcp;
	SlirpCb callbacks;
	struct ring ring;
	struct ring_fds fds;
	int keeper;
	bool gone;
	struct slirp_poll poll;
	uint8_t frame[NET_HDR + NET_FRAME_MAX];
};

/* ---- frames ---- */

/* Room in the ring, waiting a little for a switch that is behind. */
static uint8_t *room(struct nat *n, size_t len)
{
	uint8_t *p = ring_reserve(&n->ring, len);
	if (p || n->ring.broken)
		return p;
	struct pollfd w = { .fd = n->fds.to_port, .events = POLLIN };
	ring_publish(&n->ring);
	ring_want_room(&n->ring);
	if (!(p = ring_reserve(&n->ring, len)) && poll(&w, 1, SEND_WAIT_MS) > 0)
		p = ring_reserve(&n->ring, len);
	return p;
}

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
	struct nat *n = opaque;
	uint8_t *p = len <= NET_FRAME_MAX ? room(n, NET_HDR + len) : NULL;
	if (p) {
		memset(p, 0, NET_HDR);
		memcpy(p + NET_HDR, buf, len);
		ring_commit(&n->ring, NET_HDR + len);
	}
	return (ssize_t)len;
}

/* The sum over all of an unsplit segment; what the sender left there is only a
 * start. */
static void complete(struct frame *f, uint8_t *b, size_t len)
{
	size_t start = le16_get(f->vnet + VNET_START), offset = le16_get(f->vnet + VNET_OFFSET);
	frame_parse_ip(f);
	if (!f->is_ip || start != f->l4 || start + offset + 2 > len)
		return;
	be16_put(b + start + offset, 0);
	uint16_t sum = inet_sum(b + start, len - start, inet_pseudo(&f->src, &f->dst, f->proto, len - start));
	be16_put(b + start + offset, sum ? sum : 0xffff);
	if (frame_type(f) == ETH_IPV4) {
		be16_put(b + f->ip + 10, 0);
		be16_put(b + f->ip + 10, inet_sum(b + f->ip, f->l4 - f->ip, 0));
	}
}

/* libslirp reads a frame more than once: it gets a copy that nobody changes. */
static void to_slirp(struct nat *n, const uint8_t *p, size_t len)
{
	struct frame f;
	memcpy(n->frame, p, len);
	if (!frame_begin(&f, n->frame, n->frame + NET_HDR, len - NET_HDR))
		return;
	if (f.vnet[VNET_FLAGS] & VNET_NEEDS_CSUM)
		complete(&f, n->frame + NET_HDR, len - NET_HDR);
	slirp_input(n->slirp, n->frame + NET_HDR, (int)(len - NET_HDR));
}

/* This host's loopback by its own name, which no member has a way to. */
static bool to_loopback(struct frame *f)
{
	static const uint8_t zero[10];
	frame_parse_ip(f);
	uint8_t first = f->dst.b[12];
	return f->is_ip && (frame_type(f) == ETH_IPV4 ? !first || first == 127 : !memcmp(f->dst.b, zero, sizeof(zero)));
}

static unsigned take_frames(struct nat *n)
{
	const uint8_t *p;
	size_t len;
	unsigned i;
	uint64_t now = monotonic_ns();
	for (i = 0; i < BATCH && (p = ring_peek(&n->ring, &len)); i++) {
		struct frame f;
		if (len > NET_HDR + FRAME_MIN && frame_begin(&f, p, p + NET_HDR, len - NET_HDR) && !f.tagged &&
		    !to_loopback(&f) && !tcp_input(n->tcp, &f, now))
			to_slirp(n, p, len);
		ring_release(&n->ring, len);
	}
	ring_done(&n->ring);
	return i;
}

static uint8_t *tcp_room(void *opaque, size_t len)
{
	struct nat *n = opaque;
	uint8_t *p = ring_reserve(&n->ring, len);
	if (p)
		return p;
	ring_publish(&n->ring);
	ring_want_room(&n->ring);      /* its bell brings us back */
	return ring_reserve(&n->ring, len);
}

static void tcp_emit(void *opaque, size_t len)
{
	struct nat *n = opaque;
	ring_commit(&n->ring, len);
	if (len > EARLY)
		ring_publish(&n->ring);
}

/* ---- requests ---- */

static struct in_addr v4(const json_t *o, const char *key)
{
	struct in_addr a = { 0 };
	inet_pton(AF_INET, message_text(o, key, ""), &a);
	return a;
}

static bool setup(struct nat *n, struct message *m, struct error *err)
{
	const json_t *o = m->body;
	unsigned mtu = MIN((unsigned)message_number(o, "mtu", 1500), (unsigned)MTU_BEST);
	SlirpConfig c = { .version = 3, .in_enabled = true, .vhostname = "abyme", .if_mtu = mtu, .if_mru = mtu,
			  .vnetwork = v4(o, "network"), .vnetmask = v4(o, "mask"), .vhost = v4(o, "gateway"),
			  .vnameserver = v4(o, "dns"), .vdhcp_start = v4(o, "dhcp"),
			  .disable_host_loopback = !message_flag(o, "host-loopback") };
	if (inet_pton(AF_INET6, message_text(o, "prefix6", ""), &c.vprefix_addr6) == 1) {
		c.in6_enabled = true;
		c.vprefix_len = 64;
		c.vhost6 = c.vnameserver6 = c.vprefix_addr6;
		c.vhost6.s6_addr[15] = 1;
		c.vnameserver6.s6_addr[15] = 3;
	}
	struct tcp_options t = { .room = tcp_room, .emit = tcp_emit, .dial = tcp_dial, .opaque = n, .ipv6 = c.in6_enabled,
				 .mtu = (unsigned)message_number(o, "mtu", 1500), .network = ntohl(c.vnetwork.s_addr),
				 .mask = ntohl(c.vnetmask.s_addr) };
	memcpy(t.prefix6, c.vprefix_addr6.s6_addr, sizeof(t.prefix6));
	if (n->slirp || m->nfds != 3)
		return error_set(err, 0, "the NAT is set up already, or has no port");
	n->fds = (struct ring_fds){ message_take_fd(m, 0), message_take_fd(m, 1), message_take_fd(m, 2) };
	if (!ring_open(&n->ring, &n->fds, false, err))
		return false;
	atomic_store(&n->ring.shared->caps, NET_CAP_CSUM | NET_CAP_TSO4 | NET_CAP_TSO6);
	n->callbacks.send_packet = send_packet;
	slirp_poll_callbacks(&n->callbacks);
	if (!(n->tcp = tcp_new(&t, err)))
		return false;
	n->slirp = slirp_new(&c, &n->callbacks, n);
	return n->slirp || error_set(err, 0, "libslirp cannot start");
}

static bool publish(struct nat *n, const json_t *o, bool add, struct error *err)
{
	struct publish p;
	struct in_addr host, guest = v4(o, "ip");
	if (!n->slirp || !publish_parse(message_text(o, "spec", ""), &p, err))
		return false;
	inet_pton(AF_INET, p.host_addr, &host);
	errno = 0;
	if (!add)
		return !slirp_remove_hostfwd(n->slirp, p.udp, host, (int)p.host_port) || error_set(err, 0, "it was not published");
	return !slirp_add_hostfwd(n->slirp, p.udp, host, (int)p.host_port, guest, (int)p.guest_port) ||
		error_set(err, errno, "cannot publish %s:%u/%s on the host", p.host_addr, p.host_port, p.udp ? "udp" : "tcp");
}

static void talk(struct nat *n)
{
	struct message m;
	struct error err = { 0 };
	if (!message_receive(n->keeper, &m, &err) || !m.body) {
		n->gone = true;
		return;
	}
	const char *op = message_text(m.body, "op", "");
	bool ok = !strcmp(op, "setup") ? setup(n, &m, &err) : !strcmp(op, "publish") ? publish(n, m.body, true, &err) :
		!strcmp(op, "unpublish") ? publish(n, m.body, false, &err) : error_set(&err, 0, "unknown request '%s'", op);
	message_free(&m);
	n->gone = !message_send(n->keeper, ok ? json_object() : json_pack("{s:s}", "error", err.text), NULL, 0, NULL);
}

static void serve(struct nat *n)
{
	while (!n->gone && !n->slirp)
		talk(n);
	while (!n->gone && !n->ring.broken) {
		bool busy = take_frames(n);
		busy |= tcp_work(n->tcp, monotonic_ns());
		bool awake = !busy && ring_stays_awake(&n->ring, RING_POLL_NAT);
		bool idle = !busy && !awake && ring_sleep(&n->ring);
		if (awake)
			sched_yield();
		ring_publish(&n->ring);
		n->poll.fd[KEEPER] = (struct pollfd){ .fd = n->keeper, .events = POLLIN };
		n->poll.fd[BELL] = (struct pollfd){ .fd = n->fds.to_port, .events = POLLIN };
		n->poll.fd[TCP] = (struct pollfd){ .fd = tcp_fd(n->tcp), .events = POLLIN };
		slirp_poll_wait(&n->poll, n->slirp, OWN, idle ? tcp_timeout_ms(n->tcp, monotonic_ns()) : 0);
		ring_publish(&n->ring);
		if (n->poll.fd[BELL].revents)
			ring_bell_clear(&n->ring);
		if (n->poll.fd[TCP].revents)
			tcp_events(n->tcp);
		if (n->poll.fd[KEEPER].revents)
			talk(n);
	}
}

static const char *const binds[][2] = { { "/etc/resolv.conf", "/etc/resolv.conf" }, { NULL, NULL } };

int nat_main(struct nat_options *o)
{
	struct error err = { 0 };
	struct nat *n = xnew(struct nat);
	raise_descriptor_limit();
	n->keeper = o->keeper_fd;
	n->fds = (struct ring_fds){ -1, -1, -1 };
	bool ok = jail_root(&o->jail, binds, &err) && jail_seal(&o->jail, &err);
	fd_write_full(o->ready_fd, ok ? "R" : err.text, ok ? 1 : strlen(err.text));
	close(o->ready_fd);
	if (ok)
		serve(n);
	if (n->slirp)
		slirp_cleanup(n->slirp);
	tcp_free(n->tcp);
	ring_close(&n->ring);
	ring_fds_close(&n->fds);
	free(n);
	return ok ? 0 : 1;
}
