/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Showing the screen: while somebody looks, the picture that the helper has
 * mapped is brought up to date 25 times a second of machine time, or as often as a
 * sixteenth of a processor can, and the helper told what has changed; what it sends
 * back is pressed and moved.  All on the I/O loop's thread.  When the helper dies,
 * nobody looks any more.
 */
#include "machine/viewer.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include "base/log.h"
#include "device/keyboard.h"
#include "device/mouse.h"
#include "device/vga/screen.h"
#include "display/viewer.h"

enum { FRAME_NS = 40000000, PROCESSOR_SHARE = 16, BATCH = 64, FAR = 4096 };

struct viewer {
	struct machine *machine;
	int fd;
	struct loop_fd *watch;
	struct clock_timer timer;
	struct screen_watch screen;
	bool watched, lost;       /* lost: the helper missed a change, it gets all again */
};

static void tell(struct viewer *v, enum viewer_word word, unsigned x, unsigned y, unsigned width, unsigned height)
{
	struct viewer_output o = { .word = word, .x = (uint16_t)x, .y = (uint16_t)y,
				   .width = (uint16_t)width, .height = (uint16_t)height };
	if (send(v->fd, &o, sizeof(o), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(o))
		v->lost = true;
}

static void changed(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
	tell(opaque, VIEWER_RECT, x, y, width, height);
}

static void resized(void *opaque, unsigned width, unsigned height)
{
	tell(opaque, VIEWER_SIZE, 0, 0, width, height);
}

static uint64_t spent_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void frame(void *opaque)
{
	struct viewer *v = opaque;
	if (!v->watched)
		return;
	uint64_t before = spent_ns();
	board_lock(v->machine);
	screen_watch(v->machine, &v->screen);
	board_unlock(v->machine);
	if (v->lost) {
		v->lost = false;
		tell(v, VIEWER_SIZE, 0, 0, v->screen.width, v->screen.height);
		tell(v, VIEWER_RECT, 0, 0, v->screen.width, v->screen.height);
	}
	uint64_t pause = MAX((uint64_t)FRAME_NS, (spent_ns() - before) * PROCESSOR_SHARE);
	clock_timer_set(&v->timer, clock_now(v->machine->clock) + pause);
}

static void set_watched(struct viewer *v, bool watched)
{
	v->watched = v->lost = watched;
	if (watched)
		frame(v);
}

static int bound(int32_t v) { return v > FAR ? FAR : v < -FAR ? -FAR : v; }

/* Keys and steps that the machine does not take are dropped: its own fault. */
static void take_input(struct viewer *v, struct viewer_input *in)
{
	struct machine *m = v->machine;
	struct error err;
	in->key[VIEWER_KEY - 1] = 0;
	if (in->event == VIEWER_WATCH) {
		set_watched(v, in->a);
		return;
	}
	board_lock(m);
	if (in->event == VIEWER_PRESS) {
		keyboard_key(m, in->key, in->a, &err);
	} else if (in->event == VIEWER_POINTER && !tablet_move(m, in->x, in->y, bound(in->c), in->buttons & 7)) {
		mouse_move(m, bound(in->a), bound(in->b), bound(in->c), &err);
		mouse_buttons(m, in->buttons, &err);
	}
	board_unlock(m);
}

static void input_ready(void *opaque, int events)
{
	struct viewer *v = opaque;
	for (unsigned i = 0; i < BATCH; i++) {
		struct viewer_input in;
		ssize_t n = recv(v->fd, &in, sizeof(in), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			log_warn("the screen's helper process has gone: nobody sees the screen");
			v->watched = false;
			loop_fd_events(v->watch, 0);
			return;
		}
		if (n == sizeof(in))
			take_input(v, &in);
	}
}

bool viewer_start(struct machine *m, struct error *err)
{
	if (m->config->viewer_fd < 0)
		return true;
	struct viewer *v = xnew(struct viewer);
	v->machine = m;
	v->fd = m->config->viewer_fd;
	v->screen = (struct screen_watch){ .opaque = v, .changed = changed, .resized = resized };
	v->screen.picture = mmap(NULL, VIEWER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
				 m->config->viewer_memory_fd, 0);
	if (v->screen.picture == MAP_FAILED) {
		free(v);
		return error_set(err, errno, "cannot map the screen's picture");
	}
	clock_timer_init(&v->timer, m->clock, frame, v);
	v->watch = loop_fd_add(m->loop, v->fd, LOOP_READ, input_ready, v);
	tell(v, VIEWER_START, 0, 0, 0, 0);
	return true;
}
