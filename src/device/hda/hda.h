/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel High Definition Audio (specification 1.0a): the controller (hda.c), its one
 * codec with one stereo output (codec.c), and where the sound goes (wav.c).
 */
#ifndef DEVICE_HDA_HDA_H
#define DEVICE_HDA_HDA_H

#include "base/error.h"
#include "base/state.h"

struct machine;

/* All that there is: 48 kHz, 16 bits, two channels, as a stream descriptor and a codec
 * say it (3.7.1). */
enum { HDA_FORMAT = 0x0011, HDA_RATE = 48000, HDA_FRAME = 4 };

/* --- the codec: no pointers, so that it is saved field by field --------------------- */
struct hda_codec {
	uint8_t power[4];         /* by node; root and pads unused */
	uint16_t format;
	uint8_t stream;           /* number << 4 | channel */
	uint8_t pin;              /* 0x40: out */
	uint32_t config;          /* what the pin is wired to */
};
void hda_codec_reset(struct hda_codec *c);
/* Chapter 7: a verb and its response. */
uint32_t hda_codec_verb(struct hda_codec *c, uint32_t command);
/* Does it play the stream of this number and format? */
bool hda_codec_plays(const struct hda_codec *c, unsigned stream, uint16_t format);
void hda_codec_xfer(struct hda_codec *c, struct state *s);

/* --- the file ------------------------------------------------------------------------- */
struct wav { int fd; uint64_t bytes; bool failed; };      /* fd -1: nobody listens */
/* Goes on behind what is there. */
void wav_open(struct wav *w, int fd);
void wav_write(struct wav *w, const void *data, size_t n);
/* The header says how much there is. */
void wav_finish(struct wav *w);

/* fd: a file to record to, which stays the caller's; -1: none. */
bool hda_create(struct machine *m, int fd, struct error *err);

#endif
