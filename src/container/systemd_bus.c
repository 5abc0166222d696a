/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scopes by systemd over D-Bus: org.freedesktop.systemd1(5), sd-bus(3).  The library is
 * opened when it is needed: a runtime that manages control groups itself starts without
 * it, and libsystemd0 is where systemd is.  Its calls are declared here as sd-bus(3) has
 * them, so that building needs no package of it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "container/scope.h"

enum { JOB_WAIT_S = 60 };

typedef struct sd_bus sd_bus;
typedef struct sd_bus_message sd_bus_message;
typedef struct sd_bus_slot sd_bus_slot;
typedef struct { const char *name, *message; int need_free; } sd_bus_error;
typedef int (*sd_bus_handler)(sd_bus_message *m, void *arg, sd_bus_error *e);

/* return type, name, arguments; all of ABI LIBSYSTEMD_222 or older */
#define CALLS(X) \
	X(int, open_system, (sd_bus **bus)) \
	X(int, open_user, (sd_bus **bus)) \
	X(int, new, (sd_bus **bus)) \
	X(int, set_address, (sd_bus *bus, const char *address)) \
	X(int, start, (sd_bus *bus)) \
	X(sd_bus *, flush_close_unref, (sd_bus *bus)) \
	X(int, match_signal, (sd_bus *bus, sd_bus_slot **slot, const char *sender, const char *path, const char *interface, \
		const char *member, sd_bus_handler handler, void *arg)) \
	X(int, message_new_method_call, (sd_bus *bus, sd_bus_message **m, const char *destination, const char *path, \
		const char *interface, const char *member)) \
	X(int, message_append, (sd_bus_message *m, const char *types, ...)) \
	X(int, message_append_array, (sd_bus_message *m, char type, const void *p, size_t size)) \
	X(int, message_append_strv, (sd_bus_message *m, char **strings)) \
	X(int, message_open_container, (sd_bus_message *m, char type, const char *contents)) \
	X(int, message_close_container, (sd_bus_message *m)) \
	X(int, message_read, (sd_bus_message *m, const char *types, ...)) \
	X(sd_bus_message *, message_unref, (sd_bus_message *m)) \
	X(int, call, (sd_bus *bus, sd_bus_message *m, uint64_t usec, sd_bus_error *e, sd_bus_message **reply)) \
	X(int, process, (sd_bus *bus, sd_bus_message **m)) \
	X(int, wait, (sd_bus *bus, uint64_t usec)) \
	X(void, error_free, (sd_bus_error *e))
#define CALL_POINTER(type, name, arguments) type (*name) arguments;
struct calls { CALLS(CALL_POINTER) };

#define NAME "org.freedesktop.systemd1"
#define PATH "/org/freedesktop/systemd1"
#define MANAGER NAME ".Manager"

/* The connection, and the job that is waited for. */
struct bus {
	struct calls sd;
	sd_bus *bus;
	bool direct;              /* to systemd itself, without a bus between */
	char job[256], done[256], result[32];
};

static bool load(struct calls *sd, struct error *err)
{
	static const struct { const char *name; size_t offset; } table[] = {
#define CALL_ENTRY(type, name, arguments) { "sd_bus_" #name, offsetof(struct calls, name) },
		CALLS(CALL_ENTRY)
	};
	void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return error_set(err, 0, "--systemd-cgroup needs the library of the package libsystemd0: %s", dlerror());
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
		void *call = dlsym(library, table[i].name);
		if (!call)
			return error_set(err, 0, "libsystemd.so.0 is too old: it has no %s", table[i].name);
		memcpy((char *)sd + table[i].offset, &call, sizeof(call));
	}
	return true;
}

/* The socket that systemctl uses, too, where no message bus runs. */
static int connect_direct(struct bus *b, bool user)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	auto_free char *address = xasprintf("unix:path=%s/systemd/private", user && run ? run : "/run");
	if (user && !run)
		return -ENOENT;
	int r = b->sd.new(&b->bus);
	r = r < 0 ? r : b->sd.set_address(b->bus, address);
	b->direct = true;
	return r < 0 ? r : b->sd.start(b->bus);
}

static void disconnect(struct bus *b)
{
	if (b->bus)
		b->sd.flush_close_unref(b->bus);
	b->bus = NULL;
}

