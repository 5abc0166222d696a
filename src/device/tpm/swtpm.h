/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two channels to swtpm, the process that is the TPM: commands and their
 * replies on one, requests about it on the other (swtpm's tpm_ioctl.h: big-endian
 * words, one reply each).  It is believed no more than it must be: it handles a
 * guest's bytes.
 */
#ifndef DEVICE_TPM_SWTPM_H
#define DEVICE_TPM_SWTPM_H

#include "base/error.h"
#include "base/util.h"

enum { TPM_HEADER = 10 };         /* tag, length, code: Part 1, 18 */

struct tpm_blob { uint32_t flags, size; uint8_t *data; };
enum { TPM_BLOBS = 3 };           /* permanent, volatile, what SaveState wrote */
#define TPM_BLOB_MAX (1u << 20)

/* The keeper, once: commands will come through `data`. */
bool swtpm_set_data(int control, int data, struct error *err);
/* Power on: replies are at most `buffer` bytes long.  again: from the blobs given. */
bool swtpm_power_on(int control, uint32_t buffer, bool again, struct error *err);
bool swtpm_power_off(int control, struct error *err);
bool swtpm_cancel(int control, struct error *err);
/* All it knows; to be freed. Between power off and on: set. */
bool swtpm_get_blob(int control, unsigned which, struct tpm_blob *b, struct error *err);
bool swtpm_set_blob(int control, unsigned which, const struct tpm_blob *b, struct error *err);

#endif
