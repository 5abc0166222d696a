/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scopes of systemd: their names, their properties, and the talk with a manager that this test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/cgroup.h"
#include "lib/fake_systemd.h"

/* ---- names ---- */

static const struct { const char *path, *id; bool user; const char *slice, *unit; } names[] = {
	{ NULL, "web", false, "system.slice", "abyme-web.scope" },
	{ NULL, "web", true, "user.slice", "abyme-web.scope" },
	{ "", "a+b", false, "system.slice", "abyme-a\\x2bb.scope" },
	{ "machine.slice:libpod:0123", "x", false, "machine.slice", "libpod-0123.scope" },
	{ "kubepods-burstable-pod1_2.slice:cri-containerd:77", "x", false, "kubepods-burstable-pod1_2.slice", "cri-containerd-77.scope" },
	{ "::name", "x", true, "user.slice", "name.scope" },
	{ ":docker:n", "x", false, "system.slice", "docker-n.scope" },
	{ "-.slice:p:n", "x", false, "-.slice", "p-n.scope" },
	{ "a\\x20b.slice:p:n", "x", false, "a\\x20b.slice", "p-n.scope" },
	{ ":p q:a/b\\c@d", "x", false, "system.slice", "p\\x20q-a\\x2fb\\x5cc\\x40d.scope" },
	{ ":.p:../up", "x", false, "system.slice", "\\x2ep-\\x2e.\\x2fup.scope" },
	{ ":p:\xc3\xa9", "x", false, "system.slice", "p-\\xc3\\xa9.scope" },
};

static void good_names(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct scope s;
		struct error err = { 0 };
		if (!scope_name(&s, names[i].path, names[i].id, names[i].user, &err))
			fail_msg("%s: %s", names[i].path, err.text);
		assert_string_equal(s.slice, names[i].slice);
		assert_string_equal(s.unit, names[i].unit);
		assert_int_equal(s.user, names[i].user);
		scope_free(&s);
	}
}

static void bad_names(void **state)
{
	static const struct { const char *path, *says; } bad[] = {
		{ "/machine/x", "SLICE:PREFIX:NAME" }, { "a:b", "SLICE:PREFIX:NAME" }, { "a.slice:b:c:d", "SLICE:PREFIX:NAME" },
		{ "a.slice:b:", "missing" }, { "a:b:c", "slice" }, { ".slice:b:c", "slice" }, { "a--b.slice:b:c", "slice" },
		{ "-a.slice:b:c", "slice" }, { "a-.slice:b:c", "slice" }, { "a/../b.slice:b:c", "slice" }, { "a@b.slice:b:c", "slice" },
		{ "..slice:b:c", "slice" },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct scope s;
		struct error err = { 0 };
		assert_false(scope_name(&s, bad[i].path, "id", false, &err));
		if (!strstr(err.text, bad[i].says) || s.unit || s.slice)
			fail_msg("%s: %s", bad[i].path, err.text);
	}
}

static void longest_name(void **state)
{
	struct error err = { 0 };
	struct scope s;
	char path[300] = "::";
	memset(path + 2, 'n', 255 - strlen(".scope"));
	assert_true(scope_name(&s, path, "id", false, &err));
	assert_int_equal(strlen(s.unit), 255);
	scope_free(&s);
	strcat(path, "n");
	assert_false(scope_name(&s, path, "id", false, &err));
	assert_non_null(strstr(err.text, "255"));
}

/* ---- properties ---- */

static void put(char *text, size_t room, const struct scope_property *v)
{
	size_t n = strlen(text);
	n += (size_t)snprintf(text + n, room - n, "%s%s=", n ? " " : "", v->name);
	if (!strcmp(v->type, "s"))
		n += (size_t)snprintf(text + n, room - n, "'%s'", v->text);
	else if (strlen(v->type) == 1)
		n += (size_t)snprintf(text + n, room - n, v->number == UINT64_MAX ? "max" : "%s%" PRIu64, *v->type == 't' ? "" : v->type,
			v->number);
	for (unsigned i = 0; i < v->bytes.n; i++)
		n += (size_t)snprintf(text + n, room - n, "%02x", v->bytes.v[i]);
	for (unsigned i = 0; i < v->strings.n; i++)
		n += (size_t)snprintf(text + n, room - n, "'%s'", v->strings.v[i]);
	for (unsigned i = 0; i < v->devices.n; i++)
		n += (size_t)snprintf(text + n, room - n, "%s@%" PRIu64, v->devices.v[i].path, v->devices.v[i].value);
}

