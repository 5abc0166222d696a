/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections and their sockets: see tcp.h. What a member is sent is in tcp_out.c. */
#include "net/tcp_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { EVENTS = 64, CWND_FIRST = 64 << 10, MSS_LEAST = 88, TICK_MS = 1000,
       BACKOFF_ALIVE = 8 /* who answers is never given up */ };
#define SECOND_NS 1000000000ull
#define LINGER_NS (5 * SECOND_NS)
#define IDLE_NS (7200 * SECOND_NS)

/* ---- connections ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

static uint64_t key(const struct tcp *t, const struct addr *member, unsigned mport, const struct addr *far, unsigned fport)
{
	uint64_t w[4];
	memcpy(w, member, 16);
	memcpy(w + 2, far, 16);
	return mix(mix(mix(mix(mix(t->secret, w[0]), w[1]), w[2]), w[3]), (uint64_t)mport << 16 | fport);
}

static struct tcp_conn **slot_of(struct tcp *t, const struct frame *f)
{
	return &t->bucket[key(t, &f->src, f->sport, &f->dst, f->dport) % TCP_BUCKETS];
}

static struct tcp_conn *find(struct tcp *t, const struct frame *f)
{
	struct tcp_conn *c = *slot_of(t, f);
	while (c && (c->member_port != f->sport || c->far_port != f->dport || memcmp(&c->member, &f->src, 16) ||
		     memcmp(&c->far, &f->dst, 16)))
		c = c->next;
	return c;
}

void tcp_queue(struct tcp *t, struct tcp_conn *c)
{
	if (c->working)
		return;
	c->working = true;
	c->work_next = NULL;
	*t->work_end = c;
	t->work_end = &c->work_next;
}

static void shut_socket(struct tcp_conn *c)
{
	if (c->fd >= 0)
		close(move_fd(&c->fd));
	free(c->in.data);
	free(c->out.data);
	c->in = c->out = (struct tcp_buffer){ 0 };
}

/* Out of the table; one that is in the list of work is freed when its turn comes. */
static void drop(struct tcp *t, struct tcp_conn *c)
{
	struct tcp_conn **p = &t->bucket[key(t, &c->member, c->member_port, &c->far, c->far_port) % TCP_BUCKETS];
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	t->n--;
	shut_socket(c);
	c->gone = true;
	if (!c->working)
		free(c);
}

/* Both sides hear that it has failed. */
static void reset(struct tcp *t, struct tcp_conn *c, bool tell_member)
{
	struct linger now = { .l_onoff = 1 };
	if (c->fd >= 0)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	if (tell_member)
		tcp_send_reset(t, c);
	drop(t, c);
}

static void each(struct tcp *t, void (*fn)(struct tcp *t, struct tcp_conn *c, void *opaque), void *opaque)
{
	for (unsigned i = 0; i < TCP_BUCKETS; i++)
		for (struct tcp_conn *c = t->bucket[i], *next; c; c = next) {
			next = c->next;
			fn(t, c, opaque);
		}
}

/* ---- new ones ---- */

struct census { const uint8_t *mac; unsigned n; struct tcp_conn *oldest; };

static void count(struct tcp *t, struct tcp_conn *c, void *opaque)
{
	struct census *s = opaque;
	if (memcmp(c->member_mac, s->mac, 6))
		return;
	s->n++;
	if (!s->oldest || c->used_ns < s->oldest->used_ns)
		s->oldest = c;
}

/* Who has its part already gives up the one that was silent longest. */
static bool make_room(struct tcp *t, const uint8_t *mac)
{
	struct census s = { .mac = mac };
	if (t->n < TCP_PER_MEMBER)
		return true;
	each(t, count, &s);
	if (s.n >= TCP_PER_MEMBER || (t->n >= TCP_CONNECTIONS && s.n))
		reset(t, s.oldest, true);
	return t->n < TCP_CONNECTIONS;
}

static bool outside_v4(const struct tcp *t, uint32_t a)
{
	return (a & t->o.mask) != t->o.network && a >> 24 && a >> 24 != 127 && a >> 28 < 14;
}

static bool outside_v6(const struct tcp *t, const uint8_t *a)
{
	static const uint8_t zero[10];
	return t->o.ipv6 && memcmp(a, t->o.prefix6, 8) && memcmp(a, zero, sizeof(zero)) && a[0] != 0xff &&
		!(a[0] == 0xfe && (a[1] & 0xc0) == 0x80);
}

