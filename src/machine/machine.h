/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtual machine: built from a definition, run, saved, loaded.  Everything
 * hangs off struct machine; there are no globals.
 *
 * Threads: one per vCPU; the I/O loop thread (devices' descriptors, timers,
 * queues, control socket).  Lock order, outermost first:
 *   1 machine->control   one control command at a time
 *   2 machine->board     port and MMIO callbacks, timers, reset, save
 *   3 memory's builder lock (inside memory/)
 *   4 leaf locks (clock, translator cache, one device's queue)
 * vcpus_quiesce() must be called with none of 2..4 held.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include "device/device.h"
#include "engine/engine.h"
#include "engine/lines.h"
#include "machine/config.h"

enum vcpu_thread_state { VCPU_OUT, VCPU_IN_RUN, VCPU_IDLE, VCPU_GONE };
enum machine_end { END_NONE, END_POWEROFF, END_RESET, END_SHUTDOWN_FAULT, END_DEBUG_EXIT,
		   END_KILLED, END_SUSPENDED, END_ERROR,
		   END_ENGINE /* saved, to go on under next_engine */ };

enum { MACHINE_MAX_VCPUS = 64 };

struct pci_bus; struct board; struct control; struct disk; struct virtio_device; struct virtio_ops;

struct machine {
	const struct machine_config *config;
	const struct x86_model *model;
	const struct engine_ops *engine;
	void *engine_data;
	struct memory *memory, *ports;
	struct machine_clock *clock;
	struct loop *loop;
	pthread_t io_thread;
	pthread_mutex_t board, control;
	struct vcpu **vcpus;
	unsigned nvcpus;
	struct device *devices;           /* in order of registration */
	struct pci_bus *pci;
	struct board *board_data;         /* device/board.c */
	const struct interrupt_lines *lines;   /* the board's; NULL: none */
	/* How a virtio device is put on the board: virtio_pci_init or virtio_mmio_init. */
	bool (*virtio_bus)(struct machine *m, struct virtio_device *d, const struct virtio_ops *ops,
			   const char *id, struct error *err);
	struct ram_slot *ram_low, *ram_high;
	_Atomic int end;                  /* enum machine_end */
	_Atomic int end_status;
	void (*on_debug)(void *opaque, struct vcpu *v);
	void *on_debug_opaque;
	/* quiesce: vCPUs inside run(), and how many want them out */
	pthread_mutex_t quiesce_lock;
	pthread_cond_t quiesce_cond;
	unsigned quiesce_depth, inside, ready;
	bool paused, threads_started;
	struct control *server;           /* machine/control.c */
	struct disk *disks[CONFIG_MAX_DISKS];   /* as in config; their devices own them; NULL: no medium */
	struct disk_trouble { struct machine *machine; int error; } trouble[CONFIG_MAX_DISKS];
	bool waits_for_disk;              /* paused for its sake (trouble.c) */
	char *definition;                 /* if it has changed since config */
	struct error error;               /* why END_ERROR */
	char next_engine[64];             /* END_ENGINE; with its options */
};

struct machine *machine_build(const struct machine_config *c, struct error *err);
void machine_free(struct machine *m);
/* While it is built or loaded: another CPU model, for all vCPUs. */
static inline void machine_set_model(struct machine *m, const struct x86_model *model)
{
	m->model = model;
	for (unsigned i = 0; i < m->nvcpus; i++)
		m->vcpus[i]->model = model;
}
/* After machine_wait: close what devices hold; images are complete only then. */
void machine_free_devices(struct machine *m);
/* Power on (or go on from config->state_fd): start the vCPU threads. */
bool machine_start(struct machine *m, struct error *err);
/* Be the I/O loop thread until the end; then the vCPU threads are gone. */
enum machine_end machine_wait(struct machine *m);
/* A vCPU stopped for gdb (EXIT_DEBUG): called on its thread, with all vCPUs on
 * their way out (quiesce depth raised by one; the stub releases). NULL: none. */
void machine_on_debug(struct machine *m, void (*fn)(void *opaque, struct vcpu *v), void *opaque);

/* Ask for the end; any thread. */
void machine_end_request(struct machine *m, enum machine_end why, int status);
/* Reset line (i8042, port 0xcf9, triple fault): done by the I/O thread. */
void machine_reset_request(struct machine *m);
void machine_power_button(struct machine *m);

/* vCPUs and the clock stand still; not nested (a second pause does nothing). */
void machine_pause(struct machine *m);
void machine_unpause(struct machine *m);

/* All vCPUs out of run() until release; from any thread but a vCPU's. Nests. */
void vcpus_quiesce(struct machine *m);
void vcpus_release(struct machine *m);

/* machine/vcpu.c, for machine.c: the threads. All have taken their state over
 * when vcpus_start returns, so that none can be sent an interrupt too early. */
bool vcpus_start(struct machine *m, struct error *err);
void vcpus_join(struct machine *m);

/*
 * machine/save.c: the state file. RAM is raw, sparse and page-aligned, so that
 * resume maps it privately; the rest are sections (base/state.h), definition
 * included. Called from a thread that is neither a vCPU's nor the I/O loop's
 * (draining needs the loop to go on). The machine stays paused after a save.
 */
/* Not on the I/O loop, which must be running. */
bool machine_save(struct machine *m, int fd, struct error *err);
/* The definition text saved in a state file (to be freed), and its size of RAM. */
char *machine_state_definition(int fd, struct error *err);
/* For machine_build: where RAM lies in the file; for machine_start: the rest. */
bool machine_state_ram(int fd, uint64_t *offset, uint64_t *size, struct error *err);
bool machine_load(struct machine *m, struct error *err);

/* The board's lines, or none. */
static inline bool extint_pending(struct machine *m) { return m->lines && m->lines->extint_pending(m); }
static inline int extint_ack(struct machine *m) { return m->lines ? m->lines->extint_ack(m) : -1; }
static inline void lines_eoi(struct machine *m, uint8_t vector) { if (m->lines) m->lines->eoi(m, vector); }
static inline bool lines_fpu_error(struct machine *m, bool pending)
{
	return m->lines && m->lines->fpu_error(m, pending);
}

static inline void board_lock(struct machine *m) { pthread_mutex_lock(&m->board); }
static inline void board_unlock(struct machine *m) { pthread_mutex_unlock(&m->board); }

#endif
