/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wall that is a machine of its own: it is started like any other (helpers, jail), its
 * init calls when it is awake, and a relay (session/relay.h) carries the program's frames.
 */
#include "instance/microvm.h"
#include "instance/client.h"
#include "instance/microvm_kernel.h"
#include "instance/microvm_snapshot.h"
#include "session/guest.h"
#include "session/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

enum { ANSWER_SECONDS = 60, RUNTIME_SECONDS = 10, CONTROL_SECONDS = 10, BOOT_SECONDS = 600 };
#define MACHINE_SOCKET "machine.sock"
#define AWAKE_SOCKET "vsock/sock_1024"    /* of HOST_PORT_AWAKE */

/* ---- starting ---- */

static bool listen_awake(struct microvm *m, struct error *err)
{
	m->awake_listen = instance_listen(m->keeper->instance, AWAKE_SOCKET, err);
	return m->awake_listen >= 0;
}

/* The control socket is the keeper's own; the machine's goes by another name. */
static bool move_control(struct microvm *m, struct error *err)
{
	int dir = m->keeper->instance->dir;
	return !renameat(dir, "control.sock", dir, MACHINE_SOCKET) || error_set(err, errno, "cannot move the machine's control socket");
}

static bool start_process(struct microvm *m, struct error *err)
{
	struct container_keeper *k = m->keeper;
	if (!machine_process_start(&m->process, &m->opened, &m->jail, m->definition->trace, k->log, err))
		return false;
	if (machine_process_ready(&m->process, k->instance->name, &m->jail, err))
		return true;
	close(m->process.report);
	waitpid(m->process.pid, NULL, 0);
	m->process.pid = 0;
	return false;
}