/* "linux.resources" as JSON to "NAME=value ..."; NULL, and the error. */
static const char *translate(const char *resources, const char *cpu_max, bool v1, struct error *err)
{
	static char text[2048];
	struct arena a = { 0 };
	struct scope_properties p = { .arena = &a, .v1 = v1 };
	const struct json *v = json_parse(&a, resources, strlen(resources), "test", err);
	const struct spec_resources *r = v ? spec_resources_parse(&a, v, err) : NULL;
	bool ok = r && scope_resources(&p, r, cpu_max, err);
	*text = 0;
	for (unsigned i = 0; i < p.n; i++)
		put(text, sizeof(text), &p.v[i]);
	arena_free(&a);
	return ok ? text : NULL;
}

static const struct { const char *resources, *now, *properties; bool v1; } limits[] = {
	{ "{}", NULL, "" },
	{ "{\"memory\":{\"limit\":67108864,\"reservation\":1048576,\"swap\":100663296}}", NULL,
		"MemoryMax=67108864 MemoryLow=1048576 MemorySwapMax=33554432" },
	{ "{\"memory\":{\"limit\":-1,\"swap\":-1}}", NULL, "MemoryMax=max MemorySwapMax=max" },
	{ "{\"memory\":{\"limit\":0,\"swap\":0}}", NULL, "" },
	{ "{\"cpu\":{\"quota\":20000,\"period\":100000}}", NULL, "CPUQuotaPerSecUSec=200000 CPUQuotaPeriodUSec=100000" },
	{ "{\"cpu\":{\"quota\":12345,\"period\":50000}}", NULL, "CPUQuotaPerSecUSec=250000 CPUQuotaPeriodUSec=50000" },
	{ "{\"cpu\":{\"quota\":150000}}", NULL, "CPUQuotaPerSecUSec=1500000 CPUQuotaPeriodUSec=100000" },
	{ "{\"cpu\":{\"quota\":-1}}", "20000 50000", "CPUQuotaPerSecUSec=max CPUQuotaPeriodUSec=50000" },
	{ "{\"cpu\":{\"quota\":10000}}", "20000 50000", "CPUQuotaPerSecUSec=200000 CPUQuotaPeriodUSec=50000" },
	{ "{\"cpu\":{\"period\":40000}}", "20000 50000", "CPUQuotaPerSecUSec=500000 CPUQuotaPeriodUSec=40000" },
	{ "{\"cpu\":{\"period\":40000}}", "max 100000", "CPUQuotaPerSecUSec=max CPUQuotaPeriodUSec=40000" },
	{ "{\"cpu\":{\"quota\":9223372036854775807,\"period\":1}}", NULL, "CPUQuotaPerSecUSec=max CPUQuotaPeriodUSec=1" },
	{ "{\"cpu\":{\"shares\":1024}}", NULL, "CPUWeight=39" },
	{ "{\"cpu\":{\"shares\":2}}", NULL, "CPUWeight=1" },
	{ "{\"cpu\":{\"shares\":262144}}", NULL, "CPUWeight=10000" },
	{ "{\"cpu\":{\"shares\":1024,\"idle\":1}}", NULL, "CPUWeight=0" },
	{ "{\"cpu\":{\"cpus\":\"0-2,9\",\"mems\":\"0\"}}", NULL, "AllowedCPUs=0702 AllowedMemoryNodes=01" },
	{ "{\"pids\":{\"limit\":33}}", NULL, "TasksMax=33" },
	{ "{\"pids\":{\"limit\":-1}}", NULL, "TasksMax=max" },
	{ "{\"blockIO\":{\"weight\":500,\"throttleReadBpsDevice\":[{\"major\":254,\"minor\":0,\"rate\":1048576}],"
		"\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":16,\"rate\":7}]}}", NULL,
		"IOWeight=4950 IOReadBandwidthMax=/dev/block/254:0@1048576 IOWriteIOPSMax=/dev/block/8:16@7" },
	{ "{\"memory\":{\"limit\":1},\"unified\":{\"memory.max\":\"4096\",\"memory.high\":\"max\",\"pids.max\":\"9\",\"cpu.max\":\"max\","
		"\"cpuset.cpus\":\"1\",\"memory.oom.group\":\"1\"}}", NULL,
		"MemoryMax=4096 MemoryHigh=max TasksMax=9 CPUQuotaPerSecUSec=max CPUQuotaPeriodUSec=100000 AllowedCPUs=02" },
	{ "{\"memory\":{\"limit\":67108864,\"reservation\":1048576,\"swap\":100663296},\"blockIO\":{\"weight\":500},\"pids\":{\"limit\":9},"
		"\"cpu\":{\"quota\":20000,\"shares\":512,\"cpus\":\"0\"}}", NULL,
		"CPUShares=512 CPUQuotaPerSecUSec=200000 CPUQuotaPeriodUSec=100000 BlockIOWeight=500 TasksMax=9 MemoryLimit=67108864", true },
};

