/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The wall that is a container of this host: a shim beside the program calls abyme-oci. */
#include "instance/container_keeper.h"
#include "instance/container_network.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

static bool prepare(struct container_keeper *k, struct error *err)
{
	return true;
}

static bool network_up(pid_t pid, void *opaque, struct error *err)
{
	struct container_keeper *k = opaque;
	return container_network(k->definition, k->instance->name, pid, err);
}

static void beside(struct container_keeper *k, int sock)
{
	container_child(k, "abyme-shim", sock);
	k->shim.created = network_up;
	k->shim.opaque = k;
	_exit(k->rest ? shim_rest(sock, &k->shim) : shim_main(sock, &k->shim));
}

static bool start(struct container_keeper *k, struct error *err)
{
	return container_shim(k, beside, err);
}

static void exec(struct container_keeper *k, int client)
{
	container_child(k, "abyme-shim", client);
	_exit(shim_exec(client, &k->shim));
}

static int runtime(struct container_keeper *k, const char *const *words, char **said, struct error *err)
{
	return shim_oci(&k->shim, words, said);
}

static bool say(struct container_keeper *k, const char *const *words, struct error *err)
{
	return container_tell(k, words, NULL, err);
}

static bool freeze(struct container_keeper *k, bool frozen, struct error *err)
{
	return say(k, (const char *const[]){ frozen ? "pause" : "resume", k->shim.id, NULL }, err);
}

static bool update(struct container_keeper *k, const char *resources, struct error *err)
{
	char file[PATH_MAX];
	if (!instance_write(k->instance, "limits.json", resources, err))
		return false;
	snprintf(file, sizeof(file), "%.4000s/limits.json", k->bundle);
	bool ok = say(k, (const char *const[]){ "update", "--resources", file, k->shim.id, NULL }, err);
	unlinkat(k->instance->dir, "limits.json", 0);
	return ok;
}

static void kill_all(struct container_keeper *k)
{
	char *said = NULL;
	shim_oci(&k->shim, (const char *const[]){ "kill", "--all", k->shim.id, "KILL", NULL }, &said);
	free(said);
}

static pid_t pid(const struct container_keeper *k, uint32_t inside) { return (pid_t)inside; }

static void clean_up(struct container_keeper *k)
{
	char *said = NULL;
	if (k->shim_pid <= 0)
		return;
	kill(k->shim_pid, SIGKILL);
	waitpid(k->shim_pid, NULL, 0);
	shim_oci(&k->shim, (const char *const[]){ "delete", "--force", k->shim.id, NULL }, &said);
	free(said);
}

const struct wall wall_container = {
	.isolation = "container", .prepare = prepare, .start = start, .exec = exec, .runtime = runtime, .freeze = freeze,
	.update = update, .kill = kill_all, .pid = pid, .clean_up = clean_up,
};
