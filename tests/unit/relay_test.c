/* SPDX-License-Identifier: GPL-2.0-or-later */
/* session/relay.h: what passes between a client and a guest's init, and what does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/socket.h"
#include "instance/client.h"
#include "session/relay.h"

/* A relay in a child of its own between two of our sockets. */
struct relayed { int client, guest; pid_t pid; struct frames *heard; };

static struct relayed begin(void)
{
	int a[2], b[2];
	assert_false(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b));
	pid_t pid = fork();
	if (!pid) {
		close(a[0]);
		close(b[0]);
		_exit(relay_main(a[1], b[1]) & 0xff);
	}
	close(a[1]);
	close(b[1]);
	return (struct relayed){ a[0], b[0], pid, xnew(struct frames) };
}

static int end(struct relayed *r)
{
	close(r->client);
	close(r->guest);
	free(r->heard);
	return WEXITSTATUS(wait_child(r->pid));
}

/* The next frame that the client hears; 0: the end. */
static int hear(struct relayed *r, struct frame *f)
{
	int more;
	while (!(more = frames_next(r->heard, f)))
		if (frames_fill(r->heard, r->client) <= 0)
			return 0;
	assert_int_equal(more, 1);
	return f->kind;
}

static void test_a_program(void **state)
{
	struct relayed r = begin();
	struct frames *in = xnew(struct frames);
	struct frame f;
	assert_true(frame_send_u32(r.guest, FRAME_RUNNING, 5) && frame_send(r.guest, FRAME_OUTPUT, "out", 3) &&
		    frame_send(r.client, FRAME_INPUT, "in", 2));
	assert_int_equal(hear(&r, &f), FRAME_RUNNING);
	assert_int_equal(hear(&r, &f), FRAME_OUTPUT);
	assert_memory_equal(f.data, "out", 3);
	while (!frames_next(in, &f))
		assert_true(frames_fill(in, r.guest) > 0);
	assert_int_equal(f.kind, FRAME_INPUT);
	assert_true(frame_send_u32(r.guest, FRAME_EXIT, 0x1207));
	assert_int_equal(hear(&r, &f), FRAME_EXIT);
	assert_int_equal(frame_u32(&f), 7);
	assert_int_equal(hear(&r, &f), 0);
	free(in);
	assert_int_equal(end(&r), 7);
}

/* Each is the end of the session, and nothing of it comes through. */
static void test_what_no_shim_says(void **state)
{
	static const struct { int kind; const char *data; size_t n; bool running; } cases[] = {
		{ FRAME_OUTPUT, "early", 5, false }, { FRAME_EXIT, "\0\0\0", 4, false }, { FRAME_RUNNING, "no", 2, false },
		{ FRAME_START, "{}", 2, true }, { FRAME_INPUT, "x", 1, true }, { FRAME_SIGNAL, "\t\0\0", 4, true }, { FRAME_HELD, "", 0, true },
		{ FRAME_FAILED, "late", 4, true }, { FRAME_RUNNING, "\1\0\0", 4, true }, { FRAME_EXIT, "\1", 1, true }, { 0, "", 0, true },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct relayed r = begin();
		struct frame f;
		if (cases[i].running) {
			assert_true(frame_send_u32(r.guest, FRAME_RUNNING, 5));
			assert_int_equal(hear(&r, &f), FRAME_RUNNING);
		}
		assert_true(frame_send(r.guest, cases[i].kind, cases[i].data, cases[i].n));
		assert_int_equal(hear(&r, &f), 0);
		assert_int_equal(end(&r), 255);
	}
}

static void test_too_long(void **state)
{
	static const uint8_t head[FRAME_HEAD] = { FRAME_FAILED, 0, 0, 0, 1, 0, 1, 0 };      /* 64 KiB and 1 byte */
	struct relayed r = begin();
	struct frame f;
	assert_int_equal(write(r.guest, head, sizeof(head)), sizeof(head));
	assert_int_equal(hear(&r, &f), 0);
	assert_int_equal(end(&r), 255);
}

static void test_a_sentence(void **state)
{
	struct relayed r = begin();
	struct frame f;
	assert_true(frame_send(r.guest, FRAME_FAILED, "no \33[2J\n\xff way", 12));
	assert_int_equal(hear(&r, &f), FRAME_FAILED);
	assert_int_equal(f.n, 12);
	assert_memory_equal(f.data, "no ?[2J?? way", 12);
	end(&r);
}