static void limits_are_properties(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
		struct error err = { 0 };
		const char *text = translate(limits[i].resources, limits[i].now, limits[i].v1, &err);
		if (!text || strcmp(text, limits[i].properties))
			fail_msg("%s: %s%s", limits[i].resources, text ? text : "", err.text);
	}
}

static void bad_limits(void **state)
{
	static const char *const bad[] = {
		"{\"memory\":{\"swap\":4096}}", "{\"memory\":{\"limit\":8192,\"swap\":4096}}", "{\"cpu\":{\"cpus\":\"x\"}}",
		"{\"cpu\":{\"cpus\":\"3-1\"}}", "{\"cpu\":{\"cpus\":\"1-\"}}", "{\"cpu\":{\"cpus\":\"-1\"}}", "{\"cpu\":{\"cpus\":\"8192\"}}",
		"{\"cpu\":{\"cpus\":\"0-99999999999999999999\"}}", "{\"cpu\":{\"cpus\":\"1 2\"}}", "{\"unified\":{\"cpu.max\":\"a b\"}}",
		"{\"unified\":{\"cpu.max\":\"1 2 3\"}}", "{\"unified\":{\"memory.max\":\"lots\"}}", "{\"unified\":{\"cpuset.cpus\":\"0,,1\"}}",
	};
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = { 0 };
		if (translate(bad[i], NULL, false, &err) || !err.text[0])
			fail_msg("%s was taken", bad[i]);
	}
}

/* Version 1 had it, version 2 has not: said, not left out. */
static void what_version_2_lacks(void **state)
{
	static const char *const gone[] = { "{\"memory\":{\"swappiness\":0}}", "{\"memory\":{\"disableOOMKiller\":true}}",
		"{\"cpu\":{\"realtimeRuntime\":5}}", "{\"network\":{\"classID\":5}}", "{\"blockIO\":{\"leafWeight\":50}}" };
	const struct cgroups c = { .v2 = true };
	for (unsigned i = 0; i < ARRAY_SIZE(gone); i++) {
		struct error err = { 0 };
		struct arena a = { 0 };
		const struct json *v = json_parse(&a, gone[i], strlen(gone[i]), "test", &err);
		const struct spec_resources *r = v ? spec_resources_parse(&a, v, &err) : NULL;
		assert_non_null(r);
		if (cgroups_limit(&c, r, true, &err) || !strstr(err.text, "version 2"))
			fail_msg("%s: %s", gone[i], err.text);
		arena_free(&a);
	}
}

