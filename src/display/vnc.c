/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VNC server: LibVNCServer on one thread.  It shows the picture that the
 * machine keeps in shared memory, and turns keys into names and the pointer into
 * steps.  Its clients are hostile: that is why it is a process of its own, with
 * neither files nor a network but the connections it accepts.
 */
#include "display/vnc.h"

#include <errno.h>
#include <poll.h>
#include <rfb/rfb.h>
#include <rfb/keysym.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/util.h"
#include "display/viewer.h"
#include "display/vnc_tls.h"

enum { MAX_CLIENTS = 8, PUMP_US = 10000, CLIENT_WAIT_MS = 2000, NICE = 15, START_X = 640, START_Y = 400, PLACE_MAX = 32767 };

struct vnc {
	rfbScreenInfoPtr screen;
	struct vnc_tls *tls;      /* NULL: clients speak in clear */
	int listen_fd, channel_fd;
	unsigned clients;
	bool watching, answered;  /* the machine was told that somebody looks; has said its size since */
	uintptr_t sizes;          /* how many there have been */
	int x, y;
	bool have_pointer;
	char password[VIEWER_PASSWORD];
	char *passwords[2];
};

static void say(struct vnc *v, const struct viewer_input *in)
{
	send(v->channel_fd, in, sizeof(*in), MSG_NOSIGNAL);
}

/* --- keys --------------------------------------------------------------------------- */
static const struct { rfbKeySym sym; const char *name; } named[] = {
	{ XK_Return, "enter" }, { XK_KP_Enter, "enter" }, { XK_Escape, "esc" }, { XK_BackSpace, "backspace" },
	{ XK_Tab, "tab" }, { 0xfe20, "tab" }, { XK_space, "space" }, { XK_minus, "minus" },
	{ XK_underscore, "minus" }, { XK_Shift_L, "shift" }, { XK_Shift_R, "shift" }, { XK_Control_L, "ctrl" },
	{ XK_Control_R, "ctrl" }, { XK_Alt_L, "alt" }, { XK_Meta_L, "alt" }, { XK_Alt_R, "altgr" },
	{ XK_Super_L, "win" }, { XK_Super_R, "win" }, { XK_Menu, "menu" }, { XK_Caps_Lock, "caps" },
	{ XK_Up, "up" }, { XK_Down, "down" }, { XK_Left, "left" }, { XK_Right, "right" }, { XK_Home, "home" },
	{ XK_End, "end" }, { XK_Page_Up, "pageup" }, { XK_Page_Down, "pagedown" }, { XK_Insert, "insert" },
	{ XK_Delete, "delete" },
};

/* The key of a US keyboard, whatever Shift says: that comes as a key of its own. */
static bool key_name(rfbKeySym sym, char name[VIEWER_KEY])
{
	static const char shifted[] = "~!@#$%^&*()+{}|:\"<>?", plain[] = "`1234567890=[]\\;',./";
	for (unsigned i = 0; i < ARRAY_SIZE(named); i++)
		if (named[i].sym == sym) {
			snprintf(name, VIEWER_KEY, "%s", named[i].name);
			return true;
		}
	if (sym >= XK_F1 && sym <= XK_F12) {
		snprintf(name, VIEWER_KEY, "f%u", (unsigned)(sym - XK_F1 + 1));
		return true;
	}
	if (sym <= ' ' || sym >= 127)
		return false;
	const char *s = strchr(shifted, (int)sym);
	name[0] = s ? plain[s - shifted] : sym >= 'A' && sym <= 'Z' ? (char)(sym + 32) : (char)sym;
	name[1] = 0;
	return true;
}

static void on_key(rfbBool down, rfbKeySym sym, rfbClientPtr client)
{
	struct viewer_input in = { .event = VIEWER_PRESS, .a = down != 0 };
	if (key_name(sym, in.key))
		say(client->screen->screenData, &in);
}

static uint16_t place(int at, int size)
{
	return (uint16_t)(size < 2 || at < 0 ? 0 : at >= size ? PLACE_MAX : at * PLACE_MAX / (size - 1));
}

