/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pictures that a guest keeps in its virtio graphics card: see gpu.h. */
#include "device/virtio/gpu.h"

enum { PIXEL = 4, ENTRY = 16 };

/* Where red, green, blue and alpha lie in the four bytes (virtio 1.2 5.7.6.8); 4: no alpha. */
static const struct { uint32_t format; uint8_t r, g, b, a; } formats[] = {
	{ 1, 2, 1, 0, 3 }, { 2, 2, 1, 0, 4 }, { 3, 1, 2, 3, 0 }, { 4, 1, 2, 3, 4 },
	{ 67, 0, 1, 2, 3 }, { 68, 3, 2, 1, 4 }, { 121, 3, 2, 1, 0 }, { 134, 0, 1, 2, 4 },
};

static bool format_known(uint32_t format)
{
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (formats[i].format == format)
			return true;
	return false;
}

static uint64_t size_of(const struct gpu_resource *p) { return (uint64_t)p->width * p->height * PIXEL; }

static struct gpu_resource **slot(struct gpu_resources *r, uint32_t id)
{
	for (unsigned i = 0; i < GPU_RESOURCES; i++)
		if (id ? r->list[i] && r->list[i]->id == id : !r->list[i])
			return &r->list[i];
	return NULL;
}

struct gpu_resource *gpu_resource_find(struct gpu_resources *r, uint32_t id)
{
	struct gpu_resource **at = id ? slot(r, id) : NULL;
	return at ? *at : NULL;
}

uint32_t gpu_resource_create(struct gpu_resources *r, uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
	struct gpu_resource **at = slot(r, 0);
	if (!id || gpu_resource_find(r, id))
		return GPU_ERR_RESOURCE;
	if (!format_known(format) || !width || !height || width > GPU_MAX_X || height > GPU_MAX_Y)
		return GPU_ERR_PARAMETER;
	struct gpu_resource p = { .id = id, .format = format, .width = width, .height = height };
	if (!at || size_of(&p) > GPU_MAX_BYTES - r->bytes)
		return GPU_ERR_MEMORY;
	p.data = xcalloc(1, size_of(&p));
	r->bytes += size_of(&p);
	*at = xnew(struct gpu_resource);
	**at = p;
	return GPU_OK;
}

void gpu_resource_detach(struct gpu_resource *p)
{
	free(p->backing);
	p->backing = NULL;
	p->nbacking = 0;
}

void gpu_resource_free(struct gpu_resources *r, struct gpu_resource *p)
{
	*slot(r, p->id) = NULL;
	r->bytes -= size_of(p);
	gpu_resource_detach(p);
	free(p->data);
	free(p);
}

void gpu_resource_free_all(struct gpu_resources *r)
{
	for (unsigned i = 0; i < GPU_RESOURCES; i++)
		if (r->list[i])
			gpu_resource_free(r, r->list[i]);
}

uint32_t gpu_resource_attach(struct gpu_resource *p, const uint8_t *entries, uint32_t n)
{
	if (p->backing || !n || n > GPU_MAX_ENTRIES)
		return GPU_ERR_UNSPEC;
	p->backing = xcalloc(n, sizeof(*p->backing));
	p->nbacking = n;
	for (uint32_t i = 0; i < n; i++) {
		p->backing[i].gpa = le64_get(entries + i * ENTRY);
		p->backing[i].length = le32_get(entries + i * ENTRY + 8);
	}
	return GPU_OK;
}

bool gpu_rect_inside(const struct gpu_rect *r, uint32_t width, uint32_t height)
{
	return r->x <= width && r->width <= width - r->x && r->y <= height && r->height <= height - r->y;
}

/* Bytes of the backing seen as one piece; false: it is too short. */
struct cursor { uint32_t entry; uint64_t begins; };

static bool read_backing(const struct gpu_resource *p, struct memory *m, struct cursor *c, uint64_t at, uint8_t *to,
			 uint64_t n)
{
	if (at < c->begins)
		*c = (struct cursor){ 0 };
	while (n) {
		while (c->entry < p->nbacking && at - c->begins >= p->backing[c->entry].length)
			c->begins += p->backing[c->entry++].length;
		if (c->entry == p->nbacking)
			return false;
		const struct gpu_entry *e = &p->backing[c->entry];
		uint64_t skip = at - c->begins, take = MIN(n, e->length - skip);
		memory_dma_read(m, e->gpa + skip, to, take);
		at += take;
		to += take;
		n -= take;
	}
	return true;
}

uint32_t gpu_resource_transfer(struct gpu_resource *p, struct memory *m, const struct gpu_rect *r, uint64_t offset)
{
	struct cursor c = { 0 };
	uint64_t stride = (uint64_t)p->width * PIXEL;
	if (!gpu_rect_inside(r, p->width, p->height) || offset > UINT32_MAX)
		return GPU_ERR_PARAMETER;
	for (uint32_t y = 0; y < r->height; y++) {
		uint8_t *to = p->data + (r->y + y) * stride + r->x * (uint64_t)PIXEL;
		if (!read_backing(p, m, &c, offset + y * stride, to, r->width * (uint64_t)PIXEL))
			return GPU_ERR_UNSPEC;
	}
	return GPU_OK;
}

uint32_t gpu_resource_pixel(const struct gpu_resource *p, uint32_t x, uint32_t y)
{
	const uint8_t *b = p->data + ((uint64_t)y * p->width + x) * PIXEL;
	unsigned i = 0;
	while (formats[i].format != p->format)
		i++;
	uint32_t alpha = formats[i].a < PIXEL ? b[formats[i].a] : 255;
	return alpha << 24 | (uint32_t)b[formats[i].r] << 16 | (uint32_t)b[formats[i].g] << 8 | b[formats[i].b];
}

/* --- state -------------------------------------------------------------------------- */
static void xfer_one(struct gpu_resources *r, struct gpu_resource *p, struct state *s)
{
	struct gpu_resource head = { 0 };
	if (p)
		head = *p;
	uint32_t *words[] = { &head.id, &head.format, &head.width, &head.height };
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		xfer_u32(s, words[i]);
	xfer_u32_max(s, &head.nbacking, GPU_MAX_ENTRIES);
	if (!state_ok(s))
		return;
	if (state_loading(s)) {
		if (gpu_resource_create(r, head.id, head.format, head.width, head.height) != GPU_OK) {
			state_fail(s, "a picture of the graphics card is impossible");
			return;
		}
		p = gpu_resource_find(r, head.id);
		p->backing = head.nbacking ? xcalloc(head.nbacking, sizeof(*p->backing)) : NULL;
		p->nbacking = head.nbacking;
	}
	for (uint32_t i = 0; i < p->nbacking; i++) {
		xfer_u64(s, &p->backing[i].gpa);
		xfer_u32(s, &p->backing[i].length);
	}
	xfer_bytes(s, p->data, size_of(p));
}

bool gpu_resources_xfer(struct gpu_resources *r, struct state *s)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < GPU_RESOURCES; i++)
		n += r->list[i] != NULL;
	xfer_u32_max(s, &n, GPU_RESOURCES);
	if (state_loading(s)) {
		gpu_resource_free_all(r);
		for (uint32_t i = 0; i < n && state_ok(s); i++)
			xfer_one(r, NULL, s);
		return state_ok(s);
	}
	for (unsigned i = 0; i < GPU_RESOURCES; i++)
		if (r->list[i])
			xfer_one(r, r->list[i], s);
	return state_ok(s);
}