static const char *annotate(const char *key, const char *value, struct error *err)
{
	static char text[512];
	struct arena a = { 0 };
	struct scope_properties p = { .arena = &a };
	struct pair pair = { key, value };
	bool ok = scope_annotations(&p, &(struct pairs){ &pair, 1 }, err);
	*text = 0;
	for (unsigned i = 0; i < p.n; i++)
		put(text, sizeof(text), &p.v[i]);
	arena_free(&a);
	return ok ? text : NULL;
}

#define KEY "org.systemd.property."
static void annotations(void **state)
{
	static const struct { const char *key, *value, *property; } good[] = {
		{ "com.example", "nonsense", "" }, { KEY "Delegate", " false ", "Delegate=b0" }, { KEY "Flag", "true", "Flag=b1" },
		{ KEY "KillMode", "'mixed'", "KillMode='mixed'" }, { KEY "Text", "\"a\\\"b\"", "Text='a\"b'" },
		{ KEY "After", "['a.service', 'b.service']", "After='a.service''b.service'" }, { KEY "After", "[]", "After=" },
		{ KEY "KillSignal", "15", "KillSignal=i15" }, { KEY "N", "uint32 5", "N=u5" }, { KEY "N", "int64 5", "N=x5" },
		{ KEY "TimeoutStopUSec", "uint64 90000000", "TimeoutStopUSec=90000000" },
		{ KEY "TimeoutStopSec", "90", "TimeoutStopUSec=90000000" },
	};
	static const struct { const char *key, *value; } bad[] = {
		{ KEY, "1" }, { KEY "A-B", "1" }, { KEY "N", "" }, { KEY "N", "uint32 4294967296" }, { KEY "N", "'open" },
		{ KEY "N", "word" }, { KEY "N", "1 2" }, { KEY "N", "['a' 'b']" }, { KEY "N", "['a', 1]" }, { KEY "XSec", "'long'" },
		{ KEY "XSec", "-1" }, { KEY "N", "uint64 -1" }, { KEY "N", "truex" },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		struct error err = { 0 };
		const char *text = annotate(good[i].key, good[i].value, &err);
		if (!text || strcmp(text, good[i].property))
			fail_msg("%s %s: %s%s", good[i].key, good[i].value, text ? text : "", err.text);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = { 0 };
		if (annotate(bad[i].key, bad[i].value, &err) || !err.text[0])
			fail_msg("%s %s was taken", bad[i].key, bad[i].value);
	}
}

/* ---- the talk ---- */

static const struct scope scope = { (char *)"test.slice", (char *)"abyme-one.scope", false };

static bool start(const char *resources, struct error *err)
{
	struct arena a = { 0 };
	struct scope_properties p = { .arena = &a };
	const struct json *v = json_parse(&a, resources, strlen(resources), "test", err);
	const struct spec_resources *r = v ? spec_resources_parse(&a, v, err) : NULL;
	scope_basics(&p, &scope, "one", 4711);
	bool ok = r && scope_resources(&p, r, NULL, err) && systemd_manager.start(&scope, &p, err);
	arena_free(&a);
	return ok;
}

static void heard(const struct fake_systemd *f, const char *what)
{
	auto_free char *log = fake_systemd_log(f);
	if (!strstr(log, what))
		fail_msg("no \"%s\" in:\n%s", what, log);
}

static struct fake_systemd *begin(enum fake_mood mood)
{
	struct fake_systemd *f = fake_systemd_start(mood);
	if (!f) {
		print_message("needs libsystemd.so.0\n");
		skip();
	}
	return f;
}

