/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fuzz target: tests/fuzz/NAME.c defines these two; tests/lib/fuzz.c has the
 * main and mutates the samples.
 *     build/fuzz/NAME [SECONDS [SEED]]     run, from a printed seed
 *     build/fuzz/NAME FILE...              run these inputs once
 * A crash leaves its input in NAME.crash and ends with status 1.
 */
#ifndef TESTS_LIB_FUZZ_H
#define TESTS_LIB_FUZZ_H

#include <stddef.h>
#include <stdint.h>

enum { FUZZ_MAX = 1 << 16 };

/* The n-th valid input (at most FUZZ_MAX bytes); 0: no more. */
size_t fuzz_sample(unsigned n, uint8_t *buf);
/* Must neither crash nor hang, whatever the bytes. */
void fuzz_one(const uint8_t *data, size_t size);

#endif
