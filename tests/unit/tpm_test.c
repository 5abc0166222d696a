/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The TPM's registers as a driver uses them, with something behind them that obeys,
 * talks nonsense, or dies. */
#include "board_fixture.h"

#include <sys/socket.h>

#include "device/tpm/crb.h"
#include "lib/fake_tpm.h"

enum { LOC_STATE = 0x00, LOC_CTRL = 0x08, LOC_STS = 0x0c, INTF_ID = 0x30, REQ = 0x40, STS = 0x44, CANCEL = 0x48,
       START = 0x4c, CMD_SIZE = 0x58, CMD_LOW = 0x5c, RSP_LOW = 0x68, DATA = 0x80, FATAL = 1, IDLE = 2 };

static struct fake_tpm fake;

static uint32_t get(unsigned at) { return mmio_in(TPM_CRB_BASE + at); }
static void put(unsigned at, uint32_t v) { mmio_out(TPM_CRB_BASE + at, v); }

static struct machine *machine(void)
{
	struct machine *m = fixture_new(1 * MiB);
	fake_tpm_start(&fake);
	assert_true(tpm_create(m, fake.control, fake.data, NULL));
	return m;
}

static void end(struct machine *m)
{
	fixture_free(m);
	fake_tpm_end(&fake);
}

static void make_ready(void)
{
	put(LOC_CTRL, 1);
	put(REQ, 1);
	assert_int_equal(get(STS), 0);
}

static void put_command(uint32_t size)
{
	static const uint8_t code[4] = { 0, 0, 1, 0x7b };
	uint8_t c[16] = { 0x80, 1 };
	uint32_t n = htobe32(size);
	memcpy(c + 2, &n, 4);
	memcpy(c + 6, code, 4);
	memcpy(c + 10, "secret", 6);
	memory_write(fx.m.memory, TPM_CRB_BASE + DATA, c, sizeof(c));
}

static void until_done(struct machine *m)
{
	for (unsigned i = 0; get(START) && i < 10000; i++) {
		fixture_turn(m);
		usleep(1000);
	}
	assert_int_equal(get(START), 0);
}

static void locality_and_states(void **unused)
{
	struct machine *m = machine();
	assert_int_equal(get(LOC_STATE), 0x80);
	assert_int_equal(get(INTF_ID) & 0x6000f, 0x20001);
	assert_int_equal(get(CMD_SIZE), TPM_CRB_SIZE - DATA);
	assert_int_equal(get(CMD_LOW), TPM_CRB_BASE + DATA);
	assert_int_equal(get(RSP_LOW), TPM_CRB_BASE + DATA);
	put(REQ, 1);                      /* not granted: nothing happens */
	assert_int_equal(get(STS), IDLE);
	put(LOC_CTRL, 1);
	assert_int_equal(get(LOC_STS), 1);
	assert_int_equal(get(LOC_STATE), 0x82);
	put(REQ, 1);
	assert_int_equal(get(STS), 0);
	put(REQ, 2);
	assert_int_equal(get(STS), IDLE);
	put(LOC_CTRL, 2);
	assert_int_equal(get(LOC_STS), 0);
	end(m);
}

static void command_and_reply(void **unused)
{
	struct machine *m = machine();
	char text[6];
	make_ready();
	put_command(16);
	put(START, 1);
	assert_int_equal(get(START), 1);
	put(DATA + 12, 0);                /* too late */
	until_done(m);
	assert_int_equal(get(STS), 0);
	assert_int_equal(get(DATA + 6) & 0xffff, 0);
	memory_read(m->memory, TPM_CRB_BASE + DATA + 10, text, 6);
	assert_memory_equal(text, "secret", 6);
	put(CANCEL, 1);                   /* nothing to cancel */
	assert_int_equal(fake.cancelled, 0);
	end(m);
}

/* As Linux's driver does when a reply takes too long: it cancels, lets the TPM go idle, and later
 * sends another command. The reply that still comes is not that one's. */
