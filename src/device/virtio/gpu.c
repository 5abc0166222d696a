/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-gpu, 2D (virtio 1.2 5.7): one screen, whose picture is a resource that
 * the guest fills from its memory, and a cursor over it.  Commands are done at
 * once and in order, so fences are met when they are answered.
 */
#include "device/virtio/gpu.h"

#include "device/chipset.h"
#include "device/vga/screen.h"
#include "machine/machine.h"

enum { START_X = 1280, START_Y = 800, SCANOUTS = 16, HEADER = 24, FENCE = 1, RECT = 16, ENTRY = 16 };
enum { MAX_COMMAND = 56, CURSOR_SIZE = 64 };
enum { CMD_DISPLAY_INFO = 0x100, CMD_CREATE_2D, CMD_UNREF, CMD_SET_SCANOUT, CMD_FLUSH, CMD_TRANSFER,
       CMD_ATTACH, CMD_DETACH, CMD_UPDATE_CURSOR = 0x300, CMD_MOVE_CURSOR };

struct virtio_gpu {
	struct virtio_device v;
	struct gpu_resources resources;
	uint32_t scanout;         /* the resource shown, 0: none */
	struct gpu_rect rect;     /* what of it */
	uint32_t cursor, cursor_x, cursor_y;   /* where its corner is: the hot spot is the guest's affair */
	uint64_t changes;         /* of what is shown */
	uint32_t events;
};

/* --- commands of the control queue ------------------------------------------------ */
/* `in` has MAX_COMMAND bytes, zeros behind what the guest gave. */
typedef uint32_t command_fn(struct virtio_gpu *g, struct virtq_chain *c, const uint8_t *in);

static struct gpu_rect get_rect(const uint8_t *p)
{
	return (struct gpu_rect){ le32_get(p), le32_get(p + 4), le32_get(p + 8), le32_get(p + 12) };
}

static struct gpu_resource *shown(struct virtio_gpu *g) { return gpu_resource_find(&g->resources, g->scanout); }

static uint32_t create_2d(struct virtio_gpu *g, struct virtq_chain *c, const uint8_t *in)
{
	return gpu_resource_create(&g->resources, le32_get(in + 24), le32_get(in + 28), le32_get(in + 32),
				   le32_get(in + 36));
}

static uint32_t unref(struct virtio_gpu *g, struct virtq_chain *c, const uint8_t *in)
{
	struct gpu_resource *p = gpu_resource_find(&g->resources, le32_get(in + 24));
	if (!p)
		return GPU_ERR_RESOURCE;
	if (p->id == g->scanout)
		g->scanout = 0;
	g->changes++;
	gpu_resource_free(&g->resources, p);
	return GPU_OK;
}

static uint32_t set_scanout(struct virtio_gpu *g, struct virtq_chain *c, const uint8_t *in)
{
	struct gpu_rect r = get_rect(in + 24);
	uint32_t id = le32_get(in + 44);
	const struct gpu_resource *p = gpu_resource_find(&g->resources, id);
	if (le32_get(in + 40))
		return GPU_ERR_SCANOUT;
	if (id && !p)
		return GPU_ERR_RESOURCE;
	if (id && (!r.width || !r.height || !gpu_rect_inside(&r, p->width, p->height)))
		return GPU_ERR_PARAMETER;
	g->scanout = id;
	g->rect = r;
	g->changes++;
	return GPU_OK;
}

static uint32_t flush(struct virtio_gpu *g, struct virtq_chain *c, const uint8_t *in)
{
	struct gpu_rect r = get_rect(in + 24);
	const struct gpu_resource *p = gpu_resource_find(&g->resources, le32_get(in + 40));
	if (!p)
		return GPU_ERR_RESOURCE;
	if (!gpu_rect_inside(&r, p->width, p->height))
		return GPU_ERR_PARAMETER;
	g->changes += p->id == g->scanout;
	return GPU_OK;
}

static uint32_t transfer(struct virtio_gpu *g, struct virtq_chain *c, const uint8_t *in)
{
	struct gpu_rect r = get_rect(in + 24);
	struct gpu_resource *p = gpu_resource_find(&g->resources, le32_get(in + 48));
	return p ? gpu_resource_transfer(p, g->v.pci.dev.machine->memory, &r, le64_get(in + 40)) : GPU_ERR_RESOURCE;
}

