/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state file as a container (abyme-state(5)): header, RAM, sections.  What is
 * in the sections is save.c's.
 */
#ifndef MACHINE_STATE_FILE_H
#define MACHINE_STATE_FILE_H

#include "base/error.h"
#include "base/state.h"

enum { STATE_RAM_OFFSET = 65536, STATE_CHUNK = 65536 };

struct state_header { uint64_t ram_offset, ram_size, state_offset, state_size; };

/* The header is written last: a file cut short has none. */
bool state_header_write(int fd, const struct state_header *h, struct error *err);
bool state_header_read(int fd, struct state_header *h, struct error *err);
/* The bytes of all sections (to be freed), and the header. */
void *state_sections_read(int fd, struct state_header *h, struct error *err);

/* CRC-32C of each chunk of RAM, in the order of the file; 0: the chunk is all zero. */
struct ram_sums { uint32_t *sum; uint32_t count; };
bool ram_sums_init(struct ram_sums *r, uint64_t ram_size);
void ram_sums_free(struct ram_sums *r);
uint32_t ram_sum(const void *p, size_t n);
/* The section "ram". */
void ram_sums_save(const struct ram_sums *r, struct state *s);

/*
 * Is every byte of the file as it was written?  Reads it all but for holes, 64 KiB
 * at a time; without `ram`, all but RAM.
 */
bool machine_state_check(int fd, bool ram, struct error *err);

#endif
