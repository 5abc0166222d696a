/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state of a switch process, and its talk with the keeper (serve.h). */
#ifndef NET_SWITCH_CONTROL_H
#define NET_SWITCH_CONTROL_H

#include "net/switch/link.h"
#include "net/switch/policy.h"

struct switch_process {
	struct sw *sw;
	struct policy *policy;
	struct link *links, *active;
	int epoll, keeper;
	unsigned poll_us, spin_us;                /* what ports are told; the switch's own */
	uint64_t gap_ns, last_ns, next_tick_ns;
	bool spinning, talk, stop;
};

/* Serve one request; false: the keeper is gone. */
bool control_talk(struct switch_process *w);
/* Tell the keeper that a port broke the rules and is closed. */
void control_broken(struct switch_process *w, const struct link *l);
void control_end(struct switch_process *w);

void process_poll_time(const struct switch_process *w, struct link *l);
bool process_add_link(struct switch_process *w, struct link *l, struct error *err);
void process_remove_link(struct switch_process *w, struct link *l);
struct link *process_find_link(struct switch_process *w, uint64_t id);

#endif
