/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GDB Remote Serial Protocol (the GDB manual, appendix E), all-stop: one packet
 * in, one out; threads are vCPUs, numbered from 1.  Everything the client sends
 * is hostile; every length is bounded by BUF.
 */
#include "gdb/gdb.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/util.h"

enum { BUF = 2 * DEBUG_PAYLOAD_MAX + 64 };

struct gdb {
	int client, channel;
	bool no_ack, running, closed, lost;
	unsigned vcpus, g_thread;           /* vCPU index that g/m refer to */
	unsigned last_stop;                 /* vCPU of the last stop */
	char in[BUF + 1], out[BUF + 1];
	uint8_t payload[DEBUG_PAYLOAD_MAX];
	struct debug_msg event;
	bool have_event;
};

/* --- the channel ---------------------------------------------------------- */

static bool receive(struct gdb *g, struct debug_msg *r)
{
	if (!fd_read_full(g->channel, r, sizeof(*r)) || r->len > DEBUG_PAYLOAD_MAX ||
	    (r->len && !fd_read_full(g->channel, g->payload, r->len))) {
		g->lost = true;
		return false;
	}
	return true;
}

/* A request and its reply; an event that comes in between is kept. */
static bool ask(struct gdb *g, struct debug_msg *q, const void *payload)
{
	uint32_t send = q->op == DEBUG_READ ? 0 : q->len, op = q->op;
	if (!fd_write_full(g->channel, q, sizeof(*q)) ||
	    (send && !fd_write_full(g->channel, payload, send))) {
		g->lost = true;
		return false;
	}
	for (;;) {
		if (!receive(g, q))
			return false;
		if (q->op == op)
			return q->status >= 0;
		g->event = *q;
		g->have_event = true;
	}
}

static bool simple(struct gdb *g, uint32_t op, unsigned vcpu)
{
	struct debug_msg q = { .op = op, .vcpu = vcpu };
	return ask(g, &q, NULL);
}

static bool get_regs(struct gdb *g, struct debug_regs *r)
{
	struct debug_msg q = { .op = DEBUG_GET_REGS, .vcpu = g->g_thread };
	if (!ask(g, &q, NULL) || q.len != sizeof(*r))
		return false;
	memcpy(r, g->payload, sizeof(*r));
	return true;
}

static bool set_regs(struct gdb *g, const struct debug_regs *r)
{
	struct debug_msg q = { .op = DEBUG_SET_REGS, .vcpu = g->g_thread, .len = sizeof(*r) };
	return ask(g, &q, r);
}

/* --- packets --------------------------------------------------------------- */

static void put(struct gdb *g, const char *data)
{
	uint8_t sum = 0;
	for (const char *p = data; *p; p++)
		sum += (uint8_t)*p;
	if (dprintf(g->client, "$%s#%02x", data, sum) < 0)
		g->closed = true;
}

static int get_byte(struct gdb *g)
{
	uint8_t c;
	ssize_t n;
	while ((n = read(g->client, &c, 1)) < 0 && errno == EINTR)
		;
	if (n != 1) {
		g->closed = true;
		return -1;
	}
	return c;
}