/* The disk as the snapshot left it, or an empty one. */
static bool take_disk(struct microvm *m, int from, struct error *err)
{
	const struct instance *i = m->keeper->instance;
	if (!m->definition->ndisks || (from < 0 && !faccessat(i->dir, MICROVM_DISK, F_OK, 0)))
		return true;
	if (from < 0)
		return microvm_make_disk(m->keeper, err);
	auto_close int to = openat(i->dir, MICROVM_DISK, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return (to >= 0 && microvm_copy_disk(from, to)) || error_set(err, errno, "cannot make the disk of instance '%s'", i->name);
}

static bool boot_from(struct microvm *m, int state, int disk, struct error *err)
{
	struct container_keeper *k = m->keeper;
	struct machine_config *c = &m->opened.config;
	m->jail = (struct jail){ .role = JAIL_MACHINE };
	jail_mode_parse(m->definition->jail, &m->jail.mode);
	if (!take_disk(m, disk, err) || !opened_make(&m->opened, k->instance, m->definition, state, err) || !move_control(m, err) ||
	    !listen_awake(m, err) || !helpers_start(&m->helpers, &m->opened, m->definition, k->instance->name, m->jail.mode, err))
		return false;
	if (state < 0) {
		c->initrd_fd = microvm_initrd(m->definition->kernel, err);
		c->initrd_path = xstrdup("of abyme-init");
	}
	return (state >= 0 || c->initrd_fd >= 0) && start_process(m, err);
}

/* Where a machine like this one once waited. False: nothing of it is left, and no snapshot. */
static bool boot_snapshot(struct microvm *m, const char *kind)
{
	struct error why = { 0 };
	int disk = -1, state = kind ? microvm_snapshot_open(kind, &disk, &why) : -1;
	bool fresh = faccessat(m->keeper->instance->dir, MICROVM_DISK, F_OK, 0);
	bool ok = state >= 0 && boot_from(m, state, disk, &why);
	close_fd(&disk);
	if (ok || (state < 0 && !why.text[0]))
		return ok;
	dprintf(m->keeper->log, "abyme: %s; booting\n", why.text);
	microvm_snapshot_drop(kind);
	if (state < 0)
		return false;
	helpers_kill(&m->helpers);
	close_fd(&m->awake_listen);
	opened_close_machine(&m->opened);
	if (fresh)
		unlinkat(m->keeper->instance->dir, MICROVM_DISK, 0);
	return false;
}

/* What a program finds when it starts is the same for all of this image, configuration and
 * kind of machine; volumes and an own disk of before are not. */
static bool name_kinds(struct microvm *m, struct error *err)
{
	const struct container_keeper *k = m->keeper;
	m->kind = microvm_kind(m->definition);
	if (!m->kind || k->rest || k->definition->nvolumes || !faccessat(k->instance->dir, MICROVM_DISK, F_OK, 0))
		return true;
	m->held_config = microvm_hold(m, err);
	if (m->held_config)
		m->held_kind = xasprintf("%simage %s\nkeep %d\nconfig %s\n", m->kind, k->definition->digest, !k->options->remove, m->held_config);
	return m->held_config;
}

static bool boot(struct microvm *m, struct error *err)
{
	if (!name_kinds(m, err))
		return false;
	m->from = boot_snapshot(m, m->held_kind) ? MICROVM_HELD : boot_snapshot(m, m->kind) ? MICROVM_AWAKE : MICROVM_COLD;
	m->awake = m->from != MICROVM_COLD;
	return m->awake || boot_from(m, -1, -1, err);
}

static bool prepare(struct container_keeper *k, struct error *err)
{
	struct microvm *m = k->machine = xnew(struct microvm);
	m->keeper = k;
	m->awake_listen = -1;
	k->shim.id = GUEST_PROGRAM;
	auto_free char *kernel = microvm_kernel_find(k->definition->kernel, err);
	if (!kernel || (k->definition->cpuset && !microvm_pin(k->definition->cpuset, err)))
		return false;
	m->definition = microvm_definition(k, kernel, err);
	return m->definition && boot(m, err);
}

/* ---- the program ---- */

static int call_guest(struct container_keeper *k, unsigned port, unsigned seconds, struct error *err)
{
	auto_close int fd = instance_connect(k->instance, "vsock/sock", err);
	return fd >= 0 && relay_connect(fd, port, seconds, err) ? move_fd(&fd) : -1;
}

static bool send_text(int guest, const char *name, const char *text, struct error *err)
{
	return !text || relay_send_file(guest, name, text) || error_set(err, errno, "the machine's init does not listen");
}

static bool send_setup(struct microvm *m, int guest, bool hold, struct error *err)
{
	static const char *const files[] = { "hosts", "hostname", "resolv.conf" };
	auto_free char *setup = microvm_setup(m, hold, err);      /* writes resolv.conf */
	for (unsigned i = 0; setup && i < ARRAY_SIZE(files); i++) {
		auto_free char *text = instance_read(m->keeper->instance, files[i]);
		if (!send_text(guest, files[i], text, err))
			return false;
	}
	return setup && (frame_send(guest, FRAME_START, setup, strlen(setup)) || error_set(err, errno, "the machine's init does not listen"));
}

/* The program starts, or is held. */
static int call_program(struct microvm *m, bool hold, struct error *err)
{
	auto_close int guest = call_guest(m->keeper, GUEST_PORT_PROGRAM, ANSWER_SECONDS, err);
	auto_free char *config = hold ? NULL : instance_read(m->keeper->instance, "config.json");
	if (guest < 0 || !send_text(guest, "config.json", hold ? m->held_config : config, err) || !send_setup(m, guest, hold, err))
		return -1;
	return move_fd(&guest);
}

/* A snapshot is worth a try, no more. */
static bool hold(struct microvm *m, struct error *err)
{
	struct error why = { 0 };
	auto_close int guest = call_program(m, true, err);
	if (guest < 0 || !relay_wait_held(guest, ANSWER_SECONDS, err))
		return false;
	if (!microvm_snapshot_make(m->held_kind, m->keeper->instance, MACHINE_SOCKET, m->definition->ndisks ? MICROVM_DISK : NULL, &why))
		dprintf(m->keeper->log, "abyme: %s\n", why.text);
	return true;
}

static int call_held(struct microvm *m, struct error *err)
{
	auto_close int guest = call_guest(m->keeper, GUEST_PORT_HELD, ANSWER_SECONDS, err);
	return guest >= 0 && send_setup(m, guest, false, err) ? move_fd(&guest) : -1;
}

static int begin(struct microvm *m, struct error *err)
{
	if (m->again || !m->held_kind)
		return call_program(m, false, err);
	if (m->from != MICROVM_HELD && !hold(m, err))
		return -1;
	return call_held(m, err);
}

static NORETURN void give_up(int client, const struct error *err)
{
	frame_send(client, FRAME_FAILED, err->text, strlen(err->text));
	_exit(125);
}

static void beside(struct container_keeper *k, int sock)
{
	struct error err = { 0 };
	container_child(k, "abyme-relay", sock);
	int guest = begin(k->machine, &err);
	if (guest < 0)
		give_up(sock, &err);
	_exit(relay_main(sock, guest));
}

static bool run(struct container_keeper *k, struct error *err)
{
	bool ok = container_shim(k, beside, err);
	k->machine->again = true;
	return ok;
}

static void exec(struct container_keeper *k, int client)
{
	struct error err = { 0 };
	container_child(k, "abyme-relay", client);
	int guest = call_guest(k, GUEST_PORT_EXEC, ANSWER_SECONDS, &err);
	if (guest < 0)
		give_up(client, &err);
	_exit(relay_main(client, guest));
}

/* An interpreted boot on a busy host takes its time; one that hangs must not wait for ever. */
static unsigned boot_seconds(void)
{
	const char *given = getenv("ABYME_BOOT_SECONDS");
	uint64_t n;
	return given && parse_u64(given, 1, 86400, &n) ? (unsigned)n : BOOT_SECONDS;
}

static void set_timer(const struct container_keeper *k, unsigned seconds)
{
	const struct itimerspec t = { .it_value = { seconds, 0 } };
	timerfd_settime(k->timer, 0, &t, NULL);
}

/* Called again when the keeper's timer is over. */
static bool start(struct container_keeper *k, struct error *err)
{
	struct microvm *m = k->machine;
	if (m->awake)
		return run(k, err);
	if (m->waited)
		return error_set(err, 0, "the machine's init has not called within %u s: %s/kernel.log has its kernel's last words",
				 boot_seconds(), k->instance->name);
	set_timer(k, boot_seconds());
	return m->waited = true;
}

static void awake_ready(void *opaque, int events)
{
	struct microvm *m = opaque;
	struct error err = { 0 };
	auto_close int fd = accept4(m->awake_listen, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 || m->awake)
		return;
	m->awake = true;
	set_timer(m->keeper, 0);
	if (m->kind && !microvm_snapshot_make(m->kind, m->keeper->instance, MACHINE_SOCKET, NULL, &err))
		dprintf(m->keeper->log, "abyme: %s\n", err.text);
	if (!run(m->keeper, &err))
		container_failed(m->keeper, err.text);
}

static void watch(struct container_keeper *k)
{
	struct microvm *m = k->machine;
	m->console = console_new(k->loop, m->opened.serial_host, -1, m->opened.serial_file);
	dialer_start(&m->dialer, k->loop, k->instance, m->opened.vsock_line);
	net_ties_watch(&m->helpers.ties, k->loop);
	m->awake_watch = loop_fd_add(k->loop, m->awake_listen, LOOP_READ, awake_ready, m);
}

/* ---- requests ---- */

static int runtime_with(struct container_keeper *k, const char *file, const char *text, const char *const *words, char **said,
			struct error *err)
{
	*said = NULL;
	if (k->paused)
		return error_minus(err, 0, "the machine of '%s' is paused: abyme unpause %s", k->instance->name, k->instance->name);
	auto_close int guest = call_guest(k, GUEST_PORT_RUNTIME, RUNTIME_SECONDS, err);
	if (guest < 0)
		return -1;
	if (file && !relay_send_file(guest, file, text))
		return error_minus(err, errno, "the machine's init does not listen");
	return relay_runtime(guest, words, RUNTIME_SECONDS, said, err);
}

static int runtime(struct container_keeper *k, const char *const *words, char **said, struct error *err)
{
	return runtime_with(k, NULL, NULL, words, said, err);
}

static bool update(struct container_keeper *k, const char *resources, struct error *err)
{
	auto_free char *said = NULL;
	const char *const words[] = { "update", "--resources", GUEST_BUNDLE "/limits.json", k->shim.id, NULL };
	int status = runtime_with(k, "limits.json", resources, words, &said, err);
	return !status || (status > 0 && error_set(err, 0, "%s", said));
}

static bool freeze(struct container_keeper *k, bool frozen, struct error *err)
{
	json_t *o = control_call_at(k->instance, MACHINE_SOCKET, frozen ? "pause" : "unpause", NULL, -1, CONTROL_SECONDS, err);
	json_decref(o);
	return o;
}

static void kill_all(struct container_keeper *k)
{
	if (k->machine->process.pid > 0)
		kill(k->machine->process.pid, SIGKILL);
}

static pid_t pid(const struct container_keeper *k, uint32_t inside) { return k->machine->process.pid; }

static const char *engine(const struct container_keeper *k) { return k->machine->opened.config.engine; }

static const char *missing(const struct container_keeper *k) { return k->machine->jail.missing; }

static void reaped(struct container_keeper *k, pid_t pid, int status)
{
	struct microvm *m = k->machine;
	char text[300];
	for (unsigned i = 0; i < m->helpers.count; i++)
		if (m->helpers.list[i].pid == pid)
			m->helpers.list[i].pid = 0;
	if (pid != m->process.pid)
		return;
	m->process.pid = 0;
	snprintf(text, sizeof(text), "the machine around the program ended first: %s/kernel.log has its kernel's last words", k->instance->name);
	if (k->killed)
		container_finish(k, 137, k->told ? "" : "killed");
	else
		container_failed(k, text);
}

static void clean_up(struct container_keeper *k)
{
	static const char *const files[] = { "vsock/sock", AWAKE_SOCKET, MACHINE_SOCKET, "disk.tmp" };
	struct microvm *m = k->machine;
	const pid_t pids[] = { k->shim_pid, m ? m->process.pid : 0 };
	for (unsigned i = 0; i < ARRAY_SIZE(pids); i++)
		if (pids[i] > 0) {
			kill(pids[i], SIGKILL);
			waitpid(pids[i], NULL, 0);
		}
	if (!m)
		return;
	if (m->console) {
		opened_close_machine(&m->opened);     /* or it would never end */
		console_drain(m->console);
	}
	helpers_kill(&m->helpers);
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		unlinkat(k->instance->dir, files[i], 0);
	unlinkat(k->instance->dir, "vsock", AT_REMOVEDIR);
	microvm_unshare(k);
}

const struct wall wall_microvm = {
	.isolation = "microvm", .prepare = prepare, .watch = watch, .start = start, .exec = exec, .runtime = runtime, .freeze = freeze,
	.update = update, .kill = kill_all, .pid = pid, .reaped = reaped, .engine = engine, .missing = missing, .clean_up = clean_up,
};
