/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UART and keyboard controller: bytes both ways, back-pressure, reset, A20. */
#include "board_fixture.h"

#include <signal.h>
#include <sys/socket.h>

enum { COM1 = 0x3f8 };

static int host;

static struct machine *board(void)
{
	int pair[2];
	struct machine *m = fixture_new(4 * MiB);
	fixture_controllers(m);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	host = pair[0];
	assert_true(ns16550_create(m, 0, pair[1], NULL) && i8042_create(m, NULL));
	fx.config.serial_fd[0] = pair[1];
	clock_resume(m->clock);
	return m;
}

static void free_board(struct machine *m)
{
	int fd = fx.config.serial_fd[0];
	fixture_free(m);
	close(fd);
	close(host);
}

static size_t drain(struct machine *m, char *buf, size_t want)
{
	size_t n = 0;
	for (unsigned i = 0; i < 2000 && n < want; i++) {
		fixture_turn(m);
		ssize_t r = recv(host, buf + n, want - n, MSG_DONTWAIT);
		if (r > 0)
			n += (size_t)r;
		usleep(500);
	}
	return n;
}

static void output_arrives(void **unused)
{
	struct machine *m = board();
	char buf[16];
	for (const char *p = "hello"; *p; p++) {
		assert_true(inb(COM1 + 5) & 0x20);
		outb(COM1, (uint8_t)*p);
	}
	assert_int_equal(drain(m, buf, 5), 5);
	assert_memory_equal(buf, "hello", 5);
	free_board(m);
}

static void input_arrives_in_order(void **unused)
{
	struct machine *m = board();
	char text[64];
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (char)(i + 1);
	outb(COM1 + 2, 0x01);
	assert_int_equal(send(host, text, sizeof(text), 0), sizeof(text));
	for (unsigned got = 0, turns = 0; got < sizeof(text); turns++) {
		assert_in_range(turns, 0, 5000);
		fixture_turn(m);
		while (inb(COM1 + 5) & 1)
			assert_int_equal(inb(COM1), text[got++]);
		usleep(200);
	}
	free_board(m);
}

/* A host that does not read: the guest sees a busy transmitter, no byte is lost. */
static void slow_reader_stops_the_guest(void **unused)
{
	struct machine *m = board();
	static char buf[1 << 22];
	size_t sent = 0;
	for (unsigned idle = 0; idle < 50; ) {
		if (inb(COM1 + 5) & 0x20) {
			outb(COM1, (uint8_t)sent++);
			idle = 0;
			continue;
		}
		fixture_turn(m);
		usleep(1000);
		idle++;
	}
	assert_in_range(sent, 4096, sizeof(buf) - 1);
	assert_int_equal(drain(m, buf, sent), sent);
	for (size_t i = 0; i < sent; i++)
		assert_int_equal((uint8_t)buf[i], (uint8_t)i);
	assert_true(inb(COM1 + 5) & 0x20);
	free_board(m);
}

static void interrupts_and_loopback(void **unused)
{
	struct machine *m = board();
	outb(COM1 + 4, 0x1a);
	assert_int_equal(inb(COM1 + 6) & 0xf0, 0x90);
	outb(COM1, 0x5a);
	assert_int_equal(inb(COM1), 0x5a);
	outb(COM1 + 4, 0x0b);
	outb(COM1 + 1, 0x02);                /* THRE */
	assert_int_equal(inb(COM1 + 2), 0x02);
	assert_int_equal(inb(COM1 + 2), 0x01);
	outb(COM1 + 3, 0x80);
	outb(COM1, 1);
	outb(COM1 + 1, 0);
	assert_int_equal(inb(COM1), 1);
	outb(COM1 + 3, 3);
	fixture_state_round_trip(m->devices->next->next);
	free_board(m);
}

static void hang_up_is_survived(void **unused)
{
	struct machine *m = board();
	shutdown(host, SHUT_RDWR);
	for (unsigned i = 0; i < 10000; i++)
		outb(COM1, 'x');
	for (unsigned i = 0; i < 20; i++) {
		fixture_turn(m);
		usleep(500);
	}
	assert_true(inb(COM1 + 5) & 0x20);
	free_board(m);
}

/* --- keyboard controller ------------------------------------------------------- */
static void keyboard_controller(void **unused)
{
	struct machine *m = board();
	outb(0x64, 0xaa);
	assert_int_equal(inb(0x64) & 1, 1);
	assert_int_equal(inb(0x60), 0x55);
	outb(0x64, 0x60);
	outb(0x60, 0x61);
	outb(0x64, 0x20);
	assert_int_equal(inb(0x60), 0x61);
	outb(0x64, 0xd3);                    /* loop-back to the mouse side */
	outb(0x60, 0xa5);
	assert_int_equal(inb(0x64) & 0x21, 0x21);
	assert_int_equal(inb(0x60), 0xa5);
	outb(0x64, 0xfe);
	assert_int_equal(fx.resets, 1);
	outb(0x92, 1);
	assert_int_equal(fx.resets, 2);
	free_board(m);
}

static void a20_gate(void **unused)
{
	struct machine *m = board();
	assert_int_equal(memory_a20_mask(m->memory), UINT64_MAX);
	outb(0x64, 0xd1);
	outb(0x60, 0xdd);
	assert_int_equal(memory_a20_mask(m->memory), ~0x100000ull);
	outb(0x92, 2);
	assert_int_equal(memory_a20_mask(m->memory), UINT64_MAX);
	assert_int_equal(fx.resets, 0);
	free_board(m);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_arrives),
		cmocka_unit_test(input_arrives_in_order),
		cmocka_unit_test(slow_reader_stops_the_guest),
		cmocka_unit_test(interrupts_and_loopback),
		cmocka_unit_test(hang_up_is_survived),
		cmocka_unit_test(keyboard_controller),
		cmocka_unit_test(a20_gate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