static int hex_digit(int c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* After '$': the packet's text, acknowledged. */
static bool get_packet(struct gdb *g)
{
	size_t n = 0;
	uint8_t sum = 0;
	int c;
	while ((c = get_byte(g)) >= 0 && c != '#') {
		if (n == BUF) {
			g->closed = true;
			return false;
		}
		g->in[n++] = (char)c;
		sum = (uint8_t)(sum + c);
	}
	g->in[n] = 0;
	int hi = hex_digit(get_byte(g)), lo = hex_digit(get_byte(g));
	bool ok = !g->closed && hi * 16 + lo == sum;
	if (!g->no_ack && write(g->client, ok ? "+" : "-", 1) != 1)
		g->closed = true;
	return ok;
}

static char *hex_put(char *o, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		o += sprintf(o, "%02x", ((const uint8_t *)p)[i]);
	return o;
}

/* How many bytes `s` held. */
static size_t hex_get(const char *s, void *p, size_t max)
{
	size_t n = 0;
	for (; n < max; n++, s += 2) {
		int hi = hex_digit((unsigned char)s[0]);
		int lo = hi < 0 ? -1 : hex_digit((unsigned char)s[1]);
		if (lo < 0)
			break;
		((uint8_t *)p)[n] = (uint8_t)(hi << 4 | lo);
	}
	return n;
}

static void put_stop(struct gdb *g)
{
	static const char *const what[] = { "", "", "watch", "rwatch", "awatch" };
	char text[80];
	unsigned kind = g->event.kind;
	if (kind >= 2 && kind <= 4)
		snprintf(text, sizeof(text), "T05%s:%llx;thread:%x;", what[kind],
			 (unsigned long long)g->event.addr, g->last_stop + 1);
	else
		snprintf(text, sizeof(text), "T05thread:%x;", g->last_stop + 1);
	put(g, text);
}

static void stopped(struct gdb *g)
{
	g->running = false;
	g->have_event = false;
	g->last_stop = g->g_thread = g->event.vcpu < g->vcpus ? g->event.vcpu : 0;
	put_stop(g);
}

static void resume(struct gdb *g, bool step, unsigned vcpu)
{
	memset(&g->event, 0, sizeof(g->event));
	if (simple(g, step ? DEBUG_STEP : DEBUG_CONTINUE, vcpu))
		g->running = true;
}

/* --- commands ---------------------------------------------------------------- */

static void ok(struct gdb *g, bool good) { put(g, good ? "OK" : "E01"); }

static void read_registers(struct gdb *g)
{
	struct debug_regs r;
	if (!get_regs(g, &r)) {
		ok(g, false);
		return;
	}
	char *o = g->out;
	void *p;
	unsigned size;
	for (unsigned n = 0; gdb_reg(&r, n, &p, &size); n++)
		o = hex_put(o, p, size);
	put(g, g->out);
}

static void write_registers(struct gdb *g)
{
	struct debug_regs r;
	bool good = get_regs(g, &r);
	const char *s = g->in + 1;
	void *p;
	unsigned size;
	for (unsigned n = 0; good && *s && gdb_reg(&r, n, &p, &size); n++) {
		size_t got = hex_get(s, p, size);
		s += 2 * got;
		good = got == size;
	}
	ok(g, good && set_regs(g, &r));
}

static void one_register(struct gdb *g, bool write)
{
	struct debug_regs r;
	char *end;
	unsigned long n = strtoul(g->in + 1, &end, 16);
	void *p;
	unsigned size;
	if (n >= GDB_REG_COUNT || !get_regs(g, &r) || !gdb_reg(&r, (unsigned)n, &p, &size)) {
		ok(g, false);
	} else if (write) {
		ok(g, *end == '=' && hex_get(end + 1, p, size) == size && set_regs(g, &r));
	} else {
		hex_put(g->out, p, size);
		put(g, g->out);
	}
}

static bool addr_len(const char *s, char **end, uint64_t *addr, uint64_t *len)
{
	*addr = strtoull(s, end, 16);
	if (**end != ',')
		return false;
	*len = strtoull(*end + 1, end, 16);
	return true;
}

static void read_memory(struct gdb *g)
{
	char *end;
	uint64_t addr, len;
	if (!addr_len(g->in + 1, &end, &addr, &len)) {
		ok(g, false);
		return;
	}
	struct debug_msg q = { .op = DEBUG_READ, .vcpu = g->g_thread, .addr = addr,
			       .len = (uint32_t)MIN(len, (uint64_t)DEBUG_PAYLOAD_MAX) };
	if (!ask(g, &q, NULL) || (len && !q.len)) {
		ok(g, false);
		return;
	}
	*g->out = 0;
	hex_put(g->out, g->payload, q.len);
	put(g, g->out);
}

static void write_memory(struct gdb *g)
{
	char *end;
	uint64_t addr, len;
	static uint8_t bytes[DEBUG_PAYLOAD_MAX];
	if (!addr_len(g->in + 1, &end, &addr, &len) || *end != ':' || len > sizeof(bytes) ||
	    hex_get(end + 1, bytes, len) != len) {
		ok(g, false);
		return;
	}
	struct debug_msg q = { .op = DEBUG_WRITE, .vcpu = g->g_thread, .addr = addr, .len = (uint32_t)len };
	ok(g, ask(g, &q, bytes));
}

/* Z0 and Z1 are the same here: no guest byte is ever changed. */
static void point(struct gdb *g, bool add)
{
	static const uint32_t kinds[] = { 1, 1, 2, 3, 4 };
	char *end;
	uint64_t addr, len;
	unsigned type = (unsigned)(g->in[1] - '0');
	if (type > 4 || g->in[2] != ',' || !addr_len(g->in + 3, &end, &addr, &len)) {
		put(g, "");
		return;
	}
	struct debug_msg q = { .op = add ? DEBUG_POINT_ADD : DEBUG_POINT_DEL, .addr = addr,
			       .kind = kinds[type],
			       .size = type < 2 ? 1 : (uint32_t)MIN(len, (uint64_t)4096) };
	ok(g, ask(g, &q, NULL));
}

static void transfer(struct gdb *g)
{
	static const char prefix[] = "qXfer:features:read:target.xml:";
	char *end;
	uint64_t off, len, total = strlen(gdb_target_xml);
	if (strncmp(g->in, prefix, sizeof(prefix) - 1) ||
	    !addr_len(g->in + sizeof(prefix) - 1, &end, &off, &len) || off > total) {
		put(g, "E00");
		return;
	}
	uint64_t n = MIN(len, total - off);
	n = MIN(n, (uint64_t)BUF - 8);
	snprintf(g->out, sizeof(g->out), "%c%.*s", off + n < total ? 'm' : 'l', (int)n, gdb_target_xml + off);
	put(g, g->out);
}

static void thread_list(struct gdb *g)
{
	char *o = g->out;
	*o++ = 'm';
	for (unsigned i = 0; i < g->vcpus; i++)
		o += sprintf(o, "%s%x", i ? "," : "", i + 1);
	put(g, g->out);
}

static void query(struct gdb *g)
{
	const char *q = g->in;
	if (!strncmp(q, "qSupported", 10)) {
		snprintf(g->out, sizeof(g->out), "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;"
			 "vContSupported+;hwbreak+;swbreak+", BUF - 16);
		put(g, g->out);
	} else if (!strncmp(q, "qXfer:", 6)) {
		transfer(g);
	} else if (!strcmp(q, "qfThreadInfo")) {
		thread_list(g);
	} else if (!strcmp(q, "qsThreadInfo")) {
		put(g, "l");
	} else if (!strcmp(q, "qC")) {
		snprintf(g->out, sizeof(g->out), "QC%x", g->g_thread + 1);
		put(g, g->out);
	} else if (!strcmp(q, "qAttached")) {
		put(g, "1");
	} else if (!strncmp(q, "qThreadExtraInfo,", 17)) {
		char name[24];
		snprintf(name, sizeof(name), "vCPU %lu", strtoul(q + 17, NULL, 16) - 1);
		hex_put(g->out, name, strlen(name));
		put(g, g->out);
	} else if (!strcmp(q, "QStartNoAckMode")) {
		put(g, "OK");
		g->no_ack = true;
	} else {
		put(g, "");
	}
}

static bool pick_thread(const struct gdb *g, const char *s, unsigned *vcpu)
{
	long n = strtol(s, NULL, 16);
	if (n == 0 || n == -1)
		return true;
	if (n < 1 || (unsigned long)n > g->vcpus)
		return false;
	*vcpu = (unsigned)n - 1;
	return true;
}

/* vCont;s:2;c -- the first action decides: a step is of one vCPU alone. */
static void v_packet(struct gdb *g)
{
	if (!strcmp(g->in, "vCont?")) {
		put(g, "vCont;c;C;s;S");
		return;
	}
	if (strncmp(g->in, "vCont;", 6)) {
		put(g, "");
		return;
	}
	unsigned vcpu = g->last_stop;
	char action = g->in[6];
	const char *colon = strchr(g->in + 6, ':');
	const char *next = strchr(g->in + 6, ';');
	if (colon && (!next || colon < next) && !pick_thread(g, colon + 1, &vcpu))
		ok(g, false);
	else
		resume(g, (action | 32) == 's', vcpu);
}

static void detach(struct gdb *g)
{
	put(g, "OK");
	resume(g, false, 0);
	g->closed = true;
}

static void command(struct gdb *g)
{
	unsigned vcpu = g->g_thread;
	switch (g->in[0]) {
	case '?': put_stop(g); break;
	case 'g': read_registers(g); break;
	case 'G': write_registers(g); break;
	case 'p': one_register(g, false); break;
	case 'P': one_register(g, true); break;
	case 'm': read_memory(g); break;
	case 'M': write_memory(g); break;
	case 'c': resume(g, false, 0); break;
	case 's': resume(g, true, g->last_stop); break;
	case 'Z': point(g, true); break;
	case 'z': point(g, false); break;
	case 'v': v_packet(g); break;
	case 'q': case 'Q': query(g); break;
	case 'D': detach(g); break;
	case 'k': g->closed = true; break;
	case 'T':
		ok(g, pick_thread(g, g->in + 1, &vcpu));
		break;
	case 'H':
		if (!pick_thread(g, g->in + 2, &vcpu)) {
			ok(g, false);
			break;
		}
		if (g->in[1] == 'g')
			g->g_thread = vcpu;
		ok(g, true);
		break;
	default:
		put(g, "");
	}
}

static void client_readable(struct gdb *g)
{
	int c = get_byte(g);
	if (c == 3 && g->running) {
		simple(g, DEBUG_STOP, 0);
		if (!g->have_event)
			g->event = (struct debug_msg){ .op = DEBUG_EVENT };
		stopped(g);
	} else if (c == '$' && get_packet(g)) {
		command(g);
	}
}

static void serve(struct gdb *g)
{
	/* A debugger finds the machine stopped. */
	if (!simple(g, DEBUG_STOP, 0))
		return;
	while (!g->closed && !g->lost) {
		if (g->have_event && g->running)
			stopped(g);
		struct pollfd p[2] = { { g->client, POLLIN, 0 }, { g->channel, POLLIN, 0 } };
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents && receive(g, &g->event))
			g->have_event = true;
		else if (p[0].revents)
			client_readable(g);
	}
	if (!g->lost && !g->running)
		simple(g, DEBUG_CONTINUE, 0);
}

int gdb_main(int listen_fd, int channel_fd)
{
	static struct gdb g;
	for (;;) {
		struct pollfd p[2] = { { listen_fd, POLLIN, 0 }, { channel_fd, POLLIN, 0 } };
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return 1;
		if (p[1].revents) {       /* the machine is gone, or a stale event */
			struct debug_msg m;
			if (!fd_read_full(channel_fd, &m, sizeof(m)))
				return 0;
			continue;
		}
		int client = p[0].revents ? accept(listen_fd, NULL, NULL) : -1;
		if (client < 0)
			continue;
		memset(&g, 0, sizeof(g));
		g.client = client;
		g.channel = channel_fd;
		struct debug_msg q = { .op = DEBUG_INFO };
		if (ask(&g, &q, NULL))
			g.vcpus = (unsigned)q.status;
		serve(&g);
		close(client);
		if (g.lost)
			return 0;
	}
}
