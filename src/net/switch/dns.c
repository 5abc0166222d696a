/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names of a network: see dns.h. */
#include "net/switch/dns.h"

#include <stdio.h>
#include <strings.h>

enum { HEADER = 12, TYPE_A = 1, TYPE_PTR = 12, TYPE_AAAA = 28, TYPE_ANY = 255, CLASS_IN = 1,
       RCODE_NXDOMAIN = 3, RCODE_REFUSED = 5 };

struct question { char name[DNS_NAME]; uint16_t type, class; size_t end; };

/* RFC 1035 4.1.2; a question's name has no pointers. */
static bool read_question(const uint8_t *q, size_t n, struct question *out)
{
	size_t at = HEADER, len = 0;
	for (;;) {
		if (at >= n || q[at] > 63 || at + 1 + q[at] > n)
			return false;
		size_t label = q[at++];
		if (!label)
			break;
		if (len + label + 1 >= DNS_NAME)
			return false;
		if (memchr(q + at, 0, label) || memchr(q + at, '.', label))
			return false;
		memcpy(out->name + len, q + at, label);
		at += label;
		len += label;
		out->name[len++] = '.';
	}
	out->name[len ? len - 1 : 0] = 0;
	if (at + 4 > n)
		return false;
	out->type = be16_get(q + at);
	out->class = be16_get(q + at + 2);
	out->end = at + 4;
	return true;
}

/* Whether it is ours to answer; cuts the domain off. */
static bool local_name(const struct dns_zone *z, char *name)
{
	size_t n = strlen(name), d = strlen(z->domain);
	if (n > d && name[n - d - 1] == '.' && !strcasecmp(name + n - d, z->domain)) {
		name[n - d - 1] = 0;
		return true;
	}
	return !strcasecmp(name, z->domain) || !strchr(name, '.');
}

static uint8_t *put_record(uint8_t *p, uint16_t type, const void *data, size_t n)
{
	be16_put(p, 0xc000 | HEADER);          /* a pointer to the question's name */
	be16_put(p + 2, type);
	be16_put(p + 4, CLASS_IN);
	be32_put(p + 6, DNS_TTL);
	be16_put(p + 10, (uint16_t)n);
	memcpy(p + 12, data, n);
	return p + 12 + n;
}

/* ---- reverse ---- */

static bool parse_reverse4(const char *name, struct addr *a)
{
	unsigned b[4];
	char more;
	if (sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arpa%c", &b[3], &b[2], &b[1], &b[0], &more) != 4 ||
	    b[0] > 255 || b[1] > 255 || b[2] > 255 || b[3] > 255 || !strcasestr(name, ".in-addr.arpa"))
		return false;
	*a = addr_v4(b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3]);
	return true;
}

static size_t encode_name(const char *name, const char *domain, uint8_t *out)
{
	char full[DNS_NAME];
	uint8_t *p = out;
	snprintf(full, sizeof(full), "%.90s.%.90s", name, domain);
	for (const char *s = full; *s; ) {
		size_t n = strcspn(s, ".");
		if (!n || n > 63)
			return 0;
		*p++ = (uint8_t)n;
		memcpy(p, s, n);
		p += n;
		s += n + (s[n] == '.');
	}
	*p++ = 0;
	return (size_t)(p - out);
}

static uint8_t *answer_reverse(const struct dns_zone *z, const struct addr *a, uint8_t *p, uint16_t *count)
{
	uint8_t name[DNS_NAME + 2];
	const char *who = z->reverse(z->opaque, a);
	size_t n = who ? encode_name(who, z->domain, name) : 0;
	*count = n != 0;
	return n ? put_record(p, TYPE_PTR, name, n) : p;
}

/* ---- forward ---- */

static uint8_t *answer_host(const struct dns_host *h, uint16_t type, uint8_t *p, uint16_t *count)
{
	uint8_t v4[4];
	be32_put(v4, h->ip);
	*count = 0;
	if (h->has_ip && (type == TYPE_A || type == TYPE_ANY)) {
		p = put_record(p, TYPE_A, v4, 4);
		(*count)++;
	}
	if (h->has_ip6 && (type == TYPE_AAAA || type == TYPE_ANY)) {
		p = put_record(p, TYPE_AAAA, h->ip6.b, 16);
		(*count)++;
	}
	return p;
}

static size_t finish(const uint8_t *q, uint8_t *out, const uint8_t *end, uint16_t count, unsigned rcode)
{
	enum { RESPONSE = 0x8000, AUTHORITY = 0x0400, RECURSION_WANTED = 0x0100, RECURSION = 0x0080 };
	be16_put(out + 2, (uint16_t)(RESPONSE | AUTHORITY | RECURSION | (be16_get(q + 2) & RECURSION_WANTED) | rcode));
	be16_put(out + 4, 1);
	be16_put(out + 6, count);
	be32_put(out + 8, 0);
	return (size_t)(end - out);
}

enum dns_verdict dns_answer(const struct dns_zone *z, const uint8_t *q, size_t n, uint8_t out[DNS_MAX], size_t *len)
{
	struct question u;
	struct dns_host h;
	struct addr a;
	uint16_t count = 0;
	unsigned rcode = 0;
	if (n < HEADER || be16_get(q + 2) & 0xf800 || be16_get(q + 4) != 1 || !read_question(q, n, &u))
		return DNS_IGNORE;
	memcpy(out, q, u.end);
	uint8_t *p = out + u.end;
	if (u.class != CLASS_IN) {
		rcode = RCODE_REFUSED;
	} else if (u.type == TYPE_PTR && parse_reverse4(u.name, &a) && z->reverse(z->opaque, &a)) {
		p = answer_reverse(z, &a, p, &count);
	} else if (local_name(z, u.name)) {
		if (z->find(z->opaque, u.name, &h))
			p = answer_host(&h, u.type, p, &count);
		else
			rcode = RCODE_NXDOMAIN;
	} else if (z->forwards) {
		return DNS_FOREIGN;
	} else {
		rcode = RCODE_REFUSED;
	}
	*len = finish(q, out, p, count, rcode);
	return DNS_ANSWER;
}
