/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a machine is built from: the parsed definition, with every file already
 * opened (descriptors passed by the keeper), so that the jailed machine process
 * opens nothing itself.  Owned by whoever parsed it; outlives the machine.
 */
#ifndef MACHINE_CONFIG_H
#define MACHINE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include "disk/disk.h"
#include "net/ring.h"

enum { CONFIG_MAX_DISKS = 16, CONFIG_MAX_SHARES = 8, CONFIG_MAX_NETS = 4 };

enum { CONFIG_MAX_BACKING = 6 };     /* files below a qcow2 disk */
/* fd -1: a drive without a medium. */
struct disk_config { char *path; int fd; bool readonly; char *format;
	int backing_fd[CONFIG_MAX_BACKING]; unsigned nbacking; int data_fd;
	char *bus; /* virtio, scsi, ahci, nvme, ide */ bool cdrom;
	enum disk_on_error on_error; struct disk_limits limits;
	uint64_t nbd_size; uint16_t nbd_flags; int nbd_line; unsigned nbd_patience; /* format "nbd": disk/disk.h */ };
/* fd: SOCK_SEQPACKET to the helper, or -1 and the rings of a network's port. */
struct net_config { int fd; uint8_t mac[6]; char *model; /* virtio, e1000 */ struct ring_fds ring;
	int rom_fd; /* for booting from it, -1: none */ };
struct share_config { char *tag; int fd; /* to the 9p helper */ bool readonly; };

struct machine_config {
	char *name;
	char *definition;             /* text that travels in state files; may be NULL */
	char *board;                  /* "pc" (also NULL) or "microvm" */
	char *cpu;                    /* model name */
	char *engine;                 /* "jit", "interp": already resolved */
	char *engine_options;         /* what follows the engine's name and a comma, or NULL */
	unsigned vcpus;
	uint64_t memory;              /* bytes */
	int kernel_fd, initrd_fd;     /* -1: none */
	char *kernel_path, *initrd_path;   /* for messages */
	char *append;
	int firmware_fd;              /* ROM image; -1: the monitor starts the kernel itself */
	char *firmware_path;
	char *boot;                   /* "disk,cdrom,net": what firmware tries, NULL: its own order */
	int tpm_fd, tpm_data_fd;      /* swtpm's control and data channels (device/tpm/), -1: none */
	bool sound;                   /* a sound card */
	int sound_fd;                 /* a WAV file of what it plays; -1: nobody listens */
	bool screen;                  /* a VGA, or: */
	bool gpu_virtio;
	bool input_virtio, input_usb; /* a keyboard and a tablet of that kind beside the PS/2 ones */
	int viewer_fd, viewer_memory_fd;   /* who shows it (display/viewer.h); -1: nobody */
	int video_rom_fd;             /* its BIOS; -1: none */
	int nvram_fd;                 /* its variable store, read and write; -1: none */
	unsigned ndisks; struct disk_config disk[CONFIG_MAX_DISKS];
	unsigned nnets; struct net_config net[CONFIG_MAX_NETS];
	unsigned nshares; struct share_config share[CONFIG_MAX_SHARES];
	uint64_t vsock_cid;           /* 0: none */
	int vsock_fd;                 /* listening unix socket: the host calls the guest */
	int vsock_dial_fd;            /* the keeper calls for the guest (device/virtio/vsock_dial.c) */
	int serial_fd[2];             /* COM1, COM2: stream descriptors (read+write), -1: none */
	int console_fd;               /* virtio-console, -1: none */
	int control_fd;               /* listening unix socket of the control protocol, -1 */
	int kvm_fd;                   /* /dev/kvm, for engine kvm in a jail; -1: open it */
	int pagemap_fd;               /* the machine process's own; -1: none */
	int gdb_fd;                   /* debug channel to abyme-gdb (machine/debug.h), -1: none */
	int state_fd;                 /* resume from this file, -1: power on */
	bool debug_exit, test_device;
	bool reboot_exits;            /* --on-reboot exit */
	bool clock_continue;          /* --clock continue */
	uint8_t uuid[16], vmgenid[16];
};

#endif
