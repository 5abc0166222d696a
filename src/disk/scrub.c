/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading all of a disk, to find what cannot be read any more: see copy.h. */
#include "disk/copy.h"

#include <time.h>

enum { CHUNK = 1 << 20, SECTOR = 512 };

void copy_keep_rate(uint64_t bytes, uint64_t rate)
{
	struct timespec t = { .tv_sec = (time_t)(bytes / rate), .tv_nsec = (long)(bytes % rate * 1000000000ull / rate) };
	nanosleep(&t, NULL);
}

/* A chunk that fails is read by sectors: which of them are lost. */
static void find_bad(struct image_scrub *s, uint8_t *buf, uint64_t at, uint64_t n)
{
	uint64_t begin = at, len = 0;
	for (uint64_t k = 0; k < n; k += SECTOR) {
		uint64_t piece = MIN(n - k, (uint64_t)SECTOR);
		if (image_read(s->image, buf, piece, at + k)) {
			begin = len ? begin : at + k;
			len += piece;
			s->bad += piece;
		} else if (len) {
			s->found(s, begin, len);
			len = 0;
		}
	}
	if (len)
		s->found(s, begin, len);
}

int image_scrub(struct image_scrub *s)
{
	auto_free uint8_t *buf = xmalloc(CHUNK);
	for (uint64_t n; s->at < s->image->size && !(s->stop && s->stop(s)); s->at += n) {
		enum image_kind kind;
		n = s->image->size - s->at;
		int r = image_map(s->image, s->at, &n, &kind, NULL);
		bool data = r || kind == IMAGE_DATA;
		n = data ? MIN(n, (uint64_t)CHUNK) : n;
		if (data && (r || image_read(s->image, buf, n, s->at)))
			find_bad(s, buf, s->at, n);
		s->read += data ? n : 0;
		if (data && s->rate)
			copy_keep_rate(n, s->rate);
		if (s->progress)
			s->progress(s->at + n, s->image->size);
	}
	return s->at < s->image->size;
}
