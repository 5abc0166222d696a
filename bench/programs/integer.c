/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Integer kernels: lists, matrices, checksums, a state machine, sorting, an interpreter. */
#include "work.h"

struct node { struct node *next; uint64_t value; };

static uint64_t list(unsigned scale)
{
	enum { N = 1000 };
	static struct node nodes[N];
	for (unsigned i = 0; i < N; i++)
		nodes[i].value = mix(i);
	uint64_t sum = 0;
	for (unsigned r = 0; r < scale; r++) {
		struct node *head = NULL;
		for (unsigned i = 0; i < N; i++) {
			struct node *n = &nodes[(i * 7 + r) % N];
			n->next = head;
			head = n;
		}
		struct node *back = NULL;
		for (struct node *n = head, *next; n; n = next) {
			next = n->next;
			n->next = back;
			back = n;
			sum = sum * 31 + n->value;
		}
	}
	return sum;
}

static uint64_t matrix(unsigned scale)
{
	enum { N = 96 };
	static int32_t a[N][N], b[N][N], c[N][N];
	uint64_t sum = 0;
	for (unsigned r = 0; r < scale; r++) {
		for (int i = 0; i < N; i++)
			for (int j = 0; j < N; j++) {
				a[i][j] = (int32_t)(i * j + (int)r);
				b[i][j] = (int32_t)(i - j);
			}
		for (int i = 0; i < N; i++)
			for (int j = 0; j < N; j++) {
				int32_t s = 0;
				for (int k = 0; k < N; k++)
					s += a[i][k] * b[k][j];
				c[i][j] = s;
				sum = sum * 3 + (uint32_t)s;
			}
	}
	return sum + (uint32_t)c[3][5];
}

static uint64_t crc(unsigned scale)
{
	static uint32_t table[256];
	static uint8_t data[65536];
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t v = i;
		for (int k = 0; k < 8; k++)
			v = v & 1 ? 0xedb88320u ^ v >> 1 : v >> 1;
		table[i] = v;
	}
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)mix(i);
	uint32_t c = ~0u;
	for (unsigned r = 0; r < scale; r++)
		for (unsigned i = 0; i < sizeof(data); i++)
			c = table[(c ^ data[i]) & 0xff] ^ c >> 8;
	return c;
}

static uint64_t states(unsigned scale)
{
	static uint8_t text[32768];
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = "ab1 ,\n\"x9_"[mix(i) % 10];
	uint64_t count[6] = { 0 };
	for (unsigned r = 0; r < scale; r++) {
		int s = 0;
		for (unsigned i = 0; i < sizeof(text); i++) {
			uint8_t c = text[i];
			switch (s) {
			case 0:
				s = c >= 'a' && c <= 'z' ? 1 : c >= '0' && c <= '9' ? 2 : c == '"' ? 3 : 0;
				break;
			case 1:
				if (!((c >= 'a' && c <= 'z') || c == '_'))
					s = c == '\n' ? 4 : 0;
				break;
			case 2:
				s = c >= '0' && c <= '9' ? 2 : c == ',' ? 5 : 0;
				break;
			case 3:
				s = c == '"' ? 0 : 3;
				break;
			case 4:
				s = c == ' ' ? 4 : 0;
				break;
			default:
				s = c == '1' ? 2 : 0;
			}
			count[s]++;
		}
	}
	return mix(count[0]) ^ mix(count[1] + 1) ^ mix(count[2] + 2) ^ mix(count[3] + 3) ^
	       mix(count[4] + 4) ^ mix(count[5] + 5);
}

