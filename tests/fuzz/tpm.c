/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile guest in front of the TPM's registers and a hostile swtpm behind them: the
 * input is a list of accesses, between which bytes of it come as replies.
 */
#include "board_fixture.h"

#include <sys/socket.h>

#include "base/log.h"
#include "device/tpm/crb.h"
#include "lib/fuzz.h"

static struct machine *m;
static int theirs[2];

/* A swtpm that has agreed to start, once: stop, buffer size, start, each granted. What it
 * will say to further requests is there already, and then no more. */
static void start(const uint8_t *more, size_t n)
{
	static const uint8_t yes[4 + 16 + 4];
	int control[2], data[2];
	assert_true(!socketpair(AF_UNIX, SOCK_STREAM, 0, control) && !socketpair(AF_UNIX, SOCK_STREAM, 0, data));
	theirs[0] = control[1];
	theirs[1] = data[1];
	assert_true(fd_write_full(theirs[0], yes, sizeof(yes)));
	m = fixture_new(1 * MiB);
	assert_true(tpm_create(m, control[0], data[0], NULL));
	assert_true(fd_write_full(theirs[0], more, n) && !shutdown(theirs[0], SHUT_WR));
	fx.config.tpm_fd = control[0];
	fx.config.tpm_data_fd = data[0];
}

static void finish(void)
{
	int fds[] = { theirs[0], theirs[1], fx.config.tpm_fd, fx.config.tpm_data_fd };
	fixture_free(m);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static void step(const uint8_t *p, const uint8_t *more, size_t left)
{
	static const uint8_t at[] = { 0, 8, 0x0c, 0x30, 0x40, 0x44, 0x48, 0x4c, 0x58, 0x80, 0x84, 0x88, 0xf8 };
	uint64_t gpa = TPM_CRB_BASE + at[p[1] % ARRAY_SIZE(at)];
	size_t n = MIN((size_t)p[1] * 4, left);
	switch (p[0] & 7) {
	case 0: case 1:
		memory_store(m->memory, gpa, le32_get(p + 2), 1u << (p[0] >> 6));
		break;
	case 2:
		memory_load(m->memory, TPM_CRB_BASE + le16_get(p + 2) % TPM_CRB_SIZE, 1u << (p[0] >> 6));
		break;
	case 3: case 4:
		send(theirs[1], more, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 5:
		memory_write(m->memory, TPM_CRB_BASE + 0x80, more, MIN(n, (size_t)0xf80));
		break;
	case 6:
		memory_store(m->memory, TPM_CRB_BASE + 8, 1, 4);
		memory_store(m->memory, TPM_CRB_BASE + 0x40, 1, 4);
		memory_store(m->memory, TPM_CRB_BASE + 0x4c, 1, 4);
		break;
	default:
		fixture_turn(m);
	}
}

static void round_trip(struct device *d)
{
	struct state *s = state_save_new();
	size_t n;
	d->ops->xfer(d, s, d->ops->version);
	const void *bytes = state_bytes(s, &n);
	struct state *l = state_load_new(bytes, n);
	d->ops->xfer(d, l, d->ops->version);
	state_free(l);
	state_free(s);
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	static const uint8_t command[] = { 0, 6, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 1, 2 };
	if (n >= 2)
		return 0;
	memcpy(buf, command, sizeof(command));
	buf[18] = (uint8_t)(12 + n * 200);
	return sizeof(command);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	size_t answers = size ? MIN((size_t)data[0], size) : 0;
	log_setup(2, LOG_ERROR);
	start(data, answers);
	data += answers;
	size -= answers;
	for (const uint8_t *end = data + size; end - data >= 6; data += 6)
		step(data, data + 6, (size_t)(end - data) - 6);
	shutdown(theirs[1], SHUT_WR);
	m->devices->ops->drain(m->devices);
	round_trip(m->devices);
	m->devices->ops->reset(m->devices);
	finish();
}
