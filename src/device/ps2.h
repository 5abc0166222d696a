/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two plugs of the keyboard controller.  A PS/2 device keeps its own queue
 * of bytes and calls i8042_poll() when it has put something in.  All under the
 * board lock.
 */
#ifndef DEVICE_PS2_H
#define DEVICE_PS2_H

#include <stdbool.h>
#include <stdint.h>

struct machine;

struct ps2_ops {
	void (*write)(void *opaque, uint8_t byte);          /* from the guest */
	bool (*has_byte)(void *opaque);
	uint8_t (*take)(void *opaque, bool translate);      /* scan code set 1 wanted */
};
struct ps2_port { const struct ps2_ops *ops; void *opaque; };   /* no ops: nothing plugged in */

static inline bool ps2_has_byte(const struct ps2_port *p)
{ return p->ops && p->ops->has_byte(p->opaque); }
static inline uint8_t ps2_take(const struct ps2_port *p, bool translate)
{ return p->ops->take(p->opaque, translate); }
static inline void ps2_send(const struct ps2_port *p, uint8_t byte)
{ if (p->ops) p->ops->write(p->opaque, byte); }

/* port 0: keyboard, 1: mouse. */
void i8042_attach(struct machine *m, unsigned port, const struct ps2_ops *ops, void *opaque);
void i8042_poll(struct machine *m);
bool i8042_has_keyboard(struct machine *m);

#endif
