/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TPM 2.0 with a Command Response Buffer (TCG PC Client Platform TPM Profile for
 * TPM 2.0, revision 1.05, 6.5.3): locality 0, polled.  The TPM itself is swtpm, a
 * process of its own: a command goes to it when the guest writes Start, and Start
 * stays set until the whole reply has come.
 *
 * What a guest has in its TPM travels in the state file: permanent and volatile
 * state are fetched from swtpm and given to the next one before it is powered on.
 */
#include "device/tpm/crb.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/loop.h"
#include "device/chipset.h"
#include "device/tpm/swtpm.h"
#include "machine/machine.h"

enum { LOC_STATE = 0x00, LOC_CTRL = 0x08, LOC_STS = 0x0c, INTF_ID = 0x30, INTF_ID_HIGH = 0x34, CTRL_REQ = 0x40,
       CTRL_STS = 0x44, CTRL_CANCEL = 0x48, CTRL_START = 0x4c, CMD_SIZE = 0x58, CMD_LOW = 0x5c, RSP_SIZE = 0x64,
       RSP_LOW = 0x68, DATA = 0x80, BUFFER = TPM_CRB_SIZE - DATA };
enum { STATE_ASSIGNED = 2, STATE_VALID = 0x80, LOC_REQUEST = 1, LOC_RELINQUISH = 2, LOC_GRANTED = 1 };
enum { REQ_READY = 1, REQ_IDLE = 2, STS_FATAL = 1, STS_IDLE = 2 };
/* Table 25: a CRB, of version 1; locality 0 alone; transfers of up to 64 bytes; no choice
 * of interface. The vendor is that of libtpms, which swtpm stands on: IBM. */
enum { INTERFACE = 1 | 1 << 4 | 3 << 11 | 1 << 14 | 1 << 17, VENDOR = 0x1014 };
enum { RC_COMMAND_SIZE = 0x142, DRAIN_MS = 60000 };

struct tpm {
	struct device dev;
	int control, data;
	struct loop_fd *watch;
	bool granted, idle, fatal;
	bool busy;                /* a command is on its way */
	uint8_t asked;            /* requests that wait for its end */
	bool gone;                /* so is swtpm */
	uint8_t buffer[BUFFER];   /* what the guest sees */
	uint8_t reply[BUFFER];
	uint32_t got;             /* of the reply */
};

static uint32_t be32_at(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return be32toh(v); }

/* No command is on its way any more: what was asked for meanwhile is done. An idle TPM takes none. */
static void rest(struct tpm *t)
{
	t->busy = false;
	if (t->asked)
		t->idle = !(t->asked & REQ_READY);
	t->asked = 0;
}

static void lose(struct tpm *t, const char *why)
{
	if (!t->gone)
		log_warn("%s; the guest's TPM fails from now on", why);
	t->gone = t->fatal = true;
	rest(t);
}

/* --- a command ------------------------------------------------------------------ */
/* A guest that has given it up meanwhile would take its reply for that of its next one. */
static void finish(struct tpm *t)
{
	if (!t->asked)
		memcpy(t->buffer, t->reply, t->got);
	rest(t);
}

/* A command that says nonsense of its length would leave swtpm waiting for the rest. */
static void refuse(struct tpm *t)
{
	static const uint8_t reply[TPM_HEADER] = { 0x80, 0x01, 0, 0, 0, TPM_HEADER, 0, 0, RC_COMMAND_SIZE >> 8,
						   RC_COMMAND_SIZE & 0xff };
	memcpy(t->buffer, reply, sizeof(reply));
}

