/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TPM 2.0 with a Command Response Buffer (crb.c). */
#ifndef DEVICE_TPM_CRB_H
#define DEVICE_TPM_CRB_H

#include "base/error.h"

struct machine;

#define TPM_CRB_BASE 0xfed40000ull
enum { TPM_CRB_SIZE = 0x1000, TPM_CRB_CONTROL = 0x40, TPM_LOG_SIZE = 0x10000 };

/* Its process's two channels, which stay the caller's. */
bool tpm_create(struct machine *m, int control, int data, struct error *err);

#endif
