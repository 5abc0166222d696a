/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme doctor: which engines and features can run here; for each that cannot,
 * why, and what fixes it.  Every check tries the thing itself.
 */
#include "cli/cli.h"
#include "engine/engine.h"
#include "instance/engines.h"
#include "instance/helpers.h"
#include "instance/store.h"
#include "jail/jail.h"

#include <errno.h>
#include <jansson.h>
#include <liburing.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

struct check {
	const char *name;
	/* True: it works, and `say` may tell more; else why not and what fixes it. */
	bool (*run)(struct error *say);
	bool needed;      /* without it nothing runs, or not as it should */
};

/* ---- engines ---- */

static bool check_kvm(struct error *say)
{
	const struct engine_ops *e = engine_find("kvm", 3);
	return e && e->probe(say);
}

static bool check_jit(struct error *say)
{
	const struct engine_ops *e = engine_find("jit", 3);
	return e && (!e->probe || e->probe(say));
}

static bool check_interp(struct error *say)
{
	const struct engine_ops *e = engine_find("interp", 6);
	return e && (!e->probe || e->probe(say));
}

static bool check_model(const char *name, struct error *say)
{
	const struct x86_model *m = x86_model_find(name, say);
	return m && x86_model_host_ok(m, say);
}
static bool check_v2(struct error *say) { return check_model("abyme-v2.1", say); }
static bool check_v3(struct error *say) { return check_model("abyme-v3.1", say); }

static bool check_code_cache(struct error *say)
{
	auto_close int fd = memfd_create("doctor", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 4096))
		return error_set(say, errno, "memfd_create is refused");
	void *w = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *x = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	bool ok = w != MAP_FAILED && x != MAP_FAILED;
	if (!ok)
		error_set(say, errno, "memory cannot be mapped executable (a security module or a noexec /dev/shm "
			  "policy): use --engine interp");
	if (w != MAP_FAILED)
		munmap(w, 4096);
	if (x != MAP_FAILED)
		munmap(x, 4096);
	return ok;
}

/* ---- the jail ---- */

/* Go into a jail as a machine would; the child reports by its status. */
static bool try_jail(bool root, bool seal, struct error *say)
{
	struct jail j = { .mode = JAIL_REQUIRE, .role = JAIL_MACHINE };
	int pair[2], status = 0;
	struct error e = { 0 };
	if (pipe(pair))
		return error_set(say, errno, "cannot create a pipe");
	if (seal && !root)
		j.mode = JAIL_AUTO;
	pid_t pid = jail_fork(&j, say);
	if (pid == 0) {
		j.mode = JAIL_REQUIRE;
		bool ok = (!root || jail_root(&j, NULL, &e)) && (!seal || jail_seal(&j, &e));
		if (!ok)
			fd_write_full(pair[1], e.text, strlen(e.text));
		_exit(!ok);
	}
	close(pair[1]);
	ssize_t n = pid > 0 ? read(pair[0], e.text, sizeof(e.text) - 1) : 0;
	close(pair[0]);
	if (pid < 0)
		return false;
	if (waitpid(pid, &status, 0) < 0 || status)
		return error_set(say, 0, "%s", n > 0 ? e.text : "the jail cannot be entered");
	return true;
}

static bool check_namespaces(struct error *say)
{
	if (try_jail(true, false, say))
		return true;
	struct error why = *say;
	return error_set(say, 0, "%s; as root: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 "
			 "(in a container: allow user namespaces)", why.text);
}
static bool check_seccomp(struct error *say) { return try_jail(false, true, say); }

/* ---- the rest ---- */

static bool check_uring(struct error *say)
{
	struct io_uring ring;
	int r = io_uring_queue_init(4, &ring, 0);
	if (r < 0)
		return error_set(say, -r, "io_uring is refused, disks use a thread pool (as root: sysctl -w "
				 "kernel.io_uring_disabled=0)");
	io_uring_queue_exit(&ring);
	return true;
}

static bool check_helper(const char *name, struct error *say)
{
	int fd = helper_open(name, say);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}
static bool check_net(struct error *say) { return check_helper("abyme-net-user", say); }
static bool check_nat(struct error *say) { return check_helper("abyme-nat", say); }
static bool check_switch(struct error *say) { return check_helper("abyme-switch", say); }
static bool check_vhost(struct error *say) { return check_helper("abyme-vhost-user", say); }
static bool check_9p(struct error *say) { return check_helper("abyme-9p", say); }
static bool check_gdb(struct error *say) { return check_helper("abyme-gdb", say); }

static bool check_state(struct error *say)
{
	int fd = store_open(say);
	if (fd < 0)
		return false;
	bool ok = !faccessat(fd, ".", W_OK, 0) || error_set(say, errno, "the state directory cannot be written");
	close(fd);
	return ok;
}

static bool check_limits(struct error *say)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_max < 256)
		return error_set(say, 0, "only %llu open files are allowed: raise it (ulimit -n 1024)",
				 (unsigned long long)r.rlim_max);
	if (getrlimit(RLIMIT_AS, &r) || r.rlim_cur != RLIM_INFINITY)
		return error_set(say, 0, "address space is limited (ulimit -v): remove the limit");
	return true;
}

static const struct check checks[] = {
	{ "engine kvm", check_kvm, false }, { "engine jit", check_jit, false },
	{ "engine interp", check_interp, true }, { "cpu abyme-v2.1", check_v2, false },
	{ "cpu abyme-v3.1", check_v3, false }, { "executable memory", check_code_cache, false },
	{ "jail: namespaces", check_namespaces, false }, { "jail: seccomp", check_seccomp, false },
	{ "io_uring", check_uring, false }, { "user network", check_net, false },
	{ "switch", check_switch, false }, { "nat", check_nat, false },
	{ "vhost-user", check_vhost, false },
	{ "shares (9p)", check_9p, false }, { "gdb server", check_gdb, false },
	{ "limits", check_limits, true }, { "state directory", check_state, true },
};

static json_t *run_one(const struct check *c, bool json)
{
	struct error say = { 0 };
	bool ok = c->run(&say);
	if (!json)
		printf("%-20s %s%s%s\n", c->name, ok ? "yes" : "no", say.text[0] ? ": " : "", say.text);
	json_t *o = json_pack("{s:s, s:b, s:b}", "name", c->name, "ok", ok, "needed", c->needed);
	if (say.text[0])
		json_object_set_new(o, "detail", json_string(say.text));
	return o;
}

int verb_doctor(int argc, char **argv)
{
	struct format_option f = { NULL };
	const struct cli_group groups[] = { { format_options, &f }, { NULL } };
	struct error err = { 0 };
	int status = cli_parse(groups, argc, argv, NULL, 0, 0);
	if (status >= 0)
		return status;
	int json = cli_format(&f, &err);
	if (json < 0)
		return cli_usage(&err);
	json_t *all = json_array();
	status = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(checks); i++) {
		json_t *o = run_one(&checks[i], json);
		if (checks[i].needed && !json_is_true(json_object_get(o, "ok")))
			status = STATUS_FAILED;
		json_array_append_new(all, o);
	}
	if (json)
		json_dumpf(all, stdout, JSON_INDENT(2)), printf("\n");
	json_decref(all);
	free(f.format);
	return status;
}