static bool connect_bus(struct bus *b, bool user, struct error *err)
{
	*b = (struct bus){ 0 };
	if (!load(&b->sd, err))
		return false;
	int r = user ? b->sd.open_user(&b->bus) : b->sd.open_system(&b->bus);
	if (r >= 0)
		return true;
	disconnect(b);
	if (connect_direct(b, user) >= 0)
		return true;
	disconnect(b);
	if (user)
		return error_set(err, -r, "--systemd-cgroup: cannot reach the systemd of user %u; it needs a login of that user (or 'loginctl "
			"enable-linger') and XDG_RUNTIME_DIR, or set the engine's cgroup manager to cgroupfs", getuid());
	return error_set(err, -r, "--systemd-cgroup: cannot reach systemd's bus; where systemd does not run, set the engine's cgroup "
		"manager to cgroupfs");
}

static int append_value(const struct calls *sd, sd_bus_message *m, const struct scope_property *v)
{
	int r = 0;
	switch (v->type[0] == 'a' ? v->type[1] | 0x80 : v->type[0]) {
	case 'b': case 'i': case 'u':
		return sd->message_append(m, v->type, (uint32_t)v->number);
	case 'x': case 't':
		return sd->message_append(m, v->type, v->number);
	case 's':
		return sd->message_append(m, "s", v->text);
	case 's' | 0x80:
		return sd->message_append_strv(m, (char **)v->strings.v);
	case 'y' | 0x80:
		return sd->message_append_array(m, 'y', v->bytes.v, v->bytes.n);
	case 'u' | 0x80:
		return sd->message_append_array(m, 'u', v->ids.v, v->ids.n * sizeof(*v->ids.v));
	}
	r = sd->message_open_container(m, 'a', "(st)");
	for (unsigned i = 0; r >= 0 && i < v->devices.n; i++)
		r = sd->message_append(m, "(st)", v->devices.v[i].path, v->devices.v[i].value);
	return r < 0 ? r : sd->message_close_container(m);
}

/* a(sv) */
static int append_properties(const struct calls *sd, sd_bus_message *m, const struct scope_properties *p)
{
	int r = sd->message_open_container(m, 'a', "(sv)");
	for (unsigned i = 0; r >= 0 && i < p->n; i++) {
		const struct scope_property *v = &p->v[i];
		if ((r = sd->message_open_container(m, 'r', "sv")) < 0 || (r = sd->message_append(m, "s", v->name)) < 0 ||
		    (r = sd->message_open_container(m, 'v', v->type)) < 0 || (r = append_value(sd, m, v)) < 0 ||
		    (r = sd->message_close_container(m)) < 0)
			break;
		r = sd->message_close_container(m);
	}
	return r < 0 ? r : sd->message_close_container(m);
}

static sd_bus_message *method(struct bus *b, const char *member)
{
	sd_bus_message *m = NULL;
	int r = b->sd.message_new_method_call(b->bus, &m, NAME, PATH, MANAGER, member);
	return r < 0 ? NULL : m;
}

/* Send it, with `r` of what was put in it; the call, and the reply's object if `job`.
 * `why`: the name of the error. */
static bool call(struct bus *b, sd_bus_message *m, int r, bool job, char why[128], struct error *err)
{
	sd_bus_error e = { 0 };
	sd_bus_message *reply = NULL;
	const char *object = "";
	*why = 0;
	r = r < 0 ? r : b->sd.call(b->bus, m, 0, &e, &reply);
	if (r >= 0 && job && (r = b->sd.message_read(reply, "o", &object)) >= 0)
		snprintf(b->job, sizeof(b->job), "%s", object);
	if (r < 0) {
		snprintf(why, 128, "%s", e.name ? e.name : "");
		error_set(err, e.message ? 0 : -r, "systemd refuses%s%s", e.message ? ": " : "", e.message ? e.message : "");
	}
	b->sd.error_free(&e);
	b->sd.message_unref(reply);
	b->sd.message_unref(m);
	return r >= 0;
}

/* JobRemoved(u id, o job, s unit, s result) */
static int job_removed(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	struct bus *b = arg;
	uint32_t id;
	const char *job, *unit, *result;
	if (b->sd.message_read(m, "uoss", &id, &job, &unit, &result) >= 0 && !strcmp(job, b->job)) {
		snprintf(b->done, sizeof(b->done), "%s", job);
		snprintf(b->result, sizeof(b->result), "%s", result);
	}
	return 0;
}

/* Before the job begins: its end may come with the reply. */
static bool watch_jobs(struct bus *b, struct error *err)
{
	char why[128];
	int r = b->sd.match_signal(b->bus, NULL, b->direct ? NULL : NAME, PATH, MANAGER, "JobRemoved", job_removed, b);
	sd_bus_message *m = r < 0 ? NULL : method(b, "Subscribe");
	if (!m)
		return error_set(err, r < 0 ? -r : ENOMEM, "cannot listen to systemd");
	return call(b, m, 0, false, why, err);
}

