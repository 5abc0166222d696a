/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames for someone who looks on: a ring (net/ring.h) that the looker reads,
 * each record a capture_record and the frame's first bytes.  A looker who is slow
 * loses frames, counted; nobody waits for him.
 */
#ifndef NET_SWITCH_CAPTURE_H
#define NET_SWITCH_CAPTURE_H

#include "net/ring.h"
#include "net/switch/switch.h"

enum { CAPTURES = 8, CAPTURE_SNAP = 65535 };
struct capture_record { uint64_t realtime_ns; uint32_t length, snapped; uint16_t port; uint8_t out, why; char name[44]; };
_Static_assert(sizeof(struct capture_record) == 64, "the record's head is 64 bytes");

struct capture {
	bool used;
	char port[SW_NAME];                 /* only this one, "" for all */
	bool drops;                         /* dropped frames, too */
	uint64_t lost;
	struct ring ring;
	struct ring_fds fds;
};

bool capture_open(struct capture *c, const struct ring_fds *fds, const char *port, bool drops, struct error *err);
void capture_close(struct capture *c);
void capture_frame(struct capture *c, const struct sw_port *p, bool out, const struct frame *f, enum sw_drop why);
/* The looker's side: the next frame, or NULL. */
const uint8_t *capture_next(struct ring *r, struct capture_record *head, size_t *record);

#endif
