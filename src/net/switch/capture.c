/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking on: see capture.h. */
#include "net/switch/capture.h"

#include <stdio.h>
#include <time.h>

bool capture_open(struct capture *c, const struct ring_fds *fds, const char *port, bool drops, struct error *err)
{
	*c = (struct capture){ .used = true, .drops = drops, .fds = *fds };
	snprintf(c->port, sizeof(c->port), "%s", port);
	if (ring_open(&c->ring, fds, true, err))
		return true;
	c->used = false;
	return false;
}

void capture_close(struct capture *c)
{
	ring_close(&c->ring);
	ring_fds_close(&c->fds);
	c->used = false;
}

/* With a port: what it sends and gets. Without: each frame once, as it comes in. */
static bool wanted(const struct capture *c, const struct sw_port *p, bool out, enum sw_drop why)
{
	if (why && !c->drops)
		return false;
	return c->port[0] ? !strcmp(c->port, p->c.name) : !out;
}

void capture_frame(struct capture *c, const struct sw_port *p, bool out, const struct frame *f, enum sw_drop why)
{
	struct timespec t;
	bool tagged = f->vid != VLAN_DEFAULT && f->vid;
	size_t len = frame_len(f) + (tagged ? TAG : 0), room = sizeof(struct capture_record) + len;
	if (!wanted(c, p, out, why))
		return;
	uint8_t *b = ring_reserve(&c->ring, MIN(room, (size_t)RING_RECORD_MAX));
	if (!b || room > RING_RECORD_MAX) {
		c->lost++;
		return;
	}
	clock_gettime(CLOCK_REALTIME, &t);
	struct capture_record r = { .realtime_ns = (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec,
				    .length = (uint32_t)len, .snapped = (uint32_t)len, .port = p->index, .out = out, .why = (uint8_t)why };
	snprintf(r.name, sizeof(r.name), "%.43s", p->c.name);
	memcpy(b, &r, sizeof(r));
	frame_write(f, tagged, b + sizeof(r));
	ring_commit(&c->ring, room);
	ring_publish(&c->ring);
}

const uint8_t *capture_next(struct ring *r, struct capture_record *head, size_t *record)
{
	const uint8_t *p = ring_peek(r, record);
	if (!p || *record < sizeof(*head))
		return NULL;
	memcpy(head, p, sizeof(*head));
	head->name[sizeof(head->name) - 1] = 0;
	head->snapped = (uint32_t)MIN((size_t)head->snapped, *record - sizeof(*head));
	return p + sizeof(*head);
}
