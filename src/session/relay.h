/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process between a client on this host and the init of a micro-VM, which is hostile:
 * what comes from there is read here, and only whole frames of the kinds and sizes that a
 * shim sends, in an order that it could send them, go on.
 */
#ifndef SESSION_RELAY_H
#define SESSION_RELAY_H

#include "session/frame.h"

/* `fd` is connected to the vsock socket of a machine: from here on to this port of the
 * guest. Waits for the answer. */
bool relay_connect(int fd, unsigned port, unsigned seconds, struct error *err);
/* Wait until the init holds the program. */
bool relay_wait_held(int guest, unsigned seconds, struct error *err);
/* A file of the bundle, in as many frames as it needs. */
bool relay_send_file(int guest, const char *name, const char *text);

/* Pass frames on until either side ends; the program's status, or -1. */
int relay_main(int client, int guest);

/* A whole conversation: abyme-oci's verb inside. What it says, to be freed; its status, -1
 * with an error. All of it within `seconds`. */
int relay_runtime(int guest, const char *const *words, unsigned seconds, char **said, struct error *err);

/* A sentence of the guest's on the user's terminal: nothing but printable characters. */
void relay_sentence(const struct frame *f, char *text, size_t room);

#endif
