/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Receiving (3.2): a frame that passes the filters goes into as many descriptors
 * as it needs, with its frame check sequence.  When they do not suffice, it stays
 * with its sender until the driver moves the tail.
 */
#include "device/e1000/e1000.h"

#include <zlib.h>

#include "machine/machine.h"

enum { RCTL_EN = 2, RCTL_UPE = 8, RCTL_MPE = 0x10, RCTL_BAM = 0x8000, RCTL_VFE = 0x40000,
       RCTL_BSEX = 0x2000000, RCTL_SECRC = 0x4000000, RCTL_LPE = 0x20 };
enum { ST_DONE = 1, ST_EOP = 2, ST_IXSM = 4, ST_VLAN = 8, ST_TCPCS = 0x20, ST_IPCS = 0x40 };
enum { DESCRIPTOR = 16, HDR_DATA_VALID = 2, RXCSUM_TUOFL = 0x200, MIN_FRAME = 60, FCS = 4, VLAN = 4,
       STANDARD_MAX = 1522 };

static bool vlan_wanted(const struct e1000 *e, const uint8_t *f, size_t len)
{
	if (!(e->word[W_RCTL] & RCTL_VFE) || len < 18 || (f[12] << 8 | f[13]) != (int)(e->word[W_VET] & 0xffff))
		return true;
	unsigned id = (f[14] & 15u) << 8 | f[15];
	return e->vfta[id / 32] >> (id % 32) & 1;
}

/* The hash of a group address: 12 of its last 16 bits (13.4.24: MO). */
static bool group_wanted(const struct e1000 *e, const uint8_t *f)
{
	static const uint8_t shift[4] = { 4, 3, 2, 0 };
	unsigned hash = (le16_get(f + 4) >> shift[e->word[W_RCTL] >> 12 & 3]) & 0xfff;
	return e->mta[hash / 32] >> (hash % 32) & 1;
}

static bool own_address(const struct e1000 *e, const uint8_t *f)
{
	for (unsigned i = 0; i < 32; i += 2)
		if (e->ra[i + 1] & 1u << 31 && e->ra[i] == le32_get(f) &&
		    (e->ra[i + 1] & 0xffff) == le16_get(f + 4))
			return true;
	return false;
}

static bool wanted(const struct e1000 *e, const uint8_t *f, size_t len)
{
	static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };
	uint32_t rctl = e->word[W_RCTL];
	if (!vlan_wanted(e, f, len) || (len > STANDARD_MAX - FCS && !(rctl & RCTL_LPE)))
		return false;
	if (own_address(e, f))
		return true;
	if (!memcmp(f, broadcast, 6))
		return rctl & (RCTL_BAM | RCTL_MPE);
	return f[0] & 1 ? rctl & RCTL_MPE || group_wanted(e, f) : rctl & RCTL_UPE;
}

static uint32_t buffer_size(const struct e1000 *e)
{
	unsigned code = e->word[W_RCTL] >> 16 & 3;
	return (e->word[W_RCTL] & RCTL_BSEX && code ? 32768u : 2048u) >> code;
}

static uint32_t free_descriptors(const struct e1000 *e, uint32_t size)
{
	uint32_t head = e->word[W_RDH], tail = e->word[W_RDT];
	if (head >= size || tail >= size)
		return 0;
	return tail >= head ? tail - head : size - head + tail;
}

struct arrival { const uint8_t *frame; size_t len; uint8_t status; uint16_t tag; };

/* Padded, with its check sequence; a VLAN tag may be taken out (9.4). */
static size_t finish_frame(const struct e1000 *e, uint8_t *f, size_t len, struct arrival *a)
{
	if (e->word[W_CTRL] & CTRL_VME && len >= 18 && (f[12] << 8 | f[13]) == (int)(e->word[W_VET] & 0xffff)) {
		a->tag = (uint16_t)(f[14] << 8 | f[15]);
		a->status |= ST_VLAN;
		len -= VLAN;
		memmove(f + 12, f + 12 + VLAN, len - 12);
	}
	if (len < MIN_FRAME) {
		memset(f + len, 0, MIN_FRAME - len);
		len = MIN_FRAME;
	}
	if (e->word[W_RCTL] & RCTL_SECRC)
		return len;
	le32_put(f + len, (uint32_t)crc32(0, f, (uInt)len));
	return len + FCS;
}

static void write_descriptors(struct e1000 *e, const struct arrival *a, uint32_t size)
{
	struct memory *mem = e->fn.dev.machine->memory;
	uint64_t base = e1000_ring_base(e, W_RDBAL);
	uint32_t room = buffer_size(e);
	for (size_t done = 0; done < a->len; ) {
		uint64_t at = base + e->word[W_RDH] * (uint64_t)DESCRIPTOR;
		uint8_t d[DESCRIPTOR] = { 0 };
		size_t n = MIN(a->len - done, (size_t)room);
		memory_dma_read(mem, at, d, 8);
		memory_dma_write(mem, le64_get(d), a->frame + done, n);
		done += n;
		le16_put(d + 8, (uint16_t)n);
		le16_put(d + 14, a->tag);
		/* the status goes last: the driver polls it */
		memory_dma_write(mem, at + 8, d + 8, 8);
		d[12] = ST_DONE | a->status | (done == a->len ? ST_EOP : 0);
		memory_dma_write(mem, at + 12, d + 12, 1);
		e->word[W_RDH] = (e->word[W_RDH] + 1) % size;
	}
}

/* requires: lock. */
static bool take_in(struct e1000 *e, uint8_t *frame, size_t len, uint8_t flags)
{
	uint32_t size = e1000_ring_size(e, W_RDBAL), room = buffer_size(e), left;
	struct arrival a = { .frame = frame, .status = ST_IXSM };
	if (flags & HDR_DATA_VALID && e->word[W_RXCSUM] & RXCSUM_TUOFL)
		a.status = ST_TCPCS | ST_IPCS;
	a.len = finish_frame(e, frame, len, &a);
	left = free_descriptors(e, size);
	if (left * (uint64_t)room < a.len) {
		e->starved = true;
		e1000_raise(e, IRQ_RXO);
		return false;
	}
	write_descriptors(e, &a, size);
	e->good_rx++;
	e->octets_rx += a.len;
	left = free_descriptors(e, size);
	bool low = left <= size >> ((e->word[W_RCTL] >> 8 & 3) + 1);
	e1000_raise(e, IRQ_RXT0 | (low ? IRQ_RXDMT0 : 0));
	return true;
}

static void gather(const struct iovec *iov, unsigned n, uint8_t *to)
{
	for (unsigned i = 0; i < n; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
}

bool e1000_receive(struct net_port *p, const struct iovec *iov, unsigned n, size_t len)
{
	struct e1000 *e = container_of(p, struct e1000, port);
	uint8_t flat[NET_FRAME_MAX + MIN_FRAME + FCS];
	bool taken = true;
	if (len < NET_HDR + 14 || len > NET_FRAME_MAX) {
		p->dropped++;
		return true;
	}
	gather(iov, n, flat);
	pthread_mutex_lock(&e->lock);
	if (e->drained)
		taken = false;
	else if (!(e->word[W_RCTL] & RCTL_EN) || !pci_bus_master(&e->fn) ||
		 !wanted(e, flat + NET_HDR, len - NET_HDR))
		p->dropped++;
	else
		taken = take_in(e, flat + NET_HDR, len - NET_HDR, flat[0]);
	pthread_mutex_unlock(&e->lock);
	return taken;
}
