/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel and initial RAM disk of micro-VMs: see microvm_kernel.h. */
#include "instance/microvm_kernel.h"
#include "base/util.h"
#include "jail/spawn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { MODULE_MOST = 32 << 20, ORDER_MOST = 64, SETUP_MAGIC = 0x202, SETUP_VERSION = 0x20e };

/* What the init and the programs need, each after what it needs itself. */
static const char *const wanted[] = { "virtio_mmio", "virtio_blk", "crc32c_generic", "ext4", "overlay", "9p", "9pnet_virtio",
	"vmw_vsock_virtio_transport", "virtio_net", "vmgenid" };

/* ---- the kernel ---- */

/* Its release is in its header, before the first blank (Linux: Documentation/x86/boot.rst). */
static bool release_of(const char *path, char out[100], struct error *err)
{
	uint8_t head[0x210];
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "cannot open kernel '%s'", path);
	bool ok = fd_pread_full(fd, head, sizeof(head), 0) && !memcmp(head + SETUP_MAGIC, "HdrS", 4) &&
		pread(fd, out, 99, le16_get(head + SETUP_VERSION) + 0x200) == 99;
	out[99] = 0;
	out[strcspn(out, " ")] = 0;
	return ok || error_set(err, 0, "'%s' is not a Linux kernel (a bzImage)", path);
}

/* The last by version of DIR/vmlinuz-*. */
static char *newest(const char *dir)
{
	struct dirent **list;
	char *path = NULL;
	int n = scandir(dir, &list, NULL, versionsort);
	for (int i = n - 1; i >= 0; i--) {
		if (!path && !strncmp(list[i]->d_name, "vmlinuz-", 8))
			path = xasprintf("%s/%s", dir, list[i]->d_name);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return path;
}

static char *cached(void)
{
	const char *own = getenv("ABYME_CACHE"), *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	auto_free char *dir = own ? xasprintf("%s/kernel-amd64/boot", own) : base ? xasprintf("%s/abyme/kernel-amd64/boot", base) :
		xasprintf("%s/.cache/abyme/kernel-amd64/boot", home ? home : "");
	return newest(dir);
}

char *microvm_kernel_find(const char *given, struct error *err)
{
	char *path = given ? xstrdup(given) : newest("/boot");
	if (!path)
		path = cached();
	return path ? path : error_null(err, 0, "there is no kernel for a micro-VM: install the package linux-image-amd64, "
					"or name one with --kernel");
}

/* ---- its modules ---- */

/* DIR of DIR/lib/modules/RELEASE: where the kernel's package was unpacked, or the system. */
static char *modules_of(const char *kernel, struct error *err)
{
	char release[100];
	if (!release_of(kernel, release, err))
		return NULL;
	const char *slash = strrchr(kernel, '/');
	auto_free char *own = slash ? xasprintf("%.*s/../lib/modules/%s/kernel", (int)(slash - kernel), kernel, release) : NULL;
	if (own && !access(own, R_OK))
		return move_ptr(own);
	return xasprintf("/lib/modules/%s/kernel", release);
}

struct module { char *name, *path; };
struct modules { struct module *v; unsigned n; };

static void plain(char *name)
{
	name[strcspn(name, ".")] = 0;
	for (; *name; name++)
		if (*name == '-')
			*name = '_';
}

static void collect(struct modules *m, const char *dir, unsigned depth)
{
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d)); ) {
		if (e->d_name[0] == '.')
			continue;
		auto_free char *path = xasprintf("%s/%s", dir, e->d_name);
		if (e->d_type == DT_DIR && depth < 12) {
			collect(m, path, depth + 1);
		} else if (strstr(e->d_name, ".ko")) {
			m->v = xrealloc(m->v, (m->n + 1) * sizeof(*m->v));
			m->v[m->n] = (struct module){ xstrdup(e->d_name), move_ptr(path) };
			plain(m->v[m->n++].name);
		}
	}
	if (d)
		closedir(d);
}

static void modules_free(struct modules *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		free(m->v[i].name);
		free(m->v[i].path);
	}
	free(m->v);
}

static char *read_file(const char *path, size_t *n, struct error *err)
{
	struct stat st;
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || st.st_size <= 0 || st.st_size > MODULE_MOST)
		return error_null(err, fd < 0 ? errno : 0, "cannot read '%s'", path);
	auto_free char *text = xmalloc((size_t)st.st_size + 1);
	if (!fd_read_full(fd, text, (size_t)st.st_size))
		return error_null(err, errno, "cannot read '%s'", path);
	*n = (size_t)st.st_size;
	text[*n] = 0;
	return move_ptr(text);
}

/* ---- the archive: cpio's "newc" (Linux: Documentation/driver-api/early-userspace/buffer-format.rst) ---- */

struct archive { int fd; uint64_t at; unsigned inode; bool failed; };

static void put(struct archive *a, const void *data, size_t n)
{
	static const char zeros[4];
	size_t pad = ALIGN_UP(a->at + n, 4u) - (a->at + n);
	a->failed |= !fd_write_full(a->fd, data, n) || (pad && !fd_write_full(a->fd, zeros, pad));
	a->at += n + pad;
}

static void put_entry(struct archive *a, const char *name, unsigned mode, unsigned major, unsigned minor, const void *data, size_t n)
{
	char head[512];
	int size = snprintf(head, sizeof(head) - 1, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%.200s", ++a->inode, mode, 0, 0,
			    1, 0, (unsigned)n, 0, 0, major, minor, (unsigned)strlen(name) + 1, 0, name);
	put(a, head, (size_t)size + 1);
	if (n)
		put(a, data, n);
}