static uint32_t ror(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

static uint64_t sha256(unsigned scale)
{
	static uint32_t k[64];
	for (unsigned i = 0; i < 64; i++)
		k[i] = (uint32_t)mix(i + 77);
	uint32_t h[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, w[64];
	for (unsigned r = 0; r < scale; r++) {
		for (unsigned i = 0; i < 16; i++)
			w[i] = (uint32_t)(r * 16 + i) * 2654435761u;
		for (unsigned i = 16; i < 64; i++) {
			uint32_t a = w[i - 15], b = w[i - 2];
			w[i] = w[i - 16] + w[i - 7] + (ror(a, 7) ^ ror(a, 18) ^ a >> 3) +
			       (ror(b, 17) ^ ror(b, 19) ^ b >> 10);
		}
		uint32_t s[8];
		memcpy(s, h, sizeof(s));
		for (unsigned i = 0; i < 64; i++) {
			uint32_t t1 = s[7] + (ror(s[4], 6) ^ ror(s[4], 11) ^ ror(s[4], 25)) +
				      ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
			uint32_t t2 = (ror(s[0], 2) ^ ror(s[0], 13) ^ ror(s[0], 22)) +
				      ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
			memmove(s + 1, s, 7 * sizeof(s[0]));
			s[4] += t1;
			s[0] = t1 + t2;
		}
		for (unsigned i = 0; i < 8; i++)
			h[i] += s[i];
	}
	return (uint64_t)h[0] << 32 | h[7];
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static uint64_t sort(unsigned scale)
{
	enum { N = 20000 };
	static uint32_t v[N];
	uint64_t sum = 0;
	for (unsigned r = 0; r < scale; r++) {
		for (unsigned i = 0; i < N; i++)
			v[i] = (uint32_t)mix(i + r);
		qsort(v, N, sizeof(v[0]), by_value);
		sum = sum * 31 + v[N / 3];
	}
	return sum;
}

static unsigned fib_of(unsigned n) { return n < 2 ? n : fib_of(n - 1) + fib_of(n - 2); }
static uint64_t fib(unsigned scale)
{
	uint64_t sum = 0;
	for (unsigned r = 0; r < scale; r++) {
		unsigned n = 24;
		__asm__("" : "+r"(n));
		sum += fib_of(n);
	}
	return sum;
}

/* A register machine: sums primes by trial division. */
static uint64_t bytecode(unsigned scale)
{
	enum { LOADI, ADD, MOD, JZ, JLT, JMP, INC, HALT };
	static const int8_t code[] = {
		LOADI, 0, 2,         /*  0 r0 = 2: candidate */
		LOADI, 1, 2,         /*  3 r1 = 2: divisor */
		JLT, 1, 0, 13,       /*  6 if r1 < r0 goto 13 */
		ADD, 3, 0,           /* 10 r3 += r0: prime */
		/* falls into 13 only for a prime: mod by itself is zero -> next */
		MOD, 2, 0, 1,        /* 13 r2 = r0 % r1 */
		JZ, 2, 24,           /* 17 */
		INC, 1,              /* 20 */
		JMP, 6,              /* 22 */
		INC, 0,              /* 24 */
		JLT, 0, 4, 3,        /* 26 if r0 < r4 goto 3 */
		HALT,
	};
	static const void *const op[] = { &&loadi, &&add, &&mod, &&jz, &&jlt, &&jmp, &&inc, &&halt };
	uint64_t sum = 0;
	for (unsigned r = 0; r < scale; r++) {
		int64_t reg[8] = { 0, 0, 0, 0, 600 };
		const int8_t *p = code;
		goto *op[*p];
loadi:		reg[p[1]] = p[2]; p += 3; goto *op[*p];
add:		reg[p[1]] += reg[p[2]]; p += 3; goto *op[*p];
mod:		reg[p[1]] = (int32_t)reg[p[2]] % (int32_t)reg[p[3]]; p += 4; goto *op[*p];
jz:		p = reg[p[1]] ? p + 3 : code + p[2]; goto *op[*p];
jlt:		p = reg[p[1]] < reg[p[2]] ? code + p[3] : p + 4; goto *op[*p];
jmp:		p = code + p[1]; goto *op[*p];
inc:		reg[p[1]]++; p += 2; goto *op[*p];
halt:		sum = sum * 7 + (uint64_t)reg[3];
	}
	return sum;
}

const struct work integer_work[] = {
	{ "list", "integer", list, 20000 },
	{ "matrix", "integer", matrix, 120 },
	{ "crc32", "integer", crc, 1000 },
	{ "states", "integer", states, 1500 },
	{ "sha256", "integer", sha256, 200000 },
	{ "sort", "integer", sort, 60 },
	{ "fib", "integer", fib, 600 },
	{ "bytecode", "integer", bytecode, 700 },
	{ 0 },
};
