/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The definition of an instance: what a user asked for, as it stands in
 * definition.yaml, in `-f FILE` and in the options of `run`.  Strings are
 * owned; NULL or 0 means "not said", and definition_resolve() decides.
 */
#ifndef INSTANCE_DEFINITION_H
#define INSTANCE_DEFINITION_H

#include "base/error.h"
#include "base/util.h"
#include "network/network.h"

enum { DEFINITION_VERSION = 1 };

/* A CD or floppy drive with file "none" is empty. */
struct def_disk { char *file; bool readonly; char *format; char *bus; /* virtio|scsi|ahci|nvme|ide|floppy */ bool cdrom;
	char *data_file; /* as a qcow2 image names it */ char *reconnect; /* seconds: NBD */
	char *on_error; /* report|pause|enospc|ignore */ unsigned iops, iops_burst; char *bps, *bps_burst; /* "10M" */ };
struct def_net { char *name; char *mac, *model /* virtio|e1000 */, *ip, *trunk; unsigned vlan; struct network_limits limits; };
#define NET_VHOST "vhost-user:"
static inline bool net_is_vhost(const char *name) { return !strncmp(name, NET_VHOST, strlen(NET_VHOST)); }
struct def_share { char *dir; char *tag; bool readonly; };

struct definition {
	unsigned version;
	char *name;
	char *board;              /* pc or microvm */
	char *engine;             /* auto|kvm|jit|interp[,option...] */
	char *cpu;
	double cpus;              /* how many CPUs' time it may take */
	unsigned vcpus;
	char *memory;             /* "512M" */
	char *firmware;           /* none|bios|uefi|uefi-secure|/path/of/a/rom */
	char *boot;               /* disk,cdrom,net,floppy */
	char *display;            /* none|headless|vnc... */
	char *gpu;                /* std|virtio */
	char *input;              /* ps2|virtio|usb */
	char *sound;              /* none|silent|wav=FILE */
	bool tpm;                 /* a TPM 2.0 */
	char *kernel, *initrd, *append;
	struct def_disk *disks; unsigned ndisks;
	struct def_net *nets; unsigned nnets;
	char **publish; unsigned npublish;
	char *serial;             /* stdio|file:PATH|unix:PATH|none */
	struct def_share *shares; unsigned nshares;
	unsigned vsock;           /* CID, 0: none */
	char *on_error;           /* of disks that do not say */
	char *on_reboot;          /* restart|exit */
	char *clock;              /* host|continue */
	char *gdb;                /* [ADDR:]PORT */
	char *jail;               /* auto|require|none */
	char *trace;              /* names of tracepoints */
	bool debug_exit, test_device;
	char *uuid;
	/* of what runs an image; isolation NULL or "vm": it is a machine with its disks */
	char *isolation;          /* container|microvm|vm|auto */
	char *image, *digest;     /* its name, and the manifest that was meant */
	char **command; unsigned ncommand;
	char **env; unsigned nenv;
	char *user, *workdir, *hostname, *stop_signal;
	char **volumes; unsigned nvolumes;        /* HOST:/INSIDE[:ro], NAME:/INSIDE */
	char **tmpfs; unsigned ntmpfs;            /* /INSIDE[:OPTION,...] */
	char **cap_add; unsigned ncap_add;
	char **cap_drop; unsigned ncap_drop;
	char **devices; unsigned ndevices;        /* /dev/X[:/dev/Y[:rwm]] */
	char *restart;            /* no|always|on-failure[:N]|unless-stopped */
	char *cpuset;             /* "0-1,3" */
	char *io;                 /* bytes a second, each way: "10M" */
	unsigned pids;
	bool tty, interactive, privileged, read_only;
	bool init;                /* a first process before the program (container/reaper.h) */
};

enum isolation { ISOLATION_VM, ISOLATION_CONTAINER, ISOLATION_MICROVM };
enum isolation definition_isolation(const struct definition *d);      /* resolved */
/* Append to a list of strings. */
void definition_append(char ***list, unsigned *n, const char *value);

void definition_free(struct definition *d);
struct definition *definition_copy(const struct definition *d);

/* Append an entry of lists; strings are copied. */
bool definition_add_disk(struct definition *d, const char *text, struct error *err);
bool definition_add_cdrom(struct definition *d, const char *text, struct error *err);
/* "DISK[,iops=N]...": by its file or number. */
bool definition_limit_disk(struct definition *d, const char *text, struct error *err);
struct disk_limits;
bool definition_disk_limits(const struct def_disk *disk, struct disk_limits *out, struct error *err);
bool definition_check_disks(struct definition *d, struct error *err);
bool definition_add_floppy(struct definition *d, const char *text, struct error *err);
bool definition_add_net(struct definition *d, const char *text, struct error *err);
bool definition_add_share(struct definition *d, const char *text, struct error *err);
bool definition_add_publish(struct definition *d, const char *text, struct error *err);

/* Fill what was not said (name excepted) and check every value: afterwards a
 * machine_config can be made of it.  `why` says how the engine was chosen. */
bool definition_resolve(struct definition *d, char why[160], struct error *err);
/* The drive that goes by "cdrom", "cdrom2", "floppy" ..., counted from 1. */
struct def_disk *definition_drive(struct definition *d, const char *word, struct error *err);
bool def_disk_removable(const struct def_disk *disk);
bool instance_name_ok(const char *name, struct error *err);
uint64_t definition_memory(const struct definition *d);   /* bytes; resolved */
bool mac_parse(const char *text, uint8_t mac[6]);

/* YAML with a schema (definition_yaml.c); relative paths in a file count from
 * the file's own directory. */
struct definition *definition_load(const char *path, struct error *err);
struct definition *definition_parse(const char *text, size_t size, const char *what,
				    struct error *err);
char *definition_to_yaml(const struct definition *d, struct error *err);
struct json_t *definition_to_json(const struct definition *d);

#endif