/* A mouse knows only ways: the pointer's first place counts for nothing. */
static void on_pointer(int mask, int x, int y, rfbClientPtr client)
{
	struct vnc *v = client->screen->screenData;
	struct viewer_input in = { .event = VIEWER_POINTER, .a = x - v->x, .b = y - v->y,
				   .c = mask & 8 ? -1 : mask & 16 ? 1 : 0,
				   .buttons = (mask & 1) | (mask & 4) >> 1 | (mask & 2) << 1 };
	in.x = place(x, client->screen->width);
	in.y = place(y, client->screen->height);
	if (!v->have_pointer)
		in.a = in.b = 0;
	v->have_pointer = true;
	v->x = x;
	v->y = y;
	say(v, &in);
}

/* --- clients -------------------------------------------------------------------------- */
static void watch(struct vnc *v, bool on)
{
	struct viewer_input in = { .event = VIEWER_WATCH, .a = on };
	v->watching = on;
	v->answered = false;
	say(v, &in);
}

static void on_gone(rfbClientPtr client)
{
	struct vnc *v = client->screen->screenData;
	v->clients--;
}

/* A size that came between ServerInit and SetEncodings was told to nobody. */
static void on_request(rfbClientPtr client, rfbFramebufferUpdateRequestMsg *request)
{
	struct vnc *v = client->screen->screenData;
	if (client->useNewFBSize && client->clientData != (void *)v->sizes) {
		client->newFBSizePending = TRUE;
		client->clientData = (void *)v->sizes;
	}
}

static enum rfbNewClientAction on_client(rfbClientPtr client)
{
	struct vnc *v = client->screen->screenData;
	client->clientGoneHook = on_gone;
	client->clientFramebufferUpdateRequestHook = on_request;
	client->clientData = (void *)v->sizes;
	v->clients++;
	return RFB_CLIENT_ACCEPT;
}

static void accept_client(struct vnc *v)
{
	int fd = v->tls ? vnc_tls_take(v->tls) : accept4(v->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0 && v->clients >= MAX_CLIENTS)
		close(fd);
	else if (fd >= 0)
		rfbNewClient(v->screen, fd);
}

/* --- the machine ------------------------------------------------------------------------ */
static const rfbPixelFormat pixels = { .bitsPerPixel = 32, .depth = 24, .trueColour = TRUE, .redMax = 255,
	.greenMax = 255, .blueMax = 255, .redShift = 16, .greenShift = 8 };

/* rfbNewFramebuffer() takes red for the lowest byte, and tells the size to those clients
 * that have said by now that they want to know. */
static void resize(struct vnc *v, unsigned width, unsigned height)
{
	rfbScreenInfoPtr s = v->screen;
	if (!width || !height || width > VIEWER_MAX_X || height > VIEWER_MAX_Y ||
	    ((int)width == s->width && (int)height == s->height))
		return;
	rfbNewFramebuffer(s, s->frameBuffer, (int)width, (int)height, 8, 3, 4);
	s->serverFormat = pixels;
	v->sizes++;
	rfbClientIteratorPtr i = rfbGetClientIterator(s);
	for (rfbClientPtr c; (c = rfbClientIteratorNext(i)); ) {
		s->setTranslateFunction(c);
		if (c->useNewFBSize)
			c->clientData = (void *)v->sizes;
	}
	rfbReleaseClientIterator(i);
}

static void take_word(struct vnc *v, const struct viewer_output *o)
{
	if (o->word == VIEWER_START) {
		watch(v, v->watching);
	} else if (o->word == VIEWER_SIZE) {
		resize(v, o->width, o->height);
		v->answered = true;
	} else if (o->word == VIEWER_RECT) {
		rfbMarkRectAsModified(v->screen, o->x, o->y, o->x + o->width, o->y + o->height);
	}
}

/* False: the machine has gone. */
static bool take_output(struct vnc *v)
{
	for (;;) {
		struct viewer_output o;
		ssize_t n = recv(v->channel_fd, &o, sizeof(o), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0)
			return false;
		if (n == sizeof(o))
			take_word(v, &o);
	}
}

