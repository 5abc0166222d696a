/* SPDX-License-Identifier: GPL-2.0-or-later */
/* state, list, ps. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "container/verbs.h"

enum { PIDS_MAX = 65536 };

static void print_state(struct container *c, struct json_out *out)
{
	enum container_status s = container_status(c);
	pid_t pid = s == CONTAINER_STOPPED ? 0 : c->pid;
	container_state_json(c, container_status_words[s], pid, out);
}

static void print(struct json_out *out)
{
	printf("%s\n", out->text ? out->text : "[]");
	json_out_free(out);
}

int oci_state(struct oci *o, int argc, char **argv, struct error *err)
{
	int at;
	struct container *c = verb_container(o, NULL, argc, argv, &at, err);
	if (!c)
		return -1;
	struct json_out out = { 0 };
	print_state(c, &out);
	print(&out);
	container_close(c);
	return 0;
}

static void list_one(struct container *c, bool quiet, bool json, struct json_out *out)
{
	enum container_status s = container_status(c);
	if (json)
		print_state(c, out);
	else if (quiet)
		printf("%s\n", c->id);
	else
		printf("%-24s %-8d %-9s %-30.30s %s\n", c->id, s == CONTAINER_STOPPED ? 0 : c->pid, container_status_words[s],
			c->created ? c->created : "", c->bundle ? c->bundle : "");
}

int oci_list(struct oci *o, int argc, char **argv, struct error *err)
{
	bool quiet = false;
	const char *format = "table";
	int at = 1;
	struct json_out out = { 0 };
	const struct arg table[] = { { "quiet", 'q', ARG_FLAG, &quiet }, { "format", 'f', ARG_TEXT, &format }, { NULL } };
	if (!args_parse(table, argc, argv, &at, err))
		return -1;
	bool json = !strcmp(format, "json");
	if (!json && strcmp(format, "table"))
		return error_minus(err, 0, "--format: 'table' or 'json'");
	if (json)
		json_open(&out, NULL, '[');
	else if (!quiet)
		printf("%-24s %-8s %-9s %-30s %s\n", "ID", "PID", "STATUS", "CREATED", "BUNDLE");
	DIR *d = opendir(o->root);
	for (struct dirent *e; d && (e = readdir(d)); ) {
		struct container *c = e->d_name[0] == '.' ? NULL : container_open(o->root, e->d_name, NULL);
		if (c)
			list_one(c, quiet, json, &out);
		container_close(c);
	}
	if (d)
		closedir(d);
	if (json) {
		json_close(&out, ']');
		print(&out);
	}
	return 0;
}

/* A micro-VM's initial RAM disk has none. */
static bool has_ps(void)
{
	return !access("/bin/ps", X_OK) || !access("/usr/bin/ps", X_OK);
}

/* The words of a command line have NULs between them; a kernel's or a dead process's is empty. */
static void print_process(pid_t pid)
{
	char path[64], command[1024], name[64] = "?";
	unsigned uid = 0, parent = 0;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return;
	for (char line[256]; fgets(line, sizeof(line), f); ) {
		sscanf(line, "Name: %63[^\n]", name);
		sscanf(line, "PPid: %u", &parent);
		sscanf(line, "Uid: %u", &uid);
	}
	fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t used = fd < 0 ? 0 : read(fd, command, sizeof(command) - 1);
	for (ssize_t i = 0; i < used; i++)
		command[i] = command[i] >= 0 && command[i] < ' ' ? ' ' : command[i];
	command[MAX(used, 0)] = 0;
	printf("%-8u %7d %7u %s\n", uid, pid, parent, used > 0 ? command : name);
}

static bool print_own_table(const pid_t *pids, int n)
{
	printf("%-8s %7s %7s %s\n", "UID", "PID", "PPID", "CMD");
	for (int i = 0; i < n; i++)
		print_process(pids[i]);
	return true;
}

/* `ps` of the host, less the lines of other processes. */
static bool print_table(const pid_t *pids, int n, char *const *options, struct error *err)
{
	char command[512] = "ps", line[4096];
	size_t used = 2;
	for (; *options; options++) {
		for (const char *p = *options; *p; p++)
			if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-,=:%_", *p))
				return error_set(err, 0, "ps: option '%s' is not passed on", *options);
		used += (size_t)snprintf(command + used, sizeof(command) - used, " %s", *options);
		if (used >= sizeof(command))
			return error_set(err, 0, "ps: too many options");
	}
	if (!has_ps())
		return print_own_table(pids, n);
	FILE *in = popen(command, "re");
	int column = 0, pid;
	for (bool head = true; in && fgets(line, sizeof(line), in); head = false) {
		char copy[4096], *save, *word;
		memcpy(copy, line, sizeof(copy));
		int at = 0;
		bool hit = head;
		for (word = strtok_r(copy, " \n", &save); word; word = strtok_r(NULL, " \n", &save), at++) {
			if (head && !strcmp(word, "PID"))
				column = at;
			pid = !head && at == column ? atoi(word) : 0;
			for (int i = 0; pid && i < n; i++)
				hit |= pids[i] == pid;
		}
		if (hit)
			fputs(line, stdout);
	}
	return in && !pclose(in) ? true : error_set(err, 0, "'ps' (package procps) failed; use --format json");
}

int oci_ps(struct oci *o, int argc, char **argv, struct error *err)
{
	static char *plain[] = { "-ef", NULL };
	const char *format = "table";
	int at;
	const struct arg table[] = { { "format", 'f', ARG_TEXT, &format }, { NULL } };
	struct container *c = verb_container(o, table, argc, argv, &at, err);
	if (!c)
		return -1;
	pid_t *pids = xcalloc(PIDS_MAX, sizeof(*pids));
	int n = cgroups_pids(&c->cgroups, pids, PIDS_MAX, err);
	n = MIN(n, (int)PIDS_MAX);
	bool ok = n >= 0;
	if (ok && !strcmp(format, "json")) {
		struct json_out out = { 0 };
		json_open(&out, NULL, '[');
		for (int i = 0; i < n; i++)
			json_put_i64(&out, NULL, pids[i]);
		json_close(&out, ']');
		print(&out);
	} else if (ok) {
		ok = print_table(pids, n, at < argc ? argv + at : plain, err);
	}
	free(pids);
	container_close(c);
	return ok ? 0 : -1;
}