static void start(struct tpm *t)
{
	uint32_t n = be32_at(t->buffer + 2);
	if (t->busy || t->idle || !t->granted)
		return;
	if (t->gone) {
		t->fatal = true;
		return;
	}
	if (n < TPM_HEADER || n > BUFFER) {
		refuse(t);
		return;
	}
	t->got = 0;
	t->busy = true;
	if (send(t->data, t->buffer, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n)
		lose(t, "the TPM's process (swtpm) takes no commands");
}

/* More of the reply; board lock held. */
static void receive(struct tpm *t)
{
	uint32_t want = t->got < TPM_HEADER ? TPM_HEADER : be32_at(t->reply + 2);
	ssize_t r = recv(t->data, t->reply + t->got, want - t->got, MSG_DONTWAIT);
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (r <= 0 || !t->busy) {
		lose(t, "the TPM's process (swtpm) has ended");
		return;
	}
	t->got += (uint32_t)r;
	want = t->got < TPM_HEADER ? TPM_HEADER : be32_at(t->reply + 2);
	if (want < TPM_HEADER || want > BUFFER)
		lose(t, "the TPM's process (swtpm) sends nonsense");
	else if (t->got >= TPM_HEADER && t->got == want)
		finish(t);
}

static void data_ready(void *opaque, int events)
{
	struct tpm *t = opaque;
	board_lock(t->dev.machine);
	receive(t);
	if (t->gone)
		loop_fd_events(t->watch, 0);
	board_unlock(t->dev.machine);
}

/* --- registers -------------------------------------------------------------------- */
static uint32_t buffer_address(unsigned at)
{
	return at == CMD_LOW || at == RSP_LOW ? (uint32_t)TPM_CRB_BASE + DATA : 0;
}

static uint32_t register_read(const struct tpm *t, unsigned at)
{
	switch (at) {
	case LOC_STATE: return STATE_VALID | (t->granted ? STATE_ASSIGNED : 0);
	case LOC_STS: return t->granted ? LOC_GRANTED : 0;
	case INTF_ID: return INTERFACE;
	case INTF_ID_HIGH: return VENDOR;
	case CTRL_REQ: return t->asked;
	case CTRL_STS: return (t->fatal ? STS_FATAL : 0) | (t->idle ? STS_IDLE : 0);
	case CTRL_START: return t->busy;
	case CMD_SIZE: case RSP_SIZE: return BUFFER;
	default: return buffer_address(at);
	}
}

static void take_locality(struct tpm *t, uint32_t v)
{
	if (v & LOC_REQUEST)
		t->granted = true;
	if (v & LOC_RELINQUISH)
		t->granted = false;
}

/* A request is done when its bit reads zero: at once, or when the command that is on its way has ended. */
static void change_state(struct tpm *t, uint32_t v)
{
	if (!t->granted)
		return;
	t->asked |= v & (REQ_READY | REQ_IDLE);
	if (!t->busy)
		rest(t);
}

static void cancel(struct tpm *t)
{
	struct error err;
	if (t->busy && !swtpm_cancel(t->control, &err))
		lose(t, err.text);
}

static void register_write(struct tpm *t, unsigned at, uint32_t v)
{
	switch (at) {
	case LOC_CTRL:
		take_locality(t, v);
		break;
	case CTRL_REQ:
		change_state(t, v);
		break;
	case CTRL_CANCEL:
		if (v & 1)
			cancel(t);
		break;
	case CTRL_START:
		if (v & 1)
			start(t);
		break;
	}
}

static uint64_t crb_read(void *opaque, uint64_t at, unsigned size)
{
	const struct tpm *t = opaque;
	uint64_t v = 0;
	if (at < DATA)
		v = register_read(t, at & ~3u) >> (at & 3) * 8;
	else
		memcpy(&v, t->buffer + at - DATA, size);      /* aligned: within */
	return v;
}

static void crb_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct tpm *t = opaque;
	if (at < DATA)
		register_write(t, at & ~3u, (uint32_t)(value << (at & 3) * 8));
	else if (!t->busy && t->granted && !t->idle)
		memcpy(t->buffer + at - DATA, &value, size);
}

/* --- the device --------------------------------------------------------------------- */
/* What was begun ends, so that swtpm's own state is all there is. */
static void settle(struct tpm *t)
{
	struct pollfd p = { .fd = t->data, .events = POLLIN };
	for (uint64_t end = monotonic_ns() + DRAIN_MS * 1000000ull; t->busy && monotonic_ns() < end; receive(t))
		poll(&p, 1, 1000);
	if (t->busy)
		lose(t, "the TPM's process (swtpm) does not answer");
}

