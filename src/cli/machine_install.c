/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme machine install: an operating system onto a new disk, by its own installer, unattended. */
#include "cli/disk.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "cli/run.h"
#include "disk/copy.h"
#include "install/install.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define TARGET struct install_options
struct install_options { char *name, *disk, *mirror, *installer, *password_file, *memory, *engine, *net; unsigned vcpus; };
#include "cli/table.h"

static const struct cli_option install_options[] = {
	TEXT("--name", "NAME", name, "of the new instance, and its host name (default: the system's)"),
	TEXT("--disk", "FILE[,size=SIZE][,bus=BUS]", disk, "the disk to be made (default NAME.qcow2, 10G)"),
	TEXT("--mirror", "URL", mirror, "where its packages come from (default: as this host's apt)"),
	TEXT("--password-file", "FILE", password_file, "its first line is root's password (default: made up, told at the end)"),
	TEXT("--memory", "SIZE", memory, "of the machine (default 1G)"),
	NUMBER("--vcpus", "N", vcpus, "of the machine"),
	TEXT("--net", "NAME[,...]", net, "its network, by which the mirror is reached, too (default user)"),
	TEXT("--engine", "auto|kvm|jit|interp", engine, "what runs the guest's instructions"),
	TEXT("--installer", "DIR", installer, "where its installer's linux and initrd.gz are"),
	{ NULL }
};

static const struct system { const char *name, *suite, *package, *installer; } systems[] = {
	{ "debian", "bookworm", "debian-installer-12-netboot-amd64",
	  "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64" },
	{ "debian-13", "trixie", "debian-installer-13-netboot-amd64",
	  "/usr/lib/debian-installer/images/13/amd64/text/debian-installer/amd64" },
};

struct install {
	const struct system *system;
	const struct install_options *options;
	const char *name;
	char password[64];
	char *kernel, *disk;      /* the disk is only set once we have made it */
	int initrd;
	struct instance *instance;
	struct progress progress;
};

/* ---- what it is told ---- */

static bool make_password(struct install *in, struct error *err)
{
	static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
	uint8_t b[16];
	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return error_set(err, errno, "cannot make up a password");
	for (unsigned i = 0; i < sizeof(b); i++)
		in->password[i] = letters[b[i] % (sizeof(letters) - 1)];
	return true;
}

static bool choose_password(struct install *in, struct error *err)
{
	const char *file = in->options->password_file;
	if (!file)
		return make_password(in, err);
	auto_close int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, in->password, sizeof(in->password) - 1);
	if (n < 0)
		return error_set(err, errno, "cannot read the password file '%s'", file);
	in->password[n] = 0;
	size_t end = strcspn(in->password, "\r\n"), fine = 0;
	while (in->password[fine] > ' ' && in->password[fine] <= '~')
		fine++;
	bool ok = end && fine == end && end < sizeof(in->password) - 1;
	in->password[end] = 0;
	return ok || error_set(err, 0, "the password in '%s' must be 1 to %zu printable characters without spaces", file,
			       sizeof(in->password) - 2);
}

static bool make_initrd(struct install *in, struct error *err)
{
	struct mirror m = { 0 };
	const struct system *s = in->system;
	auto_free char *suite = xasprintf("%s-security", s->suite);
	char *found = in->options->mirror ? NULL : mirror_find("/etc/apt", s->suite);
	char *security = found ? mirror_find("/etc/apt", suite) : NULL;
	const char *url = found ? found : in->options->mirror, *dir = in->options->installer ? in->options->installer : s->installer;
	auto_free char *initrd = xasprintf("%s/initrd.gz", dir);
	bool ok = url ? mirror_parse(url, &m, err) :
		error_set(err, 0, "this host's apt has no archive of %s that a guest could reach: name one with --mirror", s->suite);
	if (ok) {
		struct answers a = { in->name, in->password, s->suite, &m, security };
		auto_free char *text = preseed_text(&a);
		in->initrd = initrd_with(initrd, "preseed.cfg", text, err);
	}
	mirror_free(&m);
	free(found);
	free(security);
	return ok && in->initrd >= 0;
}

