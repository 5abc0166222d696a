/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An NBD server for one connection: haggling, then requests one after the other;
 * clients that want more at once open more connections.  Every byte of theirs is
 * hostile: lengths are bounded before anything is read.
 */
#include "disk/nbd.h"

#include <errno.h>
#include <stdio.h>

#include "disk/qcow2.h"

enum { EXTENTS_MAX = 8192, CTX_ALLOCATION = 1, CTX_BITMAP = 2, OPT_DATA_MAX = 8192, CHUNK = 1 << 20 };
static const char ALLOCATION[] = "base:allocation", BITMAP[] = "qemu:dirty-bitmap:";

struct session {
	const struct nbd_export *e;
	int fd;
	bool no_zeroes, structured;
	unsigned contexts;                /* 1 << CTX_ */
	uint8_t *buffer;
	uint64_t room;
};

struct request { uint16_t flags, type; uint8_t cookie[8]; uint64_t offset; uint32_t len; };

/* --- haggling --------------------------------------------------------------- */

static bool opt_reply(struct session *s, uint32_t option, uint32_t type, const void *data, uint32_t len)
{
	uint8_t h[20];
	be64_put(h, NBD_OPT_REPLY);
	be32_put(h + 8, option);
	be32_put(h + 12, type);
	be32_put(h + 16, len);
	return fd_write_full(s->fd, h, sizeof(h)) && (!len || fd_write_full(s->fd, data, len));
}

static uint16_t export_flags(const struct session *s)
{
	uint16_t f = NBD_HAS_FLAGS | NBD_SEND_FLUSH | NBD_SEND_FUA | NBD_MULTI_CONN | (s->structured ? NBD_SEND_DF : 0);
	return f | (s->e->readonly ? NBD_READ_ONLY : NBD_SEND_TRIM | NBD_SEND_WRITE_ZEROES);
}

/* A length and so many bytes, out of the option's data; NULL: not there. */
static const uint8_t *take_string(const uint8_t **p, uint32_t *left, uint32_t *len)
{
	if (*left < 4 || be32_get(*p) > *left - 4)
		return NULL;
	*len = be32_get(*p);
	const uint8_t *at = *p + 4;
	*p += 4 + *len;
	*left -= 4 + *len;
	return at;
}

static bool is_ours(const struct session *s, const uint8_t *name, uint32_t len)
{
	return !len || (strlen(s->e->name) == len && !memcmp(name, s->e->name, len));
}

static bool opt_go(struct session *s, uint32_t option, const uint8_t *p, uint32_t left, bool *go)
{
	uint32_t len;
	const uint8_t *name = take_string(&p, &left, &len);
	uint8_t info[14] = { 0 };
	if (!name)
		return opt_reply(s, option, NBD_REP_ERR_INVALID, NULL, 0);
	if (!is_ours(s, name, len))
		return opt_reply(s, option, NBD_REP_ERR_UNKNOWN, NULL, 0);
	be16_put(info, NBD_INFO_EXPORT);
	be64_put(info + 2, s->e->image->size);
	be16_put(info + 10, export_flags(s));
	if (!opt_reply(s, option, NBD_REP_INFO, info, 12))
		return false;
	be16_put(info, NBD_INFO_BLOCK_SIZE);
	be32_put(info + 2, 1);
	be32_put(info + 6, 65536);
	be32_put(info + 10, NBD_MAX_DATA);
	*go = option == NBD_OPT_GO;
	return opt_reply(s, option, NBD_REP_INFO, info, 14) && opt_reply(s, option, NBD_REP_ACK, NULL, 0);
}

static bool meta_reply(struct session *s, uint32_t option, unsigned id, const char *name)
{
	uint8_t r[4 + NBD_STRING_MAX];
	be32_put(r, id);
	memcpy(r + 4, name, strlen(name));
	return opt_reply(s, option, NBD_REP_META, r, 4 + (uint32_t)strlen(name));
}

/* The whole name; when listing, a beginning that ends in ':' too. */
static bool query_fits(const char *context, const uint8_t *q, uint32_t len, bool listing)
{
	size_t n = strlen(context);
	return (len == n && !memcmp(q, context, n)) ||
	       (listing && len && len < n && q[len - 1] == ':' && !memcmp(q, context, len));
}

