/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See fake_systemd.h. One connection at a time; sd-bus in its server's role. */
#include "lib/fake_systemd.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/socket.h"
#include "base/util.h"

typedef struct sd_bus sd_bus;
typedef struct sd_bus_message sd_bus_message;
typedef struct { uint8_t bytes[16]; } id128;
typedef int (*handler)(sd_bus_message *m, void *arg, void *e);

#define CALLS(X) \
	X(int, new, (sd_bus **b)) X(int, set_fd, (sd_bus *b, int in, int out)) X(int, set_server, (sd_bus *b, int on, id128 id)) \
	X(int, start, (sd_bus *b)) X(int, add_filter, (sd_bus *b, void **slot, handler h, void *arg)) \
	X(int, process, (sd_bus *b, sd_bus_message **m)) X(int, wait, (sd_bus *b, uint64_t usec)) \
	X(sd_bus *, flush_close_unref, (sd_bus *b)) \
	X(int, reply_method_return, (sd_bus_message *m, const char *types, ...)) \
	X(int, reply_method_errorf, (sd_bus_message *m, const char *name, const char *format, ...)) \
	X(int, message_new_signal, (sd_bus *b, sd_bus_message **m, const char *path, const char *interface, const char *member)) \
	X(int, message_append, (sd_bus_message *m, const char *types, ...)) \
	X(int, message_set_sender, (sd_bus_message *m, const char *sender)) \
	X(int, send, (sd_bus *b, sd_bus_message *m, uint64_t *cookie)) X(sd_bus_message *, message_unref, (sd_bus_message *m)) \
	X(const char *, message_get_member, (sd_bus_message *m)) \
	X(int, message_is_method_call, (sd_bus_message *m, const char *interface, const char *member)) \
	X(int, message_peek_type, (sd_bus_message *m, char *type, const char **contents)) \
	X(int, message_read_basic, (sd_bus_message *m, char type, void *p)) \
	X(int, message_enter_container, (sd_bus_message *m, char type, const char *contents)) \
	X(int, message_exit_container, (sd_bus_message *m))
#define CALL_POINTER(type, name, arguments) type (*name) arguments;
static struct { CALLS(CALL_POINTER) } sd;

#define SYSTEMD "org.freedesktop.systemd1"
#define PATH "/org/freedesktop/systemd1"
#define JOB PATH "/job/7"

struct fake_systemd {
	pid_t pid;
	int log;                  /* a memfd */
	char dir[32];
	/* in the child */
	enum fake_mood mood;
	sd_bus *bus;
	unsigned starts;
	char slice[128], group[280];
	uint32_t member;
};

