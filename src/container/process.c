/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last steps before execve(): what runtime-spec's `process` asks for, in the
 * one order in which each step still has the rights that it needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "container/caps.h"
#include "container/kernel.h"
#include "container/launch.h"
#include "container/root_path.h"

static const char *env_get(const struct strings *env, const char *name)
{
	size_t n = strlen(name);
	for (unsigned i = env->n; i--; )
		if (!strncmp(env->v[i], name, n) && env->v[i][n] == '=')
			return env->v[i] + n + 1;
	return NULL;
}

static bool executable(const char *path)
{
	struct stat st;
	if (stat(path, &st))
		return false;
	if (S_ISREG(st.st_mode) && (st.st_mode & 0111))
		return true;
	errno = S_ISDIR(st.st_mode) ? EISDIR : EACCES;
	return false;
}

/* The words that engines look for in it are those of the other runtimes. */
static const char *engine_words(int why)
{
	return why == ENOENT ? "no such file or directory" : why == EACCES ? "permission denied" : strerror(why);
}

const char *process_find(const struct spec_process *p, char path[4096], struct error *err)
{
	const char *name = p->args.v[0], *list = env_get(&p->env, "PATH");
	int why = ENOENT;
	if (strchr(name, '/')) {
		if (executable(name))
			return name;
		return error_null(err, 0, "exec: \"%s\": stat %s: %s", name, name, engine_words(errno));
	}
	if (!list)
		list = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	for (size_t n; *name; list += n + 1) {
		n = strcspn(list, ":");
		if (snprintf(path, 4096, "%.*s%s%s", (int)n, list, n ? "/" : "", name) < 4096 && executable(path))
			return path;
		if (errno == EACCES)
			why = EACCES;
		if (!list[n])
			break;
	}
	if (why == EACCES)
		return error_null(err, 0, "exec: \"%s\": %s", name, engine_words(EACCES));
	return error_null(err, 0, "exec: \"%s\": executable file not found in $PATH", name);
}

bool process_limits(const struct spec_process *p, pid_t pid, struct error *err)
{
	for (unsigned i = 0; i < p->rlimits.n; i++) {
		const struct spec_rlimit *r = &p->rlimits.v[i];
		struct rlimit now, want = { r->soft, r->hard };
		if (r->soft > r->hard)
			return error_set(err, 0, "process.rlimits: %s has a soft limit above the hard one", r->type);
		if (prlimit(pid, r->resource, NULL, &now))
			return error_set(err, errno, "cannot read %s", r->type);
		if (now.rlim_cur == want.rlim_cur && now.rlim_max == want.rlim_max)
			continue;
		if (prlimit(pid, r->resource, &want, NULL))
			return error_set(err, errno, "cannot set %s to %llu (hard %llu; the host allows %llu)", r->type,
				(unsigned long long)r->soft, (unsigned long long)r->hard, (unsigned long long)now.rlim_max);
	}
	return true;
}

/* name:password:UID:GID:comment:home:shell, passwd(5) */
static char *home_in(char *line, uint32_t uid)
{
	char *field[7], *p = line;
	uint64_t id;
	unsigned n = 0;
	line[strcspn(line, "\n")] = 0;
	while (n < ARRAY_SIZE(field) && p)
		field[n++] = strsep(&p, ":");
	if (n < 6 || !parse_u64(field[2], 0, UINT32_MAX, &id) || id != uid || *field[5] != '/')
		return NULL;
	return xasprintf("HOME=%s", field[5]);
}

/* The home of a user in the container's passwd file, which is hostile. */
static char *home_of(uint32_t uid)
{
	char line[1024], *found = NULL;
	unsigned lines = 0;
	struct stat st;
	auto_close int root = open("/", O_PATH | O_CLOEXEC);
	int fd = root_open(root, "etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY);
	FILE *f = fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) ? fdopen(fd, "r") : NULL;
	while (f && !found && lines++ < 65536 && fgets(line, sizeof(line), f))
		found = home_in(line, uid);
	if (f)
		fclose(f);
	else if (fd >= 0)
		close(fd);
	return found;
}

bool process_prepare_env(struct launch *l)
{
	struct strings *env = &l->process->env;
	const char *home = env_get(env, "HOME");
	if (home && *home)
		return true;
	char *found = home_of(l->process->user.uid);
	const char **v = arena_alloc(&l->spec->arena, (env->n + 2ull) * sizeof(*v));
	if (env->n)
		memcpy(v, env->v, env->n * sizeof(*v));
	v[env->n] = found ? found : "HOME=/";
	*env = (struct strings){ v, env->n + 1 };
	return true;
}

