/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unattended installations: apt's sources in both styles, answers, the initrd, progress. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/stat.h>

#include "install/install.h"

static char dir[] = "/tmp/install-test-XXXXXX";

static void write_file(const char *name, const char *text)
{
	auto_free char *path = xasprintf("%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void finds(const char *suite, const char *want)
{
	auto_free char *got = mirror_find(dir, suite);
	if (want)
		assert_string_equal(got, want);
	else
		assert_null(got);
}

static void sources(void **unused)
{
	assert_non_null(mkdtemp(dir));
	auto_free char *parts = xasprintf("%s/sources.list.d", dir);
	finds("one", NULL);
	assert_int_equal(mkdir(parts, 0700), 0);
	write_file("sources.list", "# deb http://comment/debian one main\n"
		   "deb-src http://source/debian one main\n"
		   "deb cdrom:[Debian]/ one main\n"
		   "deb http://other/debian one contrib\n"
		   "deb [ arch=amd64 signed-by=/a/b ] http://first/debian one contrib main\n");
	write_file("sources.list.d/b.sources", "Types: deb\nURIs: http://nosuite/debian\nSuites: twofold\nComponents: main\n\n"
		   "Types: deb deb-src\nuris: https://second:8080/debian http://third/debian\n"
		   "Suites: two two-updates\nComponents: main contrib\n");
	write_file("sources.list.d/c.txt", "deb http://fourth/debian three main\n");
	finds("one", "http://first/debian");
	finds("two", "https://second:8080/debian");
	finds("two-updates", "https://second:8080/debian");
	finds("two-security", NULL);
	finds("three", NULL);
	static const char *const files[] = { "sources.list", "sources.list.d/b.sources", "sources.list.d/c.txt", "sources.list.d", "." };
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		auto_free char *path = xasprintf("%s/%s", dir, files[i]);
		assert_int_equal(remove(i + 1 < ARRAY_SIZE(files) ? path : dir), 0);
	}
}

static void addresses(void **unused)
{
	struct mirror m;
	struct error err;
	assert_true(mirror_parse("https://host:8080/a/b", &m, &err));
	assert_string_equal(m.protocol, "https");
	assert_string_equal(m.host, "host:8080");
	assert_string_equal(m.directory, "/a/b");
	mirror_free(&m);
	assert_true(mirror_parse("http://host", &m, &err));
	assert_string_equal(m.directory, "/");
	mirror_free(&m);
	static const char *const bad[] = { "", "http://", "ftp://host/", "host/debian", "http://a b/", "http://a/\nd-i x", "http://u:p@a/" };
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(mirror_parse(bad[i], &m, &err));
}

static bool has_line(const char *text, const char *line)
{
	const char *at = strstr(text, line);
	return at && at[strlen(line)] == '\n' && (at == text || at[-1] == '\n');
}

static void answered(void **unused)
{
	struct mirror m = { (char *)"http", (char *)"host:80", (char *)"/debian" };
	struct answers a = { "box", "secret", "bookworm", &m, NULL };
	auto_free char *text = preseed_text(&a);
	assert_true(has_line(text, "d-i mirror/http/hostname string host:80"));
	assert_true(has_line(text, "d-i netcfg/hostname string box"));
	assert_true(has_line(text, "d-i passwd/root-password-again password secret"));
	assert_null(strstr(text, "-security"));
	a.security = "http://host/security";
	auto_free char *more = preseed_text(&a);
	assert_true(has_line(more, "d-i apt-setup/local0/repository string http://host/security bookworm-security main"));
}

/* What cpio makes of it: the file, whole. */
static void archive(void **unused)
{
	struct error err;
	char path[] = "/tmp/install-initrd-XXXXXX", text[] = "one\ntwo\n", buf[1024], got[64] = "";
	int fd = mkstemp(path);
	assert_true(fd >= 0 && fd_write_full(fd, "abcde", 5));
	close(fd);
	assert_int_equal(initrd_with("/nonexistent/initrd", "preseed.cfg", text, &err), -1);
	fd = initrd_with(path, "preseed.cfg", text, &err);
	assert_true(fd >= 0);
	assert_true(fd_pread_full(fd, buf, 200, 0));
	assert_memory_equal(buf, "abcde\0\0\0" "070701", 14);      /* aligned to 4 */
	snprintf(buf, sizeof(buf), "tail -c +9 /proc/%d/fd/%d | cpio -i --quiet --to-stdout preseed.cfg", (int)getpid(), fd);
	FILE *p = popen(buf, "r");
	assert_non_null(p);
	size_t n = fread(got, 1, sizeof(got) - 1, p);
	assert_int_equal(pclose(p), 0);
	assert_int_equal(n, strlen(text));
	assert_string_equal(got, text);
	close(fd);
	unlink(path);
}

static unsigned feed(struct progress *p, const char *text)
{
	unsigned changes = 0;
	for (; *text; text++)
		changes += progress_take(p, *text);
	return changes;
}

static void told(void **unused)
{
	struct progress p = { 0 };
	assert_int_equal(feed(&p, "100% of nothing\r\nDetecting hardware  ... 2%... 95%... 95%"), 2);
	assert_string_equal(p.step, "Detecting hardware");
	assert_int_equal(p.percent, 95);
	assert_int_equal(feed(&p, "... 100%\r\nWaiting; please wait...  ... 0%"), 2);
	assert_string_equal(p.step, "Waiting; please wait...");
	assert_false(p.asks || p.done);
	feed(&p, "\r\n" INSTALL_DONE "\r\n");
	assert_true(p.done);
	for (unsigned i = 0; i < 3000; i++)
		feed(&p, "a long line without end ... ");
	for (unsigned i = 0; i < 100; i++)
		feed(&p, "\r\nmany lines of it");
	feed(&p, "\r\nPartition disks\r\n---------------\r\n\r\nWhich one?\r\nPrompt:");
	assert_true(p.asks);
	assert_non_null(strstr(p.before, "Partition disks Which one?"));
	assert_true(strlen(p.before) < sizeof(p.before));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sources),
		cmocka_unit_test(addresses),
		cmocka_unit_test(answered),
		cmocka_unit_test(archive),
		cmocka_unit_test(told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
