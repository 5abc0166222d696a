/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who sees the screen: see display.h. */
#include "instance/display.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/fdpass.h"
#include "display/viewer.h"
#include "display/vnc_tls.h"

enum { DEFAULT_PORT = 5900 };

struct spec { bool screen, vnc; struct sockaddr_in address; char password_file[256], tls[256]; };

static bool bad(const char *text, struct error *err)
{
	return error_set(err, 0, "display '%s' is not known: use none, headless or "
			 "vnc[:[ADDR:]PORT][,password-file=FILE][,tls=DIR]", text);
}

static bool parse_address(const char *p, size_t n, struct sockaddr_in *a)
{
	char host[64];
	uint64_t port;
	if (!n)
		return true;
	if (*p != ':' || n - 1 >= sizeof(host))
		return false;
	snprintf(host, sizeof(host), "%.*s", (int)(n - 1), p + 1);
	char *colon = strrchr(host, ':');
	if (colon)
		*colon = 0;
	if ((colon && inet_pton(AF_INET, host, &a->sin_addr) != 1) ||
	    !parse_u64(colon ? colon + 1 : host, 1, 65535, &port))
		return false;
	a->sin_port = htons((uint16_t)port);
	return true;
}

/* ",name=value" each. */
static bool parse_options(const char *p, struct spec *s)
{
	const struct { const char *name; char *value; } known[] = {
		{ ",password-file=", s->password_file }, { ",tls=", s->tls },
	};
	while (*p) {
		unsigned i = 0;
		while (i < ARRAY_SIZE(known) && strncmp(p, known[i].name, strlen(known[i].name)))
			i++;
		if (i == ARRAY_SIZE(known))
			return false;
		p += strlen(known[i].name);
		size_t n = strcspn(p, ",");
		if (!n || n >= sizeof(s->tls))
			return false;
		memcpy(known[i].value, p, n);
		known[i].value[n] = 0;
		p += n;
	}
	return true;
}

static bool is_open(const struct spec *s) { return ntohl(s->address.sin_addr.s_addr) >> 24 != 127 && !s->password_file[0]; }

static bool parse(const char *text, struct spec *s, struct error *err)
{
	*s = (struct spec){ .screen = strcmp(text, "none") };
	if (!s->screen || !strcmp(text, "headless"))
		return true;
	if (strncmp(text, "vnc", 3))
		return bad(text, err);
	size_t n = strcspn(text, ",");
	s->vnc = true;
	s->address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(DEFAULT_PORT),
					   .sin_addr = { htonl(INADDR_LOOPBACK) } };
	if (!parse_address(text + 3, n - 3, &s->address) || !parse_options(text + n, s))
		return bad(text, err);
	if (is_open(s) && !s->tls[0])
		return error_set(err, 0, "display '%s' would let anybody in: add ,password-file=FILE, or "
				 "listen on 127.0.0.1 and come through ssh", text);
	return true;
}

bool display_check(const char *text, struct error *err)
{
	struct spec s;
	return parse(text, &s, err);
}

/* The file's first line; VNC's own rule is eight characters. */
static bool read_password(const char *file, char out[VIEWER_PASSWORD], struct error *err)
{
	auto_close int fd = open(file, O_RDONLY | O_CLOEXEC);
	char text[64] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return error_set(err, errno, "cannot read the password file '%s'", file);
	text[strcspn(text, "\r\n")] = 0;
	if (!text[0] || strlen(text) >= VIEWER_PASSWORD)
		return error_set(err, 0, "the password in '%s' must have 1 to %d characters, as VNC uses no more",
				 file, VIEWER_PASSWORD - 1);
	memcpy(out, text, VIEWER_PASSWORD);
	return true;
}

static bool open_tls(struct opened *o, const struct spec *s, const char *text, struct error *err)
{
	static const char *const names[] = { [VNC_TLS_CERTIFICATE] = "server-cert.pem", [VNC_TLS_KEY] = "server-key.pem",
					     [VNC_TLS_CLIENTS] = "client-ca.pem" };
	auto_close int dir = open(s->tls, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_set(err, errno, "cannot open the directory '%s' of the display's TLS", s->tls);
	for (unsigned i = 0; i < VNC_TLS_FILES; i++) {
		o->vnc_tls[i] = openat(dir, names[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (o->vnc_tls[i] < 0 && (i != VNC_TLS_CLIENTS || errno != ENOENT))
			return error_set(err, errno, "cannot open '%s/%s' of the display's TLS", s->tls, names[i]);
	}
	return !is_open(s) || o->vnc_tls[VNC_TLS_CLIENTS] >= 0 ||
	       error_set(err, 0, "display '%s' would let anybody in: add ,password-file=FILE, or put client-ca.pem "
			 "into '%s', so that clients need a certificate of it", text, s->tls);
}

static bool open_vnc(struct opened *o, const struct spec *s, const char *text, struct error *err)
{
	struct machine_config *c = &o->config;
	int one = 1;
	if (s->password_file[0] && !read_password(s->password_file, o->vnc_password, err))
		return false;
	if (s->tls[0] && !open_tls(o, s, text, err))
		return false;
	c->viewer_memory_fd = memfd_create("abyme-screen", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (c->viewer_memory_fd < 0 || ftruncate(c->viewer_memory_fd, VIEWER_BYTES) ||
	    fcntl(c->viewer_memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return error_set(err, errno, "cannot make the screen's picture");
	o->vnc_listen = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (o->vnc_listen < 0 || setsockopt(o->vnc_listen, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(o->vnc_listen, (const struct sockaddr *)&s->address, sizeof(s->address)) ||
	    listen(o->vnc_listen, 8))
		return error_set(err, errno, "cannot listen for '%s'", text);
	return true;
}

bool display_open(struct opened *o, const char *text, struct error *err)
{
	struct spec s;
	if (!text)
		return true;
	if (!parse(text, &s, err))
		return false;
	o->config.screen = s.screen;
	return !s.vnc || open_vnc(o, &s, text, err);
}

bool display_setup(const struct opened *o, int channel, struct error *err)
{
	int fds[1 + VNC_TLS_FILES] = { o->config.viewer_memory_fd };
	unsigned n = 1;
	for (unsigned i = 0; i < VNC_TLS_FILES && o->vnc_tls[i] >= 0; i++)
		fds[n++] = o->vnc_tls[i];
	struct viewer_output out = { .word = VIEWER_SETUP };
	memcpy(out.password, o->vnc_password, sizeof(out.password));
	return fds_send(channel, &out, sizeof(out), fds, n, 0) == sizeof(out) ||
	       error_set(err, errno, "cannot tell the VNC server what to show");
}
