/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening what a definition names: see open.h. */
#include "instance/open.h"
#include "instance/display.h"
#include "instance/holder.h"
#include "base/log.h"
#include "base/socket.h"
#include "disk/disk.h"
#include "disk/nbd.h"
#include "jail/jail.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { MAX_VARIABLES = 1 << 20 };

static int open_regular(const char *path, const char *what, struct error *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st))
		return error_minus(err, errno, "cannot open %s '%s'", what, path);
	if (!S_ISREG(st.st_mode))
		return error_minus(err, 0, "%s '%s' is not a regular file", what, path);
	if (!st.st_size)
		return error_minus(err, 0, "%s '%s' is empty", what, path);
	return move_fd(&fd);
}

/* A machine that goes on from a state file needs its kernel only if it is reset. */
static bool open_image(const char *path, const char *what, int *fd, bool resumed, struct error *err)
{
	if (!path || (*fd = open_regular(path, what, err)) >= 0)
		return true;
	if (!resumed)
		return false;
	log_warn("%s; the machine cannot be reset without it", err->text);
	return true;
}

static bool open_kernel(struct machine_config *c, const struct definition *d, struct error *err)
{
	bool resumed = c->state_fd >= 0;
	if (!open_image(d->kernel, "kernel", &c->kernel_fd, resumed, err) ||
	    !open_image(d->initrd, "initrd", &c->initrd_fd, resumed, err))
		return false;
	c->kernel_path = d->kernel ? xstrdup(d->kernel) : NULL;
	c->initrd_path = d->initrd ? xstrdup(d->initrd) : NULL;
	c->append = xstrdup(d->append ? d->append : "");
	return true;
}

/* Firmware that goes by a name: where its package puts it; `variables` is what
 * an instance's own variable store begins with. */
