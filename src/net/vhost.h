/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost-user, the front end's side (QEMU's docs/interop/vhost-user.rst), in a jailed
 * process of its own: abyme-vhost-user.  It is the driver of two split queues
 * (virtio 1.2 2.7) in memory of its own, and that memory is all that the foreign
 * back end is given: no guest RAM, so that what it writes reaches a guest only
 * through the machine's own device, whose stores feed the dirty log and drop
 * translations.  A suspended or moved machine takes nothing of it along.
 *
 * The back end is hostile: its messages and its used rings are checked, and one that
 * breaks the rules is left; the keeper dials again.
 */
#ifndef NET_VHOST_H
#define NET_VHOST_H

#include "base/error.h"
#include "jail/jail.h"
#include "net/port.h"

/* ---- queues (vhost_ring.c) ---- */

enum { VHOST_RX, VHOST_TX, VHOST_RINGS };
enum { VHOST_SLOTS = 128, VHOST_BUFFER = 17 * 4096, VHOST_RING_SIZE = 2 * 4096,
       VHOST_MEMORY = VHOST_RINGS * (VHOST_RING_SIZE + VHOST_SLOTS * VHOST_BUFFER) };
_Static_assert(VHOST_BUFFER >= NET_HDR + NET_FRAME_MAX, "a buffer holds any frame");

struct vhost_ring {
	uint8_t *map, *desc, *avail, *used, *data;   /* the memory, and what is in it */
	uint16_t next, seen;                     /* of the available ring; of the used one */
	uint16_t free[VHOST_SLOTS];
	unsigned nfree;
	bool lent[VHOST_SLOTS];                  /* the back end has it */
	bool broken;                             /* it broke the rules */
};
struct vhost_memory { int fd; uint8_t *map; struct vhost_ring ring[VHOST_RINGS]; };
bool vhost_memory_make(struct vhost_memory *m, struct error *err);
void vhost_memory_free(struct vhost_memory *m);
/* As new, all receive buffers lent. */
void vhost_memory_reset(struct vhost_memory *m);

/* A slot of which the back end has nothing, -1: none. */
int vhost_ring_take(struct vhost_ring *r);
uint8_t *vhost_ring_buffer(struct vhost_ring *r, unsigned slot);
/* Lend it, with `len` bytes to read, or (writable) to write. */
void vhost_ring_lend(struct vhost_ring *r, unsigned slot, uint32_t len, bool writable);
/* The next slot that came back and how much was written; -1: none, or broken. */
int vhost_ring_next(struct vhost_ring *r, uint32_t *len);
void vhost_ring_return(struct vhost_ring *r, unsigned slot);
/* Ask to be called; false: something has come back already. */
bool vhost_ring_arm(struct vhost_ring *r, bool on);
bool vhost_ring_wants_kick(const struct vhost_ring *r);

/* ---- messages (vhost_protocol.c) ---- */

struct vhost_bells { int kick[VHOST_RINGS], call[VHOST_RINGS]; };
/* Set a connected back end up; caps: the unfinished frames that it takes. */
bool vhost_handshake(int sock, const struct vhost_memory *m, const struct vhost_bells *b, unsigned *caps,
		     struct error *err);

/* ---- frames (vhost_frames.c): between a port's rings and a back end's queues ---- */

struct ring;
struct vhost { struct vhost_memory memory; struct ring *port; struct vhost_bells bells; unsigned caps; };
/* At most a batch each; how many. */
unsigned vhost_send_frames(struct vhost *v);
unsigned vhost_take_frames(struct vhost *v);

/* ---- the process (vhost_user.c) ---- */

/*
 * Requests of the keeper (net/message.h): {"op": "setup"} with the three descriptors
 * of a port and a connection, answered when the back end is set up.  Its own:
 * {"op": "dial"}, answered with a connection or an error.
 */
struct vhost_options { int keeper_fd, ready_fd; struct jail jail; };
int vhost_main(struct vhost_options *o);

#endif
