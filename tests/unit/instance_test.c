/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Definitions from options and YAML, the store of instances, the console's hub. */
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

#include "instance/console.h"
#include "instance/store.h"
#include "net/user.h"

static void publish_forms(void **state)
{
	static const char *const bad[] = { "", "80", ":80", "80:", "0:80", "70000:80", "80:80/icmp", "host:1:2", "1:2:3:4" };
	struct publish p;
	assert_true(publish_parse("8080:80", &p, NULL));
	assert_string_equal(p.host_addr, "127.0.0.1");
	assert_int_equal(p.host_port, 8080);
	assert_int_equal(p.guest_port, 80);
	assert_true(publish_parse("0.0.0.0:53:5353/udp", &p, NULL));
	assert_true(p.udp);
	assert_string_equal(p.host_addr, "0.0.0.0");
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(publish_parse(bad[i], &p, NULL));
}

static struct definition *fresh(void)
{
	struct definition *d = xnew(struct definition);
	d->version = DEFINITION_VERSION;
	return d;
}

static void disk_names_hold_commas(void **state)
{
	struct definition *d = fresh();
	assert_true(definition_add_disk(d, "a,,b,,,readonly,format=raw", NULL));
	assert_string_equal(d->disks[0].file, "a,b,");
	assert_true(d->disks[0].readonly);
	assert_false(definition_add_disk(d, ",readonly", NULL));
	definition_free(d);
}

static void share_tag_is_last(void **state)
{
	struct definition *d = fresh();
	assert_true(definition_add_share(d, "/a:b:tag,readonly", NULL));
	assert_string_equal(d->shares[0].dir, "/a:b");
	assert_string_equal(d->shares[0].tag, "tag");
	definition_free(d);
}

static void mac_addresses(void **state)
{
	uint8_t mac[6];
	assert_true(mac_parse("02:00:5e:00:53:af", mac));
	assert_int_equal(mac[5], 0xaf);
	assert_false(mac_parse("01:00:5e:00:53:af", mac));
	assert_false(mac_parse("02:00:5e:00:53", mac));
	assert_false(mac_parse("02:00:5e:00:53:zz", mac));
}

static void names_stay_in_their_directory(void **state)
{
	static const char *const bad[] = { "", ".", "..", "../x", "a/b", ".hidden", "-x", "a b", "a\n" };
	assert_true(instance_name_ok("web-1.test_2", NULL));
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(instance_name_ok(bad[i], NULL));
}

/* What a definition says survives YAML; what is made up stays. */
static void yaml_round_trip(void **state)
{
	struct error err = { 0 };
	char why[160];
	struct definition *d = fresh();
	assert_true(definition_add_net(d, "user", &err));
	assert_true(definition_add_publish(d, "8080:80", &err));
	d->kernel = xstrdup("/vmlinuz");
	d->append = xstrdup("a=\"b\": #c");
	assert_true(definition_resolve(d, why, &err));
	struct definition *e = definition_copy(d);
	assert_non_null(e);
	assert_string_equal(e->append, d->append);
	assert_string_equal(e->uuid, d->uuid);
	assert_string_equal(e->nets[0].mac, d->nets[0].mac);
	assert_string_equal(e->publish[0], "8080:80");
	definition_free(e);
	definition_free(d);
}

static void yaml_is_checked(void **state)
{
	static const char *const bad[] = { "", "version: 2", "version: 1\nx: 1", "version: 1\nvcpus: many", "[1]",
					   "version: 1\ndisks:\n- readonly: true\n", "version: 1\nversion: 1\n" };
	for (unsigned i = 0; i + 1 < ARRAY_SIZE(bad); i++) {
		struct error err = { 0 };
		assert_null(definition_parse(bad[i], strlen(bad[i]), "test", &err));
		assert_non_null(strstr(err.text, "'test'"));
	}
}

/* ---- the store ---- */

static char store_path[] = "/tmp/abyme-store-XXXXXX";

static int make_store(void **state)
{
	return !mkdtemp(store_path) || setenv("ABYME_STATE", store_path, 1);
}

static int drop_store(void **state)
{
	auto_free char *command = xasprintf("rm -rf '%s'", store_path);
	return system(command) != 0;
}

static void store_life(void **state)
{
	struct error err = { 0 };
	struct definition *d = fresh();
	d->memory = xstrdup("64M");
	struct instance *i = instance_create("one", d, &err);
	assert_non_null(i);
	assert_null(instance_create("one", d, &err));
	assert_null(instance_open("two", &err));
	struct definition *e = instance_definition(i, &err);
	assert_string_equal(e->memory, "64M");
	assert_int_equal(instance_keeper(i), 0);
	assert_true(instance_remove(i, &err));
	assert_null(instance_open("one", &err));
	instance_close(i);
	definition_free(e);
	definition_free(d);
}

/* The lock tells who holds it, keeps others out, and ends with its holder. */
static void lock_has_a_holder(void **state)
{
	struct error err = { 0 };
	struct definition *d = fresh();
	struct instance *i = instance_create("locked", d, &err);
	int pair[2], status;
	char c;
	assert_int_equal(pipe(pair), 0);
	pid_t pid = fork();
	if (pid == 0) {
		c = instance_lock(i, NULL) ? 'y' : 'n';
		fd_write_full(pair[1], &c, 1);
		pause();
	}
	assert_true(fd_read_full(pair[0], &c, 1));
	assert_int_equal(c, 'y');
	assert_int_equal(instance_keeper(i), pid);
	assert_false(instance_lock(i, &err));
	assert_false(instance_remove(i, &err));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_int_equal(instance_keeper(i), 0);
	assert_true(instance_remove(i, &err));
	instance_close(i);
	definition_free(d);
}

/* ---- the console ---- */

static void console_reaches_all(void **state)
{
	struct loop *l = loop_new(NULL);
	int machine[2], client[2];
	char buf[16] = "";
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, machine), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, client), 0);
	struct console *c = console_new(l, machine[0], -1, -1);
	assert_true(fd_write_full(machine[1], "early ", 6));
	console_drain(c);
	console_attach(c, client[0], true);      /* gets what was said before */
	assert_true(fd_write_full(machine[1], "late", 4));
	console_drain(c);
	assert_int_equal(read(client[1], buf, sizeof(buf)), 10);
	assert_memory_equal(buf, "early late", 10);
	console_free(c);
	loop_free(l);
	close(machine[1]);
	close(client[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(publish_forms), cmocka_unit_test(disk_names_hold_commas),
		cmocka_unit_test(share_tag_is_last), cmocka_unit_test(mac_addresses),
		cmocka_unit_test(names_stay_in_their_directory), cmocka_unit_test(yaml_round_trip),
		cmocka_unit_test(yaml_is_checked), cmocka_unit_test(store_life),
		cmocka_unit_test(lock_has_a_holder), cmocka_unit_test(console_reaches_all),
	};
	return cmocka_run_group_tests(tests, make_store, drop_store);
}