static bool await_job(struct bus *b, const char *unit, struct error *err)
{
	uint64_t end = monotonic_ns() + JOB_WAIT_S * 1000000000ull, now;
	int r = 0;
	while (strcmp(b->job, b->done) && r >= 0 && (now = monotonic_ns()) < end) {
		r = b->sd.process(b->bus, NULL);
		if (r == 0)
			r = b->sd.wait(b->bus, (end - now) / 1000);
		r = r == -EINTR ? 0 : r;
	}
	if (r < 0)
		return error_set(err, -r, "systemd went away while it was at '%s'", unit);
	if (strcmp(b->job, b->done))
		return error_set(err, 0, "systemd is not done with '%s' after %d s", unit, JOB_WAIT_S);
	return !strcmp(b->result, "done") || error_set(err, 0, "systemd's job for '%s' ended as '%s': 'systemctl status' tells more", unit,
		b->result);
}

/* StartTransientUnit(s name, s mode, a(sv) properties, a(sa(sv)) more) -> o job */
static bool start_unit(struct bus *b, const struct scope *s, const struct scope_properties *p, char why[128], struct error *err)
{
	sd_bus_message *m = method(b, "StartTransientUnit");
	int r = !m ? -ENOMEM : b->sd.message_append(m, "ss", s->unit, "fail");
	r = r < 0 ? r : append_properties(&b->sd, m, p);
	r = r < 0 ? r : b->sd.message_append(m, "a(sa(sv))", 0);
	return call(b, m, r, true, why, err);
}

static bool about_unit(struct bus *b, const char *member, const struct scope *s, const char *mode, char why[128], struct error *err)
{
	sd_bus_message *m = method(b, member);
	int r = !m ? -ENOMEM : mode ? b->sd.message_append(m, "ss", s->unit, mode) : b->sd.message_append(m, "s", s->unit);
	return call(b, m, r, mode != NULL, why, err);
}

/* What an earlier container of the name left as failed is forgotten. */
static bool start_once_more(struct bus *b, const struct scope *s, const struct scope_properties *p, struct error *err)
{
	char why[128], ignored[128];
	if (start_unit(b, s, p, why, err))
		return true;
	if (strcmp(why, NAME ".UnitExists") || !about_unit(b, "ResetFailedUnit", s, NULL, ignored, NULL))
		return false;
	return start_unit(b, s, p, why, err);
}

static bool scope_start(const struct scope *s, const struct scope_properties *p, struct error *err)
{
	struct bus b;
	if (!connect_bus(&b, s->user, err))
		return false;
	bool ok = watch_jobs(&b, err) && start_once_more(&b, s, p, err) && await_job(&b, s->unit, err);
	disconnect(&b);
	if (!ok)
		error_prefix(err, "cannot start '%s' in '%s'", s->unit, s->slice);
	return ok;
}

/* SetUnitProperties(s name, b runtime, a(sv) properties) */
static bool scope_set(const struct scope *s, const struct scope_properties *p, struct error *err)
{
	struct bus b;
	char why[128];
	if (!connect_bus(&b, s->user, err))
		return false;
	sd_bus_message *m = method(&b, "SetUnitProperties");
	int r = !m ? -ENOMEM : b.sd.message_append(m, "sb", s->unit, 1);
	r = r < 0 ? r : append_properties(&b.sd, m, p);
	bool ok = call(&b, m, r, false, why, err);
	disconnect(&b);
	if (!ok)
		error_prefix(err, "cannot change '%s'", s->unit);
	return ok;
}

/* AttachProcessesToUnit(s name, s subgroup, au pids) */
static bool scope_attach(const struct scope *s, pid_t pid, struct error *err)
{
	struct bus b;
	char why[128];
	if (!connect_bus(&b, s->user, err))
		return false;
	sd_bus_message *m = method(&b, "AttachProcessesToUnit");
	int r = !m ? -ENOMEM : b.sd.message_append(m, "ssau", s->unit, "/", 1, (uint32_t)pid);
	bool ok = call(&b, m, r, false, why, err);
	disconnect(&b);
	if (!ok)
		error_prefix(err, "cannot put a process into '%s'", s->unit);
	return ok;
}

static bool scope_stop(const struct scope *s, struct error *err)
{
	struct bus b;
	char why[128] = "";
	if (!connect_bus(&b, s->user, err))
		return false;
	bool ok = watch_jobs(&b, err) && about_unit(&b, "StopUnit", s, "replace", why, err) && await_job(&b, s->unit, err);
	if (!ok && !strcmp(why, NAME ".NoSuchUnit"))
		ok = true;
	about_unit(&b, "ResetFailedUnit", s, NULL, why, NULL);
	disconnect(&b);
	return ok;
}

const struct scope_manager systemd_manager = { scope_start, scope_set, scope_attach, scope_stop };