static void starts_a_scope(void **state)
{
	struct error err = { 0 };
	struct fake_systemd *f = begin(FAKE_WELL);
	if (!start("{\"memory\":{\"limit\":67108864},\"cpu\":{\"cpus\":\"0,8\"},"
		"\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":5}]}}", &err))
		fail_msg("%s", err.text);
	heard(f, "StartTransientUnit s:abyme-one.scope s:fail [");
	heard(f, "( s:Slice < s:test.slice > )");
	heard(f, "( s:PIDs < [ u:4711 ] > )");
	heard(f, "( s:Delegate < b:1 > )");
	heard(f, "( s:DefaultDependencies < b:0 > )");
	heard(f, "( s:MemoryMax < t:67108864 > )");
	heard(f, "( s:AllowedCPUs < [ y:1 y:1 ] > )");
	heard(f, "( s:IOReadBandwidthMax < [ ( s:/dev/block/8:0 t:5 ) ] > ) (");
	heard(f, "] > ) ] [ ]\n");
	fake_systemd_stop(f);
}

static void changes_attaches_and_stops(void **state)
{
	struct error err = { 0 };
	struct arena a = { 0 };
	struct scope_properties p = { .arena = &a };
	struct fake_systemd *f = begin(FAKE_WELL);
	scope_add_number(&p, "TasksMax", "t", UINT64_MAX);
	if (!systemd_manager.set(&scope, &p, &err) || !systemd_manager.attach(&scope, 99, &err) || !systemd_manager.stop(&scope, &err))
		fail_msg("%s", err.text);
	heard(f, "SetUnitProperties s:abyme-one.scope b:1 [ ( s:TasksMax < t:18446744073709551615 > ) ]\n");
	heard(f, "AttachProcessesToUnit s:abyme-one.scope s:/ [ u:99 ]\n");
	heard(f, "StopUnit s:abyme-one.scope s:replace\n");
	heard(f, "ResetFailedUnit s:abyme-one.scope\n");
	fake_systemd_stop(f);
	arena_free(&a);
}

/* A unit that failed under this name earlier is in the way, once. */
static void failed_unit_is_reset(void **state)
{
	struct error err = { 0 };
	struct fake_systemd *f = begin(FAKE_HAD_ONE);
	if (!start("{}", &err))
		fail_msg("%s", err.text);
	heard(f, "ResetFailedUnit s:abyme-one.scope\nStartTransientUnit");
	fake_systemd_stop(f);
}

static void what_goes_wrong_is_said(void **state)
{
	static const struct { enum fake_mood mood; const char *says; } moods[] = {
		{ FAKE_REFUSES, "cannot start 'abyme-one.scope' in 'test.slice': systemd refuses: no such property" },
		{ FAKE_FAILS, "ended as 'failed'" }, { FAKE_DIES, "cannot start 'abyme-one.scope' in 'test.slice': " },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(moods); i++) {
		struct error err = { 0 };
		struct fake_systemd *f = begin(moods[i].mood);
		assert_false(start("{}", &err));
		if (!strstr(err.text, moods[i].says) || strchr(err.text, '\n'))
			fail_msg("%s", err.text);
		fake_systemd_stop(f);
	}
}

static void stops_what_is_not_there(void **state)
{
	struct error err = { 0 };
	struct fake_systemd *f = begin(FAKE_HAS_NONE);
	if (!systemd_manager.stop(&scope, &err))
		fail_msg("%s", err.text);
	fake_systemd_stop(f);
}

static void no_bus_is_said(void **state)
{
	struct error err = { 0 };
	struct scope mine = scope;
	setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
	setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
	setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
	for (unsigned user = access("/run/systemd/private", F_OK) ? 0 : 1; user < 2; user++) {
		mine.user = user;
		assert_false(systemd_manager.stop(&mine, &err));
		if (!strstr(err.text, "libsystemd") && (!strstr(err.text, "cgroupfs") || !strstr(err.text, user ? "login" : "systemd's bus")))
			fail_msg("%s", err.text);
	}
}

/* ---- all of it, with a control group of version 2 that the fake makes ---- */

static pid_t sleeper(void)
{
	pid_t pid = fork();
	while (!pid)
		pause();
	return pid;
}

static void check(bool ok, const struct error *err)
{
	if (!ok)
		fail_msg("%s", err->text);
}