static uint32_t attach(struct virtio_gpu *g, struct virtq_chain *c, const uint8_t *in)
{
	struct gpu_resource *p = gpu_resource_find(&g->resources, le32_get(in + 24));
	uint32_t n = le32_get(in + 28);
	if (!p)
		return GPU_ERR_RESOURCE;
	if (n > GPU_MAX_ENTRIES || c->out_len < 32 + n * (size_t)ENTRY)
		return GPU_ERR_PARAMETER;
	auto_free uint8_t *entries = xmalloc(n * (size_t)ENTRY + 1);
	iov_to_buf(c->out, c->nout, 32, entries, n * (size_t)ENTRY);
	return gpu_resource_attach(p, entries, n);
}

static uint32_t detach(struct virtio_gpu *g, struct virtq_chain *c, const uint8_t *in)
{
	struct gpu_resource *p = gpu_resource_find(&g->resources, le32_get(in + 24));
	if (!p || !p->backing)
		return GPU_ERR_RESOURCE;
	gpu_resource_detach(p);
	return GPU_OK;
}

static uint32_t update_cursor(struct virtio_gpu *g, struct virtq_chain *c, const uint8_t *in)
{
	g->cursor = le32_get(in + 40);
	g->cursor_x = le32_get(in + 28);
	g->cursor_y = le32_get(in + 32);
	g->changes++;
	return GPU_OK;
}

static uint32_t move_cursor(struct virtio_gpu *g, struct virtq_chain *c, const uint8_t *in)
{
	g->cursor_x = le32_get(in + 28);
	g->cursor_y = le32_get(in + 32);
	g->changes++;
	return GPU_OK;
}

static const struct { uint32_t command, length; command_fn *run; } commands[] = {
	{ CMD_CREATE_2D, 40, create_2d }, { CMD_UNREF, 32, unref }, { CMD_SET_SCANOUT, 48, set_scanout },
	{ CMD_FLUSH, 48, flush }, { CMD_TRANSFER, 56, transfer }, { CMD_ATTACH, 32, attach },
	{ CMD_DETACH, 32, detach }, { CMD_UPDATE_CURSOR, 56, update_cursor }, { CMD_MOVE_CURSOR, 56, move_cursor },
};

static uint32_t run_command(struct virtio_gpu *g, struct virtq_chain *c, const uint8_t *in, size_t n)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].command == le32_get(in))
			return n < commands[i].length ? GPU_ERR_PARAMETER : commands[i].run(g, c, in);
	return GPU_ERR_UNSPEC;
}

/* The answer's header has the fence of the command's. */
static void answer(struct virtq_chain *c, const uint8_t *in, uint32_t type, const uint8_t *more, size_t n)
{
	uint8_t head[HEADER] = { 0 };
	le32_put(head, type);
	if (le32_get(in + 4) & FENCE) {
		le32_put(head + 4, FENCE);
		memcpy(head + 8, in + 8, 16);
	}
	size_t done = buf_to_iov(c->in, c->nin, 0, head, HEADER);
	done += buf_to_iov(c->in, c->nin, HEADER, more, n);
	virtq_push(c->vq, c, (uint32_t)done);
}

static void display_info(struct virtq_chain *c, const uint8_t *in)
{
	uint8_t modes[SCANOUTS * 24] = { 0 };
	le32_put(modes + 8, START_X);
	le32_put(modes + 12, START_Y);
	le32_put(modes + 16, 1);          /* enabled */
	answer(c, in, GPU_OK_DISPLAY_INFO, modes, sizeof(modes));
}

static void gpu_notify(struct virtio_device *v, unsigned q)
{
	struct virtio_gpu *g = container_of(v, struct virtio_gpu, v);
	struct virtq_chain c;
	while (virtq_pop(&v->vq[q], &c) > 0) {
		uint8_t in[MAX_COMMAND] = { 0 };
		size_t n = iov_to_buf(c.out, c.nout, 0, in, sizeof(in));
		if (n >= HEADER && le32_get(in) == CMD_DISPLAY_INFO)
			display_info(&c, in);
		else
			answer(&c, in, n < HEADER ? GPU_ERR_PARAMETER : run_command(g, &c, in, n), NULL, 0);
	}
	virtq_signal(&v->vq[q]);
}

/* --- what is seen -------------------------------------------------------------------- */
/* The cursor's pixel over this place of the screen, 0: nothing. Left of it, x wraps around. */
static uint32_t cursor_pixel(const struct virtio_gpu *g, const struct gpu_resource *cursor, uint32_t x, uint32_t y)
{
	uint32_t cx = x - g->cursor_x, cy = y - g->cursor_y;
	return cx < cursor->width && cy < cursor->height ? gpu_resource_pixel(cursor, cx, cy) : 0;
}

