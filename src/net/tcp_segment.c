/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A member's segments taken apart (RFC 9293 3.1), and queues of bytes: see tcp_conn.h. */
#include "net/tcp_conn.h"

enum { TCP_HLEN = 20, OPT_END = 0, OPT_NOP = 1, OPT_MSS = 2, OPT_SCALE = 3, CSUM_OFFSET = 16,
       IP_MORE_OR_OFFSET = 0x3fff, IP6_HLEN = 40, MSS_DEFAULT = 536, SCALE_MOST = 14 };

static void options(const uint8_t *p, size_t n, struct tcp_segment *s)
{
	for (size_t i = 0; i < n && p[i] != OPT_END;) {
		if (p[i] == OPT_NOP) {
			i++;
			continue;
		}
		if (i + 2 > n || p[i + 1] < 2 || i + p[i + 1] > n)
			return;
		if (p[i] == OPT_MSS && p[i + 1] == 4)
			s->mss = be16_get(p + i + 2);
		if (p[i] == OPT_SCALE && p[i + 1] == 3) {
			s->scale = MIN(p[i + 2], (uint8_t)SCALE_MOST);      /* RFC 7323 2.3 */
			s->scaled = true;
		}
		i += p[i + 1];
	}
}

static bool sum_fits(const struct frame *f, size_t end)
{
	if (f->vnet[VNET_FLAGS] & VNET_NEEDS_CSUM)
		return le16_get(f->vnet + VNET_START) == f->l4 && le16_get(f->vnet + VNET_OFFSET) == CSUM_OFFSET;
	if (f->vnet[VNET_FLAGS] & VNET_DATA_VALID)
		return true;
	size_t first = MIN(end, (size_t)f->head_len) - f->l4;
	uint16_t c = inet_sum(f->head + f->l4, first, inet_pseudo(&f->src, &f->dst, IP_TCP, end - f->l4));
	if (end > f->head_len)
		c = inet_sum(f->rest, end - f->head_len, (uint16_t)~c);
	return !c;
}

bool tcp_parse(struct frame *f, struct tcp_segment *s)
{
	frame_parse_ip(f);
	if (!f->is_ip || !f->has_l4 || f->proto != IP_TCP)
		return false;
	const uint8_t *ip = f->head + f->ip, *p = f->head + f->l4;
	bool v4 = frame_type(f) == ETH_IPV4;
	if (v4 ? be16_get(ip + 6) & IP_MORE_OR_OFFSET : f->l4 != f->ip + IP6_HLEN)
		return false;      /* fragments and extension headers are libslirp's */
	size_t end = f->ip + (v4 ? be16_get(ip + 2) : IP6_HLEN + (size_t)be16_get(ip + 4));
	size_t head = (p[12] >> 4) * 4u, start = f->l4 + head;
	if (head < TCP_HLEN || start > f->head_len || end < start || end > frame_len(f) || !sum_fits(f, end))
		return false;
	size_t first = MIN(end, (size_t)f->head_len) - start;
	*s = (struct tcp_segment){ .seq = be32_get(p + 4), .ack = be32_get(p + 8), .window = be16_get(p + 14), .mss = MSS_DEFAULT,
				   .flags = p[13], .len = (uint32_t)(end - start),
				   .data = { { (void *)(f->head + start), first }, { (void *)f->rest, end - start - first } } };
	options(p + TCP_HLEN, head - TCP_HLEN, s);
	return true;
}

/* ---- queues ---- */

unsigned tcp_buffer_pieces(struct tcp_buffer *b, uint32_t offset, uint32_t n, struct iovec v[2])
{
	uint32_t at = (b->head + offset) % TCP_BUFFER, first = MIN(n, TCP_BUFFER - at);
	if (!b->data)
		b->data = xmalloc(TCP_BUFFER);
	v[0] = (struct iovec){ b->data + at, first };
	v[1] = (struct iovec){ b->data, n - first };
	return n > first ? 2 : 1;
}

void tcp_buffer_put(struct tcp_buffer *b, const uint8_t *p, uint32_t n)
{
	struct iovec v[2];
	tcp_buffer_pieces(b, b->len, n, v);
	memcpy(v[0].iov_base, p, v[0].iov_len);
	memcpy(v[1].iov_base, p + v[0].iov_len, v[1].iov_len);
	b->len += n;
}

void tcp_buffer_drop(struct tcp_buffer *b, uint32_t n)
{
	b->len -= n;
	b->head = b->len ? (b->head + n) % TCP_BUFFER : 0;
}
