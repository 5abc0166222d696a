/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Something that speaks swtpm's protocol, in a thread of the test: a command is
 * answered by its own bytes, after the header of a reply; state is a number a blob.
 */
#ifndef TESTS_LIB_FAKE_TPM_H
#define TESTS_LIB_FAKE_TPM_H

#include <pthread.h>
#include "base/util.h"

struct fake_tpm {
	int control, data;        /* for the machine */
	int its_control, its_data;
	pthread_t thread;
	_Atomic unsigned started, cancelled, stopped;
	uint8_t blob[3][8];       /* given last, and what it gives */
	const uint8_t *reply;     /* instead of its own: may be nonsense */
	unsigned reply_size;
};

void fake_tpm_start(struct fake_tpm *t);
void fake_tpm_end(struct fake_tpm *t);

#endif