struct initrd { struct archive archive; struct modules modules; const char *done[ORDER_MOST]; unsigned ndone; char order[ORDER_MOST * 80]; };

static struct module *module_find(struct modules *m, const char *name)
{
	for (unsigned i = 0; i < m->n; i++)
		if (!strcmp(m->v[i].name, name))
			return &m->v[i];
	return NULL;
}

static bool add_module(struct initrd *r, const char *name, struct error *err);

/* ".modinfo" holds strings; one is "depends=A,B". */
static bool add_needed(struct initrd *r, const char *text, size_t n, struct error *err)
{
	static const char key[] = "\0depends=";
	const char *p = memmem(text, n, key, sizeof(key) - 1);
	auto_free char *list = xstrdup(p ? p + sizeof(key) - 1 : "");
	char *rest = list;
	for (char *word; (word = strsep(&rest, ",")); ) {
		plain(word);
		if (*word && !add_module(r, word, err))
			return false;
	}
	return true;
}

/* As kernels have them from Debian 13 on; the programs are as common as the formats. */
static const struct { const char *suffix, *program; } packers[] = { { ".ko", NULL }, { ".ko.xz", "xz" }, { ".ko.zst", "zstd" }, { ".ko.gz", "gzip" } };

static NORETURN void unpack_with(const char *program, const char *path, int to)
{
	const struct rlimit most = { MODULE_MOST, MODULE_MOST };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	setrlimit(RLIMIT_FSIZE, &most);
	dup2(to, 1);
	dup2(null, 2);
	execlp(program, program, "-dc", path, (char *)NULL);
	_exit(127);
}

static char *read_packed(const char *program, const char *path, size_t *n, struct error *err)
{
	char link[64];
	auto_close int fd = memfd_create("module", MFD_CLOEXEC);
	pid_t pid = fd >= 0 ? fork() : -1;
	if (!pid)
		unpack_with(program, path, fd);
	int status = pid > 0 ? wait_child(pid) : -1;
	if (status)
		return error_null(err, 0, "cannot unpack the module '%s' (program '%s')", path, program);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return read_file(link, n, err);
}

static char *read_module(const char *path, size_t *n, struct error *err)
{
	const char *suffix = strstr(strrchr(path, '/'), ".ko");
	for (unsigned i = 0; i < ARRAY_SIZE(packers); i++)
		if (!strcmp(suffix, packers[i].suffix))
			return packers[i].program ? read_packed(packers[i].program, path, n, err) : read_file(path, n, err);
	return error_null(err, 0, "the module '%s' is compressed in an unknown way", path);
}

/* What is not there is built in, or this kernel does without. */
static bool add_module(struct initrd *r, const char *name, struct error *err)
{
	struct module *m = module_find(&r->modules, name);
	size_t n;
	for (unsigned i = 0; i < r->ndone; i++)
		if (!strcmp(r->done[i], name))
			return true;
	if (!m || r->ndone == ORDER_MOST)
		return true;
	r->done[r->ndone++] = m->name;
	auto_free char *text = read_module(m->path, &n, err);
	if (!text || !add_needed(r, text, n, err))
		return false;
	auto_free char *path = xasprintf("modules/%.60s.ko", m->name);
	put_entry(&r->archive, path, S_IFREG | 0644, 0, 0, text, n);
	size_t used = strlen(r->order);
	snprintf(r->order + used, sizeof(r->order) - used, "%.60s.ko\n", m->name);
	return true;
}

static bool put_init(struct archive *a, struct error *err)
{
	char link[64], path[PATH_MAX];
	size_t n;
	auto_close int fd = helper_open("abyme-init", err);
	if (fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, path, sizeof(path) - 1);
	path[MAX(len, 0)] = 0;
	auto_free char *text = read_file(path, &n, err);
	if (text)
		put_entry(a, "init", S_IFREG | 0755, 0, 0, text, n);
	return text != NULL;
}

static bool fill(struct initrd *r, const char *modules, struct error *err)
{
	static const char *const dirs[] = { "dev", "modules" };
	struct archive *a = &r->archive;
	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++)
		put_entry(a, dirs[i], S_IFDIR | 0755, 0, 0, NULL, 0);
	put_entry(a, "dev/console", S_IFCHR | 0600, 5, 1, NULL, 0);
	collect(&r->modules, modules, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!add_module(r, wanted[i], err))
			return false;
	put_entry(a, "modules/order", S_IFREG | 0644, 0, 0, r->order, strlen(r->order));
	if (!put_init(a, err))
		return false;
	put_entry(a, "TRAILER!!!", 0, 0, 0, NULL, 0);
	return !a->failed || error_set(err, errno, "cannot write the initial RAM disk");
}

int microvm_initrd(const char *kernel, struct error *err)
{
	auto_free char *modules = modules_of(kernel, err);
	auto_free struct initrd *r = xnew(struct initrd);
	if (!modules)
		return -1;
	auto_close int fd = memfd_create("initrd", MFD_CLOEXEC);
	if (fd < 0)
		return error_minus(err, errno, "cannot make the initial RAM disk");
	r->archive.fd = fd;
	bool ok = fill(r, modules, err);
	modules_free(&r->modules);
	return ok ? move_fd(&fd) : -1;
}
