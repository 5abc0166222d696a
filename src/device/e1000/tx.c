/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sending (3.3 to 3.5): descriptors are gathered into a frame, which then leaves
 * whole or in TCP segments, with the checksums that its descriptors ask for.
 * The ring's head moves when a frame has been taken in; a frame that the network
 * has no room for waits in tx.data.  All offsets come from the guest: they are
 * held to the frame before use.
 */
#include "device/e1000/e1000.h"

#include "machine/machine.h"

enum { CMD_EOP = 1, CMD_IC = 4, CMD_TSE = 4, CMD_RS = 8, CMD_DEXT = 0x20, CMD_VLE = 0x40 };
enum { POPTS_IP = 1, POPTS_TCP = 2, TUCMD_TCP = 1, TUCMD_IPV4 = 2, TCTL_EN = 2 };
enum { DESCRIPTOR = 16, DONE = 1, BATCH = 512, VLAN = 4, SEQ = 4, FLAGS = 13, FIN_PSH = 9 };

static uint16_t be16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static void put_be16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static uint32_t be32(const uint8_t *p) { return be32toh(le32_get(p)); }

/* --- checksums ------------------------------------------------------------------- */
static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* The sum of [start, end] goes to `at`; end 0 means the frame's (3.5). */
static void put_checksum(uint8_t *frame, uint32_t len, uint32_t start, uint32_t at, uint32_t end)
{
	uint64_t sum = 0;
	uint32_t last = end && end < len ? end + 1 : len;
	if (start >= last || at + 2 > len)
		return;
	for (uint32_t i = start; i + 1 < last; i += 2)
		sum += be16(frame + i);
	if ((last - start) & 1)
		sum += (uint32_t)frame[last - 1] << 8;
	put_be16(frame + at, (uint16_t)~fold(sum));
}

static void finish_checksums(const struct e1000_tx *t, uint8_t *frame, uint32_t len)
{
	const struct e1000_context *c = &t->context;
	if (t->sum)
		put_checksum(frame, len, t->sum_start, t->sum_at, 0);
	if (t->options & POPTS_TCP)
		put_checksum(frame, len, c->tucss, c->tucso, c->tucse);
	if (t->options & POPTS_IP)
		put_checksum(frame, len, c->ipcss, c->ipcso, c->ipcse);
}

/* --- segments (3.5.3) --------------------------------------------------------------- */
/* The headers of the segment with `len` bytes of payload, the `n`th. */
static void fix_headers(const struct e1000_tx *t, uint8_t *frame, uint32_t len, bool last)
{
	const struct e1000_context *c = &t->context;
	uint32_t total = c->hdrlen + len, n = t->sent / c->mss;
	if (c->tucmd & TUCMD_IPV4) {
		put_be16(frame + c->ipcss + 2, total - c->ipcss);
		put_be16(frame + c->ipcss + 4, be16(frame + c->ipcss + 4) + n);
	} else {
		put_be16(frame + c->ipcss + 4, total - c->ipcss - 40);
	}
	if (c->tucmd & TUCMD_TCP) {
		le32_put(frame + c->tucss + SEQ, htobe32(be32(frame + c->tucss + SEQ) + t->sent));
		if (!last)
			frame[c->tucss + FLAGS] &= (uint8_t)~FIN_PSH;
	} else {
		put_be16(frame + c->tucss + SEQ, total - c->tucss);
	}
	/* the driver's pseudo-header sum leaves the length to us */
	if (t->options & POPTS_TCP && c->tucso + 2u <= c->hdrlen)
		put_be16(frame + c->tucso, fold((uint64_t)be16(frame + c->tucso) + total - c->tucss));
}

static bool headers_fit(const struct e1000_tx *t)
{
	const struct e1000_context *c = &t->context;
	return c->mss && c->hdrlen <= t->len && c->ipcss + 20u <= c->hdrlen &&
	       c->tucss + (c->tucmd & TUCMD_TCP ? 20u : 8u) <= c->hdrlen;
}

/* --- out -------------------------------------------------------------------------- */
/* With its VLAN tag (9.3), if it has one, between the addresses and the rest. */
static bool send_frame(struct e1000 *e, const uint8_t *frame, uint32_t len)
{
	struct e1000_tx *t = &e->tx;
	uint8_t hdr[NET_HDR] = { 0 }, tag[VLAN];
	put_be16(tag, e->word[W_VET]);
	put_be16(tag + 2, t->tag);
	struct iovec iov[4] = { { hdr, NET_HDR }, { (void *)(uintptr_t)frame, 12 },
				{ tag, t->vlan ? VLAN : 0 }, { (void *)(uintptr_t)(frame + 12), len - 12 } };
	size_t total = NET_HDR + len + iov[2].iov_len;
	if (total > NET_FRAME_MAX) {
		e->port.dropped++;
		return true;
	}
	if (!net_port_send(&e->port, iov, 4, total))
		return false;
	pthread_mutex_lock(&e->lock);
	e->good_tx++;
	e->octets_tx += len + 4;
	pthread_mutex_unlock(&e->lock);
	return true;
}

