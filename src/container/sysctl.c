/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel parameters of the container's own namespaces; those of the host are
 * refused.  Written through the host's /proc: which namespace's value it is goes
 * by the writer.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "container/kernel.h"
#include "container/launch.h"
#include "container/root_path.h"

static const char *const ipc_names[] = {
	"kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall", "kernel/shmmax", "kernel/shmmni",
	"kernel/shm_rmid_forced", "kernel/msg_next_id", "kernel/sem_next_id", "kernel/shm_next_id",
};

static bool is_ipc(const char *path)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ipc_names); i++)
		if (!strcmp(path, ipc_names[i]))
			return true;
	return !strncmp(path, "fs/mqueue/", 10);
}

static bool allowed(const struct spec *s, const char *name, const char *path, struct error *err)
{
	const char *need = NULL;
	if (is_ipc(path))
		need = spec_has_ns(s, NS_IPC) ? "" : "ipc";
	else if (!strncmp(path, "net/", 4))
		need = spec_has_ns(s, NS_NET) ? "" : "network";
	else if (!strcmp(path, "kernel/domainname"))
		need = spec_has_ns(s, NS_UTS) ? "" : "uts";
	if (!need)
		return error_set(err, 0, "sysctl '%s' is the host's, not a container's%s", name,
			strcmp(path, "kernel/hostname") ? "" : "; use 'hostname'");
	return !*need || error_set(err, 0, "sysctl '%s' needs a '%s' namespace of the container's own", name, need);
}

/* "net.ipv4.ip_forward"; where the first separator is '/', dots are part of names. */
static bool to_path(const char *name, char path[PATH_MAX])
{
	size_t n = strlen(name);
	const char *first = strpbrk(name, "./");
	if (!n || n >= 256 || !first)
		return false;
	for (size_t i = 0; i <= n; i++)
		path[i] = *first == '.' && name[i] == '.' ? '/' : *first == '.' && name[i] == '/' ? '.' : name[i];
	return !strstr(path, "..") && path[0] != '/';
}

bool sysctl_apply(const struct spec *s, struct error *err)
{
	char path[PATH_MAX];
	if (!s->lnx->sysctl.n)
		return true;
	auto_close int top = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < s->lnx->sysctl.n; i++) {
		const struct pair *p = &s->lnx->sysctl.v[i];
		if (!to_path(p->key, path))
			return error_set(err, 0, "'%s' is no name of a sysctl", p->key);
		if (!allowed(s, p->key, path, err))
			return false;
		auto_close int fd = root_open_plain(top, path, O_WRONLY);
		if (fd < 0 || write(fd, p->value, strlen(p->value)) < 0)
			return error_set(err, errno, "cannot set sysctl '%s' to '%s'", p->key, p->value);
	}
	return true;
}