/* Files that the caller opened for the process belong to its user. */
static void own_stdio(uint32_t uid)
{
	struct stat st, null;
	if (stat("/dev/null", &null))
		null.st_rdev = 0;
	for (int fd = 0; fd < 3; fd++) {
		if (fstat(fd, &st) || st.st_uid == uid || (S_ISCHR(st.st_mode) && st.st_rdev == null.st_rdev))
			continue;
		if (fchown(fd, uid, (gid_t)-1))
			continue;       /* pipes and sockets of another user namespace */
	}
}

/* A working directory that is not below our root would be a way out. */
static bool check_cwd(const char *cwd, struct error *err)
{
	char now[PATH_MAX];
	if (syscall(SYS_getcwd, now, sizeof(now)) < 0 || *now != '/')
		return error_set(err, 0, "process.cwd '%s' is outside the container", cwd);
	return true;
}

static bool change_dir(const struct launch *l, bool last, struct error *err)
{
	const char *cwd = l->process->cwd;
	if (chdir(cwd)) {
		if (errno == ENOENT && !last && !l->joining) {
			auto_close int root = open("/", O_PATH | O_CLOEXEC);
			auto_close int made = root_make(root, cwd, true, err);
			if (made < 0 || fchdir(made))
				return false;
		} else if (!last && errno == EACCES) {
			return true;          /* the user may be allowed where root of a user namespace is not */
		} else {
			return error_set(err, errno, "cannot change to the working directory '%s'", cwd);
		}
	}
	return check_cwd(cwd, err);
}

static bool set_groups(const struct spec_process *p, struct error *err)
{
	if (p->user.groups.n > NGROUPS_MAX)
		return error_set(err, 0, "process.user.additionalGids: at most %d", NGROUPS_MAX);
	if (!setgroups(p->user.groups.n, p->user.groups.v))
		return true;
	/* an ordinary user's namespace may not: user_namespaces(7), "deny" */
	char text[16] = "";
	auto_close int fd = open("/proc/self/setgroups", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && !strncmp(text, "deny", 4))
		return true;
	return errno == EPERM && !p->user.groups.n ? true : error_set(err, errno, "cannot set the groups");
}

static bool change_user(const struct spec_process *p, struct error *err)
{
	if (p->user.umask.set)
		umask((mode_t)p->user.umask.v);
	if (!set_groups(p, err))
		return false;
	if (setresgid(p->user.gid, p->user.gid, p->user.gid))
		return error_set(err, errno, "cannot become group %u%s", p->user.gid, errno == EINVAL ? " (it is not mapped)" : "");
	if (setresuid(p->user.uid, p->user.uid, p->user.uid))
		return error_set(err, errno, "cannot become user %u%s", p->user.uid, errno == EINVAL ? " (it is not mapped)" : "");
	return true;
}

static bool set_caps(const struct spec_process *p, struct error *err)
{
	static const struct spec_caps none;
	const struct spec_caps *c = p->caps ? p->caps : &none;
	/* keep through the change of user what is then set exactly */
	if (!caps_drop_bounding(c, err))
		return false;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
		return error_set(err, errno, "cannot keep capabilities");
	return change_user(p, err) && caps_set(c, err);
}

static void default_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	for (int s = 1; s < _NSIG; s++)
		signal(s, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

bool process_become(struct launch *l, struct error *err)
{
	const struct spec_process *p = l->process;
	if (!l->no_keyring && syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "abyme") < 0 && errno != ENOSYS &&
	    errno != EPERM && errno != EDQUOT)
		return error_set(err, errno, "cannot make a session keyring");
	/* nothing of the host stays open behind execve(), whatever opened it */
	if (sys_close_range(3 + l->preserve_fds, ~0u, CLOSE_RANGE_CLOEXEC))
		return error_set(err, errno, "cannot mark descriptors for closing");
	default_signals();
	own_stdio(p->user.uid);
	if (!change_dir(l, false, err) || !process_attributes(l, err))
		return false;
	if (p->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return error_set(err, errno, "cannot set no_new_privs");
	/* without no_new_privs the filter needs a capability that goes next */
	if (!p->no_new_privileges && !seccomp_apply(l, err))
		return false;
	if (!set_caps(p, err) || !change_dir(l, true, err))
		return false;
	return !p->no_new_privileges || seccomp_apply(l, err);
}
