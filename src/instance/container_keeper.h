/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the keeper of a container: what its parts share. */
#ifndef INSTANCE_CONTAINER_KEEPER_H
#define INSTANCE_CONTAINER_KEEPER_H

#include <limits.h>
#include <time.h>

#include "base/loop.h"
#include "instance/hub.h"
#include "instance/keeper_process.h"
#include "session/shim.h"

struct container_keeper;
struct microvm;

/* What stands around the program, and how it is reached. */
struct wall {
	const char *isolation;
	bool (*prepare)(struct container_keeper *k, struct error *err);       /* with the bundle and its root */
	void (*watch)(struct container_keeper *k);                            /* the loop is there */
	bool (*start)(struct container_keeper *k, struct error *err);         /* hub_source(), now or later */
	void (*exec)(struct container_keeper *k, int client);   /* in a child */
	/* abyme-oci's verb: its status and words; -1 with an error */
	int (*runtime)(struct container_keeper *k, const char *const *words, char **said, struct error *err);
	bool (*freeze)(struct container_keeper *k, bool frozen, struct error *err);
	bool (*update)(struct container_keeper *k, const char *resources, struct error *err);
	void (*kill)(struct container_keeper *k);
	pid_t (*pid)(const struct container_keeper *k, uint32_t inside);      /* of the program, or what is it here */
	void (*reaped)(struct container_keeper *k, pid_t pid, int status);
	const char *(*engine)(const struct container_keeper *k);              /* what runs it; NULL: as isolation says */
	const char *(*missing)(const struct container_keeper *k);             /* what its jail lacks; NULL: it has none */
	void (*clean_up)(struct container_keeper *k);
};
extern const struct wall wall_container, wall_microvm;

struct container_keeper {
	const struct wall *wall;
	struct microvm *machine;
	struct instance *instance;
	const struct definition *definition;
	const struct keeper_options *options;
	int report, leash, primary, signals, log, console_log, timer, exec_listen, control_listen;
	struct loop *loop;
	struct loop_fd *leash_watch;
	struct hub *hub;
	struct shim shim;
	pid_t shim_pid, pid;          /* pid: of the program, 0 between two runs */
	time_t started;
	bool rootless, told, killed, stopped, paused;
	bool rest;                    /* its files are wanted only, by `primary`: no hub, no program */
	int client;                   /* `primary`, when a shim serves it */
	unsigned restarts, delay_ms;
	int status;
	char text[480];
	char oci[PATH_MAX], records[PATH_MAX], bundle[PATH_MAX];
};

void container_kill_all(struct container_keeper *k);
/* It will not run, or no longer: why. */
void container_failed(void *keeper, const char *text);
void container_finish(struct container_keeper *k, int status, const char *text);
/* The process beside the program, on its socket's other end. */
bool container_shim(struct container_keeper *k, void (*child)(struct container_keeper *k, int sock), struct error *err);
/* In a child: nothing of the keeper's but these. */
void container_child(const struct container_keeper *k, const char *name, int sock);

/* container_bundle.c: namespaces of the keeper's own, the image's root, config.json. */
bool container_bundle(struct container_keeper *k, struct error *err);

/* container_control.c: the control socket, with the words of a machine's where they fit. */
/* abyme-oci's verb beside the program; false: its sentence. */
bool container_tell(struct container_keeper *k, const char *const *words, char **said, struct error *err);
bool container_control_start(struct container_keeper *k, struct error *err);

#endif
