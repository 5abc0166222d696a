/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions: entries of lists from their option form, defaults, and the
 * checks that can be made without opening anything.
 */
#include "instance/fields.h"
#include "instance/display.h"
#include "instance/engines.h"
#include "instance/program.h"
#include "net/user.h"
#include "network/network.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

enum { MAX_NETS = 4, MAX_PUBLISH = 64, MAX_SHARES = 8, MAX_VCPUS = 64, MAX_CPUS = 4096 };
#define MIN_MEMORY (16 * MiB)
#define MAX_MEMORY (128 * GiB)

static bool net_option(struct def_net *net, const char *f, struct error *err)
{
	const struct { const char *key; char **field; } texts[] = {
		{ "mac=", &net->mac }, { "model=", &net->model }, { "ip=", &net->ip }, { "trunk=", &net->trunk },
		{ "rate=", &net->limits.rate }, { "rate-up=", &net->limits.rate_up }, { "rate-down=", &net->limits.rate_down },
		{ "burst=", &net->limits.burst }, { "group=", &net->limits.group } };
	const char *vlan = field_after(f, "vlan=");
	uint64_t n;
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *value = field_after(f, texts[i].key);
		if (!value)
			continue;
		free(*texts[i].field);
		*texts[i].field = xstrdup(value);
		return true;
	}
	if (!strcmp(f, "isolated")) {
		net->limits.isolated = true;
		return true;
	}
	if (!vlan)
		return error_set(err, 0, "network option '%s' is not known: use mac=MAC, model=virtio|e1000, ip=ADDRESS, "
				 "vlan=N, trunk=N:N-N, rate=, rate-up=, rate-down= or burst=SIZE, group=NAME or isolated", f);
	if (!parse_u64(vlan, 1, 4094, &n))
		return error_set(err, 0, "VLAN '%s' is out of range: from 1 to 4094", vlan);
	net->vlan = (unsigned)n;
	return true;
}

bool definition_add_net(struct definition *d, const char *text, struct error *err)
{
	struct def_net *net = APPEND(d, nets, nnets, MAX_NETS, "network interfaces");
	if (!net)
		return false;
	net->name = field_next(&text);
	for (char *f; (f = field_next(&text)); free(f))
		if (!net_option(net, f, err)) {
			free(f);
			return false;
		}
	return true;
}

/* HOSTDIR:TAG[,readonly]: the tag begins after the last colon. */
bool definition_add_share(struct definition *d, const char *text, struct error *err)
{
	struct def_share *share = APPEND(d, shares, nshares, MAX_SHARES, "shares");
	if (!share)
		return false;
	share->dir = field_next(&text);
	char *colon = strrchr(share->dir, ':');
	if (!colon || colon == share->dir || !colon[1])
		return error_set(err, 0, "share '%s' has no tag: --share HOSTDIR:TAG[,readonly]", share->dir);
	*colon = 0;
	share->tag = xstrdup(colon + 1);
	for (char *f; (f = field_next(&text)); free(f)) {
		if (strcmp(f, "readonly")) {
			error_set(err, 0, "share option '%s' is not known: use readonly", f);
			free(f);
			return false;
		}
		share->readonly = true;
	}
	return true;
}

bool definition_add_publish(struct definition *d, const char *text, struct error *err)
{
	struct publish p;
	if (!publish_parse(text, &p, err))
		return false;
	char **entry = APPEND(d, publish, npublish, MAX_PUBLISH, "published ports");
	if (!entry)
		return false;
	*entry = xstrdup(text);
	return true;
}

bool mac_parse(const char *text, uint8_t mac[6])
{
	unsigned b[6];
	char end;
	if (strlen(text) != 17 || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2],
					 &b[3], &b[4], &b[5], &end) != 6)
		return false;
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return !(mac[0] & 1);      /* a group address cannot be a card's own */
}

bool instance_name_ok(const char *name, struct error *err)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
	if (n == strlen(name) && n >= 1 && n <= 63 && isalnum((unsigned char)name[0]))
		return true;
	return error_set(err, 0, "'%s' cannot be a name: use letters, digits, '-', '_' and '.', "
			 "beginning with a letter or digit, at most 63", name);
}

