/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pair of frame rings in one sealed memfd, between a switch and whoever has
 * the port.  Neither side trusts the other: each keeps its own index private,
 * reads the other's once, and checks it; a record is read through a length
 * that was copied out first.  What breaks the rules breaks this ring alone.
 *
 *     page 0: struct ring_shared; then data of way 0 (to the switch) and of
 *     way 1 (from it), RING_DATA bytes each.
 * A record: u32 length, then that many bytes (virtio_net_hdr and frame),
 * padded to RING_ALIGN.  Indices are free-running byte counts.  The data is mapped
 * twice in a row, so that a record never wraps.
 */
#ifndef NET_RING_H
#define NET_RING_H

#include <stdatomic.h>
#include "base/error.h"
#include "base/util.h"
#include "net/port.h"

enum { RING_PAGE = 4096, RING_DATA = 512 << 10, RING_ALIGN = 16, RING_LENGTH = 4,
       RING_RECORD_MAX = NET_HDR + NET_FRAME_MAX, RING_POLL_MAX = 1000, RING_POLL_NAT = 20, RING_FILE = RING_PAGE + 2 * RING_DATA };
enum { RING_TO_SWITCH, RING_FROM_SWITCH };

struct ring_way {
	_Atomic uint32_t head; char pad0[60];       /* producer's */
	_Atomic uint32_t tail; char pad1[60];       /* consumer's */
	_Atomic uint32_t sleeping; char pad2[60];   /* the consumer wants its bell rung */
	_Atomic uint32_t starved; char pad3[60];    /* the producer waits for room */
};
struct ring_shared {
	_Atomic uint32_t link;                      /* 1: up; written by the network's keeper */
	_Atomic uint32_t caps;                      /* NET_CAP_*: what the port's owner takes */
	_Atomic uint32_t poll; char pad[52];        /* microseconds that its owner may wait awake */
	struct ring_way way[2];
};
_Static_assert(sizeof(struct ring_shared) <= RING_PAGE, "the header is a page");

/* The three descriptors of a port, passed from keeper to both sides. */
struct ring_fds { int memory, to_switch, to_port; };
bool ring_make(struct ring_fds *fds, struct error *err);
void ring_fds_close(struct ring_fds *fds);
/* Without mapping it: what keepers do. */
bool ring_set_link(const struct ring_fds *fds, bool up);

struct ring_end {
	struct ring_way *way;
	uint8_t *data;
	uint32_t own, seen;            /* own index; the other's, as last read */
	uint32_t published;
};
struct ring {
	struct ring_shared *shared;
	struct ring_end tx, rx;
	int bell_out, bell_in;         /* eventfds: the other side's, ours */
	bool broken;                   /* the other side broke the rules */
	uint32_t noted;                /* of what ring_stays_awake() has seen */
	uint64_t noted_ns;
	uint8_t *map;
};
/* One side of the rings; descriptors stay the caller's.  Goes on where the
 * shared indices stand, so that a new switch takes over from one that died. */
bool ring_open(struct ring *r, const struct ring_fds *fds, bool switch_side, struct error *err);
void ring_close(struct ring *r);

/* Room for a record of `len` bytes (at most RING_RECORD_MAX), or NULL. */
uint8_t *ring_reserve(struct ring *r, size_t len);
void ring_commit(struct ring *r, size_t len);
void ring_publish(struct ring *r);          /* after a batch; rings the bell if asked for */
void ring_want_room(struct ring *r);        /* the consumer's bell says when */

/* The next record, NULL if there is none (or the ring is broken).  Its bytes may
 * change while they are read. */
const uint8_t *ring_peek(struct ring *r, size_t *len);
void ring_release(struct ring *r, size_t len);
void ring_done(struct ring *r);             /* after a batch; tells a starved producer */
/* Ask for the bell; false: there is something to take already. */
bool ring_sleep(struct ring *r);
void ring_bell_clear(struct ring *r);
/* Instead of sleeping: the last record was taken so lately (least_us microseconds, or
 * as many as the network's definition has) that the next one is waited for awake. */
bool ring_stays_awake(struct ring *r, uint32_t least_us);

#endif
