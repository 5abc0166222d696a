/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme chroot: a program with another root, in mount, PID, IPC and host name
 * spaces of its own, also for an ordinary user.  A bundle for abyme-oci is made
 * in a temporary directory; the network is the caller's unless --no-network.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cli/table.h"
#include "container/bundle.h"
#include "jail/spawn.h"

enum { LIST_MAX = 64, STATUS_SIGNAL = 128 };
struct chroot_options {
	char *workdir, *user;
	bool readonly, no_network;
	const char *env[LIST_MAX], *volumes[LIST_MAX];
	unsigned nenv, nvolumes;
};

static bool add(const char **list, unsigned *n, const char *value, struct error *err)
{
	if (*n == LIST_MAX)
		return error_set(err, 0, "at most %d of this option", LIST_MAX);
	list[(*n)++] = value;
	return true;
}

static bool add_env(void *target, const char *value, struct error *err)
{
	struct chroot_options *o = target;
	if (!strchr(value, '='))
		return error_set(err, 0, "--env takes NAME=VALUE, not '%s'", value);
	return add(o->env, &o->nenv, value, err);
}

static bool add_volume(void *target, const char *value, struct error *err)
{
	struct chroot_options *o = target;
	const char *colon = strchr(value, ':');
	if (!colon || colon == value || colon[1] != '/')
		return error_set(err, 0, "--volume takes HOST:/INSIDE or HOST:/INSIDE:ro, not '%s'", value);
	return add(o->volumes, &o->nvolumes, value, err);
}

#define TARGET struct chroot_options
static const struct cli_option chroot_options[] = {
	TEXT("--workdir", "DIR", workdir, "working directory inside (default /)"),
	TEXT("--user", "UID[:GID]", user, "who to be inside (default 0:0)"),
	CALL("--env", "NAME=VALUE", add_env, "a variable; may stand more than once"),
	CALL("--volume", "HOST:/INSIDE[:ro]", add_volume, "show a file or directory inside; more than once"),
	FLAG("--read-only", readonly, "let nothing of DIR be changed"),
	FLAG("--no-network", no_network, "no network but a loopback that is down"),
	{ NULL }
};

static void put_environment(struct json_out *j, const struct chroot_options *o)
{
	char term[80];
	const char *t = getenv("TERM");
	snprintf(term, sizeof(term), "TERM=%s", t ? t : "dumb");
	json_open(j, "env", '[');
	json_put_str(j, NULL, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	json_put_str(j, NULL, term);
	for (unsigned i = 0; i < o->nenv; i++)
		json_put_str(j, NULL, o->env[i]);
	json_close(j, ']');
}

static bool put_process(struct json_out *j, const struct chroot_options *o, char *const *command, struct error *err)
{
	static const char *const shell[] = { "/bin/sh" };
	uint64_t uid = 0, gid = 0;
	char id[24];
	size_t n = o->user ? strcspn(o->user, ":") : 0;
	snprintf(id, sizeof(id), "%.*s", (int)MIN(n, (size_t)20), o->user ? o->user : "");
	if (o->user && (!parse_u64(id, 0, UINT32_MAX, &uid) || (o->user[n] && !parse_u64(o->user + n + 1, 0, UINT32_MAX, &gid))))
		return error_set(err, 0, "--user takes UID or UID:GID, not '%s'", o->user);
	unsigned words = 0;
	while (command[words])
		words++;
	json_open(j, "process", '{');
	json_put_bool(j, "terminal", isatty(0) && isatty(1));
	json_put_bool(j, "noNewPrivileges", true);
	json_put_str(j, "cwd", o->workdir ? o->workdir : "/");
	json_open(j, "user", '{');
	json_put_u64(j, "uid", uid);
	json_put_u64(j, "gid", gid);
	json_close(j, '}');
	bundle_strings(j, "args", words ? (const char *const *)command : shell, words ? words : 1);
	put_environment(j, o);
	bundle_caps(j, bundle_default_caps, 14);
	json_close(j, '}');
	return true;
}

/* HOST:/INSIDE[:ro] */
static bool put_volume(struct json_out *j, const char *volume, struct error *err)
{
	static const char *const options[] = { "rbind", "nosuid", "rro" };
	char host[PATH_MAX], inside[PATH_MAX];
	const char *colon = strchr(volume, ':'), *mode = strchr(colon + 1, ':');
	auto_free char *source = strndup(volume, (size_t)(colon - volume));
	snprintf(inside, sizeof(inside), "%.*s", mode ? (int)(mode - colon - 1) : PATH_MAX - 1, colon + 1);
	if (mode && strcmp(mode, ":ro") && strcmp(mode, ":rw"))
		return error_set(err, 0, "--volume '%s': what follows the second ':' is ro or rw", volume);
	if (!source || !realpath(source, host))
		return error_set(err, errno, "cannot find '%s'", source ? source : volume);
	bundle_mount(j, inside, "bind", host, options, mode && !strcmp(mode, ":ro") ? 3 : 2);
	return true;
}

static bool put_mounts(struct json_out *j, const struct chroot_options *o, struct error *err)
{
	static const char *const sys[] = { "rbind", "rro" };
	json_open(j, "mounts", '[');
	bundle_basic_mounts(j, 0);
	bundle_mount(j, "/sys", "bind", "/sys", sys, ARRAY_SIZE(sys));
	for (unsigned i = 0; i < o->nvolumes; i++)
		if (!put_volume(j, o->volumes[i], err))
			return false;
	json_close(j, ']');
	return true;
}

static void put_linux(struct json_out *j, const struct chroot_options *o)
{
	static const char *const types[] = { "mount", "pid", "ipc", "uts", "network", "user" };
	json_open(j, "linux", '{');
	json_open(j, "namespaces", '[');
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		if ((!strcmp(types[i], "network") && !o->no_network) || (!strcmp(types[i], "user") && !geteuid()))
			continue;
		json_open(j, NULL, '{');
		json_put_str(j, "type", types[i]);
		json_close(j, '}');
	}
	json_close(j, ']');
	if (geteuid()) {
		bundle_map(j, "uidMappings", 0, geteuid(), 1);
		bundle_map(j, "gidMappings", 0, getegid(), 1);
	}
	bundle_hidden_paths(j);
	json_close(j, '}');
}