static bool find_installer(struct install *in, struct error *err)
{
	const char *dir = in->options->installer ? in->options->installer : in->system->installer;
	in->kernel = xasprintf("%s/linux", dir);
	return !access(in->kernel, R_OK) || error_set(err, errno, "cannot read the installer %s: install the package %s, or name "
						      "its directory with --installer", in->kernel, in->system->package);
}

/* ---- the machine ---- */

/* "FILE,size=10G,bus=ahci" without the size, which is no property of a machine's disk. */
static char *without_size(const char *text, char **size)
{
	char *rest = xstrdup(text);
	for (char *p = rest; *p; p++) {
		if (p[0] == ',' && p[1] == ',') {
			p++;
		} else if (!strncmp(p, ",size=", 6)) {
			size_t n = strcspn(p + 6, ",");
			free(*size);
			*size = xasprintf("%.*s", (int)n, p + 6);
			memmove(p, p + 6 + n, strlen(p + 6 + n) + 1);
			p--;
		}
	}
	return rest;
}

static bool make_disk(struct install *in, struct def_disk *disk, const char *size, struct error *err)
{
	struct qcow2_create c = { .cluster_bits = 16, .version = 3 };
	const char *format = disk->format;
	if (!parse_size(size, &c.size) || c.size % 512 || c.size < GiB)
		return error_set(err, 0, "disk size '%s' is not a size of 1G or more", size);
	if (!access(disk->file, F_OK))
		return error_set(err, 0, "'%s' is there already: it is not overwritten", disk->file);
	if (!disk_tool_format(&format, disk->file, err))
		return false;
	struct image *i = image_make(disk->file, format, &c, err);
	if (!i)
		return false;
	image_close(i);
	if (!disk->format)
		disk->format = xstrdup(format);
	in->disk = xstrdup(disk->file);
	return true;
}

static bool define_disk(struct install *in, struct definition *d, struct error *err)
{
	auto_free char *size = xstrdup("10G"), *name = xasprintf("%s.qcow2", in->name);
	auto_free char *text = without_size(in->options->disk ? in->options->disk : name, &size);
	if (!definition_add_disk(d, text, err))
		return false;
	struct def_disk *disk = &d->disks[0];
	char *path = absolute_path(disk->file);
	free(disk->file);
	disk->file = path;
	return make_disk(in, disk, size, err);
}

/* As it will be afterwards. */
static struct definition *define(struct install *in, struct error *err)
{
	const struct install_options *o = in->options;
	struct definition *d = xnew(struct definition), *full = NULL;
	d->version = DEFINITION_VERSION;
	d->name = xstrdup(in->name);
	d->memory = xstrdup(o->memory ? o->memory : "1G");
	d->vcpus = o->vcpus;
	d->engine = o->engine ? xstrdup(o->engine) : NULL;
	d->firmware = xstrdup("bios");
	if (definition_add_net(d, o->net ? o->net : "user", err) && define_disk(in, d, err))
		full = definition_to_store(d, err);
	definition_free(d);
	return full;
}

/* The same with the installer instead of firmware. */
static struct definition *define_installer(const struct install *in, const struct definition *full, struct error *err)
{
	char why[160];
	struct definition *d = definition_copy(full);
	if (!d)
		return error_null(err, 0, "the definition cannot be copied");
	free(d->firmware);
	free(d->on_reboot);
	d->firmware = xstrdup("none");
	d->on_reboot = xstrdup("exit");
	d->kernel = xstrdup(in->kernel);
	d->initrd = xasprintf("/proc/self/fd/%d", in->initrd);      /* the keeper is our child */
	d->append = xstrdup(INSTALL_APPEND);
	if (definition_resolve(d, why, err))
		return d;
	definition_free(d);
	return NULL;
}

/* ---- its run ---- */

static void show(const struct progress *p, const char *last)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s: %u %%", p->step, p->percent);
	else if (strcmp(p->step, last))
		fprintf(stderr, "%s\n", p->step);
}

/* False: there is nothing more, now. */
static bool read_console(struct install *in, int fd)
{
	char buf[4096];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	for (ssize_t i = 0; i < n; i++) {
		char last[sizeof(in->progress.step)];
		memcpy(last, in->progress.step, sizeof(last));
		if (progress_take(&in->progress, buf[i]))
			show(&in->progress, last);
	}
	return n > 0;
}