static bool opt_meta(struct session *s, uint32_t option, const uint8_t *p, uint32_t left)
{
	bool listing = option == NBD_OPT_LIST_META;
	auto_free char *bitmap = xasprintf("%s%s", BITMAP, s->e->bitmap ? s->e->bitmap : "");
	const char *const context[] = { [CTX_ALLOCATION] = ALLOCATION, [CTX_BITMAP] = s->e->bitmap ? bitmap : NULL };
	uint32_t len, queries;
	unsigned found = 0;
	const uint8_t *name = take_string(&p, &left, &len);
	if (!name || left < 4 || (!listing && !s->structured))
		return opt_reply(s, option, NBD_REP_ERR_INVALID, NULL, 0);
	if (!is_ours(s, name, len))
		return opt_reply(s, option, NBD_REP_ERR_UNKNOWN, NULL, 0);
	queries = be32_get(p);
	p += 4;
	left -= 4;
	if (!queries && listing)
		found = BIT(CTX_ALLOCATION) | (s->e->bitmap ? BIT(CTX_BITMAP) : 0);
	for (; queries; queries--) {
		const uint8_t *q = take_string(&p, &left, &len);
		if (!q)
			return opt_reply(s, option, NBD_REP_ERR_INVALID, NULL, 0);
		for (unsigned c = CTX_ALLOCATION; c <= CTX_BITMAP; c++)
			if (context[c] && query_fits(context[c], q, len, listing))
				found |= 1u << c;
	}
	if (!listing)
		s->contexts = found;
	for (unsigned c = CTX_ALLOCATION; c <= CTX_BITMAP; c++)
		if (found >> c & 1 && !meta_reply(s, option, c, context[c]))
			return false;
	return opt_reply(s, option, NBD_REP_ACK, NULL, 0);
}

static bool opt_list(struct session *s)
{
	uint8_t r[4 + NBD_STRING_MAX];
	uint32_t n = (uint32_t)strlen(s->e->name);
	be32_put(r, n);
	memcpy(r + 4, s->e->name, n);
	return opt_reply(s, NBD_OPT_LIST, NBD_REP_SERVER, r, 4 + n) && opt_reply(s, NBD_OPT_LIST, NBD_REP_ACK, NULL, 0);
}

/* The oldest way to begin: there is no answer but the end of the connection. */
static bool opt_export_name(struct session *s, const uint8_t *name, uint32_t len, bool *go)
{
	uint8_t r[10 + 124] = { 0 };
	be64_put(r, s->e->image->size);
	be16_put(r + 8, export_flags(s));
	*go = true;
	return is_ours(s, name, len) && fd_write_full(s->fd, r, s->no_zeroes ? 10 : sizeof(r));
}

static bool one_option(struct session *s, bool *go)
{
	uint8_t h[16], data[OPT_DATA_MAX];
	if (!fd_read_full(s->fd, h, sizeof(h)) || be64_get(h) != NBD_IHAVEOPT)
		return false;
	uint32_t option = be32_get(h + 8), len = be32_get(h + 12);
	if (len > sizeof(data) || !fd_read_full(s->fd, data, len))
		return false;
	switch (option) {
	case NBD_OPT_EXPORT_NAME: return opt_export_name(s, data, len, go);
	case NBD_OPT_ABORT:
		opt_reply(s, option, NBD_REP_ACK, NULL, 0);
		return false;
	case NBD_OPT_LIST: return opt_list(s);
	case NBD_OPT_INFO: case NBD_OPT_GO: return opt_go(s, option, data, len, go);
	case NBD_OPT_STRUCTURED:
		s->structured = true;
		return opt_reply(s, option, NBD_REP_ACK, NULL, 0);
	case NBD_OPT_LIST_META: case NBD_OPT_SET_META: return opt_meta(s, option, data, len);
	default: return opt_reply(s, option, NBD_REP_ERR_UNSUP, NULL, 0);
	}
}