/* A client that does not read holds up the guest, not the other direction. */
static void test_both_ways(void **state)
{
	static char block[FRAME_MAX];
	struct relayed r = begin();
	struct frames *in = xnew(struct frames);
	struct frame f;
	unsigned sent = 0;
	assert_true(frame_send_u32(r.guest, FRAME_RUNNING, 5));
	fcntl(r.guest, F_SETFL, O_NONBLOCK);
	while (frame_send(r.guest, FRAME_OUTPUT, block, sizeof(block)) && sent < 1000)
		sent++;
	assert_in_range(sent, 1, 999);
	fcntl(r.guest, F_SETFL, 0);
	assert_true(frame_send(r.client, FRAME_INPUT, "still", 5));
	while (!frames_next(in, &f))
		assert_true(frames_fill(in, r.guest) > 0);
	assert_int_equal(f.n, 5);
	free(in);
	end(&r);
}

/* ---- requests ---- */

static int ask(const void *reply, size_t n, char **said, struct error *err)
{
	static const char *const words[] = { "ps", "program", NULL };
	int pair[2];
	assert_false(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	assert_int_equal(write(pair[1], reply, n), n);
	shutdown(pair[1], SHUT_WR);
	int status = relay_runtime(pair[0], words, 1, said, err);
	close(pair[0]);
	close(pair[1]);
	return status;
}

static void test_requests(void **state)
{
	static const char good[] = "o\0\0\0\3\0\0\0abcx\0\0\0\4\0\0\0\2\0\0", bad[] = "r\0\0\0\4\0\0\0\2\0\0";
	struct error err = { 0 };
	char *said = NULL;
	assert_int_equal(ask(good, sizeof(good), &said, &err), 2);
	assert_string_equal(said, "abc");
	free(said);
	assert_int_equal(ask(bad, sizeof(bad), &said, &err), -1);
	assert_non_null(strstr(err.text, "nonsense"));
	free(said);
	assert_int_equal(ask(good, 5, &said, &err), -1);
	assert_non_null(strstr(err.text, "does not answer"));
	free(said);
}

/* ---- who waits with a time-out, is stopped and goes on, goes on waiting: signal(7) ---- */

static char state_of(pid_t pid)
{
	char path[40], text[256] = "", *end;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	end = strrchr(text, ')');
	assert_non_null(end);
	return end[2];
}

static void await_state(pid_t pid, char state)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	for (char now; (now = state_of(pid)) != state; nanosleep(&pause, NULL))
		assert_int_not_equal(now, 'Z');
}

static void stop_and_go_on(pid_t pid)
{
	await_state(pid, 'S');
	kill(pid, SIGSTOP);
	await_state(pid, 'T');
	kill(pid, SIGCONT);
	await_state(pid, 'S');
}

static void say(int fd, const char *text)
{
	assert_true(fd_write_full(fd, text, strlen(text)));
}

static void test_a_stopped_caller(void **state)
{
	int pair[2];
	char line[10];
	assert_false(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	pid_t pid = fork();
	if (!pid)
		_exit(relay_connect(pair[1], 7, 600, NULL) && relay_wait_held(pair[1], 600, NULL) ? 0 : 1);
	close(pair[1]);
	assert_true(fd_read_full(pair[0], line, sizeof(line)));
	assert_memory_equal(line, "CONNECT 7\n", sizeof(line));
	stop_and_go_on(pid);
	say(pair[0], "OK 1\n");
	stop_and_go_on(pid);
	assert_true(frame_send(pair[0], FRAME_HELD, "", 0));
	assert_int_equal(wait_child(pid), 0);
	close(pair[0]);
}

static void test_a_stopped_client(void **state)
{
	char folder[] = "/tmp/relay-XXXXXX", line[200];
	assert_non_null(mkdtemp(folder));
	struct instance i = { .name = folder, .dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	int listener = unix_listen_at(i.dir, "control.sock", SOCK_STREAM, 1);
	assert_true(listener >= 0);
	pid_t pid = fork();
	if (!pid)
		_exit(control_call(&i, "do", -1, 600, NULL) ? 0 : 1);
	auto_close int fd = accept(listener, NULL, NULL);
	stop_and_go_on(pid);
	say(fd, "{\"hello\": 1}\n");
	assert_true(read(fd, line, sizeof(line)) > 0);
	stop_and_go_on(pid);
	say(fd, "{\"return\": {\"");
	stop_and_go_on(pid);
	say(fd, "a\": 2}}\n");
	assert_int_equal(wait_child(pid), 0);
	close(listener);
	unlinkat(i.dir, "control.sock", 0);
	close(i.dir);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_a_program), cmocka_unit_test(test_what_no_shim_says),
		cmocka_unit_test(test_too_long), cmocka_unit_test(test_a_sentence), cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_requests), cmocka_unit_test(test_a_stopped_caller), cmocka_unit_test(test_a_stopped_client) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
