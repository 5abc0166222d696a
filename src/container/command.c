/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The runtime's command line, which is runc's: see command.h. */
#include "container/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "container/verbs.h"

#define VERSION "0.1.0"

struct log { const char *file, *format; };

static void usage(FILE *f)
{
	fprintf(f, "usage: abyme-oci [--root DIR] [--log FILE] [--log-format text|json] VERB ...\n\n");
	for (const struct oci_verb *v = oci_verbs; v->name; v++)
		fprintf(f, "  %-9s %s\n", v->name, v->help);
	fprintf(f, "\n'abyme-oci VERB --help' shows the options of one; abyme-oci(1) all of them.\n");
}

static void version(void)
{
	printf("abyme-oci version " VERSION "\nspec: 1.1.0\nlibseccomp\n");
}

/* Engines show their user the last line of the log. */
static void write_log(const struct log *l, const char *text)
{
	char now[40];
	struct tm tm;
	time_t t = time(NULL);
	strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	auto_close int fd = open(l->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	struct json_out out = { 0 };
	if (l->format && !strcmp(l->format, "json")) {
		json_open(&out, NULL, '{');
		json_put_str(&out, "level", "error");
		json_put_str(&out, "msg", text);
		json_put_str(&out, "time", now);
		json_close(&out, '}');
	}
	if (fd >= 0)
		dprintf(fd, out.text ? "%s%s\n" : "time=\"%s\" level=error msg=\"%s\"\n", out.text ? out.text : now,
			out.text ? "" : text);
	json_out_free(&out);
}

static int report(const struct log *l, const struct error *err)
{
	fprintf(stderr, "abyme-oci: %s\n", err->text);
	if (l->file && strcmp(l->file, "/dev/stderr"))
		write_log(l, err->text);
	return 1;
}

/* 0, 1 and 2 must be something, or files that are opened later become them. */
static bool open_stdio(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < 3);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int run_verb(struct oci *o, const struct log *l, int argc, char **argv)
{
	struct error err = { 0 };
	const struct oci_verb *v = oci_verbs;
	while (v->name && strcmp(v->name, argv[0]))
		v++;
	if (!v->name) {
		error_set(&err, 0, "'%s' is no verb; abyme-oci --help lists them", argv[0]);
		return report(l, &err);
	}
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		printf("usage: abyme-oci %s\n\n%s\n", v->usage, v->help);
		return 0;
	}
	int status = v->run(o, argc, argv, &err);
	return status < 0 ? report(l, &err) : status;
}

int oci_command(int argc, char **argv)
{
	struct oci o = { .argv = argv };
	struct log log = { 0 };
	struct error err = { 0 };
	const char *root = NULL;
	bool help = false, show_version = false;
	int at = 1;
	const struct arg table[] = {
		{ "root", 0, ARG_TEXT, &root }, { "log", 0, ARG_TEXT, &log.file }, { "log-format", 0, ARG_TEXT, &log.format },
		{ "systemd-cgroup", 0, ARG_FLAG, &o.systemd }, { "debug", 0, ARG_IGNORED, NULL },
		{ "cgroup-manager", 0, ARG_IGNORED_TEXT, NULL }, { "rootless", 0, ARG_IGNORED_TEXT, NULL },
		{ "criu", 0, ARG_IGNORED_TEXT, NULL }, { "help", 'h', ARG_FLAG, &help }, { "version", 'v', ARG_FLAG, &show_version },
		{ NULL },
	};
	signal(SIGPIPE, SIG_IGN);
	if (!open_stdio() || !args_parse(table, argc, argv, &at, &err))
		return report(&log, &err);
	if (show_version) {
		version();
		return 0;
	}
	if (help || at >= argc) {
		usage(help ? stdout : stderr);
		return help ? 0 : 1;
	}
	if (!container_root(root, o.root, &err))
		return report(&log, &err);
	return run_verb(&o, &log, argc - at, argv + at);
}
