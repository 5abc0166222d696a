/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VeNCrypt (RFB security type 19, version 0.2) with an X.509 certificate.  One
 * thread a client: it speaks RFB's first words and TLS with the client, the same
 * first words with the VNC server behind it, and from then on only copies.  Whatever a
 * client does, nobody waits for it but its own thread.
 */
#include "display/vnc_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/util.h"

enum { MAX_THREADS = 16, GREET_MS = 15000, ADMIT_MS = 120000, STALL_MS = 10000, PEM_MAX = 256 << 10, STACK = 512 << 10,
       VERSION = 12, NONE = 1, VNC_AUTHENTICATION = 2, VENCRYPT = 19, X509_NONE = 260, X509_VNC = 261 };

struct vnc_tls {
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priority;
	bool password, clients;   /* clients: they need a certificate */
	int door[2];
	_Atomic unsigned threads;
};

struct link {
	struct vnc_tls *tls;
	int client, server;       /* server: our end of the socket in clear */
	gnutls_session_t session;
	uint64_t end;             /* by when the present talk must be over */
};

/* --- words of a fixed length, until link.end --------------------------------------------- */
static bool wait_for(const struct link *l, int fd, int events)
{
	struct pollfd p = { fd, (short)events, 0 };
	uint64_t now = monotonic_ns();
	return now < l->end && poll(&p, 1, (int)((l->end - now) / 1000000) + 1) > 0;
}