static void tpm_drain(struct device *d)
{
	board_lock(d->machine);
	settle(container_of(d, struct tpm, dev));
	board_unlock(d->machine);
}

static void forget(struct tpm *t)
{
	t->granted = t->fatal = false;
	t->idle = true;
	memset(t->buffer, 0, sizeof(t->buffer));
}

static void tpm_reset(struct device *d)
{
	struct tpm *t = container_of(d, struct tpm, dev);
	struct error err;
	settle(t);
	forget(t);
	t->fatal = t->gone;
	if (!t->gone && !swtpm_power_on(t->control, BUFFER, false, &err))
		lose(t, err.text);
}

static bool blobs_get(struct tpm *t, struct tpm_blob *b, struct error *err)
{
	for (unsigned i = 0; i < TPM_BLOBS; i++)
		if (!swtpm_get_blob(t->control, i, &b[i], err))
			return false;
	return true;
}

static bool blobs_set(struct tpm *t, const struct tpm_blob *b, struct error *err)
{
	if (!swtpm_power_off(t->control, err))
		return false;
	for (unsigned i = 0; i < TPM_BLOBS; i++)
		if (b[i].size && !swtpm_set_blob(t->control, i, &b[i], err))
			return false;
	return swtpm_power_on(t->control, BUFFER, true, err);
}

static void xfer_blobs(struct tpm *t, struct state *s)
{
	struct tpm_blob b[TPM_BLOBS] = { { 0 } };
	struct error err;
	bool loading = state_loading(s);
	if (!loading && !blobs_get(t, b, &err))
		state_fail(s, "%s", err.text);
	for (unsigned i = 0; i < TPM_BLOBS; i++) {
		xfer_u32(s, &b[i].flags);
		if (loading)
			b[i].data = xmalloc(TPM_BLOB_MAX);
		xfer_blob(s, b[i].data, &b[i].size, TPM_BLOB_MAX);
	}
	if (loading && state_ok(s) && !blobs_set(t, b, &err))
		state_fail(s, "%s", err.text);
	for (unsigned i = 0; i < TPM_BLOBS; i++)
		free(b[i].data);
}

/* One that is gone stays so, wherever the machine goes. */
static bool tpm_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct tpm *t = container_of(d, struct tpm, dev);
	bool gone = t->gone;
	xfer_bool(s, &t->granted);
	xfer_bool(s, &t->idle);
	xfer_bool(s, &t->fatal);
	xfer_bytes(s, t->buffer, sizeof(t->buffer));
	xfer_bool(s, &gone);
	if (state_ok(s) && !gone && t->gone)
		return state_fail(s, "the TPM's process (swtpm) has ended");
	if (state_ok(s) && !gone)
		xfer_blobs(t, s);
	t->gone = gone;
	return state_ok(s);
}

static void tpm_destroy(struct device *d)
{
	struct tpm *t = container_of(d, struct tpm, dev);
	loop_fd_del(t->watch);
	free(t);
}

static const struct io_ops crb_io = { crb_read, crb_write, 1, 4 };
static const struct device_ops tpm_ops = {
	.name = "tpm", .version = 1, .reset = tpm_reset, .xfer = tpm_xfer, .drain = tpm_drain, .destroy = tpm_destroy,
};

bool tpm_create(struct machine *m, int control, int data, struct error *err)
{
	if (!swtpm_power_on(control, BUFFER, false, err))
		return false;
	struct tpm *t = xnew(struct tpm);
	t->control = control;
	t->data = data;
	forget(t);
	t->watch = loop_fd_add(m->loop, data, LOOP_READ, data_ready, t);
	device_add(m, &t->dev, &tpm_ops, "tpm");
	memory_add_io(m->memory, "tpm", TPM_CRB_BASE, TPM_CRB_SIZE, 1, &crb_io, t);
	return true;
}
