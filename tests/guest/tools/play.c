/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * play FILE: the bytes of a file through /dev/snd/pcmC0D0p as 48 kHz, 16 bits, two
 * channels, to the last one.  Without a library, for an initrd.
 *
 * EIO: the kernel has waited for little more than a buffer's time, and gone on without an
 * error of the device; so it does when the whole computer stood still.  A drain would
 * throw away then what is not played yet.
 */
#include <errno.h>
#include <fcntl.h>
#include <sound/asound.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { FRAME = 4, PERIOD = 2400, PERIODS = 20 };

static void any(struct snd_pcm_hw_params *p)
{
	memset(p, 0, sizeof(*p));
	for (unsigned i = 0; i < sizeof(p->masks) / sizeof(p->masks[0]); i++)
		memset(&p->masks[i], 0xff, sizeof(p->masks[i]));
	for (unsigned i = 0; i < sizeof(p->intervals) / sizeof(p->intervals[0]); i++)
		p->intervals[i] = (struct snd_interval){ .max = ~0u };
	p->rmask = ~0u;
}

static void only(struct snd_pcm_hw_params *p, int mask, unsigned bit)
{
	struct snd_mask *m = &p->masks[mask - SNDRV_PCM_HW_PARAM_FIRST_MASK];
	memset(m, 0, sizeof(*m));
	m->bits[bit / 32] = 1u << bit % 32;
}

static void exactly(struct snd_pcm_hw_params *p, int interval, unsigned value)
{
	p->intervals[interval - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL] = (struct snd_interval){ .min = value, .max = value, .integer = 1 };
}

static int set_up(int fd)
{
	struct snd_pcm_hw_params p;
	any(&p);
	only(&p, SNDRV_PCM_HW_PARAM_ACCESS, SNDRV_PCM_ACCESS_RW_INTERLEAVED);
	only(&p, SNDRV_PCM_HW_PARAM_FORMAT, SNDRV_PCM_FORMAT_S16_LE);
	exactly(&p, SNDRV_PCM_HW_PARAM_CHANNELS, 2);
	exactly(&p, SNDRV_PCM_HW_PARAM_RATE, 48000);
	exactly(&p, SNDRV_PCM_HW_PARAM_PERIOD_SIZE, PERIOD);
	exactly(&p, SNDRV_PCM_HW_PARAM_PERIODS, PERIODS);
	return ioctl(fd, SNDRV_PCM_IOCTL_HW_PARAMS, &p) || ioctl(fd, SNDRV_PCM_IOCTL_PREPARE);
}

/* All of it, however many calls that takes. */
static int play(int fd, char *buf, unsigned long frames)
{
	while (frames) {
		struct snd_xferi x = { .buf = buf, .frames = frames };
		if (!ioctl(fd, SNDRV_PCM_IOCTL_WRITEI_FRAMES, &x)) {
			buf += x.result * FRAME;
			frames -= (unsigned long)x.result;
		} else if (errno != EIO) {
			return -1;
		}
	}
	return 0;
}

/* The last frame has been played when the stream runs dry. */
static int finish(int fd)
{
	long left = 1;
	while (left > 0 && !ioctl(fd, SNDRV_PCM_IOCTL_DELAY, &left))
		usleep(10000);
	return left > 0 && errno != EPIPE ? -1 : 0;
}

int main(int argc, char **argv)
{
	static char buf[PERIOD * FRAME];
	int in = argc == 2 ? open(argv[1], O_RDONLY) : -1, out = open("/dev/snd/pcmC0D0p", O_WRONLY);
	if (in < 0 || out < 0 || set_up(out)) {
		perror("play");
		return 1;
	}
	for (ssize_t n; (n = read(in, buf, sizeof(buf))) > 0; ) {
		if (play(out, buf, (unsigned long)n / FRAME)) {
			perror("play: write");
			return 1;
		}
	}
	if (finish(out)) {
		perror("play: end");
		return 1;
	}
	puts("played");
	return 0;
}
