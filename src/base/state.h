/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State streams: ONE xfer function per device works in both directions, so that
 * save and load cannot drift apart.
 *
 *     static bool i8254_xfer(struct device *d, struct state *s)
 *     {
 *             struct i8254 *pit = container_of(d, struct i8254, dev);
 *             xfer_u8(s, &pit->mode);
 *             xfer_u64_max(s, &pit->count, 0x10000);   // re-checked on load
 *             return state_ok(s);
 *     }
 *
 * All widths are explicit and little-endian on the wire.  The first error
 * sticks: later calls do nothing, so one check at the end is enough -- but a
 * value that indexes or sizes something must be checked by xfer_*_max (or
 * state_fail) before it is used.  A state file is hostile.
 *
 * A stream is a sequence of sections: name, version, required or skippable,
 * length, CRC-32.  An unknown required section is an error that names it.
 */
#ifndef BASE_STATE_H
#define BASE_STATE_H

#include "base/error.h"
#include "base/util.h"

struct state;

/* A stream that grows in memory (save), or reads `size` bytes at `data`
 * (load; borrowed, must outlive the state). */
struct state *state_save_new(void);
struct state *state_load_new(const void *data, size_t size);
void state_free(struct state *s);
/* Save streams: the bytes so far; owned by the stream. */
const void *state_bytes(const struct state *s, size_t *size);

bool state_loading(const struct state *s);
bool state_ok(const struct state *s);
/* Record the first failure; always returns false. */
bool state_fail(struct state *s, const char *fmt, ...) PRINTF(2, 3);
const struct error *state_error(const struct state *s);

void xfer_u8(struct state *s, uint8_t *v);
void xfer_u16(struct state *s, uint16_t *v);
void xfer_u32(struct state *s, uint32_t *v);
void xfer_u64(struct state *s, uint64_t *v);
void xfer_i64(struct state *s, int64_t *v);
void xfer_bool(struct state *s, bool *v);               /* 0 or 1, else error */
void xfer_u8_max(struct state *s, uint8_t *v, uint8_t max);
void xfer_u16_max(struct state *s, uint16_t *v, uint16_t max);
void xfer_u32_max(struct state *s, uint32_t *v, uint32_t max);
void xfer_u64_max(struct state *s, uint64_t *v, uint64_t max);
void xfer_bytes(struct state *s, void *p, size_t n);     /* fixed length */
/* Variable length: the count travels, at most `max`; on load *n is set. */
void xfer_blob(struct state *s, void *p, uint32_t *n, uint32_t max);
/* A constant that must match on load ("memory size"): names itself if not. */
void xfer_check_u64(struct state *s, uint64_t v, const char *what);

/*
 * Sections.  Saving: begin, xfer..., end.  Loading: state_next names the next
 * section (false at the end of the stream, or on error: see state_ok), then
 * xfer..., then end, which fails if bytes are left over.
 */
enum { STATE_SKIPPABLE = 1 };
struct state_section { char name[48]; uint32_t version; uint32_t flags; };
void state_begin(struct state *s, const char *name, uint32_t version, uint32_t flags);
bool state_next(struct state *s, struct state_section *sec);
void state_skip(struct state *s);
void state_end(struct state *s);

#endif
