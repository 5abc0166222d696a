/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups of many containers at once, in a parent that comes with the first and goes with the last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "container/cgroup.h"

enum { PEERS = 4, ROUNDS = 150 };

static int broken(const char *what, const struct error *err)
{
	fprintf(stderr, "%s: %s\n", what, err->text);
	return 1;
}

/* Made, filled enough that a process can be in it, and removed. */
static int one_life(const char *path, pid_t member)
{
	struct error err = { 0 };
	struct cgroups c;
	if (!cgroups_find(&c, path, "unused", &err))
		return broken("find", &err);
	int bad = !cgroups_make(&c, &err) ? broken("make", &err) : 0;
	bad = bad || cgroups_join(&c, member, &err) ? bad : broken("join", &err);
	kill(member, SIGKILL);
	waitpid(member, NULL, 0);
	bad = cgroups_remove(&c, &err) ? bad : broken("remove", &err);
	cgroups_free(&c);
	return bad;
}

static pid_t sleeper(void)
{
	pid_t pid = fork();
	while (!pid)
		pause();
	return pid;
}

static void live(const char *top, unsigned peer)
{
	int bad = 0;
	for (unsigned round = 0; round < ROUNDS && !bad; round++) {
		auto_free char *path = xasprintf("%s/abyme/t%u-%u", top, peer, round);
		bad = one_life(path, sleeper());
	}
	_exit(bad);
}

static void remove_top(const char *top)
{
	struct error err = { 0 };
	struct cgroups c;
	assert_true(cgroups_find(&c, top, "unused", &err));
	cgroups_notice(&c);
	assert_true(cgroups_remove(&c, &err));
	cgroups_free(&c);
}

static void parent_comes_and_goes(void **state)
{
	auto_free char *top = xasprintf("/abyme-test-%d", (int)getpid());
	pid_t pid[PEERS];
	bool bad = false;
	if (geteuid() || access("/sys/fs/cgroup", W_OK)) {
		print_message("needs root and control groups that can be written\n");
		skip();
	}
	for (unsigned i = 0; i < PEERS; i++)
		if (!(pid[i] = fork()))
			live(top, i);
	for (unsigned i = 0; i < PEERS; i++) {
		int status;
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		bad |= status != 0;
	}
	remove_top(top);
	assert_false(bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(parent_comes_and_goes) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