static bool haggle(struct session *s)
{
	uint8_t hello[18], flags[4];
	bool go = false;
	be64_put(hello, NBD_MAGIC);
	be64_put(hello + 8, NBD_IHAVEOPT);
	be16_put(hello + 16, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
	if (!fd_write_full(s->fd, hello, sizeof(hello)) || !fd_read_full(s->fd, flags, 4) ||
	    be32_get(flags) & ~(uint32_t)(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES))
		return false;
	s->no_zeroes = be32_get(flags) & NBD_NO_ZEROES;
	while (!go)
		if (!one_option(s, &go))
			return false;
	return true;
}

/* --- requests --------------------------------------------------------------- */

static uint32_t wire_error(int r)
{
	switch (-r) {
	case 0: case EPERM: case EIO: case ENOMEM: case EINVAL: case ENOSPC: return (uint32_t)-r;
	case EROFS: return NBD_EPERM;
	default: return NBD_EIO;
	}
}

static bool chunk(struct session *s, const struct request *q, unsigned flags, unsigned type, const void *head,
		  uint32_t nhead, const void *data, uint32_t ndata)
{
	uint8_t h[20];
	be32_put(h, NBD_STRUCTURED_REPLY);
	be16_put(h + 4, (uint16_t)flags);
	be16_put(h + 6, (uint16_t)type);
	memcpy(h + 8, q->cookie, 8);
	be32_put(h + 16, nhead + ndata);
	return fd_write_full(s->fd, h, sizeof(h)) && (!nhead || fd_write_full(s->fd, head, nhead)) &&
	       (!ndata || fd_write_full(s->fd, data, ndata));
}

/* Without data: what all but reads are answered with, and reads that fail. */
static bool answer(struct session *s, const struct request *q, int r)
{
	uint8_t h[NBD_SIMPLE_LEN], error[6] = { 0 };
	if (s->structured && (q->type == NBD_CMD_READ || q->type == NBD_CMD_BLOCK_STATUS)) {
		be32_put(error, wire_error(r));
		return chunk(s, q, NBD_DONE, r ? NBD_CHUNK_ERROR : NBD_CHUNK_NONE, error, r ? sizeof(error) : 0, NULL, 0);
	}
	be32_put(h, NBD_SIMPLE_REPLY);
	be32_put(h + 4, wire_error(r));
	memcpy(h + 8, q->cookie, 8);
	return fd_write_full(s->fd, h, sizeof(h));
}

static uint8_t *room_for(struct session *s, uint64_t n)
{
	if (n > s->room) {
		free(s->buffer);
		s->buffer = malloc(n);        /* a client decides: it may fail */
		s->room = s->buffer ? n : 0;
	}
	return s->buffer;
}

/* Zeros that the tables know of are told, not sent. */
static bool read_structured(struct session *s, const struct request *q)
{
	struct image *i = s->e->image;
	uint8_t head[12];
	for (uint64_t at = q->offset, end = at + q->len, n; at < end; at += n) {
		enum image_kind kind;
		n = end - at;
		int r = image_map(i, at, &n, &kind, NULL);
		if (kind == IMAGE_DATA || q->flags & NBD_FLAG_DF)
			n = q->flags & NBD_FLAG_DF ? end - at : MIN(n, (uint64_t)CHUNK);
		bool zero = kind == IMAGE_ZERO && !(q->flags & NBD_FLAG_DF);
		uint8_t *buf = zero ? head : room_for(s, n);
		if (!r && !zero)
			r = buf ? image_read(i, buf, n, at) : -ENOMEM;
		if (r)
			return answer(s, q, r);
		be64_put(head, at);
		be32_put(head + 8, (uint32_t)n);
		if (!chunk(s, q, at + n == end ? NBD_DONE : 0, zero ? NBD_CHUNK_HOLE : NBD_CHUNK_DATA, head, zero ? 12 : 8,
			   buf, zero ? 0 : (uint32_t)n))
			return false;
	}
	return true;
}

static bool do_read(struct session *s, const struct request *q)
{
	if (s->structured && q->len)
		return read_structured(s, q);
	uint8_t *buf = room_for(s, q->len + 1ull);
	int r = buf ? image_read(s->e->image, buf, q->len, q->offset) : -ENOMEM;
	return answer(s, q, r) && (r || fd_write_full(s->fd, buf, q->len));
}

static uint32_t state_at(struct session *s, unsigned context, uint64_t at, uint64_t *n, int *r)
{
	enum image_kind kind = IMAGE_DATA;
	bool dirty = true;
	if (context == CTX_ALLOCATION) {
		*r = image_map(s->e->image, at, n, &kind, NULL);
		return kind == IMAGE_ZERO ? NBD_STATE_HOLE | NBD_STATE_ZERO : 0;
	}
	*r = qcow2_bitmap_run(s->e->image, s->e->bitmap, at, n, &dirty) ? 0 : -EIO;
	return dirty ? NBD_STATE_DIRTY : 0;
}

static int extents(struct session *s, unsigned context, const struct request *q, uint8_t *out, uint32_t *count)
{
	uint32_t most = q->flags & NBD_FLAG_REQ_ONE ? 1 : EXTENTS_MAX, state;
	int r = 0;
	*count = 0;
	for (uint64_t at = q->offset, end = at + q->len, n; at < end; at += n) {
		n = end - at;
		state = state_at(s, context, at, &n, &r);
		uint8_t *last = out + 8ull * (*count ? *count - 1 : 0);
		if (r)
			break;
		if (*count && be32_get(last + 4) == state) {
			be32_put(last, be32_get(last) + (uint32_t)n);
			continue;
		}
		if (*count == most)
			break;
		be32_put(out + 8ull * *count, (uint32_t)n);
		be32_put(out + 8ull * (*count)++ + 4, state);
	}
	return r;
}

static bool do_status(struct session *s, const struct request *q)
{
	unsigned left = s->contexts;
	uint8_t *out = left && s->structured && q->len ? room_for(s, 8ull * EXTENTS_MAX) : NULL, id[4];
	if (!out)
		return answer(s, q, -EINVAL);
	for (unsigned c = CTX_ALLOCATION; c <= CTX_BITMAP; c++) {
		uint32_t n;
		if (!(left >> c & 1))
			continue;
		left &= ~(1u << c);
		int r = extents(s, c, q, out, &n);
		if (r)
			return answer(s, q, r);
		be32_put(id, c);
		if (!chunk(s, q, left ? 0 : NBD_DONE, NBD_CHUNK_STATUS, id, 4, out, 8 * n))
			return false;
	}
	return true;
}

static int change(struct session *s, const struct request *q)
{
	struct image *i = s->e->image;
	int r;
	switch (q->type) {
	case NBD_CMD_WRITE: r = image_write(i, s->buffer, q->len, q->offset); break;
	case NBD_CMD_TRIM: r = i->ops->zero(i, q->offset, q->len, true); break;
	default: r = i->ops->zero(i, q->offset, q->len, !(q->flags & NBD_FLAG_NO_HOLE)); break;
	}
	return r || !(q->flags & NBD_FLAG_FUA) ? r : i->ops->flush(i);
}

/* Data that is not taken still has to be read: what follows is the next request. */
static bool take_data(struct session *s, const struct request *q)
{
	uint8_t *buf = q->len <= NBD_MAX_DATA ? room_for(s, q->len + 1ull) : NULL;
	return buf && fd_read_full(s->fd, buf, q->len);
}

static bool in_range(const struct session *s, const struct request *q)
{
	uint64_t size = s->e->image->size;
	return q->offset <= size && q->len <= size - q->offset;
}

static bool serve_one(struct session *s, const struct request *q)
{
	if (q->type == NBD_CMD_WRITE && !take_data(s, q))
		return false;
	bool changes = q->type == NBD_CMD_WRITE || q->type == NBD_CMD_TRIM || q->type == NBD_CMD_WRITE_ZEROES;
	if (q->type != NBD_CMD_FLUSH && !in_range(s, q))
		return answer(s, q, q->type == NBD_CMD_WRITE ? -ENOSPC : -EINVAL);
	if (changes && s->e->readonly)
		return answer(s, q, -EPERM);
	if (changes)
		return answer(s, q, change(s, q));
	switch (q->type) {
	case NBD_CMD_READ: return q->len > NBD_MAX_DATA ? answer(s, q, -EINVAL) : do_read(s, q);
	case NBD_CMD_FLUSH: return answer(s, q, s->e->readonly ? 0 : s->e->image->ops->flush(s->e->image));
	case NBD_CMD_BLOCK_STATUS: return do_status(s, q);
	default: return answer(s, q, -EINVAL);
	}
}

static bool next_request(struct session *s, struct request *q)
{
	uint8_t h[NBD_REQUEST_LEN];
	if (!fd_read_full(s->fd, h, sizeof(h)) || be32_get(h) != NBD_REQUEST)
		return false;
	*q = (struct request){ .flags = be16_get(h + 4), .type = be16_get(h + 6), .offset = be64_get(h + 16),
			       .len = be32_get(h + 24) };
	memcpy(q->cookie, h + 8, 8);
	return q->type != NBD_CMD_DISC;
}

void nbd_serve(const struct nbd_export *e, int fd)
{
	struct session s = { .e = e, .fd = fd };
	struct request q;
	if (haggle(&s))
		while (next_request(&s, &q) && serve_one(&s, &q)) { }
	free(s.buffer);
}
