/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine to and from a state file (state_file.h, abyme-state(5)).  Its sections:
 * definition, machine, clock, cpu.N, one a device, named by its id, and ram (sums).
 *
 * Order of saving: vCPUs stop, devices drain, state is collected, RAM written,
 * sections written, and the header last: a file cut short has no header.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "device/board.h"
#include "machine/machine.h"
#include "machine/state_file.h"
#include "machine/trouble.h"
#include "engine/lapic.h"

enum { DEFINITION_MAX = 1 << 20, RECORD_VERSION = 1 };

bool machine_state_ram(int fd, uint64_t *offset, uint64_t *size, struct error *err)
{
	struct state_header h;
	if (!state_header_read(fd, &h, err))
		return false;
	*offset = h.ram_offset;
	*size = h.ram_size;
	return true;
}

/* --- sections ------------------------------------------------------------- */

static void xfer_text(struct state *s, const char *text, const char *what)
{
	char have[64] = "";
	uint32_t n = (uint32_t)MIN(strlen(text), sizeof(have) - 1);
	memcpy(have, text, n);
	xfer_blob(s, have, &n, sizeof(have) - 1);
	if (!state_ok(s))
		return;
	have[n] = 0;
	if (strcmp(have, text))
		state_fail(s, "%s is '%s' in the file and '%s' in this machine", what, have, text);
}

/*
 * The CPU model. A guest that was promised no rate of the TSC stays one, on a host that
 * could promise it, too. The other way round there is nothing that could be done: it
 * reads the TSC by itself, and nobody can make that tick slower.
 */
static void xfer_model(struct machine *m, struct state *s)
{
	char have[64] = "";
	uint32_t n = (uint32_t)MIN(strlen(m->model->name), sizeof(have) - 1);
	memcpy(have, m->model->name, n);
	xfer_blob(s, have, &n, sizeof(have) - 1);
	if (!state_ok(s))
		return;
	have[n] = 0;
	const struct x86_model *any = x86_model_any_tsc(m->model), *saved = x86_model_find(have, NULL);
	if (saved && saved != m->model && x86_model_any_tsc(saved) == m->model)
		state_fail(s, "its guest counts on the rate of the TSC, which this host's KVM cannot scale; it goes on under "
			   "--engine jit, and a machine with --cpu %s can go anywhere", m->model->name);
	else if (any && !strcmp(have, any->name))
		machine_set_model(m, any);
	else if (strcmp(have, m->model->name))
		state_fail(s, "the CPU model is '%s' in the file and '%s' in this machine", have, m->model->name);
}

static void xfer_machine(struct machine *m, struct state *s)
{
	xfer_text(s, board_version(m), "the board");
	xfer_model(m, s);
	xfer_check_u64(s, m->config->memory, "memory size");
	xfer_check_u64(s, m->nvcpus, "the number of vCPUs");
	xfer_check_u64(s, m->model->tsc_khz, "TSC kHz");
}

static int64_t wall_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void xfer_clock(struct machine *m, struct state *s)
{
	uint64_t now = clock_now(m->clock);
	int64_t wall = clock_wall_base(m->clock);
	xfer_u64_max(s, &now, INT64_MAX);
	xfer_i64(s, &wall);
	if (!state_loading(s) || !state_ok(s))
		return;
	clock_set(m->clock, now);
	clock_set_wall_base(m->clock, m->config->clock_continue ? wall : wall_now() - (int64_t)now);
}

static void save_definition(struct machine *m, struct state *s)
{
	const char *text = m->definition ? m->definition : m->config->definition;
	if (!text)
		return;
	uint32_t n = (uint32_t)MIN(strlen(text), (size_t)DEFINITION_MAX);
	state_begin(s, "definition", RECORD_VERSION, STATE_SKIPPABLE);
	xfer_blob(s, (char *)text, &n, DEFINITION_MAX);
	state_end(s);
}

