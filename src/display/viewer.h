/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between a machine and the helper that shows its screen: fixed records over a
 * SOCK_SEQPACKET descriptor, and a sealed memfd that holds the picture, rows of
 * `width` words 0x00RRGGBB.  Each side takes the other for hostile.
 */
#ifndef DISPLAY_VIEWER_H
#define DISPLAY_VIEWER_H

#include <stdint.h>

enum { VIEWER_MAX_X = 2560, VIEWER_MAX_Y = 1600, VIEWER_BYTES = VIEWER_MAX_X * VIEWER_MAX_Y * 4,
       VIEWER_KEY = 16, VIEWER_PASSWORD = 9 };

/* Keeper and machine to helper. SETUP is first and carries the memfd, then what TLS needs
 * (the files of vnc_tls.h, two or three), if it is wanted; a machine process that starts says
 * START and is told (again) whether somebody looks. */
enum viewer_word { VIEWER_SETUP = 1, VIEWER_START, VIEWER_SIZE, VIEWER_RECT };
struct viewer_output { uint32_t word; uint16_t x, y, width, height; char password[VIEWER_PASSWORD]; };

/* Helper to machine: somebody looks (a = 1: SIZE is the answer, 0 x 0 if the screen is
 * off) or nobody; a key by name, down
 * (a = 1) or up; the mouse by a, b steps to x, y (0..32767 across the screen), c wheel
 * steps, with `buttons` down. */
enum viewer_event { VIEWER_WATCH = 1, VIEWER_PRESS, VIEWER_POINTER };
struct viewer_input { uint32_t event; int32_t a, b, c; uint16_t x, y; uint32_t buttons; char key[VIEWER_KEY]; };

#endif
