/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme disk bench: requests through the very layer that serves guests, `depth`
 * of them in flight.  "random" is a walk in strides of the golden ratio: every
 * block is met, neighbours are far apart, and two runs are alike.
 */
#include "cli/disk.h"

#include <inttypes.h>
#include <stdio.h>

#include "disk/disk.h"

enum { DEPTH_MAX = 1024, BLOCK_MAX = 16 << 20, PAGE = 4096 };

struct bench_options { char *block, *depth, *count, *pattern, *format, *output; bool write, no_uring, one_buffer; };
#define ROW(name, arg, kind, field, text) { name, arg, text, kind, offsetof(struct bench_options, field), NULL }
static const struct cli_option bench_options[] = {
	ROW("--block", "SIZE", OPTION_STRING, block, "bytes a request (default 4k)"),
	ROW("--depth", "N", OPTION_STRING, depth, "requests in flight (default 32)"),
	ROW("--count", "N", OPTION_STRING, count, "requests in all (default 100000)"),
	ROW("--pattern", "random|sequential", OPTION_STRING, pattern, "default: random"),
	ROW("--disk-format", "raw|qcow2", OPTION_STRING, format, "default: by the first bytes"),
	ROW("--write", NULL, OPTION_FLAG, write, "write: the contents of the disk are lost"),
	ROW("--one-buffer", NULL, OPTION_FLAG, one_buffer, "all requests share one block of memory, as those of qemu-img bench do"),
	ROW("--threads", NULL, OPTION_FLAG, no_uring, "the thread pool, even where io_uring works"),
	ROW("--format", "json", OPTION_STRING, output, "print one JSON object"),
	{ NULL }
};

struct bench {
	struct disk *disk;
	struct loop *loop;
	uint64_t size, block, step, at, left, done, depth;
	enum disk_op op;
	bool filling;                     /* submitting, further up the stack */
	int failed;
	struct slot { struct disk_request r; struct iovec v; struct slot *next; struct bench *b; } *slots, *spare;
	uint8_t *buffer;
	bool one_buffer;
};

static void slot_done(struct disk_request *r, int result);

static void submit_one(struct bench *b)
{
	struct slot *s = b->spare;
	b->spare = s->next;
	b->left--;
	s->r = (struct disk_request){ .op = b->op, .offset = b->at, .length = b->block, .iov = &s->v,
				      .niov = 1, .done = slot_done };
	b->at = (b->at + b->step) % b->size;
	disk_submit(b->disk, &s->r);
}

/* A batch may be complete when it has been handed over: then the next follows at once. */
static void fill(struct bench *b)
{
	b->filling = true;
	while (b->left && b->spare && !b->failed) {
		disk_plug(b->disk);
		while (b->left && b->spare && !b->failed)
			submit_one(b);
		disk_unplug(b->disk);
	}
	b->filling = false;
}

static void slot_done(struct disk_request *r, int result)
{
	struct slot *s = container_of(r, struct slot, r);
	struct bench *b = s->b;
	b->failed = b->failed ? b->failed : result;
	b->done++;
	s->next = b->spare;
	b->spare = s;
	if (!b->filling)
		fill(b);
	if ((!b->left || b->failed) && !disk_in_flight(b->disk))
		loop_stop(b->loop);
}

static void begin(void *opaque)
{
	fill(opaque);
}

/* The user decides how much: it may fail. */
static bool make_slots(struct bench *b, struct error *err)
{
	uint64_t bytes = ALIGN_UP((b->one_buffer ? 1 : b->depth) * b->block, PAGE);
	b->buffer = aligned_alloc(PAGE, bytes);     /* as a guest's are */
	if (!b->buffer)
		return error_set(err, 0, "no memory for %" PRIu64 " requests of %" PRIu64 " bytes: lower --depth or --block", b->depth, b->block);
	memset(b->buffer, 0xa5, bytes);
	b->slots = xcalloc(b->depth, sizeof(*b->slots));
	for (uint64_t i = 0; i < b->depth; i++) {
		b->slots[i].b = b;
		b->slots[i].v = (struct iovec){ b->buffer + (b->one_buffer ? 0 : i * b->block), b->block };
		b->slots[i].next = b->spare;
		b->spare = &b->slots[i];
	}
	return true;
}

