/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a program's terminal or its three streams say, over one stream socket: between
 * the client on the user's terminal, the keeper, and the shim beside the program, on
 * this host or in a guest.  A frame is its kind (1 byte), three zeros, the length of its
 * data (32 bits, little-endian, at most FRAME_MAX), and the data.
 */
#ifndef SESSION_FRAME_H
#define SESSION_FRAME_H

#include "base/error.h"
#include "base/util.h"

enum { FRAME_MAX = 64 << 10, FRAME_HEAD = 8 };
enum frame_kind {
	FRAME_START = 's',        /* to the shim: what to run, JSON (shim.h) */
	FRAME_FILE = 'c',         /* to a micro-VM's init: a name, a NUL, more of the bundle's file of that name */
	FRAME_INPUT = 'i',        /* to the program's standard input; empty: its end */
	FRAME_SIZE = 'w',         /* of the terminal: rows, columns, 16 bits each */
	FRAME_SIGNAL = 'k',       /* for the program: its number, 32 bits */
	FRAME_OUTPUT = 'o', FRAME_ERRORS = 'e',
	FRAME_RUNNING = 'r',      /* the program runs: its PID, 32 bits */
	FRAME_HELD = 'h',         /* of a micro-VM's init: it waits for the rest (guest.h) */
	FRAME_FAILED = 'f',       /* it could not be started: a sentence */
	FRAME_EXIT = 'x',         /* it has ended: its status as a shell has it, 32 bits */
};

/* Blocking; false: the other side is gone. */
bool frame_send(int fd, enum frame_kind kind, const void *data, size_t n);
bool frame_send_u32(int fd, enum frame_kind kind, uint32_t value);

/* What comes, piece by piece. */
struct frames { size_t used, taken; uint8_t buf[FRAME_HEAD + FRAME_MAX]; };
struct frame { enum frame_kind kind; size_t n; const uint8_t *data; };
/* One read(): 1 more is there, 0 the end, -1 an error (EAGAIN among them). */
int frames_fill(struct frames *f, int fd);
/* 1: the next whole frame (valid until frames_fill), 0: none yet, -1: this is no frame. */
int frames_next(struct frames *f, struct frame *out);
uint32_t frame_u32(const struct frame *f);

#endif