static bool outside(const struct tcp *t, const struct frame *f)
{
	return addr_is_v4(&f->dst) ? frame_type(f) == ETH_IPV4 && outside_v4(t, addr_to_v4(&f->dst)) : outside_v6(t, f->dst.b);
}

static void meet(struct tcp *t, struct tcp_conn *c, const struct frame *f, const struct tcp_segment *s)
{
	unsigned most = t->o.mtu - (addr_is_v4(&f->dst) ? 40 : 60);
	c->member = f->src;
	c->far = f->dst;
	c->member_port = f->sport;
	c->far_port = f->dport;
	memcpy(c->member_mac, frame_src(f), 6);
	memcpy(c->own_mac, frame_dst(f), 6);
	c->irs = s->seq;
	c->rcv_nxt = c->rcv_edge = s->seq + 1;
	c->mss = MAX(s->mss, (uint16_t)MSS_LEAST);
	c->mss = MIN(c->mss, (uint16_t)most);
	c->snd_wnd = s->window;
	c->snd_scale = s->scale;
	c->rcv_scale = s->scaled ? TCP_SCALE : 0;
	c->cwnd = CWND_FIRST;
	c->ssthresh = TCP_BUFFER;
	c->iss = (uint32_t)mix(mix(t->secret, t->now_ns), c->member_port);
	c->snd_una = c->snd_nxt = c->iss;
	c->snd_max = c->iss;
	c->used_ns = t->now_ns;
}

static bool begin(struct tcp *t, struct frame *f, const struct tcp_segment *s)
{
	if (!outside(t, f) || !make_room(t, frame_src(f)))
		return false;
	int fd = t->o.dial(t->o.opaque, &f->dst, f->dport);
	if (fd < 0)
		return false;
	struct tcp_conn *c = xnew(struct tcp_conn), **slot = slot_of(t, f);
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (uint32_t)EPOLLET, .data.ptr = c };
	if (epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &e)) {
		close(fd);
		free(c);
		return false;
	}
	meet(t, c, f, s);
	c->fd = fd;
	c->next = *slot;
	*slot = c;
	t->n++;
	return true;
}

/* ---- what a member says ---- */

/* Its bytes, straight to the socket; what that does not take is kept. */
static uint32_t take_bytes(struct tcp_conn *c, const struct tcp_segment *s, uint32_t skip)
{
	uint32_t n = MIN(s->len - skip, tcp_buffer_room(&c->in)), first = (uint32_t)s->data[0].iov_len;
	uint32_t cut = MIN(skip, first), here = MIN(n, first - cut);
	struct iovec v[2] = { { (uint8_t *)s->data[0].iov_base + cut, here },
			      { (uint8_t *)s->data[1].iov_base + (skip - cut), n - here } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	ssize_t sent = 0;
	if (n && c->writable && !c->in.len && (sent = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT)) < (ssize_t)n) {
		c->failed |= sent < 0 && errno != EAGAIN && errno != EINTR;
		c->writable = false;
		sent = MAX(sent, (ssize_t)0);
	}
	for (unsigned i = 0; i < 2 && !c->failed; i++) {
		uint32_t gone = MIN((uint32_t)sent, (uint32_t)v[i].iov_len);
		if (v[i].iov_len > gone)
			tcp_buffer_put(&c->in, (uint8_t *)v[i].iov_base + gone, (uint32_t)v[i].iov_len - gone);
		sent -= gone;
	}
	return n;
}

static void take_data(struct tcp_conn *c, const struct tcp_segment *s)
{
	uint32_t skip = c->rcv_nxt - s->seq, fin = s->flags & TCP_FIN ? 1 : 0;
	if (!s->len && !fin && !skip)
		return;
	c->ack_now = true;
	if (c->fin_in || skip > s->len)      /* known already, or its forerunner is lost */
		return;
	uint32_t n = take_bytes(c, s, skip);
	c->rcv_nxt += n;
	if (fin && n == s->len - skip) {
		c->rcv_nxt++;
		c->fin_in = true;
	}
}

static void take_ack(struct tcp *t, struct tcp_conn *c, const struct tcp_segment *s)
{
	uint32_t wnd = (uint32_t)s->window << c->snd_scale;
	if (tcp_before(c->snd_max, s->ack)) {
		c->ack_now = true;
		return;
	}
	if (tcp_before(s->ack, c->snd_una))
		return;
	c->backoff = MIN(c->backoff, (unsigned)BACKOFF_ALIVE);
	if (s->ack != c->snd_una)
		tcp_acked(t, c, s->ack);
	else if (!s->len && !(s->flags & TCP_FIN) && wnd == c->snd_wnd && c->snd_max != c->snd_una)
		tcp_ack_repeated(t, c);
	else if (c->snd_max == c->snd_una)
		c->timer_ns = 0;
	c->snd_wnd = wnd;
}