static void save_sections(struct machine *m, struct state *s)
{
	save_definition(m, s);
	state_begin(s, "machine", RECORD_VERSION, 0);
	xfer_machine(m, s);
	state_end(s);
	state_begin(s, "clock", RECORD_VERSION, 0);
	xfer_clock(m, s);
	state_end(s);
	for (unsigned i = 0; i < m->nvcpus; i++) {
		char name[16];
		snprintf(name, sizeof(name), "cpu.%u", i);
		state_begin(s, name, RECORD_VERSION, 0);
		x86_cpu_xfer(&m->vcpus[i]->cpu, s);
		state_end(s);
	}
	for (struct device *d = m->devices; d; d = d->next) {
		if (!d->ops->xfer)
			continue;
		state_begin(s, d->id, d->ops->version, 0);
		d->ops->xfer(d, s, d->ops->version);
		state_end(s);
	}
}

/* --- saving --------------------------------------------------------------- */

/* Holes stay holes: neither read from untouched RAM nor written. */
static bool write_slot(int fd, const struct ram_slot *r, uint64_t offset, struct ram_sums *sums, struct error *err)
{
	uint64_t pos = 0;
	while (r && pos < r->size) {
		pos = ALIGN_DOWN(memory_next_data(r, pos), STATE_CHUNK);
		if (pos >= r->size)
			break;
		size_t n = MIN((uint64_t)STATE_CHUNK, r->size - pos);
		uint32_t sum = ram_sum(r->host + pos, n);
		if (sum && !fd_pwrite_full(fd, r->host + pos, n, offset + pos))
			return error_set(err, errno, "cannot write %llu MiB of guest memory to the state file",
					 (unsigned long long)(r->size / MiB));
		sums->sum[(offset - STATE_RAM_OFFSET + pos) / STATE_CHUNK] = sum;
		pos += n;
	}
	return true;
}

static bool write_ram(struct machine *m, struct state *s, int fd, struct error *err)
{
	struct ram_sums sums;
	if (!ram_sums_init(&sums, m->config->memory))
		return error_set(err, 0, "this machine has too much memory for a state file");
	bool ok = write_slot(fd, m->ram_low, STATE_RAM_OFFSET, &sums, err) &&
		  write_slot(fd, m->ram_high, STATE_RAM_OFFSET + m->ram_low->size, &sums, err);
	ram_sums_save(&sums, s);
	ram_sums_free(&sums);
	return ok;
}

static bool write_file(struct machine *m, struct state *s, int fd, struct error *err)
{
	struct state_header h = { .ram_offset = STATE_RAM_OFFSET, .ram_size = m->config->memory };
	h.state_offset = h.ram_offset + h.ram_size;
	if (ftruncate(fd, 0) || ftruncate(fd, (off_t)h.state_offset))
		return error_set(err, errno, "cannot write the state file");
	if (!write_ram(m, s, fd, err))
		return false;
	const void *bytes = state_bytes(s, &h.state_size);
	return (fd_pwrite_full(fd, bytes, h.state_size, h.state_offset) ||
		error_set(err, errno, "cannot write the state file")) &&
	       state_header_write(fd, &h, err);
}

struct drain { struct machine *m; bool on, ok; struct error *err; sem_t done; };

static void drain_on_loop(void *opaque)
{
	struct drain *w = opaque;
	if (w->on)
		clock_settle(w->m->clock);
	w->ok = !w->on || trouble_settle(w->m, w->err);
	for (struct device *d = w->m->devices; d && w->ok; d = d->next) {
		if (w->on && d->ops->drain)
			d->ops->drain(d);
		if (!w->on && d->ops->undrain)
			d->ops->undrain(d);
	}
	sem_post(&w->done);
}

/* Devices do their work on the loop's thread: there they stop it, too. */
static bool drain(struct machine *m, bool on, struct error *err)
{
	struct drain w = { .m = m, .on = on, .err = err };
	sem_init(&w.done, 0, 0);
	loop_post(m->loop, drain_on_loop, &w);
	while (sem_wait(&w.done) && errno == EINTR)
		;
	sem_destroy(&w.done);
	return w.ok;
}

bool machine_save(struct machine *m, int fd, struct error *err)
{
	machine_pause(m);
	if (!drain(m, true, err))
		return false;
	/* Interrupts that came with it may be in the engine's own local APICs. */
	for (unsigned i = 0; i < m->nvcpus; i++)
		m->engine->state_get(m->vcpus[i]);
	struct state *s = state_save_new();
	board_lock(m);
	save_sections(m, s);
	bool ok = state_ok(s);
	if (!ok)
		*err = *state_error(s);
	ok = ok && write_file(m, s, fd, err);
	board_unlock(m);
	state_free(s);
	drain(m, false, NULL);
	return ok;
}