uint64_t definition_memory(const struct definition *d)
{
	uint64_t bytes = 0;
	parse_size(d->memory, &bytes);
	return bytes;
}

enum isolation definition_isolation(const struct definition *d)
{
	if (!d->isolation || !strcmp(d->isolation, "vm"))
		return ISOLATION_VM;
	return strcmp(d->isolation, "microvm") ? ISOLATION_CONTAINER : ISOLATION_MICROVM;
}

void definition_append(char ***list, unsigned *n, const char *value)
{
	*list = xrealloc(*list, (*n + 1) * sizeof(**list));
	(*list)[(*n)++] = xstrdup(value);
}

static void make_uuid(char **field)
{
	uint8_t b[16];
	if (*field || getrandom(b, sizeof(b), 0) != sizeof(b))
		return;
	b[6] = (uint8_t)((b[6] & 15) | 0x40);      /* RFC 4122 4.4: version 4 */
	b[8] = (uint8_t)((b[8] & 63) | 0x80);
	*field = xasprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
			   b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10],
			   b[11], b[12], b[13], b[14], b[15]);
}

static bool check_memory(const struct definition *d, struct error *err)
{
	uint64_t bytes;
	if (!parse_size(d->memory, &bytes))
		return error_set(err, 0, "memory size '%s' is not a size: write 512M or 2G", d->memory);
	if (bytes % 4096 || bytes < MIN_MEMORY || bytes > MAX_MEMORY)
		return error_set(err, 0, "memory size '%s' is out of range: from 16M to 128G in steps of 4K", d->memory);
	uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	if (bytes > host)
		return error_set(err, 0, "memory size '%s' is more than this host has (%llu MiB)",
				 d->memory, (unsigned long long)(host / MiB));
	return true;
}

static bool check_cpus(struct definition *d, struct error *err)
{
	if (d->cpus < 0 || d->cpus > MAX_CPUS)
		return error_set(err, 0, "--cpus takes a number of CPUs up to %d, as in 1.5", MAX_CPUS);
	if (definition_isolation(d) == ISOLATION_CONTAINER)
		return true;
	if (!d->vcpus)
		d->vcpus = d->cpus > 1 ? (unsigned)d->cpus + (d->cpus > (unsigned)d->cpus) : 1;
	if (!(d->cpus > 0))
		d->cpus = d->vcpus;
	if (d->vcpus > MAX_VCPUS)
		return error_set(err, 0, "%u vCPUs are too many: a machine has at most %d", d->vcpus, MAX_VCPUS);
	return true;
}

/* A missing address is made from the UUID, so that it stays with the instance;
 * 02: locally administered. */