static double run(struct bench *b)
{
	uint64_t from = monotonic_ns();
	loop_post(b->loop, begin, b);
	loop_run(b->loop);
	return (double)(monotonic_ns() - from) / 1e9;
}

static bool plan(const struct bench_options *o, struct bench *b, uint64_t *count, struct error *err)
{
	b->block = 4096;
	b->depth = 32;
	*count = 100000;
	if (o->block && (!parse_size(o->block, &b->block) || !b->block || b->block % 512 || b->block > BLOCK_MAX))
		return error_set(err, 0, "'%s' is no block size: multiples of 512, up to 16M", o->block);
	if (o->depth && !parse_u64(o->depth, 1, DEPTH_MAX, &b->depth))
		return error_set(err, 0, "'%s' is no depth: 1 to %d", o->depth, DEPTH_MAX);
	if (o->count && !parse_u64(o->count, 1, UINT32_MAX, count))
		return error_set(err, 0, "'%s' is no number of requests", o->count);
	if (o->pattern && strcmp(o->pattern, "random") && strcmp(o->pattern, "sequential"))
		return error_set(err, 0, "pattern '%s' is not known: random or sequential", o->pattern);
	b->left = *count;
	b->one_buffer = o->one_buffer;
	b->op = o->write ? DISK_WRITE : DISK_READ;
	return true;
}

/* A stride that meets every block: odd, and the number of blocks made a power of two times odd. */
static void set_step(struct bench *b, bool sequential)
{
	uint64_t blocks = b->size / b->block, stride = (uint64_t)((double)blocks * 0.6180339887) | 1;
	for (uint64_t x = stride, y = blocks; y; ) {   /* coprime, or the next */
		uint64_t rest = x % y;
		x = y;
		y = rest;
		if (!y && x != 1 && stride < blocks) {
			x = stride += 2;
			y = blocks;
		}
	}
	b->size = blocks * b->block;
	b->step = sequential ? b->block : stride * b->block;
}

static bool open_bench(struct bench *b, const struct bench_options *o, const char *path, struct error *err)
{
	struct disk_info info;
	const char *format = o->format;
	struct image *i = disk_tool_open(path, format, !o->write, err);
	if (!i)
		return false;
	format = i->ops->format;
	image_close(i);
	struct disk_options d = { .path = path, .fd = -1, .format = format, .readonly = !o->write,
				  .no_uring = o->no_uring };
	b->loop = loop_new(err);
	b->disk = b->loop ? disk_open(&d, b->loop, err) : NULL;
	if (!b->disk)
		return false;
	disk_get_info(b->disk, &info);
	b->size = info.size;
	return b->size >= b->block || error_set(err, 0, "disk '%s' is smaller than one block", path);
}

int disk_bench(int argc, char **argv)
{
	struct bench_options o = { 0 };
	struct bench b = { 0 };
	struct error err;
	const char *words[1];
	uint64_t count;
	int status = cli_parse((struct cli_group[]){ { bench_options, &o }, { NULL } }, argc, argv, words, 1, 1);
	if (status >= 0)
		return status;
	struct format_option f = { .format = o.output };
	int json = cli_format(&f, &err);
	if (json < 0 || !plan(&o, &b, &count, &err))
		return cli_usage(&err);
	bool ok = open_bench(&b, &o, words[0], &err) && make_slots(&b, &err);
	double seconds = 0;
	if (ok) {
		set_step(&b, o.pattern && !strcmp(o.pattern, "sequential"));
		seconds = run(&b);
	}
	disk_close(b.disk);
	if (b.loop)
		loop_free(b.loop);
	free(b.slots);
	free(b.buffer);
	if (b.failed)
		ok = error_set(&err, -b.failed, "a request to disk '%s' failed", words[0]);
	if (!ok)
		return cli_fail(&err);
	double rate = (double)b.done / seconds, mib = rate * (double)b.block / (double)MiB;
	if (json)
		printf("{\"requests\": %" PRIu64 ", \"seconds\": %.6f, \"step\": %" PRIu64 ", \"iops\": %.0f, \"mib_per_second\": %.1f}\n",
		       b.done, seconds, b.step, rate, mib);
	else
		printf("%" PRIu64 " requests in %.3f s: %.0f a second, %.1f MiB a second\n", b.done, seconds, rate, mib);
	return 0;
}
