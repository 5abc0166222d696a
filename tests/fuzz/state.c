/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile state files.  The input is a list of changes, eight bytes each, to the
 * sections of a machine with one of each device.  They are loaded as they are, and
 * again with their checksums made right, so that what is in them reaches every xfer
 * function.  A machine that has loaded them runs some instructions and turns of its
 * loop and must save itself again.
 */
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <zlib.h>

#include "base/epoch.h"
#include "device/board.h"
#include "engine/interp/interp.h"
#include "engine/lapic.h"
#include "lib/fuzz.h"
#include "machine/machine.h"
#include "machine/state_file.h"

enum { MEMORY = 4 << 20, SECTION_HEADER = 72, STEPS = 12, TURNS = 2 };
#define SECTIONS_AT (STATE_RAM_OFFSET + MEMORY)

static struct machine *machine;
static struct machine_config config;

static NORETURN void give_up(const char *what, const struct error *err)
{
	fprintf(stderr, "state fuzzer: %s: %s\n", what, err->text);
	exit(1);
}

static int one_end(int type)
{
	int pair[2];
	return socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, pair) ? -1 : pair[0];
}

static int memory_file(size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	return ftruncate(fd, (off_t)size) ? -1 : fd;
}

static void describe(void)
{
	struct machine_config *c = &config;
	*c = (struct machine_config){ .name = (char *)"fuzz", .cpu = (char *)"max", .engine = (char *)"interp",
				      .vcpus = 2, .memory = MEMORY, .definition = (char *)"version: 1\n",
				      .vsock_cid = 3, .ndisks = 3, .nnets = 2, .nshares = 1 };
	c->kernel_fd = c->initrd_fd = c->firmware_fd = c->video_rom_fd = c->nvram_fd = -1;
	c->control_fd = c->kvm_fd = c->gdb_fd = c->state_fd = c->serial_fd[1] = -1;
	c->tpm_fd = c->tpm_data_fd = c->pagemap_fd = c->sound_fd = -1;
	c->sound = true;
	c->serial_fd[0] = one_end(SOCK_STREAM);
	c->console_fd = one_end(SOCK_STREAM);
	c->vsock_fd = one_end(SOCK_STREAM);
	c->vsock_dial_fd = one_end(SOCK_SEQPACKET);
	static const char *const buses[] = { "virtio", "ahci", "nvme" };
	for (unsigned i = 0; i < c->ndisks; i++)
		c->disk[i] = (struct disk_config){ .path = (char *)"d", .fd = memory_file(1 << 16), .data_fd = -1,
						   .format = (char *)"raw", .bus = (char *)buses[i] };
	static const char *const models[] = { "virtio", "e1000" };
	for (unsigned i = 0; i < c->nnets; i++)
		c->net[i] = (struct net_config){ .fd = one_end(SOCK_SEQPACKET), .mac = { 2 }, .rom_fd = -1,
						 .model = (char *)models[i] };
	c->share[0] = (struct share_config){ (char *)"tag", one_end(SOCK_STREAM), false };
}

static void stop_loop(void *m) { loop_stop(((struct machine *)m)->loop); }

static void turn(struct machine *m)
{
	loop_post(m->loop, stop_loop, m);
	loop_run(m->loop);
}

static void *save_thread(void *fd)
{
	struct error err;
	if (!machine_save(machine, *(int *)fd, &err))
		give_up("saving", &err);
	loop_stop(machine->loop);
	return NULL;
}

static void save(int fd)
{
	pthread_t t;
	pthread_create(&t, NULL, save_thread, &fd);
	loop_run(machine->loop);
	pthread_join(t, NULL);
}

static void unmake(void)
{
	for (unsigned i = 0; i < machine->nvcpus; i++)
		machine->engine->vcpu_destroy(machine->vcpus[i]);
	machine_free(machine);
}

static void create(void)
{
	struct error err;
	describe();
	if (!(machine = machine_build(&config, &err)))
		give_up("building", &err);
	atexit(unmake);
	for (unsigned i = 0; i < machine->nvcpus; i++) {
		x86_cpu_reset(&machine->vcpus[i]->cpu, machine->model, false);
		lapic_reset(machine->vcpus[i], false);
		if (!machine->engine->vcpu_create(machine->vcpus[i], &err))
			give_up("vCPU", &err);
	}
	for (struct device *d = machine->devices; d; d = d->next)
		if (d->ops->reset)
			d->ops->reset(d);
}

static uint8_t good[1 << 18];
static size_t good_size;
static struct { size_t at, n; } section[64];
static unsigned sections;