static const struct { const char *name, *package, *code, *variables; } firmwares[] = {
	{ "bios", "seabios", "/usr/share/seabios/bios-256k.bin", NULL },
	{ "uefi", "ovmf", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd" },
	{ "uefi-secure", "ovmf", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd" },
};

/* The instance's store, made from the package's on its first start. */
static int open_variables(const struct instance *i, const char *template, struct error *err)
{
	auto_close int fd = openat(i->dir, "nvram", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;
	if (fd < 0 || fstat(fd, &st))
		return error_minus(err, errno, "cannot open the firmware's variables of '%s'", i->name);
	if (st.st_size)
		return move_fd(&fd);
	auto_close int from = open_regular(template, "firmware variables", err);
	if (from < 0)
		return -1;
	if (fstat(from, &st) || st.st_size > MAX_VARIABLES)
		return error_minus(err, 0, "'%s' is not a variable store", template);
	auto_free char *data = xmalloc((size_t)st.st_size);
	if (!fd_pread_full(from, data, (size_t)st.st_size, 0) ||
	    !fd_pwrite_full(fd, data, (size_t)st.st_size, 0))
		return error_minus(err, errno, "cannot make the firmware's variables of '%s'", i->name);
	return move_fd(&fd);
}

static bool open_firmware(struct machine_config *c, const struct instance *i,
			  const struct definition *d, struct error *err)
{
	const char *file = d->firmware, *variables = NULL;
	if (!file || !strcmp(file, "none"))
		return true;
	for (unsigned k = 0; k < ARRAY_SIZE(firmwares); k++) {
		if (strcmp(d->firmware, firmwares[k].name))
			continue;
		file = firmwares[k].code;
		variables = firmwares[k].variables;
		if (access(file, F_OK))
			return error_set(err, 0, "there is no firmware at %s: install the package %s",
					 file, firmwares[k].package);
	}
	if (variables && (c->nvram_fd = open_variables(i, variables, err)) < 0)
		return false;
	c->firmware_path = xstrdup(file);
	c->firmware_fd = open_regular(file, "firmware", err);
	return c->firmware_fd >= 0;
}

/* Network cards get iPXE's ROMs, where their package is installed. */
static bool open_net_roms(struct machine_config *c, struct error *err)
{
	for (unsigned i = 0; i < c->nnets && c->firmware_fd >= 0; i++) {
		bool intel = !strcmp(c->net[i].model, "e1000");
		const char *rom = intel ? "/usr/lib/ipxe/qemu/efi-e1000.rom" : "/usr/lib/ipxe/qemu/efi-virtio.rom";
		if (!access(rom, R_OK) && (c->net[i].rom_fd = open_regular(rom, "network ROM", err)) < 0)
			return false;
	}
	return true;
}

/* The screen's BIOS may be missing: only firmware and old systems use it. */
static bool open_screen(struct opened *o, const struct definition *d, struct error *err)
{
	struct machine_config *c = &o->config;
	static const char rom[] = "/usr/share/seabios/vgabios-stdvga.bin";
	if (!display_open(o, d->display, err))
		return false;
	c->gpu_virtio = c->screen && !strcmp(d->gpu, "virtio");
	c->input_virtio = c->screen && !strcmp(d->input, "virtio");
	c->input_usb = c->screen && !strcmp(d->input, "usb");
	if (!c->screen || c->gpu_virtio || access(rom, R_OK))
		return true;
	c->video_rom_fd = open_regular(rom, "video BIOS", err);
	return c->video_rom_fd >= 0;
}

/* With a line, on which another connection can be had when this one is lost. */
static bool open_nbd(struct disk_config *to, const struct def_disk *from, int *line, struct error *err)
{
	struct nbd_connection c;
	int pair[2];
	if (!nbd_connect(from->file, &c, err))
		return false;
	to->fd = c.fd;
	to->nbd_size = c.size;
	to->nbd_flags = c.flags;
	to->nbd_patience = (unsigned)strtoul(from->reconnect, NULL, 10);
	if (*line < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "cannot create the line of disk '%s'", from->file);
	if (*line < 0) {
		*line = pair[0];
		to->nbd_line = pair[1];
	}
	return true;
}

static bool open_disk(struct disk_config *to, const struct instance *i, const struct def_disk *from, int *line, struct error *err)
{
	struct stat st;
	if (def_disk_removable(from) && !strcmp(from->file, "none"))
		return true;
	if (nbd_is_uri(from->file))
		return open_nbd(to, from, line, err);
	to->fd = open(from->file, (from->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (to->fd < 0 && (errno == EACCES || errno == EROFS) && !from->readonly)
		return error_set(err, errno, "cannot write disk '%s' (,readonly opens it for reading)", from->file);
	if (to->fd < 0 || fstat(to->fd, &st))
		return error_set(err, errno, "cannot open disk '%s'", from->file);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set(err, 0, "disk '%s' is neither a file nor a block device", from->file);
	if (!holder_unknown(from->file, to->fd, from->readonly, i->name, err))
		return false;
	return strcmp(from->format, "qcow2") ||
	       (disk_open_data(from->file, to->fd, from->data_file, from->readonly, &to->data_fd, err) &&
		disk_open_chain(from->file, to->fd, to->backing_fd, CONFIG_MAX_BACKING, &to->nbacking, err));
}

static bool open_disks(struct opened *o, const struct instance *i, const struct definition *d, struct error *err)
{
	struct machine_config *c = &o->config;
	for (; c->ndisks < d->ndisks; c->ndisks++) {
		const struct def_disk *from = &d->disks[c->ndisks];
		c->disk[c->ndisks] = (struct disk_config){
			.fd = -1, .data_fd = -1, .nbd_line = -1, .path = xstrdup(from->file), .format = xstrdup(nbd_is_uri(from->file) ? "nbd" : from->format),
			.readonly = from->readonly, .bus = xstrdup(from->bus), .cdrom = from->cdrom,
		};
		if (!disk_on_error_parse(from->on_error, &c->disk[c->ndisks].on_error, err) ||
		    !definition_disk_limits(from, &c->disk[c->ndisks].limits, err))
			return false;
		if (!open_disk(&c->disk[c->ndisks], i, from, &o->nbd_line[c->ndisks], err))
			return false;
	}
	return true;
}

bool opened_media(struct opened *o, const struct instance *i, struct error *err)
{
	struct machine_config *c = &o->config;
	struct definition *d = instance_definition(i, err);
	bool ok = d;
	for (unsigned k = 0; ok && k < c->ndisks && k < d->ndisks; k++) {
		if (!def_disk_removable(&d->disks[k]))
			continue;
		if (c->disk[k].fd >= 0)
			close(c->disk[k].fd);
		c->disk[k].fd = -1;
		ok = open_disk(&c->disk[k], i, &d->disks[k], &o->nbd_line[k], err);
	}
	definition_free(d);
	return ok;
}

/* ---- serial ---- */

static int listen_path(const char *path, struct error *err)
{
	int fd = unix_listen(path, SOCK_STREAM | SOCK_NONBLOCK, 8);
	return fd >= 0 ? fd : error_minus(err, errno, "cannot listen on '%s'", path);
}

static bool open_serial(struct opened *o, const struct definition *d, struct error *err)
{
	int pair[2];
	if (!strcmp(d->serial, "none"))
		return true;
	if (!strncmp(d->serial, "file:", 5)) {
		o->serial_file = open(d->serial + 5, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (o->serial_file < 0)
			return error_set(err, errno, "cannot write serial output to '%s'", d->serial + 5);
	}
	if (!strncmp(d->serial, "unix:", 5) && (o->serial_listen = listen_path(d->serial + 5, err)) < 0)
		return false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "cannot create the serial line");
	o->serial_host = pair[0];
	o->config.serial_fd[0] = pair[1];
	return true;
}

/* ---- sockets ---- */

static bool open_gdb(struct machine_config *c, const struct definition *d, struct error *err)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	char host[64];
	uint64_t port;
	int one = 1;
	if (!d->gdb)
		return true;
	snprintf(host, sizeof(host), "%s", d->gdb);
	char *colon = strrchr(host, ':');
	if (colon)
		*colon = 0;
	if ((colon && inet_pton(AF_INET, host, &a.sin_addr) != 1) ||
	    !parse_u64(colon ? colon + 1 : host, 1, 65535, &port))
		return error_set(err, 0, "gdb address '%s' is not [ADDR:]PORT", d->gdb);
	a.sin_port = htons((uint16_t)port);
	c->gdb_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->gdb_fd < 0 || setsockopt(c->gdb_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(c->gdb_fd, (struct sockaddr *)&a, sizeof(a)) || listen(c->gdb_fd, 1))
		return error_set(err, errno, "cannot listen for gdb on '%s'", d->gdb);
	return true;
}

/* The sockets of a guest's own connections are looked for in a directory of their own. */
static bool open_vsock(struct opened *o, const struct instance *i, const struct definition *d,
		       struct error *err)
{
	struct machine_config *c = &o->config;
	int pair[2];
	if (!d->vsock)
		return true;
	if (mkdirat(i->dir, "vsock", 0711) && errno != EEXIST)
		return error_set(err, errno, "cannot create the vsock directory of '%s'", i->name);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "cannot create the line of the vsock device");
	o->vsock_line = pair[0];
	c->vsock_dial_fd = pair[1];
	c->vsock_cid = d->vsock;
	c->vsock_fd = instance_listen(i, "vsock/sock", err);
	return c->vsock_fd >= 0;
}

/* The directory belongs to whom swtpm runs as: in a jail of root's, nobody. */
static bool own_tpm_state(int dir)
{
	static const char *const files[] = { ".", "tpm2-00.permall", "tpm2-00.volatilestate", ".lock" };
	for (unsigned k = 0; geteuid() == 0 && k < ARRAY_SIZE(files); k++)
		if (fchownat(dir, files[k], JAIL_NOBODY, JAIL_NOBODY, AT_SYMLINK_NOFOLLOW) && errno != ENOENT)
			return false;
	return true;
}

static bool open_tpm(struct opened *o, const struct instance *i, const struct definition *d, struct error *err)
{
	if (!d->tpm)
		return true;
	if (access("/usr/bin/swtpm", X_OK))
		return error_set(err, errno, "cannot run /usr/bin/swtpm, which --tpm needs: install the package swtpm");
	if (mkdirat(i->dir, "tpm", 0700) && errno != EEXIST)
		return error_set(err, errno, "cannot create the directory of the TPM of '%s'", i->name);
	auto_close int dir = openat(i->dir, "tpm", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0 || !own_tpm_state(dir) || (o->tpm_state = jail_tree(dir)) < 0)
		return error_set(err, errno, "cannot open the directory of the TPM of '%s'", i->name);
	return true;
}

/* A machine that goes on adds to what it has recorded. */
static bool open_sound(struct machine_config *c, const struct definition *d, struct error *err)
{
	c->sound = strcmp(d->sound, "none");
	if (strncmp(d->sound, "wav=", 4))
		return true;
	c->sound_fd = open(d->sound + 4, O_RDWR | O_CREAT | O_CLOEXEC | (c->state_fd < 0 ? O_TRUNC : 0), 0600);
	return c->sound_fd >= 0 || error_set(err, errno, "cannot record sound to '%s'", d->sound + 4);
}

static bool open_shares(struct opened *o, const struct definition *d, struct error *err)
{
	struct machine_config *c = &o->config;
	for (; c->nshares < d->nshares; c->nshares++) {
		const struct def_share *s = &d->shares[c->nshares];
		int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return error_set(err, errno, "cannot open shared directory '%s'", s->dir);
		o->share_root[c->nshares] = fd;
		c->share[c->nshares] = (struct share_config){ xstrdup(s->tag), -1, s->readonly };
	}
	return true;
}

/* ---- the rest ---- */

static void parse_uuid(const char *s, uint8_t out[16])
{
	for (unsigned n = 0; n < 16 && *s; s += 2) {
		unsigned b = 0;
		s += *s == '-';
		sscanf(s, "%2x", &b);
		out[n++] = (uint8_t)b;
	}
}

void opened_engine(struct machine_config *c, const char *text)
{
	size_t n = strcspn(text, ",");
	free(c->engine);
	free(c->engine_options);
	c->engine = xasprintf("%.*s", (int)n, text);
	c->engine_options = text[n] ? xstrdup(text + n + 1) : NULL;
}

static void copy_words(struct machine_config *c, const struct instance *i, const struct definition *d)
{
	c->name = xstrdup(i->name);
	c->board = xstrdup(d->board);
	c->cpu = xstrdup(d->cpu);
	c->boot = d->boot ? xstrdup(d->boot) : NULL;
	opened_engine(c, d->engine);
	c->vcpus = d->vcpus;
	c->memory = definition_memory(d);
	c->debug_exit = d->debug_exit;
	c->test_device = d->test_device;
	c->reboot_exits = !strcmp(d->on_reboot, "exit");
	c->clock_continue = !strcmp(d->clock, "continue");
	parse_uuid(d->uuid, c->uuid);
	ssize_t r UNUSED = getrandom(c->vmgenid, sizeof(c->vmgenid), 0);
	for (unsigned k = 0; k < d->nnets; k++) {
		if (!strcmp(d->nets[k].name, "none"))
			continue;
		c->net[c->nnets].fd = c->net[c->nnets].rom_fd = -1;
		c->net[c->nnets].model = xstrdup(d->nets[k].model);
		c->net[c->nnets].ring = (struct ring_fds){ -1, -1, -1 };
		mac_parse(d->nets[k].mac, c->net[c->nnets++].mac);
	}
}

static void all_closed(struct opened *o, int state_fd)
{
	struct machine_config *c = &o->config;
	memset(o, 0, sizeof(*o));
	o->vsock_line = o->serial_host = o->serial_file = o->serial_listen = -1;
	c->kernel_fd = c->initrd_fd = c->firmware_fd = c->nvram_fd = c->video_rom_fd = c->serial_fd[0] = c->serial_fd[1] = c->console_fd = -1;
	c->control_fd = c->gdb_fd = c->vsock_fd = c->vsock_dial_fd = c->kvm_fd = c->pagemap_fd = -1;
	c->state_fd = state_fd;
	o->tpm_state = c->sound_fd = c->viewer_fd = c->viewer_memory_fd = o->vnc_listen = c->tpm_fd = c->tpm_data_fd = -1;
	for (unsigned i = 0; i < ARRAY_SIZE(o->vnc_tls); i++)
		o->vnc_tls[i] = -1;
	for (unsigned i = 0; i < CONFIG_MAX_SHARES; i++)
		o->share_root[i] = -1;
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		o->nbd_line[i] = -1;
}

bool opened_kvm(struct machine_config *c, struct error *err)
{
	if (strcmp(c->engine, "kvm") || c->kvm_fd >= 0)
		return true;
	c->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	return c->kvm_fd >= 0 || error_set(err, errno, "cannot open /dev/kvm (abyme doctor tells more)");
}

bool opened_make(struct opened *o, const struct instance *i, const struct definition *d,
		 int state_fd, struct error *err)
{
	struct machine_config *c = &o->config;
	all_closed(o, state_fd);
	copy_words(c, i, d);
	struct definition named = *d;
	named.name = i->name;
	c->definition = definition_to_yaml(&named, err);
	return c->definition && opened_kvm(c, err) && open_kernel(c, d, err) && open_firmware(c, i, d, err) && open_screen(o, d, err) &&
		open_net_roms(c, err) && open_disks(o, i, d, err) &&
		open_shares(o, d, err) && open_vsock(o, i, d, err) && open_tpm(o, i, d, err) && open_sound(c, d, err) && open_gdb(c, d, err) &&
		open_serial(o, d, err) &&
		(c->control_fd = instance_listen(i, "control.sock", err)) >= 0;
}

unsigned opened_machine_fds(const struct opened *o, int fds[OPENED_MAX_FDS])
{
	const struct machine_config *c = &o->config;
	unsigned n = 0;
	const int single[] = { c->viewer_fd, c->viewer_memory_fd, c->tpm_fd, c->tpm_data_fd, c->sound_fd, c->kernel_fd, c->initrd_fd, c->firmware_fd, c->nvram_fd, c->video_rom_fd,
			       c->vsock_fd, c->vsock_dial_fd, c->kvm_fd, c->serial_fd[0], c->serial_fd[1],
			       c->console_fd, c->control_fd, c->gdb_fd, c->state_fd };
	for (unsigned i = 0; i < ARRAY_SIZE(single); i++)
		fds[n++] = single[i];
	for (unsigned i = 0; i < c->ndisks; i++)
		for (unsigned k = 0; k < c->disk[i].nbacking; k++)
			fds[n++] = c->disk[i].backing_fd[k];
	for (unsigned i = 0; i < c->ndisks; i++) {
		fds[n++] = c->disk[i].fd;
		fds[n++] = c->disk[i].nbd_line;
		fds[n++] = c->disk[i].data_fd;
	}
	for (unsigned i = 0; i < c->nnets; i++) {
		fds[n++] = c->net[i].fd;
		fds[n++] = c->net[i].rom_fd;
		fds[n++] = c->net[i].ring.memory;
		fds[n++] = c->net[i].ring.to_switch;
		fds[n++] = c->net[i].ring.to_port;
	}
	for (unsigned i = 0; i < c->nshares; i++)
		fds[n++] = c->share[i].fd;
	return n;
}

void opened_close_machine(struct opened *o)
{
	int fds[OPENED_MAX_FDS];
	unsigned n = opened_machine_fds(o, fds);
	for (unsigned i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}
