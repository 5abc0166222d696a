/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD, both sides: the input is what a client sends to our server (first byte even), or what
 * a server sends to our client while it haggles and while a disk has requests out (odd).
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/log.h"
#include "disk/disk.h"
#include "disk/nbd.h"
#include "disk/qcow2.h"
#include "lib/fuzz.h"

enum { SIZE = 256 << 10, REQUESTS = 6, BLOCK = 4096 };

/* --- samples ---------------------------------------------------------------- */

static uint8_t *put_option(uint8_t *p, uint32_t option, const void *data, uint32_t len)
{
	be64_put(p, NBD_IHAVEOPT);
	be32_put(p + 8, option);
	be32_put(p + 12, len);
	memcpy(p + 16, data, len);
	return p + 16 + len;
}

static uint8_t *put_request(uint8_t *p, uint16_t flags, uint16_t type, uint64_t offset, uint32_t len)
{
	be32_put(p, NBD_REQUEST);
	be16_put(p + 4, flags);
	be16_put(p + 6, type);
	be64_put(p + 8, type);
	be64_put(p + 16, offset);
	be32_put(p + 24, len);
	memset(p + NBD_REQUEST_LEN, 7, type == NBD_CMD_WRITE ? len : 0);
	return p + NBD_REQUEST_LEN + (type == NBD_CMD_WRITE ? len : 0);
}