static bool get(const struct link *l, int fd, void *to, size_t n)
{
	for (uint8_t *p = to; n; ) {
		if (!wait_for(l, fd, POLLIN))
			return false;
		ssize_t got = recv(fd, p, n, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		p += MAX(got, 0);
		n -= (size_t)MAX(got, 0);
	}
	return true;
}

/* A few bytes to a socket that has sent none yet: there is room. */
static bool put(int fd, const void *from, size_t n)
{
	return send(fd, from, n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n;
}

/* --- the client's side ---------------------------------------------------------------------- */
static bool known_version(const char version[VERSION])
{
	return !memcmp(version, "RFB 003.008\n", VERSION) || !memcmp(version, "RFB 003.007\n", VERSION);
}

/* Up to the TLS handshake: one security type, one kind of it. */
static bool agree(struct link *l, char version[VERSION])
{
	const uint8_t kind[4] = { 0, 0, X509_NONE >> 8, l->tls->password ? X509_VNC & 255 : X509_NONE & 255 };
	const uint8_t offer[5] = { 1, kind[0], kind[1], kind[2], kind[3] };
	uint8_t word[4];
	return put(l->client, "RFB 003.008\n", VERSION) && get(l, l->client, version, VERSION) && known_version(version) &&
	       put(l->client, (const uint8_t[]){ 1, VENCRYPT }, 2) && get(l, l->client, word, 1) && word[0] == VENCRYPT &&
	       put(l->client, (const uint8_t[]){ 0, 2 }, 2) && get(l, l->client, word, 2) && word[0] == 0 && word[1] == 2 &&
	       put(l->client, (const uint8_t[]){ 0 }, 1) && put(l->client, offer, sizeof(offer)) &&
	       get(l, l->client, word, 4) && !memcmp(word, kind, 4) && put(l->client, (const uint8_t[]){ 1 }, 1);
}

static bool handshake(struct link *l)
{
	struct vnc_tls *t = l->tls;
	if (gnutls_init(&l->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0)
		return false;
	bool wants = gnutls_priority_set(l->session, t->priority) >= 0 &&
		     gnutls_credentials_set(l->session, GNUTLS_CRD_CERTIFICATE, t->credentials) >= 0;
	if (t->clients) {
		gnutls_certificate_server_set_request(l->session, GNUTLS_CERT_REQUIRE);
		gnutls_session_set_verify_cert(l->session, NULL, 0);
	}
	gnutls_transport_set_int(l->session, l->client);
	while (wants) {
		int r = gnutls_handshake(l->session);
		if (r == GNUTLS_E_SUCCESS)
			return true;
		wants = !gnutls_error_is_fatal(r) &&
			wait_for(l, l->client, gnutls_record_get_direction(l->session) ? POLLOUT : POLLIN);
	}
	return false;
}

/* --- the server's side ------------------------------------------------------------------------ */
/* The server gets its client when it looks; what comes after the type goes to both as it is. */
static bool admit(struct link *l, const char version[VERSION])
{
	int pair[2];
	char own[VERSION];
	uint8_t n, types[255];
	const uint8_t type = l->tls->password ? VNC_AUTHENTICATION : NONE;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return false;
	l->server = pair[0];
	if (!fd_write_full(l->tls->door[1], &pair[1], sizeof(int))) {
		close(pair[1]);
		return false;
	}
	l->end = monotonic_ns() + ADMIT_MS * 1000000ull;
	return get(l, l->server, own, VERSION) && put(l->server, version, VERSION) && get(l, l->server, &n, 1) &&
	       get(l, l->server, types, n) && memchr(types, type, n) && put(l->server, &type, 1);
}

/* --- copying ---------------------------------------------------------------------------------- */
struct hold { uint8_t bytes[16384]; size_t at, n; };

static void forward(struct hold *h, ssize_t n)
{
	h->at += (size_t)n;
	h->n -= (size_t)n;
}

/* False: this side is at its end. */
static bool from_client(struct link *l, struct hold *h)
{
	ssize_t n = gnutls_record_recv(l->session, h->bytes, sizeof(h->bytes));
	h->at = 0;
	h->n = n > 0 ? (size_t)n : 0;
	return n > 0 || (n < 0 && !gnutls_error_is_fatal((int)n) && n != GNUTLS_E_REHANDSHAKE);
}

static bool to_client(struct link *l, struct hold *h)
{
	ssize_t n = gnutls_record_send(l->session, h->bytes + h->at, h->n);
	if (n > 0)
		forward(h, n);
	return n > 0 || (n < 0 && !gnutls_error_is_fatal((int)n));
}

static bool from_server(struct link *l, struct hold *h)
{
	ssize_t n = recv(l->server, h->bytes, sizeof(h->bytes), MSG_DONTWAIT);
	h->at = 0;
	h->n = n > 0 ? (size_t)n : 0;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool to_server(struct link *l, struct hold *h)
{
	ssize_t n = send(l->server, h->bytes + h->at, h->n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		forward(h, n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* poll() tells of a hang-up nobody asked for: a side of which nothing is wanted is left out. */
static struct pollfd wanted(int fd, bool in, bool out)
{
	int events = (in ? POLLIN : 0) | (out ? POLLOUT : 0);
	return (struct pollfd){ events ? fd : -1, (short)events, 0 };
}

static void copy(struct link *l)
{
	struct hold up = { .n = 0 }, down = { .n = 0 };
	for (bool on = true; on; ) {
		bool read = !up.n && gnutls_record_check_pending(l->session);
		struct pollfd p[2] = { wanted(l->client, !up.n, down.n), wanted(l->server, !down.n, up.n) };
		int n = poll(p, 2, read ? 0 : up.n || down.n ? STALL_MS : -1);
		if (n < 0 ? errno != EINTR : n == 0 && !read)
			return;
		const short any = POLLIN | POLLHUP | POLLERR;
		if (!up.n && (read || p[0].revents & any))
			on = from_client(l, &up);
		if (on && up.n)
			on = to_server(l, &up);
		if (on && !down.n && p[1].revents & any)
			on = from_server(l, &down);
		if (on && down.n)
			on = to_client(l, &down);
	}
	gnutls_bye(l->session, GNUTLS_SHUT_WR);
}

/* --- threads ------------------------------------------------------------------------------------ */
static void *serve_link(void *opaque)
{
	struct link *l = opaque;
	char version[VERSION];
	l->end = monotonic_ns() + GREET_MS * 1000000ull;
	if (agree(l, version) && handshake(l) && admit(l, version))
		copy(l);
	if (l->session)
		gnutls_deinit(l->session);
	close_fd(&l->server);
	close_fd(&l->client);
	atomic_fetch_sub(&l->tls->threads, 1);
	free(l);
	return NULL;
}

void vnc_tls_greet(struct vnc_tls *t, int client)
{
	pthread_attr_t attributes;
	pthread_t thread;
	if (atomic_fetch_add(&t->threads, 1) < MAX_THREADS) {
		struct link *l = xnew(struct link);
		*l = (struct link){ .tls = t, .client = client, .server = -1 };
		pthread_attr_init(&attributes);
		pthread_attr_setstacksize(&attributes, STACK);
		pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
		int failed = pthread_create(&thread, &attributes, serve_link, l);
		pthread_attr_destroy(&attributes);
		if (!failed)
			return;
		free(l);
	}
	atomic_fetch_sub(&t->threads, 1);
	close(client);
}

int vnc_tls_door(const struct vnc_tls *t) { return t->door[0]; }

int vnc_tls_take(struct vnc_tls *t)
{
	int fd;
	return read(t->door[0], &fd, sizeof(fd)) == sizeof(fd) ? fd : -1;
}

/* --- files ---------------------------------------------------------------------------------------- */
static bool read_pem(int fd, gnutls_datum_t *d, struct error *err)
{
	struct stat st;
	if (fstat(fd, &st) || st.st_size <= 0 || st.st_size > PEM_MAX)
		return error_set(err, 0, "a file of the VNC server's TLS directory is empty or too long");
	d->data = xmalloc((size_t)st.st_size);
	d->size = (unsigned)st.st_size;
	return fd_pread_full(fd, d->data, d->size, 0) || error_set(err, errno, "cannot read the VNC server's TLS files");
}

static bool use_files(struct vnc_tls *t, const gnutls_datum_t pem[VNC_TLS_FILES], struct error *err)
{
	int r = gnutls_certificate_allocate_credentials(&t->credentials);
	if (r >= 0)
		r = gnutls_certificate_set_x509_key_mem(t->credentials, &pem[VNC_TLS_CERTIFICATE], &pem[VNC_TLS_KEY],
							GNUTLS_X509_FMT_PEM);
	if (r < 0)
		return error_set(err, 0, "server-cert.pem and server-key.pem cannot be used: %s", gnutls_strerror(r));
	t->clients = pem[VNC_TLS_CLIENTS].data;
	if (t->clients) {
		r = gnutls_certificate_set_x509_trust_mem(t->credentials, &pem[VNC_TLS_CLIENTS], GNUTLS_X509_FMT_PEM);
		if (r <= 0)
			return error_set(err, 0, "client-ca.pem cannot be used: %s",
					 r ? gnutls_strerror(r) : "it has no certificate");
	}
	return true;
}

struct vnc_tls *vnc_tls_new(const int files[VNC_TLS_FILES], bool password, struct error *err)
{
	struct vnc_tls *t = xnew(struct vnc_tls);
	gnutls_datum_t pem[VNC_TLS_FILES] = { 0 };
	t->password = password;
	bool ok = true;
	for (unsigned i = 0; ok && i < VNC_TLS_FILES; i++)
		ok = files[i] < 0 || read_pem(files[i], &pem[i], err);
	ok = ok && use_files(t, pem, err);
	if (ok && (gnutls_priority_init(&t->priority, "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1", NULL) < 0 ||
		   pipe2(t->door, O_CLOEXEC | O_NONBLOCK)))
		ok = error_set(err, 0, "the VNC server cannot prepare TLS");
	for (unsigned i = 0; i < VNC_TLS_FILES; i++) {
		if (pem[i].data)
			explicit_bzero(pem[i].data, pem[i].size);
		free(pem[i].data);
		if (files[i] >= 0)
			close(files[i]);
	}
	if (ok)
		return t;
	free(t);
	return NULL;
}