/* --- loading --------------------------------------------------------------- */

char *machine_state_definition(int fd, struct error *err)
{
	struct state_header h;
	auto_free void *bytes = state_sections_read(fd, &h, err);
	if (!bytes)
		return NULL;
	struct state *s = state_load_new(bytes, h.state_size);
	struct state_section sec;
	char *text = NULL;
	while (!text && state_next(s, &sec)) {
		if (strcmp(sec.name, "definition")) {
			state_skip(s);
			continue;
		}
		uint32_t n = 0;
		text = xcalloc(1, DEFINITION_MAX + 1);
		xfer_blob(s, text, &n, DEFINITION_MAX);
	}
	if (!state_ok(s)) {
		*err = *state_error(s);
		free(text);
		text = NULL;
	} else if (!text) {
		error_set(err, 0, "the state file holds no definition");
	}
	state_free(s);
	return text;
}

static struct device *device_find(struct machine *m, const char *id)
{
	for (struct device *d = m->devices; d; d = d->next)
		if (d->ops->xfer && !strcmp(d->id, id))
			return d;
	return NULL;
}

static unsigned sections_wanted(struct machine *m)
{
	unsigned n = 3 + m->nvcpus;
	for (struct device *d = m->devices; d; d = d->next)
		n += !!d->ops->xfer;
	return n;
}

/* Returns whether it was one of the sections that must be there. */
static bool load_section(struct machine *m, struct state *s, const struct state_section *sec)
{
	uint64_t cpu;
	struct device *d;
	if (!strcmp(sec->name, "machine")) {
		xfer_machine(m, s);
	} else if (!strcmp(sec->name, "ram")) {
		state_skip(s);          /* machine_state_check() has looked */
	} else if (!strcmp(sec->name, "clock")) {
		xfer_clock(m, s);
	} else if (!strncmp(sec->name, "cpu.", 4) && parse_u64(sec->name + 4, 0, m->nvcpus - 1, &cpu)) {
		x86_cpu_xfer(&m->vcpus[cpu]->cpu, s);
	} else if ((d = device_find(m, sec->name))) {
		if (sec->version > d->ops->version || !sec->version)
			state_fail(s, "version %u is newer than this program knows", sec->version);
		else
			d->ops->xfer(d, s, sec->version);
	} else {
		if (!(sec->flags & STATE_SKIPPABLE))
			state_fail(s, "this machine has no such part");
		else
			state_skip(s);
		return false;
	}
	state_end(s);
	return true;
}

static void loaded(struct machine *m)
{
	for (struct device *d = m->devices; d; d = d->next)
		if (d->ops->loaded)
			d->ops->loaded(d);
	for (unsigned i = 0; i < m->nvcpus; i++) {
		if (!m->engine->interrupt)    /* else the engine has timers of its own */
			lapic_timer_rearm(m->vcpus[i]);
		vcpu_request(m->vcpus[i], REQ_TLB | REQ_INTERRUPT | REQ_NMI | REQ_INIT | REQ_SIPI);
	}
}

/* Power-on values first: a section is laid over a machine in a known state. */
static void reset_all(struct machine *m)
{
	for (unsigned i = 0; i < m->nvcpus; i++) {
		x86_cpu_reset(&m->vcpus[i]->cpu, m->model, false);
		lapic_reset(m->vcpus[i], false);
	}
	for (struct device *d = m->devices; d; d = d->next)
		if (d->ops->reset)
			d->ops->reset(d);
}

bool machine_load(struct machine *m, struct error *err)
{
	struct state_header h;
	auto_free void *bytes = state_sections_read(m->config->state_fd, &h, err);
	if (!bytes)
		return false;
	reset_all(m);
	struct state *s = state_load_new(bytes, h.state_size);
	struct state_section sec;
	unsigned found = 0;
	while (state_next(s, &sec))
		found += load_section(m, s, &sec);
	if (state_ok(s) && found != sections_wanted(m))
		state_fail(s, "%u parts are there and this machine needs %u", found, sections_wanted(m));
	bool ok = state_ok(s);
	if (!ok)
		*err = *state_error(s);
	state_free(s);
	if (ok)
		loaded(m);
	return ok;
}
