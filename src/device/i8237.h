/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ISA bus's DMA controllers, for the devices that ask them to move data. */
#ifndef DEVICE_I8237_H
#define DEVICE_I8237_H

#include <stdint.h>
#include "base/error.h"

struct machine;

bool i8237_create(struct machine *m, struct error *err);
/* Bytes that an 8-bit channel (0..3) is programmed to move; 0: it is masked, or set
 * up for the other direction. */
uint32_t i8237_wanted(struct machine *m, unsigned channel, bool to_memory);
/* Move up to that many; true: the terminal count was reached. Board lock. */
bool i8237_move(struct machine *m, unsigned channel, bool to_memory, void *data, uint32_t n);

#endif