/* RFC 9293 3.10.7 */
static void hear(struct tcp *t, struct tcp_conn *c, const struct tcp_segment *s)
{
	if (s->flags & TCP_RST) {
		if (c->state == TCP_DIALING || s->seq - c->rcv_nxt <= c->rcv_edge - c->rcv_nxt)
			reset(t, c, false);
		return;
	}
	if (c->state == TCP_DIALING)
		return;
	tcp_queue(t, c);
	if (s->flags & TCP_SYN && c->state == TCP_OPENING && s->seq == c->irs) {
		tcp_send_syn(t, c);
		return;
	}
	if (s->flags & TCP_SYN || !(s->flags & TCP_ACK)) {
		c->ack_now |= s->flags & TCP_SYN;      /* RFC 5961 4 */
		return;
	}
	if (c->state == TCP_OPENING) {
		if (s->ack != c->snd_max)
			return;
		c->state = TCP_OPEN;
		c->snd_una = s->ack;
		c->timer_ns = 0;
	}
	take_ack(t, c, s);
	take_data(c, s);
}

bool tcp_input(struct tcp *t, struct frame *f, uint64_t now_ns)
{
	struct tcp_segment s;
	if (!tcp_parse(f, &s))
		return false;
	t->now_ns = now_ns;
	struct tcp_conn *c = find(t, f);
	bool opens = (s.flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
	if (c && c->state == TCP_LINGER && opens) {
		drop(t, c);
		c = NULL;
	}
	if (!c)
		return opens && begin(t, f, &s);
	c->used_ns = now_ns;
	hear(t, c, &s);
	return true;
}

/* ---- what the socket says ---- */

static bool dialled(struct tcp *t, struct tcp_conn *c)
{
	int e = 0;
	socklen_t n = sizeof(e);
	if (!c->writable && !c->hung_up)
		return false;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &n) || e) {
		reset(t, c, true);
		return false;
	}
	c->state = TCP_OPENING;
	c->snd_nxt = c->snd_max = c->iss + 1;
	tcp_send_syn(t, c);      /* its timer sends it again */
	return false;
}

static void drain(struct tcp_conn *c)
{
	struct iovec v[2];
	while (c->writable && c->in.len && !c->failed) {
		struct msghdr m = { .msg_iov = v, .msg_iovlen = tcp_buffer_pieces(&c->in, 0, c->in.len, v) };
		ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			tcp_buffer_drop(&c->in, (uint32_t)n);
		else
			c->writable = false;
		c->failed |= n < 0 && errno != EAGAIN && errno != EINTR;
	}
	if (c->fin_in && !c->in.len && !c->shut) {
		shutdown(c->fd, SHUT_WR);
		c->shut = true;
	}
}

/* Read where that is worth a call. True: there is more. */
static bool fill(struct tcp_conn *c)
{
	struct iovec v[2];
	if (!tcp_may_read(c))
		return false;
	ssize_t n = readv(c->fd, v, (int)tcp_buffer_pieces(&c->out, c->out.len, TCP_READ, v));
	if (n > 0)
		c->out.len += (uint32_t)n;
	c->eof = !n;
	c->readable = n == TCP_READ || (n > 0 && c->hung_up);
	c->failed |= n < 0 && errno != EAGAIN && errno != EINTR;
	return tcp_may_read(c);
}

/* The member thinks there is no room, and there is. */
static bool opened(const struct tcp_conn *c)
{
	uint32_t most = MIN((uint32_t)TCP_BUFFER, 0xffffu << c->rcv_scale), now = MIN(tcp_buffer_room(&c->in), most);
	return c->state == TCP_OPEN && !c->fin_in && now >= c->rcv_edge - c->rcv_nxt + most / 2;
}

/* True: there is more to do. */
static bool work(struct tcp *t, struct tcp_conn *c)
{
	if (c->state == TCP_DIALING)
		return dialled(t, c);
	bool more = false;
	if (c->fd >= 0) {
		drain(c);
		more = fill(c);
	}
	if (c->failed) {
		reset(t, c, true);
		return false;
	}
	if (c->state == TCP_OPEN)
		more |= tcp_send_data(t, c);
	if ((c->ack_now || opened(c)) && !tcp_send_ack(t, c))
		return true;
	if (c->state == TCP_OPEN && c->shut && c->fin_acked) {
		c->state = TCP_LINGER;
		c->timer_ns = 0;
		shut_socket(c);
		return false;
	}
	return more && !t->blocked;
}