static void make_good(void)
{
	struct state_header h;
	struct error err = { 0 };
	auto_close int fd = memory_file(0);
	create();
	save(fd);
	if (!state_header_read(fd, &h, &err) || h.state_size > sizeof(good) ||
	    !fd_pread_full(fd, good, h.state_size, h.state_offset))
		give_up("the good file", &err);
	good_size = h.state_size;
	for (size_t at = 0; at < good_size && sections < ARRAY_SIZE(section); at += section[sections++].n) {
		section[sections].at = at;
		section[sections].n = SECTION_HEADER + le32_get(good + at + 12);
	}
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	if (n >= 8)
		return 0;
	for (unsigned i = 0; i < 128; i++)
		buf[i] = (uint8_t)(i * (2 * n + 3) * 37 >> (n & 3));
	return 8 * n + 8;
}

/* Kind, section, offset (near its beginning, or anywhere), value. */
static size_t change(uint8_t *p, size_t size, const uint8_t *c)
{
	unsigned i = c[1] % sections, width = 1u << (c[0] >> 4 & 3);
	size_t at = section[i].at, n = section[i].n, off = le16_get(c + 2);
	off = c[0] & 0x80 ? off % n : SECTION_HEADER + off % 160;
	uint64_t value = (uint64_t)(int64_t)(int32_t)le32_get(c + 4);
	if (off + width > n || at + n > size)
		return size;
	switch (c[0] & 15) {
	case 0: return at + off;                        /* cut */
	case 1: le32_put(p + at + 12, (uint32_t)value); break;
	case 2: le32_put(p + at + 4, (uint32_t)value); break;
	case 3: memcpy(p + at + 16, p + section[c[4] % sections].at + 16, 48); break;
	case 4: case 5: case 6: p[at + off] ^= (uint8_t)(1 << (c[4] & 7)); break;
	default: memcpy(p + at + off, &value, width);
	}
	return size;
}

/* Lengths and sums as they would be in a file that somebody has made on purpose. */
static void make_right(uint8_t *p, size_t size)
{
	while (size >= SECTION_HEADER) {
		size_t n = MIN((size_t)le32_get(p + 12), size - SECTION_HEADER);
		le32_put(p, 0x43455341);
		le32_put(p + 12, (uint32_t)n);
		p[63] = 0;
		le32_put(p + 64, (uint32_t)crc32(0, p + SECTION_HEADER, (unsigned)n));
		le32_put(p + 68, (uint32_t)crc32(0, p, 68));
		p += SECTION_HEADER + n;
		size -= SECTION_HEADER + n;
	}
}

static bool load(int fd, const uint8_t *data, size_t size)
{
	struct state_header h = { STATE_RAM_OFFSET, MEMORY, SECTIONS_AT, size };
	struct error err;
	if (ftruncate(fd, (off_t)(SECTIONS_AT + size)) || !fd_pwrite_full(fd, data, size, SECTIONS_AT) ||
	    !state_header_write(fd, &h, &err))
		give_up("file", &err);
	config.state_fd = fd;
	machine_state_check(fd, true, &err);
	free(machine_state_definition(fd, &err));
	return machine_load(machine, &err);
}

/* Whatever the state, it goes on somehow, and can be saved. */
static void go_on(int fd)
{
	clock_resume(machine->clock);
	for (unsigned i = 0; i < TURNS; i++)
		turn(machine);
	epoch_enter();
	for (unsigned i = 0; i < machine->nvcpus; i++) {
		struct vcpu *v = machine->vcpus[i];
		v->debug.single_step = true;
		v->engine->state_set(v);
		for (unsigned k = 0; k < STEPS && v->engine->run(v) == EXIT_DEBUG; k++)
			;
		v->engine->state_get(v);
	}
	epoch_leave();
	clock_pause(machine->clock);
	save(fd);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	static uint8_t copy[sizeof(good)];
	static int fd = -1;
	static bool ok;
	if (fd < 0) {
		fd = memory_file(0);
		make_good();
		ok = load(fd, good, good_size);
	}
	if (!ok) {
		fprintf(stderr, "state fuzzer: the good file does not load\n");
		abort();
	}
	memcpy(copy, good, good_size);
	size_t n = good_size;
	for (size_t k = 0; k + 8 <= size && k < 512; k += 8)
		n = change(copy, n, data + k);
	if (size && !(data[0] & 7))
		load(fd, copy, n);
	make_right(copy, n);
	if (load(fd, copy, n))
		go_on(fd);
	atomic_store(&machine->end, END_NONE);
	machine_unpause(machine);
}