static void make_mac(struct def_net *net, const char *uuid, unsigned index)
{
	unsigned b[4] = { 0 };
	if (net->mac || sscanf(uuid, "%2x%2x%2x%2x", &b[0], &b[1], &b[2], &b[3]) != 4)
		return;
	net->mac = xasprintf("02:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], index);
}

/* What a network is asked for means nothing elsewhere. */
static bool check_net_place(const struct def_net *net, struct error *err)
{
	static const struct network_limits none;
	bool vhost = net_is_vhost(net->name), own = vhost || !strcmp(net->name, "user") || !strcmp(net->name, "none");
	if (vhost && !net->name[strlen(NET_VHOST)])
		return error_set(err, 0, "--net vhost-user: needs the path of a socket behind it");
	if (!own && !network_exists(net->name))
		return error_set(err, 0, "there is no network '%s': use user, none, vhost-user:SOCKET, or one of abyme network "
				 "list (abyme network create %s makes it)", net->name, net->name);
	if (own && (net->ip || net->vlan || net->trunk || memcmp(&net->limits, &none, sizeof(none))))
		return error_set(err, 0, "ip=, vlan=, trunk=, rates, group= and isolated are for networks of abyme network, "
				 "not for '%s'", net->name);
	return network_limits_ok(&net->limits, err);
}

static bool check_nets(struct definition *d, struct error *err)
{
	unsigned user = 0;
	for (unsigned i = 0; i < d->nnets; i++) {
		struct def_net *net = &d->nets[i];
		uint8_t mac[6];
		bool host = !strcmp(net->name, "host") && definition_isolation(d) == ISOLATION_CONTAINER;
		field_default(&net->model, "virtio");
		if (!ONE_OF(net->model, "network card", "virtio", "e1000") || (!host && !check_net_place(net, err)))
			return false;
		make_mac(net, d->uuid, i);
		if (!mac_parse(net->mac, mac))
			return error_set(err, 0, "MAC address '%s' is not valid: write six hexadecimal "
					 "bytes, the first even, as in 02:00:00:00:00:01", net->mac);
		user += strcmp(net->name, "none") && !host && !net_is_vhost(net->name);
	}
	for (unsigned i = 0; i < d->npublish; i++) {
		struct publish p;
		if (!publish_parse(d->publish[i], &p, err))
			return false;
	}
	if (d->npublish && !user)
		return error_set(err, 0, "--publish needs the user network or one of kind nat: add --net user");
	return true;
}

static bool check_serial(const char *s, struct error *err)
{
	if (!strcmp(s, "stdio") || !strcmp(s, "none"))
		return true;
	if ((!strncmp(s, "file:", 5) || !strncmp(s, "unix:", 5)) && s[5])
		return true;
	return error_set(err, 0, "serial '%s' is not known: use stdio, none, file:PATH or unix:PATH", s);
}

static bool check_sound(const char *s, struct error *err)
{
	return !strcmp(s, "none") || !strcmp(s, "silent") || (!strncmp(s, "wav=", 4) && s[4]) ||
	       error_set(err, 0, "sound '%s' is not known: use none, silent or wav=FILE", s);
}

static bool check_shares(const struct definition *d, struct error *err)
{
	for (unsigned i = 0; i < d->nshares; i++)
		if (strlen(d->shares[i].tag) > 31)
			return error_set(err, 0, "share tag '%s' is too long: at most 31 bytes", d->shares[i].tag);
	return true;
}

static bool check_uuid(const char *s, struct error *err)
{
	size_t n = strlen(s);
	for (size_t i = 0; i < n; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
			n = 0;
	return n == 36 || error_set(err, 0, "'%s' is not a UUID", s);
}

static bool check_screen(struct definition *d, struct error *err)
{
	bool other = (d->gpu && strcmp(d->gpu, "std")) || (d->input && strcmp(d->input, "ps2"));
	field_default(&d->gpu, "std");
	field_default(&d->input, "ps2");
	if (other && !strcmp(d->display, "none"))
		return error_set(err, 0, "--gpu and --input need a screen: add --display headless");
	return ONE_OF(d->gpu, "graphics card", "std", "virtio") && ONE_OF(d->input, "--input value", "ps2", "virtio", "usb");
}

static bool check_rest(struct definition *d, struct error *err)
{
	if (d->vsock == 1 || d->vsock == 2 || d->vsock == UINT32_MAX)
		return error_set(err, 0, "vsock CID %u is reserved: use 3 or more", d->vsock);
	if (d->name && !instance_name_ok(d->name, err))
		return false;
	return ONE_OF(d->board, "board", "pc", "microvm") && check_uuid(d->uuid, err) &&
		ONE_OF(d->on_reboot, "--on-reboot value", "restart", "exit") &&
		display_check(d->display, err) && check_screen(d, err) &&
		ONE_OF(d->clock, "--clock value", "host", "continue") &&
		ONE_OF(d->jail, "--jail value", "auto", "require", "none") &&
		check_serial(d->serial, err) && check_sound(d->sound, err) && check_shares(d, err);
}

/* Words of --boot, each once at most. */
static bool check_boot(const char *boot, struct error *err)
{
	const char *rest = boot;
	unsigned seen = 0;
	for (char *w; (w = field_next(&rest)); free(w)) {
		static const char *const words[] = { "disk", "cdrom", "net", "floppy" };
		unsigned k = 0;
		while (k < ARRAY_SIZE(words) && strcmp(words[k], w))
			k++;
		if (k == ARRAY_SIZE(words) || seen & 1u << k) {
			error_set(err, 0, "boot order '%s' is not valid: name each of disk, cdrom, net, "
				  "floppy once at most", boot);
			free(w);
			return false;
		}
		seen |= 1u << k;
	}
	return true;
}

/* A kernel is started by the monitor; a disk by firmware. */
static bool check_firmware(struct definition *d, struct error *err)
{
	field_default(&d->firmware, d->kernel ? "none" : "bios");
	if (d->firmware[0] != '/' && !ONE_OF(d->firmware, "firmware", "none", "bios", "uefi", "uefi-secure"))
		return false;
	if (strcmp(d->firmware, "none") && d->kernel)
		return error_set(err, 0, "--firmware starts disks, --kernel starts a kernel: "
				 "give one of them");
	if (d->boot && !strcmp(d->firmware, "none"))
		return error_set(err, 0, "--boot is for firmware, which a machine with --kernel does without");
	return !d->boot || check_boot(d->boot, err);
}

/* board microvm: a kernel, virtio devices, nothing else. */
static bool check_board(const struct definition *d, struct error *err)
{
	if (strcmp(d->board, "microvm"))
		return true;
	if (!d->kernel)
		return error_set(err, 0, "board microvm starts kernels only: add --kernel FILE, or use --board pc");
	if (strcmp(d->display, "none"))
		return error_set(err, 0, "board microvm has no screen: use --board pc");
	if (d->tpm || strcmp(d->sound, "none"))
		return error_set(err, 0, "board microvm has neither TPM nor sound: use --board pc");
	for (unsigned i = 0; i < d->ndisks; i++)
		if (strcmp(d->disks[i].bus, "virtio"))
			return error_set(err, 0, "board microvm has virtio disks only: '%s' must be one",
					 d->disks[i].file);
	for (unsigned i = 0; i < d->nnets; i++)
		if (d->nets[i].model && strcmp(d->nets[i].model, "virtio"))
			return error_set(err, 0, "board microvm has virtio network cards only, not %s", d->nets[i].model);
	return true;
}

/* Of an image: what a machine has beside its program, its keeper decides when it starts. */
static bool resolve_image(struct definition *d, char why[160], struct error *err)
{
	if (!check_cpus(d, err) || !check_uuid(d->uuid, err) || !check_nets(d, err) ||
	    !ONE_OF(d->jail, "--jail value", "auto", "require", "none") || (d->name && !instance_name_ok(d->name, err)))
		return false;
	if (definition_isolation(d) == ISOLATION_CONTAINER) {
		if (!why[0])
			snprintf(why, 160, "the host kernel runs it");
		return true;
	}
	char engine[160], wall[160];
	snprintf(wall, sizeof(wall), "%s", why);
	if (!engine_resolve(d, engine, err))
		return false;
	snprintf(why, 160, "%.80s%s%.75s", wall, wall[0] ? "; " : "", engine);
	return true;
}

bool definition_resolve(struct definition *d, char why[160], struct error *err)
{
	d->version = DEFINITION_VERSION;
	if (!program_resolve(d, why, err))
		return false;
	make_uuid(&d->uuid);
	field_default(&d->uuid, "00000000-0000-4000-8000-000000000000");
	field_default(&d->board, definition_isolation(d) == ISOLATION_MICROVM ? "microvm" : "pc");
	if (!d->image)
		field_default(&d->memory, "1G");
	field_default(&d->serial, "stdio");
	field_default(&d->on_reboot, "restart");
	field_default(&d->clock, "host");
	field_default(&d->display, "none");
	field_default(&d->sound, "none");
	field_default(&d->jail, "auto");
	field_default(&d->engine, "auto");
	if (d->image)
		return resolve_image(d, why, err);
	if (!check_memory(d, err) || !check_cpus(d, err) || !definition_check_disks(d, err) ||
	    !check_nets(d, err) || !check_rest(d, err) || !check_firmware(d, err) ||
	    !check_board(d, err))
		return false;
	if (!d->kernel && (d->initrd || d->append))
		return error_set(err, 0, "--initrd and --append need a kernel: add --kernel FILE");
	return engine_resolve(d, why, err);
}
