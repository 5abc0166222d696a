/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * runtime-spec config-linux.md "Seccomp".  The filter is compiled by the
 * runtime, outside the container; the container's process only loads it.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "container/channel.h"
#include "container/kernel.h"
#include "container/launch.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static bool action(const char *name, struct opt_u64 value, uint32_t *out, struct error *err)
{
	uint16_t data = (uint16_t)(value.set ? value.v & 0xffff : EPERM);
	static const struct { const char *name; uint32_t action; } table[] = {
		{ "SCMP_ACT_KILL", SCMP_ACT_KILL }, { "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
		{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS }, { "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
		{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW }, { "SCMP_ACT_LOG", SCMP_ACT_LOG }, { "SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (!strcmp(name, table[i].name)) {
			*out = table[i].action;
			return true;
		}
	if (!strcmp(name, "SCMP_ACT_ERRNO"))
		*out = SCMP_ACT_ERRNO(data);
	else if (!strcmp(name, "SCMP_ACT_TRACE"))
		*out = SCMP_ACT_TRACE(data);
	else
		return error_set(err, 0, "linux.seccomp: '%s' is no action", name);
	return true;
}

static bool compare(const char *op, enum scmp_compare *out, struct error *err)
{
	static const struct { const char *name; enum scmp_compare op; } table[] = {
		{ "SCMP_CMP_NE", SCMP_CMP_NE }, { "SCMP_CMP_LT", SCMP_CMP_LT }, { "SCMP_CMP_LE", SCMP_CMP_LE },
		{ "SCMP_CMP_EQ", SCMP_CMP_EQ }, { "SCMP_CMP_GE", SCMP_CMP_GE }, { "SCMP_CMP_GT", SCMP_CMP_GT },
		{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (!strcmp(op, table[i].name)) {
			*out = table[i].op;
			return true;
		}
	return error_set(err, 0, "linux.seccomp: '%s' is no comparison", op);
}

/* Two conditions on one argument: libseccomp wants them as rules of their own (an
 * alternative), as the other runtimes read them. */
static bool repeats(const struct spec_syscall *r)
{
	unsigned seen = 0;
	for (unsigned i = 0; i < r->args.n; i++) {
		if (seen & 1u << r->args.v[i].index)
			return true;
		seen |= 1u << r->args.v[i].index;
	}
	return false;
}

static int add_rule(scmp_filter_ctx ctx, uint32_t act, int nr, const struct scmp_arg_cmp *args, unsigned n, bool apart)
{
	int r = n && apart ? 0 : seccomp_rule_add_array(ctx, act, nr, n, args);
	for (unsigned i = 0; apart && i < n && !r; i++)
		r = seccomp_rule_add_array(ctx, act, nr, 1, &args[i]);
	return r;
}

static bool add_syscall(scmp_filter_ctx ctx, const struct spec_syscall *r, uint32_t fallback, struct launch *l,
	struct error *err)
{
	struct scmp_arg_cmp args[6];
	uint32_t act;
	if (!action(r->action, r->errno_ret, &act, err))
		return false;
	if (r->args.n > ARRAY_SIZE(args))
		return error_set(err, 0, "linux.seccomp: at most 6 arguments a rule");
	for (unsigned i = 0; i < r->args.n; i++) {
		const struct spec_syscall_arg *a = &r->args.v[i];
		args[i] = (struct scmp_arg_cmp){ .arg = a->index, .datum_a = a->value, .datum_b = a->value2 };
		if (a->index > 5 || !compare(a->op, &args[i].op, err))
			return a->index <= 5 ? false : error_set(err, 0, "linux.seccomp: an argument's index is from 0 to 5");
	}
	l->filter_notify |= act == SCMP_ACT_NOTIFY;
	if (act == fallback)      /* it is what happens anyway, and libseccomp says EACCES */
		return true;
	bool apart = repeats(r);
	for (unsigned i = 0; i < r->names.n; i++) {
		int nr = seccomp_syscall_resolve_name(r->names.v[i]);
		if (nr == __NR_SCMP_ERROR)    /* of another architecture or a newer kernel: it cannot be called here */
			continue;
		int e = add_rule(ctx, act, nr, args, r->args.n, apart);
		if (e)
			return error_set(err, -e, "linux.seccomp: the rule for '%s' is refused", r->names.v[i]);
	}
	return true;
}

static bool add_architectures(scmp_filter_ctx ctx, const struct strings *list, struct error *err)
{
	for (unsigned i = 0; i < list->n; i++) {
		char name[32];
		const char *from = list->v[i];
		if (strncmp(from, "SCMP_ARCH_", 10) || strlen(from) >= sizeof(name))
			return error_set(err, 0, "linux.seccomp: '%.40s' is no architecture", from);
		size_t n = 0;
		for (from += 10; *from; from++)
			name[n++] = (char)(*from >= 'A' && *from <= 'Z' ? *from | 32 : *from);
		name[n] = 0;
		uint32_t arch = seccomp_arch_resolve_name(name);
		if (!arch)
			return error_set(err, 0, "linux.seccomp: '%.40s' is no architecture", list->v[i]);
		int e = seccomp_arch_add(ctx, arch);
		if (e && e != -EEXIST)
			return error_set(err, -e, "linux.seccomp: architecture '%.40s'", list->v[i]);
	}
	return true;
}

static bool read_flags(const struct strings *list, struct launch *l, struct error *err)
{
	for (unsigned i = 0; i < list->n; i++) {
		const char *f = list->v[i];
		if (!strcmp(f, "SECCOMP_FILTER_FLAG_LOG"))
			l->filter_flags |= SECCOMP_FILTER_FLAG_LOG;
		else if (!strcmp(f, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"))
			l->filter_flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
		else if (!strcmp(f, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"))
			l->filter_flags |= (unsigned)SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
		else if (strcmp(f, "SECCOMP_FILTER_FLAG_TSYNC"))   /* one thread: nothing to synchronize */
			return error_set(err, 0, "linux.seccomp: '%.60s' is no flag", f);
	}
	return true;
}

static bool export(struct arena *a, scmp_filter_ctx ctx, struct launch *l, struct error *err)
{
	struct stat st;
	auto_close int fd = memfd_create("filter", MFD_CLOEXEC);
	int e = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);
	if (e || fstat(fd, &st))
		return error_set(err, -e, "cannot compile linux.seccomp");
	if (!st.st_size || (size_t)st.st_size % sizeof(struct sock_filter) || (size_t)st.st_size / sizeof(struct sock_filter) > BPF_MAXINSNS)
		return error_set(err, 0, "linux.seccomp compiles to more instructions than the kernel takes (%d)", BPF_MAXINSNS);
	l->filter.len = (unsigned short)((size_t)st.st_size / sizeof(struct sock_filter));
	l->filter.filter = arena_alloc(a, (size_t)st.st_size);
	return fd_pread_full(fd, l->filter.filter, (size_t)st.st_size, 0) || error_set(err, errno, "cannot read the filter");
}

bool seccomp_compile(struct arena *a, const struct spec_seccomp *s, struct launch *l, struct error *err)
{
	uint32_t fallback;
	if (!action(s->default_action, s->default_errno, &fallback, err) || !read_flags(&s->flags, l, err))
		return false;
	if (fallback == SCMP_ACT_NOTIFY)
		return error_set(err, 0, "linux.seccomp: SCMP_ACT_NOTIFY cannot be the default action");
	scmp_filter_ctx ctx = seccomp_init(fallback);
	if (!ctx)
		return error_set(err, 0, "cannot compile linux.seccomp");
	/* no_new_privs is the process's own setting; TSYNC has one thread to care for */
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	bool ok = add_architectures(ctx, &s->architectures, err);
	for (unsigned i = 0; ok && i < s->syscalls.n; i++)
		ok = add_syscall(ctx, &s->syscalls.v[i], fallback, l, err);
	ok = ok && export(a, ctx, l, err);
	seccomp_release(ctx);
	if (ok && l->filter_notify && !s->listener_path)
		return error_set(err, 0, "linux.seccomp: SCMP_ACT_NOTIFY needs listenerPath");
	return ok;
}

/*
 * Who sends the notification descriptor must not be under the filter itself: it
 * might notify on sendmsg().  A helper thread, made before the filter, waits for
 * the number.
 */
struct handover { volatile int fd, done; int socket; const char *text; char stack[16384] __attribute__((aligned(16))); };

static int handover_main(void *arg)
{
	struct handover *h = arg;
	while (h->fd == -1)
		sched_yield();
	int fd = h->fd;
	bool ok = fd < 0 || send_descriptor(h->socket, fd, h->text, strlen(h->text));
	__atomic_store_n(&h->done, ok ? 1 : -1, __ATOMIC_RELEASE);
	return 0;
}

/* runtime-spec "The Container Process State". */
static char *listener_state(struct launch *l)
{
	struct json_out out = { 0 };
	json_open(&out, NULL, '{');
	json_put_str(&out, "ociVersion", "1.1.0");
	json_open(&out, "fds", '[');
	json_put_str(&out, NULL, "seccompFd");
	json_close(&out, ']');
	json_put_i64(&out, "pid", l->pid);
	json_put_str(&out, "metadata", l->spec->lnx->seccomp->listener_metadata ? l->spec->lnx->seccomp->listener_metadata : "");
	struct json_out state = { 0 };
	container_state_json(l->container, l->joining ? "running" : "creating", l->container->pid ? l->container->pid : l->pid, &state);
	json_put_raw(&out, "state", state.text);
	json_out_free(&state);
	json_close(&out, '}');
	return out.text;
}

static bool apply_with_listener(struct launch *l, struct error *err)
{
	struct handover *h = xnew(struct handover);
	h->fd = -1;
	h->socket = l->listener;
	h->text = listener_state(l);
	/* a thread, so that nobody must wait for it: execve() ends it */
	int helper = clone(handover_main, h->stack + sizeof(h->stack),
		CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD, h);
	if (helper < 0)
		return error_set(err, errno, "cannot start the helper of seccomp notifications");
	int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, l->filter_flags | SECCOMP_FILTER_FLAG_NEW_LISTENER, &l->filter);
	int why = errno;
	h->fd = fd < 0 ? -2 : fd;
	while (!__atomic_load_n(&h->done, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
	if (fd < 0)
		return error_set(err, why, "cannot load the seccomp filter");
	return h->done > 0 || error_set(err, 0, "the seccomp listener did not take the descriptor");
}

bool seccomp_apply(struct launch *l, struct error *err)
{
	if (!l->filter.len)
		return true;
	if (l->filter_notify)
		return apply_with_listener(l, err);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, l->filter_flags, &l->filter))
		return error_set(err, errno, "cannot load the seccomp filter");
	return true;
}