static size_t client_sample(uint8_t *buf, bool structured)
{
	static const uint8_t go[6] = { 0 }, meta[] = "\0\0\0\0\0\0\0\2\0\0\0\17base:allocation\0\0\0\23qemu:dirty-bitmap:b";
	uint8_t *p = buf;
	*p++ = 0;
	be32_put(p, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
	p = put_option(p + 4, NBD_OPT_LIST, "", 0);
	if (structured) {
		p = put_option(p, NBD_OPT_STRUCTURED, "", 0);
		p = put_option(p, NBD_OPT_LIST_META, meta, sizeof(meta) - 1);
		p = put_option(p, NBD_OPT_SET_META, meta, sizeof(meta) - 1);
	}
	p = put_option(p, structured ? NBD_OPT_GO : NBD_OPT_EXPORT_NAME, go, structured ? sizeof(go) : 0);
	p = put_request(p, 0, NBD_CMD_WRITE, 4096, 1024);
	p = put_request(p, 0, NBD_CMD_READ, 0, 8192);
	p = put_request(p, NBD_FLAG_DF, NBD_CMD_READ, 4000, 200);
	p = put_request(p, NBD_FLAG_FUA, NBD_CMD_WRITE_ZEROES, 512, 1024);
	p = put_request(p, 0, NBD_CMD_TRIM, 65536, 65536);
	p = put_request(p, 0, NBD_CMD_FLUSH, 0, 0);
	p = put_request(p, 0, NBD_CMD_BLOCK_STATUS, 0, SIZE);
	p = put_request(p, NBD_FLAG_REQ_ONE, NBD_CMD_BLOCK_STATUS, 4096, 4096);
	p = put_request(p, 0, NBD_CMD_DISC, 0, 0);
	return (size_t)(p - buf);
}

static uint8_t *put_reply(uint8_t *p, uint64_t cookie, uint32_t error, uint32_t data)
{
	be32_put(p, NBD_SIMPLE_REPLY);
	be32_put(p + 4, error);
	be64_put(p + 8, cookie);
	memset(p + NBD_SIMPLE_LEN, 9, data);
	return p + NBD_SIMPLE_LEN + data;
}

static uint8_t *put_opt_reply(uint8_t *p, uint32_t type, uint32_t len)
{
	be64_put(p, NBD_OPT_REPLY);
	be32_put(p + 8, NBD_OPT_GO);
	be32_put(p + 12, type);
	be32_put(p + 16, len);
	return p + 20;
}

/* Requests 0 and 3 are reads; see use_disk(). */
static size_t server_sample(uint8_t *buf)
{
	uint8_t *p = buf;
	*p++ = 1;
	be64_put(p, NBD_MAGIC);
	be64_put(p + 8, NBD_IHAVEOPT);
	be16_put(p + 16, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
	p = put_opt_reply(p + 18, NBD_REP_INFO, 12);
	be16_put(p, NBD_INFO_EXPORT);
	be64_put(p + 2, SIZE);
	be16_put(p + 10, NBD_HAS_FLAGS | NBD_SEND_FLUSH | NBD_SEND_TRIM | NBD_SEND_WRITE_ZEROES);
	p = put_opt_reply(p + 12, NBD_REP_ACK, 0);
	p = put_reply(p, 1, 0, 0);
	p = put_reply(p, 3, 0, BLOCK);
	p = put_reply(p, 0, 0, BLOCK);
	p = put_reply(p, 2, NBD_ENOSPC, 0);
	p = put_reply(p, 5, 0, 0);
	p = put_reply(p, 4, 0, 0);
	return (size_t)(p - buf);
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	switch (n) {
	case 0: case 1: return client_sample(buf, n);
	case 2: return server_sample(buf);
	default: return 0;
	}
}

/* --- the peer: what it says is there at once, what it hears is forgotten -------- */

static void *hear(void *opaque)
{
	static uint8_t sink[65536];
	const int *fd = opaque;
	while (read(*fd, sink, sizeof(sink)) > 0) { }
	return NULL;
}

struct peer { int fd[2]; pthread_t ear; };

static void peer_start(struct peer *p, const uint8_t *data, size_t size)
{
	int room = 1 << 20;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->fd))
		abort();
	setsockopt(p->fd[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	if (!fd_write_full(p->fd[1], data, size) || shutdown(p->fd[1], SHUT_WR) || pthread_create(&p->ear, NULL, hear, &p->fd[1]))
		abort();
}

/* fd[0] is closed. */
static void peer_end(struct peer *p)
{
	pthread_join(p->ear, NULL);
	close(p->fd[1]);
}

/* --- our server --------------------------------------------------------------- */

static void serve(int fd)
{
	struct qcow2_create c = { .size = SIZE, .cluster_bits = 9, .version = 3 };
	struct image_file *f = image_file_fd(memfd_create("fuzz", MFD_CLOEXEC));
	struct image *i = qcow2_create(f, &c, NULL) ? image_on(f, "qcow2", "fuzz", false, NULL) : NULL;
	if (!i || !qcow2_bitmap_add(i, "b", 9, NULL))
		abort();
	struct nbd_export e = { .image = i, .name = "x", .bitmap = "b" };
	nbd_serve(&e, fd);
	image_close(i);
}

/* --- our client --------------------------------------------------------------- */

static void done(struct disk_request *r, int result) { ++*(unsigned *)r->opaque; }

static void use_disk(const struct nbd_connection *c)
{
	static const enum disk_op ops[REQUESTS] = { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_READ, DISK_DISCARD, DISK_WRITE_ZEROES };
	static uint8_t buf[REQUESTS][BLOCK];
	struct disk_options o = { .path = "fuzz", .fd = c->fd, .format = "nbd", .nbd_size = c->size, .nbd_flags = c->flags };
	struct disk_request r[REQUESTS];
	struct iovec v[REQUESTS];
	struct error err;
	unsigned ended = 0;
	struct loop *l = loop_new(&err);
	struct disk *d = disk_open(&o, l, &err);
	for (unsigned i = 0; d && i < REQUESTS; i++) {
		v[i] = (struct iovec){ buf[i], BLOCK };
		r[i] = (struct disk_request){ .op = ops[i], .offset = i * BLOCK, .length = BLOCK, .iov = &v[i], .niov = 1,
					      .done = done, .opaque = &ended };
		disk_submit(d, &r[i]);
	}
	if (!d)
		close(c->fd);
	disk_close(d);
	if (d && ended != REQUESTS)
		abort();
	loop_free(l);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct peer p;
	struct error err;
	static int silent = -1;
	if (silent < 0)
		log_setup(silent = open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_ERROR);
	if (!size)
		return;
	peer_start(&p, data + 1, size - 1);
	if (data[0] & 1) {
		struct nbd_connection c = { .fd = p.fd[0] };
		if (nbd_haggle(&c, "fuzz", "", &err))
			use_disk(&c);
		else
			close(c.fd);
	} else {
		serve(p.fd[0]);
		close(p.fd[0]);
	}
	peer_end(&p);
}
