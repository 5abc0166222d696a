/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of definitions: see options.h. */
#include "cli/options.h"
#include "disk/nbd.h"
#include "cli/table.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>

/* Paths in a definition are absolute: it outlives the working directory. */
char *absolute_path(const char *path)
{
	char cwd[PATH_MAX];
	if (path[0] == '/' || nbd_is_uri(path) || !getcwd(cwd, sizeof(cwd)))
		return xstrdup(path);
	return xasprintf("%s/%s", cwd, strncmp(path, "./", 2) ? path : path + 2);
}

static void make_absolute(char **path)
{
	char *full = absolute_path(*path);
	free(*path);
	*path = full;
}

static bool set_file(void *target, const char *value, struct error *err)
{
	struct definition *d = target, empty = { .version = DEFINITION_VERSION };
	if (memcmp(d, &empty, sizeof(empty)))
		return error_set(err, 0, "-f FILE must come before the options that change it");
	struct definition *loaded = definition_load(value, err);
	if (!loaded)
		return false;
	*d = *loaded;
	free(loaded);
	return true;
}

static bool set_kernel(void *target, const char *value, struct error *err)
{
	struct definition *d = target;
	free(d->kernel);
	d->kernel = absolute_path(value);
	return true;
}

static bool set_initrd(void *target, const char *value, struct error *err)
{
	struct definition *d = target;
	free(d->initrd);
	d->initrd = absolute_path(value);
	return true;
}

static bool set_firmware(void *target, const char *value, struct error *err)
{
	struct definition *d = target;
	free(d->firmware);
	d->firmware = strchr(value, '/') ? absolute_path(value) : xstrdup(value);
	return true;
}

static bool set_serial(void *target, const char *value, struct error *err)
{
	struct definition *d = target;
	free(d->serial);
	if (!strncmp(value, "file:", 5) || !strncmp(value, "unix:", 5)) {
		auto_free char *path = absolute_path(value + 5);
		d->serial = xasprintf("%.5s%s", value, value[5] ? path : "");
	} else {
		d->serial = xstrdup(value);
	}
	return true;
}

static bool set_sound(void *target, const char *value, struct error *err)
{
	struct definition *d = target;
	bool file = !strncmp(value, "wav=", 4) && value[4];
	auto_free char *path = file ? absolute_path(value + 4) : NULL;
	free(d->sound);
	d->sound = file ? xasprintf("wav=%s", path) : xstrdup(value);
	return true;
}

static bool add_disk(void *target, const char *value, struct error *err)
{
	struct definition *d = target;
	if (!definition_add_disk(d, value, err))
		return false;
	struct def_disk *disk = &d->disks[d->ndisks - 1];
	make_absolute(&disk->file);
	/* never guessed: what a guest wrote at the start of a raw disk must not decide */
	auto_close int fd = disk->format ? -1 : open(disk->file, O_RDONLY | O_CLOEXEC);
	char magic[4] = "";
	if (fd >= 0 && read(fd, magic, 4) == 4 && !memcmp(magic, "QFI\xfb", 4))
		return error_set(err, 0, "disk '%s' looks like a qcow2 image: add ',format=qcow2' if it is one, "
				 "',format=raw' if not", disk->file);
	return true;
}

static bool limit_disk(void *target, const char *value, struct error *err)
{
	return definition_limit_disk(target, value, err);
}

static bool absolute_medium(struct definition *d)
{
	char **file = &d->disks[d->ndisks - 1].file;
	if (strcmp(*file, "none"))
		make_absolute(file);
	return true;
}

static bool add_cdrom(void *target, const char *value, struct error *err)
{
	return definition_add_cdrom(target, value, err) && absolute_medium(target);
}

static bool add_floppy(void *target, const char *value, struct error *err)
{
	return definition_add_floppy(target, value, err) && absolute_medium(target);
}

static bool add_share(void *target, const char *value, struct error *err)
{
	struct definition *d = target;
	if (!definition_add_share(d, value, err))
		return false;
	make_absolute(&d->shares[d->nshares - 1].dir);
	return true;
}

static bool add_net(void *target, const char *value, struct error *err)
{
	struct definition *d = target;
	if (!definition_add_net(d, value, err))
		return false;
	struct def_net *net = &d->nets[d->nnets - 1];
	if (net_is_vhost(net->name)) {
		auto_free char *path = absolute_path(net->name + strlen(NET_VHOST));
		free(net->name);
		net->name = xasprintf(NET_VHOST "%s", path);
	}
	return true;
}

static bool add_publish(void *target, const char *value, struct error *err)
{
	return definition_add_publish(target, value, err);
}

#define TARGET struct definition