static bool send_segments(struct e1000 *e)
{
	struct e1000_tx *t = &e->tx;
	uint8_t frame[TX_HEADER_MAX + UINT16_MAX];
	uint32_t payload = t->len - t->context.hdrlen;
	while (t->sent < payload) {
		uint32_t n = MIN(payload - t->sent, (uint32_t)t->context.mss), len = t->context.hdrlen + n;
		memcpy(frame, t->data, t->context.hdrlen);
		memcpy(frame + t->context.hdrlen, t->data + t->context.hdrlen + t->sent, n);
		fix_headers(t, frame, n, t->sent + n == payload);
		finish_checksums(t, frame, len);
		if (len >= 14 && !send_frame(e, frame, len))
			return false;
		t->sent += n;
	}
	return true;
}

/* What has been gathered leaves; false: the network is full. */
static bool send_gathered(struct e1000 *e)
{
	struct e1000_tx *t = &e->tx;
	bool sent = true;
	if (t->segment && headers_fit(t)) {
		sent = send_segments(e);
	} else if (t->len >= 14 && !t->segment) {
		if (!t->sent)
			finish_checksums(t, t->data, t->len);
		t->sent = 1;              /* checksums are made once */
		sent = send_frame(e, t->data, t->len);
	}
	if (sent) {
		t->len = t->sent = 0;
		t->whole = false;
	}
	return sent;
}

/* --- descriptors ------------------------------------------------------------------- */
static void set_context(struct e1000_tx *t, const uint8_t *d)
{
	t->context = (struct e1000_context){
		.ipcss = d[0], .ipcso = d[1], .ipcse = le16_get(d + 2), .tucss = d[4], .tucso = d[5],
		.tucse = le16_get(d + 6), .paylen = le32_get(d + 8) & 0xfffff, .tucmd = d[11],
		.hdrlen = d[13], .mss = le16_get(d + 14),
	};
}

/* The first descriptor of a frame says what is to be done with it. */
static void begin_frame(struct e1000_tx *t, const uint8_t *d, bool data)
{
	t->sent = 0;
	t->segment = data && d[11] & CMD_TSE;
	t->options = data ? d[13] : 0;
	t->sum = !data && d[11] & CMD_IC;
	t->sum_at = d[10];
	t->sum_start = d[13];
}

/* requires: lock. Take one in; true if a frame is whole. */
static bool gather(struct e1000 *e, const uint8_t *d)
{
	struct e1000_tx *t = &e->tx;
	bool extended = d[11] & CMD_DEXT, data = extended && (d[10] >> 4) == 1;
	uint32_t n = extended ? le32_get(d + 8) & 0xfffff : le16_get(d + 8);
	if (extended && !data) {
		set_context(t, d);
		return false;
	}
	if (!t->len)
		begin_frame(t, d, data);
	n = MIN(n, TX_FRAME_MAX - t->len);
	memory_dma_read(e->fn.dev.machine->memory, le64_get(d), t->data + t->len, n);
	t->len += n;
	t->vlan = d[11] & CMD_VLE && e->word[W_CTRL] & CTRL_VME;
	t->tag = le16_get(d + 14);
	return d[11] & CMD_EOP;
}

/* requires: lock. Take descriptors in until a frame is whole; false: none is. */
static bool next_frame(struct e1000 *e, unsigned *left)
{
	uint32_t size = e1000_ring_size(e, W_TDBAL);
	uint64_t base = e1000_ring_base(e, W_TDBAL);
	struct memory *mem = e->fn.dev.machine->memory;
	while (*left && e->word[W_TDH] != e->word[W_TDT] && e->word[W_TDH] < size) {
		uint64_t at = base + e->word[W_TDH] * (uint64_t)DESCRIPTOR;
		uint8_t d[DESCRIPTOR];
		--*left;
		memory_dma_read(mem, at, d, sizeof(d));
		e->tx.whole = gather(e, d);
		if (d[11] & CMD_RS) {
			d[12] |= DONE;
			memory_dma_write(mem, at + 12, d + 12, 1);
			e1000_raise(e, IRQ_TXDW);
		}
		e->word[W_TDH] = (e->word[W_TDH] + 1) % size;
		if (e->word[W_TDH] == e->word[W_TDT])
			e1000_raise(e, IRQ_TXQE);
		if (e->tx.whole)
			return true;
	}
	return false;
}

void e1000_transmit(struct e1000 *e)
{
	unsigned left = BATCH;
	pthread_mutex_lock(&e->lock);
	if (e->tx_reset)
		e->tx.len = e->tx.whole = 0;
	e->tx_reset = false;
	while (!e->drained && e->word[W_TCTL] & TCTL_EN && pci_bus_master(&e->fn) &&
	       (e->tx.whole || next_frame(e, &left))) {
		pthread_mutex_unlock(&e->lock);
		bool sent = send_gathered(e);
		pthread_mutex_lock(&e->lock);
		if (!sent)
			break;
	}
	if (!left)
		e1000_post(e);
	pthread_mutex_unlock(&e->lock);
}