/* fds: the picture, and what TLS needs; -1 where there is none. */
static bool take_setup(struct vnc *v, int fds[1 + VNC_TLS_FILES], struct error *err)
{
	union { char b[CMSG_SPACE((1 + VNC_TLS_FILES) * sizeof(int))]; struct cmsghdr align; } room;
	struct viewer_output o = { 0 };
	struct iovec iov = { &o, sizeof(o) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room.b,
			      .msg_controllen = sizeof(room.b) };
	ssize_t got = recvmsg(v->channel_fd, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *h = got == sizeof(o) ? CMSG_FIRSTHDR(&msg) : NULL;
	if (!h || h->cmsg_type != SCM_RIGHTS || o.word != VIEWER_SETUP)
		return error_set(err, 0, "the VNC server was not told what to show");
	size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	for (unsigned i = 0; i <= VNC_TLS_FILES; i++)
		fds[i] = -1;
	memcpy(fds, CMSG_DATA(h), MIN(n * sizeof(int), (1 + VNC_TLS_FILES) * sizeof(int)));
	memcpy(v->password, o.password, sizeof(v->password));
	v->password[VIEWER_PASSWORD - 1] = 0;
	v->tls = fds[1] < 0 ? NULL : vnc_tls_new(fds + 1, v->password[0], err);
	return fds[1] < 0 || v->tls;
}

static void quiet(const char *format, ...) { }

static bool make_screen(struct vnc *v, int memory, struct error *err)
{
	rfbLog = rfbErr = quiet;
	rfbMaxClientWait = CLIENT_WAIT_MS;
	rfbScreenInfoPtr s = v->screen = rfbGetScreen(NULL, NULL, START_X, START_Y, 8, 3, 4);
	if (!s)
		return error_set(err, 0, "the VNC server does not start");
	s->frameBuffer = mmap(NULL, VIEWER_BYTES, PROT_READ, MAP_SHARED, memory, 0);
	if (s->frameBuffer == MAP_FAILED)
		return error_set(err, errno, "cannot map the screen's picture");
	s->serverFormat = pixels;
	s->screenData = v;
	s->desktopName = "Abyme";
	s->port = s->ipv6port = 0;
	s->alwaysShared = TRUE;
	s->cursor = NULL;
	s->kbdAddEvent = on_key;
	s->ptrAddEvent = on_pointer;
	s->newClientHook = on_client;
	v->passwords[0] = v->password;
	if (v->password[0]) {
		s->authPasswdData = v->passwords;
		s->passwordCheck = rfbCheckPasswordByList;
	}
	rfbInitServer(s);
	return true;
}

/* A client is let in when the machine has said its size: not all learn of another. */
static void take_clients(struct vnc *v, bool knocks)
{
	if (knocks && !v->watching)
		watch(v, true);
	else if (knocks)
		accept_client(v);
	else if (v->watching && !v->clients)
		watch(v, false);
}

static void greet(struct vnc *v)
{
	int fd = accept4(v->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		vnc_tls_greet(v->tls, fd);
}

/* Without a client it sleeps; with one it looks every few milliseconds. */
static int serve(struct vnc *v)
{
	const int door = v->tls ? vnc_tls_door(v->tls) : v->listen_fd;
	for (;;) {
		bool open = !v->watching || v->answered;
		struct pollfd p[3] = { { v->channel_fd, POLLIN, 0 }, { open ? door : -1, POLLIN, 0 },
				       { v->tls ? v->listen_fd : -1, POLLIN, 0 } };
		poll(p, 3, v->clients || (v->watching && open) ? 0 : -1);
		if (p[0].revents && !take_output(v))
			return 0;
		if (p[2].revents)
			greet(v);
		if (open)
			take_clients(v, p[1].revents);
		if (v->clients)
			rfbProcessEvents(v->screen, PUMP_US);
	}
}

int vnc_main(int listen_fd, int channel_fd, int ready_fd, struct jail *jail)
{
	static struct vnc v;
	struct error err = { 0 };
	int fds[1 + VNC_TLS_FILES];
	v.listen_fd = listen_fd;
	v.channel_fd = channel_fd;
	setpriority(PRIO_PROCESS, 0, NICE);    /* where processors are short, the guest goes first */
	bool ok = take_setup(&v, fds, &err) && make_screen(&v, fds[0], &err) &&
		  jail_root(jail, NULL, &err) && jail_seal(jail, &err);
	fd_write_full(ready_fd, ok ? "R" : err.text, ok ? 1 : strlen(err.text));
	close(ready_fd);
	return ok ? serve(&v) : 1;
}
