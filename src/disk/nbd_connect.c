/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The client's side of NBD's haggling: done by whoever opens disks, outside the jail.
 * What comes back is a connection on which every reply is simple: 16 bytes, and the
 * data of a read.
 */
#include "disk/nbd.h"
#include "base/socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "disk/qcow2.h"

enum { PATIENCE_SECONDS = 30, REPLY_MAX = 8192, REPLIES_MAX = 64 };

bool nbd_is_uri(const char *text)
{
	return !strncmp(text, "nbd://", 6) || !strncmp(text, "nbd+unix://", 11);
}

/* A server that is gone without a word is noticed after half a minute. */
static void watch_peer(int fd)
{
	int one = 1, idle = 10, times = 4, most = PATIENCE_SECONDS * 1000;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &most, sizeof(most));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void patience(int fd, unsigned seconds)
{
	struct timeval t = { .tv_sec = seconds };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

/* /EXPORT?socket=PATH */
static int connect_unix(const char *rest, char export[256], struct error *err)
{
	const char *query = strstr(rest, "?socket=");
	if (!query || rest[0] != '/' || query - rest > 255 || !query[8])
		return error_minus(err, 0, "an NBD disk on a Unix socket is written nbd+unix:///EXPORT?socket=PATH");
	snprintf(export, 256, "%.*s", (int)(query - rest - 1), rest + 1);
	int fd = unix_connect(query + 8, SOCK_STREAM);
	return fd >= 0 ? fd : error_minus(err, errno, "cannot connect to the NBD server on '%s'", query + 8);
}

/* HOST[:PORT][/EXPORT]; an IPv6 address in brackets. */
static int connect_tcp(const char *rest, char export[256], struct error *err)
{
	struct addrinfo want = { .ai_socktype = SOCK_STREAM }, *found, *a;
	size_t n = strcspn(rest, "/");
	auto_free char *host = xasprintf("%.*s", (int)n, rest);
	char *name = host, *end = strchr(host, ']'), *colon = strrchr(end ? end : host, ':');
	int fd = -1, e = 0;
	if (rest[n] && strlen(rest + n + 1) > 255)
		return error_minus(err, 0, "the name of an NBD export has at most 255 bytes");
	snprintf(export, 256, "%s", rest[n] ? rest + n + 1 : "");
	if (colon)
		*colon++ = 0;
	if (end && host[0] == '[') {
		name++;
		*end = 0;
	}
	int r = getaddrinfo(name, colon ? colon : "10809", &want, &found);
	if (r)
		return error_minus(err, 0, "the NBD server '%s' is not known: %s", name, gai_strerror(r));
	for (a = found; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0)
			patience(fd, PATIENCE_SECONDS);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen)) {
			e = errno;
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(found);
	if (fd < 0)
		return error_minus(err, e, "cannot connect to the NBD server '%s'", name);
	watch_peer(fd);
	return fd;
}

static bool ask_go(int fd, const char *export)
{
	uint8_t q[16 + 4 + 256 + 2] = { 0 };
	uint32_t n = (uint32_t)strlen(export);
	be64_put(q, NBD_IHAVEOPT);
	be32_put(q + 8, NBD_OPT_GO);
	be32_put(q + 12, 4 + n + 2);
	be32_put(q + 16, n);
	memcpy(q + 20, export, n);
	return fd_write_full(fd, q, 20 + n + 2);
}

/* 1: the export is ours, 0: more to come, -1: no. */
static int one_reply(struct nbd_connection *c)
{
	uint8_t h[20], data[REPLY_MAX];
	if (!fd_read_full(c->fd, h, sizeof(h)) || be64_get(h) != NBD_OPT_REPLY || be32_get(h + 8) != NBD_OPT_GO)
		return -1;
	uint32_t type = be32_get(h + 12), len = be32_get(h + 16);
	if (len > sizeof(data) || !fd_read_full(c->fd, data, len))
		return -1;
	if (type == NBD_REP_ACK)
		return 1;
	if (type == NBD_REP_INFO && len >= 12 && be16_get(data) == NBD_INFO_EXPORT) {
		c->size = be64_get(data + 2);
		c->flags = be16_get(data + 10);
	}
	return type == NBD_REP_INFO ? 0 : -1;
}

bool nbd_haggle(struct nbd_connection *c, const char *uri, const char *export, struct error *err)
{
	uint8_t hello[18], flags[4];
	be32_put(flags, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
	if (!fd_read_full(c->fd, hello, sizeof(hello)) || be64_get(hello) != NBD_MAGIC ||
	    be64_get(hello + 8) != NBD_IHAVEOPT || !(be16_get(hello + 16) & NBD_FIXED_NEWSTYLE))
		return error_set(err, 0, "'%s' is no NBD server of the newer kind (fixed newstyle)", uri);
	if (!(be16_get(hello + 16) & NBD_NO_ZEROES))
		be32_put(flags, NBD_FIXED_NEWSTYLE);
	int r = fd_write_full(c->fd, flags, 4) && ask_go(c->fd, export) ? 0 : -1;
	for (unsigned n = 0; !r && n < REPLIES_MAX; n++)
		r = one_reply(c);
	if (r != 1 || !(c->flags & NBD_HAS_FLAGS) || c->size > INT64_MAX)
		return error_set(err, 0, "the NBD server of '%s' does not give out the export '%s'", uri, export);
	return true;
}

bool nbd_connect(const char *uri, struct nbd_connection *c, struct error *err)
{
	char export[256] = "";
	bool local = !strncmp(uri, "nbd+unix://", 11);
	*c = (struct nbd_connection){ .fd = local ? connect_unix(uri + 11, export, err) : connect_tcp(uri + 6, export, err) };
	if (c->fd < 0)
		return false;
	patience(c->fd, PATIENCE_SECONDS);
	if (nbd_haggle(c, uri, export, err)) {
		patience(c->fd, 0);
		return true;
	}
	close(c->fd);
	return false;
}
