/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a resolved definition to descriptors: everything a machine and its
 * helpers need is opened here, in the keeper, with its errors told before
 * anything runs.
 */
#ifndef INSTANCE_OPEN_H
#define INSTANCE_OPEN_H

#include "instance/store.h"
#include "machine/config.h"

struct opened {
	struct machine_config config;     /* net and share descriptors: see helpers.h */
	int serial_host;                  /* the keeper's end of COM1, -1: none */
	int serial_file;                  /* serial file:PATH */
	int serial_listen;                /* serial unix:PATH */
	int share_root[CONFIG_MAX_SHARES];
	int vnc_listen;                   /* where VNC clients come in, -1: none */
	char vnc_password[9];
	int vnc_tls[3];                   /* display/vnc_tls.h; -1: none */
	int tpm_state;                    /* the directory of its state, -1: no TPM */
	int nbd_line[CONFIG_MAX_DISKS];   /* the keeper's ends of NBD disks' lines (redial.h), -1: none */
	int vsock_line;                   /* the keeper's end of a guest's calls (dialer.h), -1: none */
};

bool opened_make(struct opened *o, const struct instance *i, const struct definition *d,
		 int state_fd, struct error *err);
/* The engine of `text`, and what follows its name and a comma. */
void opened_engine(struct machine_config *c, const char *text);
/* /dev/kvm, where config.engine wants it and it is not open. */
bool opened_kvm(struct machine_config *c, struct error *err);
/* Again, what CD and floppy drives hold: it may have been changed since. */
bool opened_media(struct opened *o, const struct instance *i, struct error *err);
/* Close what belongs to the machine process; before the end, no other can be started. */
void opened_close_machine(struct opened *o);
/* The machine's descriptors, for jail_close_fds; returns their number. */
enum { OPENED_MAX_FDS = 216 };
unsigned opened_machine_fds(const struct opened *o, int fds[OPENED_MAX_FDS]);

#endif
