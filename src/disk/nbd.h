/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD (the NetworkBlockDevice project's doc/proto.md), fixed newstyle.  The server
 * (nbd_server.c) is for tools; a machine's disk (nbd_disk.c) talks to one over a
 * connection that has been negotiated outside its jail (nbd_connect.c).
 */
#ifndef DISK_NBD_H
#define DISK_NBD_H

#include "disk/image.h"

#define NBD_MAGIC 0x4e42444d41474943ull          /* "NBDMAGIC" */
#define NBD_IHAVEOPT 0x49484156454f5054ull
#define NBD_OPT_REPLY 0x0003e889045565a9ull
#define NBD_REQUEST 0x25609513u
#define NBD_SIMPLE_REPLY 0x67446698u
#define NBD_STRUCTURED_REPLY 0x668e33efu
enum { NBD_FIXED_NEWSTYLE = 1, NBD_NO_ZEROES = 2 };
enum { NBD_OPT_EXPORT_NAME = 1, NBD_OPT_ABORT, NBD_OPT_LIST, NBD_OPT_INFO = 6, NBD_OPT_GO, NBD_OPT_STRUCTURED,
       NBD_OPT_LIST_META, NBD_OPT_SET_META };
enum { NBD_REP_ACK = 1, NBD_REP_SERVER, NBD_REP_INFO, NBD_REP_META };
#define NBD_REP_ERR_UNSUP 0x80000001u
#define NBD_REP_ERR_INVALID 0x80000003u
#define NBD_REP_ERR_UNKNOWN 0x80000006u
enum { NBD_INFO_EXPORT = 0, NBD_INFO_BLOCK_SIZE = 3 };
enum { NBD_HAS_FLAGS = 1, NBD_READ_ONLY = 2, NBD_SEND_FLUSH = 4, NBD_SEND_FUA = 8, NBD_SEND_TRIM = 32,
       NBD_SEND_WRITE_ZEROES = 64, NBD_SEND_DF = 128, NBD_MULTI_CONN = 256 };
enum { NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_DISC, NBD_CMD_FLUSH, NBD_CMD_TRIM, NBD_CMD_CACHE, NBD_CMD_WRITE_ZEROES,
       NBD_CMD_BLOCK_STATUS };
enum { NBD_FLAG_FUA = 1, NBD_FLAG_NO_HOLE = 2, NBD_FLAG_DF = 4, NBD_FLAG_REQ_ONE = 8 };
enum { NBD_DONE = 1 };
enum { NBD_CHUNK_NONE = 0, NBD_CHUNK_DATA = 1, NBD_CHUNK_HOLE = 2, NBD_CHUNK_STATUS = 5, NBD_CHUNK_ERROR = 0x8001 };
enum { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2, NBD_STATE_DIRTY = 1 };
enum { NBD_EPERM = 1, NBD_EIO = 5, NBD_ENOMEM = 12, NBD_EINVAL = 22, NBD_ENOSPC = 28 };
enum { NBD_REQUEST_LEN = 28, NBD_SIMPLE_LEN = 16, NBD_MAX_DATA = 32 << 20, NBD_STRING_MAX = 4096 };

/* One export. Several connections may be served at once. */
struct nbd_export { struct image *image; const char *name; bool readonly; const char *bitmap; /* or NULL */ };
/* From the greeting to the end of the connection, which stays the caller's. */
void nbd_serve(const struct nbd_export *e, int fd);

/* "nbd://HOST[:PORT][/EXPORT]", "nbd+unix:///[EXPORT]?socket=PATH": a connection that is ready
 * for requests. */
struct nbd_connection { int fd; uint64_t size; uint16_t flags; };
/* Between a machine's disk and who connects for it, on a line (base/fdpass.h): one byte asks,
 * this is the answer, with a new connection or without. */
struct nbd_answer { uint64_t size; uint16_t flags; uint8_t pad[6]; };
bool nbd_is_uri(const char *text);
/* The second half of that, on a socket (c->fd). */
bool nbd_haggle(struct nbd_connection *c, const char *uri, const char *export, struct error *err);
bool nbd_connect(const char *uri, struct nbd_connection *c, struct error *err);

#endif