static bool write_config(const char *bundle, const char *root, const struct chroot_options *o, char *const *command,
	struct error *err)
{
	struct json_out j = { 0 };
	auto_free char *path = xasprintf("%s/config.json", bundle);
	json_open(&j, NULL, '{');
	json_put_str(&j, "ociVersion", "1.1.0");
	json_open(&j, "root", '{');
	json_put_str(&j, "path", root);
	json_put_bool(&j, "readonly", o->readonly);
	json_close(&j, '}');
	bool ok = put_process(&j, o, command, err) && put_mounts(&j, o, err);
	put_linux(&j, o);
	json_close(&j, '}');
	auto_close int fd = ok ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
	if (ok && (fd < 0 || !fd_write_full(fd, j.text, j.length)))
		ok = error_set(err, errno, "cannot write '%s'", path);
	json_out_free(&j);
	return ok;
}

/* The runtime serves the terminal and passes signals on; we only wait. */
static int run_runtime(const char *bundle, struct error *err)
{
	char id[32];
	auto_close int program = helper_open("abyme-oci", err);
	if (program < 0)
		return -1;
	snprintf(id, sizeof(id), "chroot-%d", getpid());
	char *argv[] = { "abyme-oci", "--root", (char *)bundle, "run", "--bundle", (char *)bundle, id, NULL };
	auto_free char *path = xasprintf("/proc/self/fd/%d", program);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	pid_t pid = fork();
	if (!pid) {
		signal(SIGINT, SIG_DFL);
		signal(SIGQUIT, SIG_DFL);
		execv(path, argv);
		_exit(127);
	}
	if (pid < 0)
		return error_minus(err, errno, "cannot start abyme-oci");
	int status = wait_child(pid);
	return WIFSIGNALED(status) ? STATUS_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run_in(const char *dir, const struct chroot_options *o, char *const *command, struct error *err)
{
	struct stat st;
	char root[PATH_MAX];
	const char *tmp = getenv("XDG_RUNTIME_DIR");
	if (!realpath(dir, root) || stat(root, &st))
		return error_minus(err, errno, "cannot find '%s'", dir);
	if (!S_ISDIR(st.st_mode))
		return error_minus(err, 0, "'%s' is no directory", dir);
	auto_free char *bundle = xasprintf("%s/abyme-chroot-XXXXXX", tmp && *tmp == '/' && !access(tmp, W_OK) ? tmp : "/tmp");
	if (!mkdtemp(bundle))
		return error_minus(err, errno, "cannot make '%s'", bundle);
	int status = write_config(bundle, root, o, command, err) ? run_runtime(bundle, err) : -1;
	auto_free char *config = xasprintf("%s/config.json", bundle);
	unlink(config);
	rmdir(bundle);
	return status;
}

int verb_chroot(int argc, char **argv)
{
	struct chroot_options o = { 0 };
	struct error err = { 0 };
	const char *words[2] = { NULL };
	const struct cli_group groups[] = { { chroot_options, &o }, { NULL } };
	int at = cli_first_word(groups, argc, argv);
	int status = cli_parse(groups, MIN(at + 1, argc), argv, words, 1, 1);
	if (status < 0) {
		status = run_in(words[0], &o, argv + MIN(at + 1, argc), &err);
		if (status < 0)
			status = cli_fail(&err);
	}
	free(o.workdir);
	free(o.user);
	return status;
}