static void given_up(void **unused)
{
	struct machine *m = machine();
	make_ready();
	put_command(16);
	put(START, 1);
	put(CANCEL, 1);
	put(REQ, 2);
	assert_int_equal(get(REQ), 2);    /* not yet */
	assert_int_equal(get(STS), 0);
	put(LOC_CTRL, 2);
	put(LOC_CTRL, 1);
	put(REQ, 1);
	assert_int_equal(get(REQ), 3);
	until_done(m);
	assert_int_equal(get(REQ), 0);
	assert_int_equal(get(STS), 0);
	assert_int_equal(memory_load(m->memory, TPM_CRB_BASE + DATA + 8, 2), 0x7b01);      /* the command is still there */
	put_command(16);
	put(START, 1);
	until_done(m);
	assert_int_equal(memory_load(m->memory, TPM_CRB_BASE + DATA + 8, 2), 0);
	put(START, 1);
	put(REQ, 2);
	until_done(m);
	assert_int_equal(get(REQ), 0);
	assert_int_equal(get(STS), IDLE);
	end(m);
}

static void impossible_lengths(void **unused)
{
	static const uint32_t sizes[] = { 0, 9, TPM_CRB_SIZE - DATA + 1, UINT32_MAX };
	struct machine *m = machine();
	make_ready();
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		put_command(sizes[i]);
		put(START, 1);
		assert_int_equal(get(START), 0);
		assert_int_equal(memory_load(m->memory, TPM_CRB_BASE + DATA + 8, 2), 0x4201);   /* 0x142 */
	}
	end(m);
}

static void nonsense_is_fatal(void **unused)
{
	static const uint8_t shorter[10] = { 0x80, 1, 0, 0, 0, 9 }, longer[10] = { 0x80, 1, 0, 1, 0, 0 };
	static const uint8_t *const replies[] = { shorter, longer };
	for (unsigned i = 0; i < ARRAY_SIZE(replies); i++) {
		struct machine *m = machine();
		fake.reply = replies[i];
		fake.reply_size = 10;
		make_ready();
		put_command(16);
		put(START, 1);
		until_done(m);
		assert_int_equal(get(STS), FATAL);
		end(m);
	}
}

static void death_is_fatal(void **unused)
{
	struct machine *m = machine();
	make_ready();
	shutdown(fake.its_data, SHUT_RDWR);
	for (unsigned i = 0; get(STS) != FATAL && i < 1000; i++) {
		fixture_turn(m);
		usleep(1000);
	}
	put_command(16);
	put(START, 1);
	assert_int_equal(get(START), 0);
	assert_int_equal(get(STS), FATAL);
	m->devices->ops->reset(m->devices);
	put(LOC_CTRL, 1);
	assert_int_equal(get(STS), FATAL | IDLE);
	fixture_state_round_trip(m->devices);
	end(m);
}

static void state_travels(void **unused)
{
	struct machine *m = machine();
	struct device *d = m->devices;
	make_ready();
	memcpy(fake.blob, "permanent volatile  saved it", 24);
	struct state *s = state_save_new();
	assert_true(d->ops->xfer(d, s, 1));
	memset(fake.blob, 0, sizeof(fake.blob));
	put(REQ, 2);
	unsigned started = fake.started;
	size_t n;
	const void *bytes = state_bytes(s, &n);
	struct state *l = state_load_new(bytes, n);
	assert_true(d->ops->xfer(d, l, 1));
	assert_memory_equal(fake.blob, "permanent volatile  saved it", 24);
	assert_int_equal(fake.started, started + 1);
	assert_int_equal(get(STS), 0);
	state_free(s);
	state_free(l);
	fixture_state_round_trip(d);
	d->ops->reset(d);
	assert_int_equal(get(STS), IDLE);
	end(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(locality_and_states),
		cmocka_unit_test(command_and_reply),
		cmocka_unit_test(given_up),
		cmocka_unit_test(impossible_lengths),
		cmocka_unit_test(nonsense_is_fatal),
		cmocka_unit_test(death_is_fatal),
		cmocka_unit_test(state_travels),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