static bool load(void)
{
	void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
#define CALL_LOAD(type, name, arguments) \
	if (!library || !(sd.name = (__typeof__(sd.name))dlsym(library, "sd_bus_" #name))) \
		return false;
	CALLS(CALL_LOAD)
	return true;
}

static void note(struct fake_systemd *f, const char *last, char type, const char *text)
{
	if (type == 's' && !strcmp(last, "Slice"))
		snprintf(f->slice, sizeof(f->slice), "%s", text);
}

static void print_basic(struct fake_systemd *f, sd_bus_message *m, char type, char last[64])
{
	union { const char *s; uint8_t y; uint32_t u; uint64_t t; int b; } v = { 0 };
	sd.message_read_basic(m, type, &v);
	if (type == 's' || type == 'o' || type == 'g') {
		dprintf(f->log, " %c:%s", type, v.s);
		note(f, last, type, v.s);
		snprintf(last, 64, "%s", v.s);
		return;
	}
	uint64_t n = type == 'y' ? v.y : type == 't' || type == 'x' ? v.t : v.u;
	dprintf(f->log, " %c:%" PRIu64, type, n);
	if (type == 'u' && !strcmp(last, "PIDs"))
		f->member = v.u;
}

static void print(struct fake_systemd *f, sd_bus_message *m, char last[64])
{
	char type;
	const char *contents;
	while (sd.message_peek_type(m, &type, &contents) > 0) {
		if (type != 'a' && type != 'r' && type != 'v') {
			print_basic(f, m, type, last);
			continue;
		}
		sd.message_enter_container(m, type, contents);
		dprintf(f->log, type == 'a' ? " [" : type == 'r' ? " (" : " <");
		print(f, m, last);
		dprintf(f->log, type == 'a' ? " ]" : type == 'r' ? " )" : " >");
		sd.message_exit_container(m);
	}
}

static void make_group(struct fake_systemd *f, const char *unit)
{
	char text[300];
	snprintf(text, sizeof(text), "/sys/fs/cgroup/%s", f->slice);
	mkdir(text, 0755);
	snprintf(f->group, sizeof(f->group), "/sys/fs/cgroup/%s/%s", f->slice, unit);
	mkdir(f->group, 0755);
	snprintf(text, sizeof(text), "%s/cgroup.procs", f->group);
	auto_close int fd = open(text, O_WRONLY | O_CLOEXEC);
	dprintf(fd, "%u", f->member);
}

static void removed(struct fake_systemd *f, const char *job, const char *result)
{
	sd_bus_message *m = NULL;
	sd.message_new_signal(f->bus, &m, PATH, SYSTEMD ".Manager", "JobRemoved");
	sd.message_append(m, "uoss", 7u, job, "unit", result);
	sd.message_set_sender(m, ":1.0");     /* as a bus does: a client looks for it */
	sd.send(f->bus, m, NULL);
	sd.message_unref(m);
}

/* The first job ends before its number is known, others after that. */
static int answer_job(struct fake_systemd *f, sd_bus_message *m, const char *result)
{
	bool early = f->starts & 1;
	removed(f, PATH "/job/6", "failed");
	if (early)
		removed(f, JOB, result);
	int r = sd.reply_method_return(m, "o", JOB);
	if (!early)
		removed(f, JOB, result);
	return r < 0 ? r : 1;
}

static int start_unit(struct fake_systemd *f, sd_bus_message *m, const char *unit)
{
	f->starts++;
	if (f->mood == FAKE_DIES)
		_exit(0);
	if (f->mood == FAKE_REFUSES)
		return sd.reply_method_errorf(m, "org.freedesktop.DBus.Error.PropertyReadOnly", "no such property");
	if (f->mood == FAKE_HAD_ONE && f->starts == 1)
		return sd.reply_method_errorf(m, SYSTEMD ".UnitExists", "there is one");
	if (f->mood == FAKE_MAKES_GROUPS)
		make_group(f, unit);
	return answer_job(f, m, f->mood == FAKE_FAILS ? "failed" : "done");
}

static int stop_unit(struct fake_systemd *f, sd_bus_message *m)
{
	if (f->mood == FAKE_HAS_NONE)
		return sd.reply_method_errorf(m, SYSTEMD ".NoSuchUnit", "not loaded");
	if (*f->group)
		rmdir(f->group);
	return answer_job(f, m, "done");
}

static int answer(sd_bus_message *m, void *arg, void *e)
{
	struct fake_systemd *f = arg;
	const char *member = sd.message_get_member(m);
	char last[64] = "", unit[64] = "";
	const char *first;
	if (!sd.message_is_method_call(m, NULL, NULL) || !member)
		return 0;
	if (!strcmp(member, "Hello"))
		return sd.reply_method_return(m, "s", ":1.1");
	dprintf(f->log, "%s", member);
	char type;
	if (sd.message_peek_type(m, &type, NULL) > 0 && type == 's' && sd.message_read_basic(m, 's', &first) > 0) {
		dprintf(f->log, " s:%s", first);
		snprintf(unit, sizeof(unit), "%s", first);
	}
	print(f, m, last);
	dprintf(f->log, "\n");
	if (!strcmp(member, "StartTransientUnit"))
		return start_unit(f, m, unit);
	if (!strcmp(member, "StopUnit"))
		return stop_unit(f, m);
	return sd.reply_method_return(m, "");
}

static NORETURN void serve(struct fake_systemd *f, int listener)
{
	static const id128 id = { "fake systemd one" };
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), r = 0;
		if (fd < 0)
			_exit(errno != EINTR);
		if (sd.new(&f->bus) < 0 || sd.set_fd(f->bus, fd, fd) < 0 || sd.set_server(f->bus, 1, id) < 0 ||
		    sd.add_filter(f->bus, NULL, answer, f) < 0 || sd.start(f->bus) < 0)
			_exit(1);
		while (r >= 0)
			if ((r = sd.process(f->bus, NULL)) == 0)
				r = sd.wait(f->bus, UINT64_MAX);
		sd.flush_close_unref(f->bus);
	}
}

struct fake_systemd *fake_systemd_start(enum fake_mood mood)
{
	char path[64], address[80];
	if (!load())
		return NULL;
	struct fake_systemd *f = xnew(struct fake_systemd);
	f->mood = mood;
	strcpy(f->dir, "/tmp/abyme-systemd-XXXXXX");
	f->log = memfd_create("log", MFD_CLOEXEC);
	if (!mkdtemp(f->dir))
		abort();
	snprintf(path, sizeof(path), "%s/bus", f->dir);
	snprintf(address, sizeof(address), "unix:path=%s", path);
	int listener = unix_listen(path, SOCK_STREAM, 8);
	f->pid = listener < 0 ? -1 : fork();
	if (f->pid < 0)
		abort();
	if (!f->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(f, listener);
	}
	close(listener);
	setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
	return f;
}

char *fake_systemd_log(const struct fake_systemd *f)
{
	struct stat st;
	fstat(f->log, &st);
	char *text = xcalloc((size_t)st.st_size + 1, 1);
	fd_pread_full(f->log, text, (size_t)st.st_size, 0);
	return text;
}

void fake_systemd_stop(struct fake_systemd *f)
{
	char path[64];
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	snprintf(path, sizeof(path), "%s/bus", f->dir);
	unlink(path);
	rmdir(f->dir);
	close(f->log);
	unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
	free(f);
}
