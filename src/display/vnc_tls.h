/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS before the VNC server: a thread a client, between its socket and one in clear. */
#ifndef DISPLAY_VNC_TLS_H
#define DISPLAY_VNC_TLS_H

#include "base/error.h"

struct vnc_tls;

/* PEM files, to be closed: certificate, its key, and the authority that clients' certificates
 * must be of (-1: they need none). password: the server behind it asks for one. */
enum { VNC_TLS_CERTIFICATE, VNC_TLS_KEY, VNC_TLS_CLIENTS, VNC_TLS_FILES };
struct vnc_tls *vnc_tls_new(const int files[VNC_TLS_FILES], bool password, struct error *err);
/* Begin with a client; takes over `client`. */
void vnc_tls_greet(struct vnc_tls *t, int client);
/* Readable when a client is through with TLS; then the socket in clear, -1: none. */
int vnc_tls_door(const struct vnc_tls *t);
int vnc_tls_take(struct vnc_tls *t);

#endif