static void record_again(struct cgroups *c)
{
	struct error err = { 0 };
	struct arena a = { 0 };
	struct json_out out = { 0 };
	json_open(&out, NULL, '{');
	cgroups_save(c, &out);
	json_close(&out, '}');
	cgroups_free(c);
	const struct json *v = json_parse(&a, out.text, out.length, "record", &err);
	check(v && cgroups_load(c, json_get(v, "cgroups"), &err), &err);
	json_out_free(&out);
	arena_free(&a);
}

static bool has_unified(void)
{
	static const char other[] = "/sys/fs/cgroup/unified";
	if (geteuid() || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return false;
	return cgroups_unified() || (!mount(other, "/sys/fs/cgroup", NULL, MS_BIND, NULL) && cgroups_unified());
}

/* A create that was killed has not written down which groups it made. */
static void groups_of_a_torn_record(void **state)
{
	static const struct { const char *slice, *path; } of[] = {
		{ "system.slice", "/system.slice/t-1.scope" }, { "a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice/t-1.scope" }, { "-.slice", "/t-1.scope" },
	};
	if (cgroups_unified()) {
		print_message("needs control groups of version 1\n");
		skip();
	}
	for (unsigned i = 0; i < ARRAY_SIZE(of); i++) {
		struct error err = { 0 };
		struct cgroups c = { .scope = { xstrdup(of[i].slice), xstrdup("t-1.scope"), false } };
		record_again(&c);
		assert_int_not_equal(c.n, 0);
		for (unsigned k = 0; k < c.n; k++) {
			size_t n = strlen(c.dir[k].path), tail = strlen(of[i].path);
			assert_true(n > tail && !c.dir[k].ours);
			assert_string_equal(c.dir[k].path + n - tail, of[i].path);
		}
		check(cgroups_find_path(&c, "/a", &err), &err);
		assert_false(cgroups_find_path(&c, "/a/../b", &err));
		cgroups_free(&c);
	}
}

static void life_of_a_group(void **state)
{
	struct error err = { 0 };
	struct cgroups c;
	struct spec_linux lnx = { 0 };
	struct spec spec = { .lnx = &lnx };
	char path[64];
	if (!has_unified() || access("/sys/fs/cgroup", W_OK)) {
		print_message("needs root and control groups of version 2\n");
		skip();
	}
	struct fake_systemd *f = begin(FAKE_MAKES_GROUPS);
	pid_t pid = sleeper();
	snprintf(path, sizeof(path), "abyme_test_%d.slice:t:1", (int)getpid());
	scope_use(&systemd_manager);
	check(cgroups_find_scope(&c, path, "id", &err), &err);
	assert_int_equal(c.n, 0);
	check(cgroups_start_scope(&c, pid, "id", &spec, &err), &err);
	assert_int_equal(c.n, 1);
	assert_string_equal(strrchr(c.dir[0].path, '/'), "/t-1.scope");
	record_again(&c);
	assert_string_equal(c.scope.unit, "t-1.scope");
	assert_int_equal(cgroups_pids(&c, NULL, 0, &err), 1);
	auto_free char *dir = xstrdup(c.dir[0].path);
	check(cgroups_kill(&c, SIGKILL, &err), &err);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	check(cgroups_remove(&c, &err), &err);
	assert_int_not_equal(access(dir, F_OK), 0);
	heard(f, "StopUnit s:t-1.scope");
	*strrchr(dir, '/') = 0;
	assert_int_equal(rmdir(dir), 0);
	cgroups_free(&c);
	fake_systemd_stop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_names), cmocka_unit_test(bad_names), cmocka_unit_test(longest_name),
		cmocka_unit_test(limits_are_properties), cmocka_unit_test(bad_limits), cmocka_unit_test(what_version_2_lacks), cmocka_unit_test(annotations),
		cmocka_unit_test(starts_a_scope), cmocka_unit_test(changes_attaches_and_stops), cmocka_unit_test(failed_unit_is_reset),
		cmocka_unit_test(what_goes_wrong_is_said), cmocka_unit_test(stops_what_is_not_there), cmocka_unit_test(no_bus_is_said),
		cmocka_unit_test(groups_of_a_torn_record), cmocka_unit_test(life_of_a_group),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
