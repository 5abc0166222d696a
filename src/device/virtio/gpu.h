/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio graphics card, shared by its files: commands and life (gpu.c), and the
 * pictures that a guest keeps in it (gpu_resource.c).  Everything on the I/O loop.
 */
#ifndef DEVICE_VIRTIO_GPU_H
#define DEVICE_VIRTIO_GPU_H

#include "device/virtio/virtio.h"

enum { GPU_RESOURCES = 64, GPU_MAX_ENTRIES = 16384, GPU_MAX_X = 2560, GPU_MAX_Y = 1600 };
#define GPU_MAX_BYTES (128 * MiB)      /* of all resources */

struct gpu_rect { uint32_t x, y, width, height; };
struct gpu_entry { uint64_t gpa; uint32_t length; };

/* A picture of 32-bit pixels; its backing: pieces of guest memory. */
struct gpu_resource {
	uint32_t id, format, width, height;
	uint8_t *data;
	struct gpu_entry *backing;
	uint32_t nbacking;
};

struct gpu_resources { struct gpu_resource *list[GPU_RESOURCES]; uint64_t bytes; };

/* Answers of the control queue (virtio 1.2 5.7.6.7). */
enum { GPU_OK = 0x1100, GPU_OK_DISPLAY_INFO = 0x1101, GPU_ERR_UNSPEC = 0x1200, GPU_ERR_MEMORY = 0x1201,
       GPU_ERR_SCANOUT = 0x1202, GPU_ERR_RESOURCE = 0x1203, GPU_ERR_PARAMETER = 0x1205 };

struct gpu_resource *gpu_resource_find(struct gpu_resources *r, uint32_t id);
uint32_t gpu_resource_create(struct gpu_resources *r, uint32_t id, uint32_t format, uint32_t width, uint32_t height);
void gpu_resource_free(struct gpu_resources *r, struct gpu_resource *p);
void gpu_resource_free_all(struct gpu_resources *r);
/* Entries as they lie on the wire, 16 bytes each. */
uint32_t gpu_resource_attach(struct gpu_resource *p, const uint8_t *entries, uint32_t n);
void gpu_resource_detach(struct gpu_resource *p);
bool gpu_rect_inside(const struct gpu_rect *r, uint32_t width, uint32_t height);
/* From the backing at `offset` into the rectangle. */
uint32_t gpu_resource_transfer(struct gpu_resource *p, struct memory *m, const struct gpu_rect *r, uint64_t offset);
/* A pixel as 0xAARRGGBB. */
uint32_t gpu_resource_pixel(const struct gpu_resource *p, uint32_t x, uint32_t y);
bool gpu_resources_xfer(struct gpu_resources *r, struct state *s);

#endif
