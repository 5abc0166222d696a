/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages between the processes of a network: one JSON object with at most
 * MESSAGE_FDS descriptors, over a SOCK_SEQPACKET socket.
 */
#ifndef NET_MESSAGE_H
#define NET_MESSAGE_H

#include <jansson.h>
#include "base/error.h"
#include "base/util.h"

enum { MESSAGE_FDS = 4, MESSAGE_MAX = 128 << 10 };
struct message { json_t *body; int fd[MESSAGE_FDS]; unsigned nfds; };

/* Steals body; descriptors stay the caller's. */
bool message_send(int sock, json_t *body, const int *fds, unsigned nfds, struct error *err);
/* body NULL: the other side has closed. False: error, or nothing yet (err->code EAGAIN). */
bool message_receive(int sock, struct message *m, struct error *err);
void message_free(struct message *m);      /* closes descriptors that were not taken */
int message_take_fd(struct message *m, unsigned i);
/* Ask and wait; the answer's "error" becomes an error. NULL on failure. */
json_t *message_call(int sock, json_t *body, const int *fds, unsigned nfds, struct message *answer,
		     unsigned timeout_ms, struct error *err);

/* The same without asking: wait for an answer. */
json_t *message_answer(int sock, struct message *answer, unsigned timeout_ms, struct error *err);

/* Typed reading with a default. */
const char *message_text(const json_t *o, const char *key, const char *otherwise);
uint64_t message_number(const json_t *o, const char *key, uint64_t otherwise);
bool message_flag(const json_t *o, const char *key);

#endif