const struct cli_option definition_options[] = {
	CALL("-f", "FILE.yaml", set_file, "start from the definition in a file"),
	NUMBER("--vcpus", "N", vcpus, "number of vCPUs, if not that of --cpus"),
	TEXT("--cpu", "MODEL", cpu, "abyme-v2.1, abyme-v3.1 or max"),
	TEXT("--memory", "SIZE", memory, "512M, 2G (default 1G)"),
	TEXT("--board", "pc|microvm", board, "microvm: a kernel and virtio devices, nothing else"),
	CALL("--firmware", "none|bios|uefi|uefi-secure|FILE", set_firmware, "what starts the disk (SeaBIOS, OVMF)"),
	TEXT("--boot", "disk,cdrom,net,floppy", boot, "what firmware tries, in this order"),
	TEXT("--display", "none|headless|vnc[:[ADDR:]PORT][,password-file=FILE][,tls=DIR]", display,
	     "a screen, for abyme screenshot or for a VNC viewer too"),
	TEXT("--gpu", "std|virtio", gpu, "the screen's graphics card"),
	TEXT("--input", "ps2|virtio|usb", input, "virtio, usb: a keyboard and a tablet more"),
	CALL("--sound", "none|silent|wav=FILE", set_sound, "a sound card: heard by nobody, or recorded"),
	FLAG("--tpm", tpm, "a TPM 2.0 (package swtpm)"),
	CALL("--kernel", "FILE", set_kernel, "bzImage, PVH ELF or multiboot kernel"),
	CALL("--initrd", "FILE", set_initrd, "initial RAM disk for the kernel"),
	TEXT("--append", "STRING", append, "kernel command line"),
	CALL("--disk", "FILE[,readonly][,format=raw|qcow2][,bus=virtio|scsi|ahci|nvme|ide]", add_disk, "a disk (repeatable)"),
	CALL("--disk-limit", "DISK[,iops=N][,iops-burst=N][,bps=SIZE][,bps-burst=SIZE]", limit_disk, "how much it may do a second"),
	TEXT("--on-error", "report|pause|enospc|ignore", on_error, "what a disk error on the host does (default enospc)"),
	CALL("--cdrom", "FILE.iso|none[,bus=ahci|ide]", add_cdrom, "a CD drive, with a CD or empty (repeatable)"),
	CALL("--floppy", "FILE|none[,readonly]", add_floppy, "a floppy drive (two at most)"),
	CALL("--net", "NAME|user|none|vhost-user:SOCKET[,mac=MAC][,model=virtio|e1000][,ip=ADDR][,vlan=N]", add_net, "a network interface (repeatable)"),
	CALL("--network", "NAME|user|none[,...]", add_net, "the same as --net"),
	CALL("--publish", "[ADDR:]HOSTPORT:GUESTPORT[/udp]", add_publish, "reach a guest's port from the host"),
	CALL("-p", "[ADDR:]HOSTPORT:GUESTPORT[/udp]", add_publish, "the same"),
	CALL("--serial", "stdio|file:PATH|unix:PATH|none", set_serial, "where the serial console goes"),
	TEXT("--engine", "auto|kvm|jit|interp", engine, "what runs the guest's instructions"),
	CALL("--share", "HOSTDIR:TAG[,readonly]", add_share, "a directory for the guest, by 9p"),
	NUMBER("--vsock", "CID", vsock, "a vsock device with this address"),
	TEXT("--on-reboot", "restart|exit", on_reboot, "what a reset of the guest does"),
	TEXT("--clock", "host|continue", clock, "wall time after a resume"),
	TEXT("--gdb", "[ADDR:]PORT", gdb, "serve gdb's remote protocol"),
	TEXT("--jail", "auto|require|none", jail, "how much of the jail must be there"),
	TEXT("--trace", "NAME[,NAME...]", trace, "record tracepoints into ./abyme.trace"),
	FLAG("--debug-exit", debug_exit, "port 0xf4 ends the run with status V<<1|1"),
	FLAG("--test-device", test_device, "the ports of pc-testdev"),
	{ NULL }
};

bool word_is_disk(const char *word)
{
	return word[0] == '/' || !strncmp(word, "./", 2) || !strncmp(word, "../", 3);
}

bool definition_take_word(struct definition *d, const char *word, struct error *err)
{
	if (!word_is_disk(word)) {
		free(d->image);
		d->image = xstrdup(word);
		return true;
	}
	if (!add_disk(d, word, err))
		return false;
	struct def_disk first = d->disks[d->ndisks - 1];
	memmove(&d->disks[1], &d->disks[0], (d->ndisks - 1) * sizeof(first));
	d->disks[0] = first;
	return true;
}

static bool print_json(const struct definition *d, const char *why)
{
	json_t *o = definition_to_json(d);
	if (why)
		json_object_set_new(o, "engine-reason", json_string(why));
	char *text = json_dumps(o, JSON_INDENT(2));
	printf("%s\n", text ? text : "{}");
	free(text);
	json_decref(o);
	return true;
}

bool definition_print(const struct definition *d, const char *why, bool json, struct error *err)
{
	if (json)
		return print_json(d, why);
	auto_free char *text = definition_to_yaml(d, err);
	if (!text)
		return false;
	printf("%s", text);
	if (why)
		printf("# engine: %s\n", why);
	return true;
}
