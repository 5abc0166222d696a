/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a program finds when it starts: see guest.h and session/guest.h. */
#include "guest/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "container/held.h"
#include "container/schema.h"

#define DISK "/dev/vda"
#define IMAGE "/run/image"
#define UPPER "/run/upper"
#define DONE "/run/done"

struct share { const char *tag; bool readonly; };
struct setup {
	bool terminal, keep, held, rest, disk;
	int64_t clock;
	const char *seed;
	const char *hostname;
	struct strings args, env;
	LIST(struct share) shares;
	LIST(struct guest_net) nets;
};
static const struct field share_fields[] = {
	FIELD_MUST(STR, struct share, "tag", tag),
	FIELD(BOOL, struct share, "readonly", readonly),
	{ NULL, FIELD_STR, false, 0, 0, NULL }
};
static const struct field net_fields[] = {
	FIELD(STR, struct guest_net, "mac", mac),
	FIELD(STR, struct guest_net, "ip", ip),
	FIELD(STR, struct guest_net, "gateway", gateway),
	FIELD(U32, struct guest_net, "prefix", prefix),
	FIELD(U32, struct guest_net, "mtu", mtu),
	{ NULL, FIELD_STR, false, 0, 0, NULL }
};
static const struct field setup_fields[] = {
	FIELD(BOOL, struct setup, "terminal", terminal),
	FIELD(BOOL, struct setup, "keep", keep),
	FIELD(BOOL, struct setup, "held", held),
	FIELD(BOOL, struct setup, "rest", rest),
	FIELD(BOOL, struct setup, "disk", disk),
	FIELD(STRINGS, struct setup, "args", args),
	FIELD(STRINGS, struct setup, "env", env),
	FIELD(STR, struct setup, "hostname", hostname),
	FIELD(I64, struct setup, "clock", clock),
	FIELD(STR, struct setup, "seed", seed),
	FIELD_SUB(LIST, struct setup, "shares", shares, struct share, share_fields),
	FIELD_SUB(LIST, struct setup, "nets", nets, struct guest_net, net_fields),
	{ NULL, FIELD_STR, false, 0, 0, NULL }
};

/* ---- what a snapshot would give to many ---- */

static void set_clock(int64_t ns)
{
	const struct timespec t = { ns / 1000000000, ns % 1000000000 };
	if (ns > 0)
		clock_settime(CLOCK_REALTIME, &t);
}

/* Machines that began in the same snapshot must not draw the same numbers. */
static void stir(const char *seed)
{
	auto_close int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	if (fd < 0 || !seed)
		return;
	if (write(fd, seed, strlen(seed)) < 0 || ioctl(fd, RNDRESEEDCRNG))
		guest_say("cannot reseed the random numbers", errno);
}

/* ---- file systems ---- */

static bool mount_share(const char *tag, const char *at, bool readonly, const char *cache, struct error *err)
{
	char options[128];
	snprintf(options, sizeof(options), "trans=virtio,version=9p2000.L,msize=131072,cache=%s", cache);
	mkdir(at, 0755);
	return !mount(tag, at, "9p", readonly ? MS_RDONLY : 0, options) ||
		error_set(err, errno, "cannot mount the share '%s'", tag);
}

/* The disk may be another one than when the kernel first looked at it. */
static bool mount_disk(struct error *err)
{
	auto_close int fd = open(DISK, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, BLKFLSBUF))
		return error_set(err, errno, "cannot open the disk");
	return !mount(DISK, UPPER, "ext4", MS_NOATIME, "") || error_set(err, errno, "cannot mount the disk");
}

/* Changes go to the disk, or, where nothing is to be changed, to memory: mount points
 * have to be made all the same. */
static bool mount_root(const struct setup *s, struct error *err)
{
	mkdir(UPPER, 0755);
	if (!mount_share(GUEST_ROOT_TAG, IMAGE, true, "loose", err) || (s->disk && !mount_disk(err)))
		return false;
	if (!s->disk && mount("tmpfs", UPPER, "tmpfs", 0, "mode=755"))
		return error_set(err, errno, "cannot mount memory for the image's changes");
	mkdir(UPPER "/upper", 0755);
	mkdir(UPPER "/work", 0755);
	mkdir(GUEST_BUNDLE "/rootfs", 0755);
	return !mount("overlay", GUEST_BUNDLE "/rootfs", "overlay", MS_NODEV, "lowerdir=" IMAGE ",upperdir=" UPPER "/upper,workdir=" UPPER "/work") ||
		error_set(err, errno, "cannot mount the image");
}

static bool mount_volumes(const struct setup *s, struct error *err)
{
	char at[300];
	mkdir(GUEST_VOLUMES, 0755);
	for (unsigned i = 0; i < s->shares.n; i++) {
		snprintf(at, sizeof(at), GUEST_VOLUMES "/%s", s->shares.v[i].tag);
		if (!mount_share(s->shares.v[i].tag, at, s->shares.v[i].readonly, "none", err))
			return false;
	}
	return true;
}

static bool make_own(const struct setup *s, struct error *err)
{
	set_clock(s->clock);
	stir(s->seed);
	return guest_links_up(s->nets.v, s->nets.n, err);
}

/* Once: the program may be started again in the same machine. */
static bool set_up(const struct setup *s, struct error *err)
{
	if (!access(DONE, F_OK))
		return true;
	if (!mount_root(s, err) || !mount_volumes(s, err) || (!s->held && !make_own(s, err)))
		return false;
	auto_close int fd = open(DONE, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	return fd >= 0 || error_set(err, errno, "cannot write " DONE);
}

bool guest_set_up(const char *text, size_t n, struct guest_setup *out, struct error *err)
{
	struct arena a = { 0 };
	struct setup s = { 0 };
	struct json *v = json_parse(&a, text, n, "the request", err);
	bool ok = v && schema_read(&a, v, "", setup_fields, &s, err) && set_up(&s, err);
	*out = (struct guest_setup){ s.terminal, s.keep, s.held, s.rest };
	arena_free(&a);
	return ok;
}

bool guest_begin(const char *text, size_t n, struct guest_setup *out, struct error *err)
{
	struct arena a = { 0 };
	struct setup s = { 0 };
	struct json *v = json_parse(&a, text, n, "the request", err);
	bool ok = v && schema_read(&a, v, "", setup_fields, &s, err) && make_own(&s, err) &&
		held_start(GUEST_RECORDS "/" GUEST_PROGRAM, &s.args, &s.env, s.hostname, err);
	out->keep = s.keep;
	arena_free(&a);
	return ok;
}
