/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A WAV file (RIFF, PCM) of 48 kHz, 16 bits, two channels. */
#include "device/hda/hda.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/log.h"

enum { HEADER = 44, CHANNELS = 2, BITS = 16 };
#define WAV_MOST (UINT32_MAX - 2 * HEADER)

void wav_open(struct wav *w, int fd)
{
	struct stat st;
	*w = (struct wav){ .fd = fd };
	if (fd >= 0 && !fstat(fd, &st) && st.st_size > HEADER)
		w->bytes = MIN((uint64_t)st.st_size - HEADER, (uint64_t)WAV_MOST) & ~(HDA_FRAME - 1ull);
	wav_finish(w);
}

static void fail(struct wav *w, int e)
{
	if (!w->failed)
		log_warn("sound is no longer recorded: %s", strerror(e));
	w->failed = true;
}

void wav_write(struct wav *w, const void *data, size_t n)
{
	if (w->fd < 0 || w->failed)
		return;
	if (n > WAV_MOST - w->bytes)
		fail(w, EFBIG);
	else if (!fd_pwrite_full(w->fd, data, n, HEADER + w->bytes))
		fail(w, errno);
	else
		w->bytes += n;
}

void wav_finish(struct wav *w)
{
	uint8_t h[HEADER] = "RIFF....WAVEfmt ";
	if (w->fd < 0)
		return;
	le32_put(h + 4, (uint32_t)(HEADER - 8 + w->bytes));
	le32_put(h + 16, 16);
	le16_put(h + 20, 1);              /* PCM */
	le16_put(h + 22, CHANNELS);
	le32_put(h + 24, HDA_RATE);
	le32_put(h + 28, HDA_RATE * HDA_FRAME);
	le16_put(h + 32, HDA_FRAME);
	le16_put(h + 34, BITS);
	memcpy(h + 36, "data", 4);
	le32_put(h + 40, (uint32_t)w->bytes);
	if (!fd_pwrite_full(w->fd, h, sizeof(h), 0))
		fail(w, errno);
}