static int signal_descriptor(sigset_t *old)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, old);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Until the machine ends, the installer asks, or the user has had enough; false then. */
static bool watch(struct install *in, const struct keeper_link *link, struct error *err)
{
	sigset_t old;
	auto_close int signals = signal_descriptor(&old);
	struct pollfd p[] = { { .fd = link->report, .events = POLLIN }, { .fd = link->console, .events = POLLIN },
			      { .fd = signals, .events = POLLIN } };
	while (!in->progress.asks && (poll(p, ARRAY_SIZE(p), -1) < 0 || (!p[0].revents && !p[2].revents)))
		if (!read_console(in, link->console) && p[1].revents & POLLHUP)
			p[1].fd = -1;
	while (read_console(in, link->console))
		;
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (p[2].revents)
		return error_set(err, 0, "the installation was interrupted");
	return !in->progress.asks || error_set(err, 0, "the installer needs an answer that it has not been given: %.380s",
					       in->progress.before);
}

static bool run_installer(struct install *in, const struct definition *d, struct error *err)
{
	struct keeper_options k = { .foreground = true, .state_fd = -1 };
	struct keeper_link link;
	struct keeper_report r = { 0 };
	if (!keeper_start(in->instance, d, &k, &link, err))
		return false;
	bool ok = watch(in, &link, err);
	if (!ok)
		close_fd(&link.leash);    /* letting go kills */
	bool ended = fd_read_full(link.report, &r, sizeof(r)) && r.word == KEEPER_ENDED;
	wait_child(link.pid);
	keeper_link_close(&link);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	if (!ok)
		return false;
	if (!ended || r.status)
		return error_set(err, 0, "the machine ended before the installation did: %.300s", r.text[0] ? r.text : "no reason");
	return in->progress.done || error_set(err, 0, "the installer ended without having installed: %.380s", in->progress.before);
}

static bool install(struct install *in, struct error *err)
{
	if (!choose_password(in, err) || !find_installer(in, err) || !make_initrd(in, err))
		return false;
	struct definition *full = define(in, err), *installer = full ? define_installer(in, full, err) : NULL;
	in->instance = installer ? instance_create(in->name, full, err) : NULL;
	bool ok = in->instance && run_installer(in, installer, err);
	definition_free(installer);
	definition_free(full);
	return ok;
}

static void finish(struct install *in, bool ok)
{
	if (!ok && in->instance)
		instance_remove(in->instance, NULL);
	if (!ok && in->disk)
		unlink(in->disk);
	if (ok) {
		printf("%s\n", in->name);
		if (!in->options->password_file)
			fprintf(stderr, "abyme: root's password is %s; abyme start --attach %s\n", in->password, in->name);
	}
	instance_close(in->instance);
	close_fd(&in->initrd);
	explicit_bzero(in->password, sizeof(in->password));
	free(in->kernel);
	free(in->disk);
}

int machine_install(int argc, char **argv)
{
	struct install_options o = { 0 };
	struct install in = { .options = &o, .initrd = -1 };
	struct error err = { 0 };
	const char *words[1];
	int status = cli_parse((struct cli_group[]){ { install_options, &o }, { NULL } }, argc, argv, words, 1, 1);
	if (status >= 0)
		return status;
	for (unsigned i = 0; i < ARRAY_SIZE(systems); i++)
		if (!strcmp(systems[i].name, words[0]))
			in.system = &systems[i];
	if (!in.system) {
		error_set(&err, 0, "'%s' cannot be installed: use debian or debian-13", words[0]);
		return cli_usage(&err);
	}
	in.name = o.name ? o.name : in.system->name;
	if (!instance_name_ok(in.name, &err))
		return cli_usage(&err);
	struct instance *there = instance_open(in.name, NULL);
	bool ok = there ? error_set(&err, 0, "instance '%s' exists already: choose another name with --name", in.name) :
		  install(&in, &err);
	instance_close(there);
	finish(&in, ok);
	return ok ? 0 : cli_fail(&err);
}