void tcp_events(struct tcp *t)
{
	struct epoll_event e[EVENTS];
	int n = epoll_wait(t->epoll, e, EVENTS, 0);
	for (int i = 0; i < n; i++) {
		struct tcp_conn *c = e[i].data.ptr;
		c->hung_up |= e[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
		c->readable |= c->hung_up || e[i].events & EPOLLIN;
		c->writable |= e[i].events & (EPOLLOUT | EPOLLERR);
		tcp_queue(t, c);
	}
}

/* ---- time ---- */

static void timer(struct tcp *t, struct tcp_conn *c, void *opaque)
{
	if (c->timer_ns && c->timer_ns <= t->now_ns) {
		if (!tcp_retransmit(t, c)) {
			reset(t, c, true);
			return;
		}
		tcp_queue(t, c);
	} else if (c->timer_ns) {
		t->next_timer_ns = t->next_timer_ns ? MIN(t->next_timer_ns, c->timer_ns) : c->timer_ns;
	}
}

static void forget(struct tcp_buffer *b)
{
	if (b->len)
		return;
	free(b->data);
	b->data = NULL;
}

static void tick(struct tcp *t, struct tcp_conn *c, void *opaque)
{
	uint64_t idle = t->now_ns - c->used_ns;
	if (c->state == TCP_LINGER && idle > LINGER_NS) {
		drop(t, c);
		return;
	}
	if (idle > SECOND_NS) {
		forget(&c->in);
		forget(&c->out);
	}
	if (c->state == TCP_OPEN && idle > IDLE_NS && !c->timer_ns)
		tcp_set_timer(t, c, 0);
}

static void timers(struct tcp *t)
{
	if (t->next_timer_ns && t->next_timer_ns <= t->now_ns) {
		t->next_timer_ns = 0;
		each(t, timer, NULL);
	}
	if (t->n && t->next_tick_ns <= t->now_ns) {
		t->next_tick_ns = t->now_ns + TICK_MS * 1000000ull;
		each(t, tick, NULL);
	}
}

bool tcp_work(struct tcp *t, uint64_t now_ns)
{
	t->now_ns = now_ns;
	t->blocked = false;
	timers(t);
	struct tcp_conn *c = t->work, *next;
	t->work = NULL;
	t->work_end = &t->work;
	for (; c; c = next) {
		next = c->work_next;
		bool again = t->blocked || (!c->gone && work(t, c)) || t->blocked;
		c->working = false;
		if (c->gone)
			free(c);
		else if (again)
			tcp_queue(t, c);
	}
	return t->work && !t->blocked;
}

/* ---- all of it ---- */

struct tcp *tcp_new(const struct tcp_options *o, struct error *err)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		return error_null(err, errno, "cannot watch connections");
	struct tcp *t = xnew(struct tcp);
	ssize_t n UNUSED = getrandom(&t->secret, sizeof(t->secret), 0);
	t->o = *o;
	t->epoll = epoll;
	t->work_end = &t->work;
	return t;
}

static void end(struct tcp *t, struct tcp_conn *c, void *opaque)
{
	drop(t, c);
}

void tcp_free(struct tcp *t)
{
	if (!t)
		return;
	each(t, end, NULL);
	for (struct tcp_conn *c = t->work, *next; c; c = next) {
		next = c->work_next;
		free(c);
	}
	close(t->epoll);
	free(t);
}

int tcp_fd(const struct tcp *t) { return t->epoll; }
unsigned tcp_count(const struct tcp *t) { return t->n; }

int tcp_timeout_ms(const struct tcp *t, uint64_t now_ns)
{
	uint64_t when = t->next_timer_ns ? MIN(t->next_timer_ns, t->next_tick_ns) : t->next_tick_ns;
	if (!t->n)
		return -1;
	return when <= now_ns ? 0 : (int)((when - now_ns) / 1000000 + 1);
}

int tcp_dial(void *opaque, const struct addr *to, uint16_t port)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	bool v4 = addr_is_v4(to);
	int on = 1;
	auto_close int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	memcpy(&a4.sin_addr, to->b + 12, 4);
	memcpy(&a6.sin6_addr, to->b, 16);
	if (connect(fd, v4 ? (struct sockaddr *)&a4 : (struct sockaddr *)&a6, v4 ? sizeof(a4) : sizeof(a6)) && errno != EINPROGRESS)
		return -1;
	return move_fd(&fd);
}
