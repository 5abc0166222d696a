/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device rules of a version 2 control group: a BPF program of type
 * BPF_PROG_TYPE_CGROUP_DEVICE.  The last rule that fits decides, so the rules
 * are tried from the last to the first; none: denied.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/syscall.h>

#include "container/cgroup.h"
#include "container/subids.h"

enum { RULES_MAX = 512, INSNS_A_RULE = 8, PROGRAM_MAX = RULES_MAX * INSNS_A_RULE + 16 };

struct program { struct bpf_insn insn[PROGRAM_MAX]; unsigned n; };

static void emit(struct program *p, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	p->insn[p->n++] = (struct bpf_insn){ .code = code, .dst_reg = dst & 15, .src_reg = src & 15, .off = off, .imm = imm };
}

/* r2: access bits, r3: type, r4: major, r5: minor */
static void load_context(struct program *p)
{
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct bpf_cgroup_dev_ctx, access_type), 0);
	emit(p, BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 0, 0);
	emit(p, BPF_ALU | BPF_AND | BPF_K, 3, 0, 0, 0xffff);
	emit(p, BPF_ALU | BPF_RSH | BPF_K, 2, 0, 0, 16);
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 4, 1, offsetof(struct bpf_cgroup_dev_ctx, major), 0);
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 5, 1, offsetof(struct bpf_cgroup_dev_ctx, minor), 0);
}

static int access_bits(const char *text)
{
	int bits = 0;
	for (; *text; text++)
		bits |= *text == 'r' ? BPF_DEVCG_ACC_READ : *text == 'w' ? BPF_DEVCG_ACC_WRITE : BPF_DEVCG_ACC_MKNOD;
	return bits;
}

/* Each test that fails jumps behind the rule. False: it has no test, so nothing
 * behind it is ever reached, which the verifier refuses. */
static bool emit_rule(struct program *p, const struct spec_device_rule *r)
{
	unsigned jumps[4], n = 0, tests;
	const char *type = r->type && *r->type ? r->type : "a", *access = r->access && *r->access ? r->access : "rwm";
	if (*type != 'a') {
		jumps[n++] = p->n;
		emit(p, BPF_JMP | BPF_JNE | BPF_K, 3, 0, 0, *type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	}
	if (access_bits(access) != 7) {   /* all of what is wanted must be in the rule */
		emit(p, BPF_ALU64 | BPF_MOV | BPF_X, 1, 2, 0, 0);
		emit(p, BPF_ALU | BPF_AND | BPF_K, 1, 0, 0, r->allow ? ~access_bits(access) & 7 : access_bits(access));
		jumps[n++] = p->n;
		emit(p, BPF_JMP | (r->allow ? BPF_JNE : BPF_JEQ) | BPF_K, 1, 0, 0, 0);
	}
	if (r->major.set && r->major.v >= 0) {
		jumps[n++] = p->n;
		emit(p, BPF_JMP | BPF_JNE | BPF_K, 4, 0, 0, (int32_t)r->major.v);
	}
	if (r->minor.set && r->minor.v >= 0) {
		jumps[n++] = p->n;
		emit(p, BPF_JMP | BPF_JNE | BPF_K, 5, 0, 0, (int32_t)r->minor.v);
	}
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, r->allow);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	tests = n;
	while (n--)
		p->insn[jumps[n]].off = (int16_t)(p->n - jumps[n] - 1);
	return tests > 0;
}

static bool load(const struct program *p, const struct cgroup_dir *d, struct error *err)
{
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insns = (uintptr_t)p->insn,
		.insn_cnt = p->n, .license = (uintptr_t)"GPL" };
	auto_close int prog = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (prog < 0)
		return error_set(err, errno, "cannot load the device rules of a control group");
	auto_close int dir = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	union bpf_attr attach = { .target_fd = (uint32_t)dir, .attach_bpf_fd = (uint32_t)prog,
		.attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI };
	if (dir < 0 || syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach)))
		return error_set(err, errno, "cannot put the device rules on control group '%s'", d->path);
	return true;
}

bool cgroup_bpf_devices(const struct cgroup_dir *d, const struct spec_device_rule *rules, unsigned n, struct error *err)
{
	if (n + cgroup_default_devices_n > RULES_MAX)
		return error_set(err, 0, "resources.devices: at most %u rules", RULES_MAX - cgroup_default_devices_n);
	auto_free struct program *p = xnew(struct program);
	load_context(p);
	for (unsigned i = cgroup_default_devices_n; i--; )
		emit_rule(p, &cgroup_default_devices[i]);
	bool open = true;
	for (unsigned i = n; i-- && open; )
		open = emit_rule(p, &rules[i]);
	if (open) {
		emit(p, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
		emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	}
	if (load(p, d, err))
		return true;
	/* an ordinary user may not load it; his user namespace keeps devices out */
	return !subids_real_root();
}