static uint32_t blend(uint32_t under, uint32_t over)
{
	uint32_t a = over >> 24, out = 0;
	for (unsigned shift = 0; shift < 24; shift += 8) {
		uint32_t u = under >> shift & 255, o = over >> shift & 255;
		out |= (MIN(255u, o + u * (255 - a) / 255)) << shift;     /* colours come multiplied by alpha */
	}
	return out;
}

static const uint32_t *row(void *opaque, unsigned y, uint32_t *room)
{
	struct virtio_gpu *g = opaque;
	const struct gpu_resource *p = shown(g), *cursor = gpu_resource_find(&g->resources, g->cursor);
	uint32_t cy = y - g->cursor_y;
	for (uint32_t x = 0; x < g->rect.width; x++)
		room[x] = gpu_resource_pixel(p, g->rect.x + x, g->rect.y + y) & 0xffffff;
	for (uint32_t x = 0; cursor && cy < cursor->height && x < g->rect.width; x++) {
		uint32_t over = cursor_pixel(g, cursor, x, y);
		if (over >> 24)
			room[x] = blend(room[x], over);
	}
	return room;
}

static bool gpu_render(void *opaque, struct image *img)
{
	struct virtio_gpu *g = opaque;
	return shown(g) && screen_to_image(img, g->rect.width, g->rect.height, row, g);
}

static void gpu_watch(void *opaque, struct screen_watch *w)
{
	struct virtio_gpu *g = opaque;
	if (!shown(g) || w->signature == g->changes + 1)
		return;
	w->signature = g->changes + 1;
	screen_draw(w, g->rect.width, g->rect.height, row, g);
}

static char *gpu_text(void *opaque) { return NULL; }

/* --- device ---------------------------------------------------------------------------- */
static void gpu_config_read(struct virtio_device *v, unsigned off, void *buf, unsigned n)
{
	struct virtio_gpu *g = container_of(v, struct virtio_gpu, v);
	uint8_t config[16] = { 0 };
	le32_put(config, g->events);
	le32_put(config + 8, 1);          /* scanouts */
	memcpy(buf, config + off, n);
}

static void gpu_reset(struct virtio_device *v)
{
	struct virtio_gpu *g = container_of(v, struct virtio_gpu, v);
	gpu_resource_free_all(&g->resources);
	g->scanout = g->cursor = 0;
	g->changes++;
}

static bool gpu_xfer(struct virtio_device *v, struct state *s, uint32_t version)
{
	struct virtio_gpu *g = container_of(v, struct virtio_gpu, v);
	gpu_resources_xfer(&g->resources, s);
	uint32_t *words[] = { &g->scanout, &g->rect.x, &g->rect.y, &g->rect.width, &g->rect.height, &g->cursor,
			      &g->cursor_x, &g->cursor_y };
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		xfer_u32(s, words[i]);
	const struct gpu_resource *p = state_ok(s) ? shown(g) : NULL;
	if (state_ok(s) && g->scanout && (!p || !g->rect.width || !g->rect.height ||
					  !gpu_rect_inside(&g->rect, p->width, p->height)))
		state_fail(s, "the screen shows what is not there");
	g->changes++;
	return state_ok(s);
}

static void gpu_destroy(struct virtio_device *v)
{
	struct virtio_gpu *g = container_of(v, struct virtio_gpu, v);
	gpu_resource_free_all(&g->resources);
	free(g);
}

static const struct virtio_ops gpu_ops = {
	.name = "virtio-gpu", .device_id = 16, .class_rev = 0x03800001, .version = 1, .queues = 2, .queue_size = 256,
	.config_size = 16, .config_read = gpu_config_read, .notify = gpu_notify, .reset = gpu_reset, .xfer = gpu_xfer,
	.destroy = gpu_destroy,
};
static const struct screen_ops screen = { gpu_render, gpu_watch, gpu_text };

bool virtio_gpu_create(struct machine *m, struct error *err)
{
	struct virtio_gpu *g = xnew(struct virtio_gpu);
	char id[32];
	virtio_id(m, &gpu_ops, id);
	if (!virtio_init(m, &g->v, &gpu_ops, id, err)) {
		free(g);
		return false;
	}
	screen_register(m, &screen, g);
	return true;
}
