/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For KVM in QEMU's emulated AMD-V (nested.py): an entry into a guest that brings an interrupt
 * ends before the guest's next instruction, and the one after it brings none.
 *
 * At such an entry QEMU notes the vector as an exception to deliver (target/i386/tcg: svm_helper.c,
 * helper_vmrun(), SVM_EVTINJ_TYPE_INTR), delivers it, and leaves the note. If QEMU's loop ends
 * before the guest has been left once, as with -icount it does at each timer of the computer,
 * cpu_handle_exception() delivers the vector again, whatever the guest's IF says:
 * tests/guest/m64/once.c. To leave the guest wipes the note away.
 *
 * So two programs of BPF hang on KVM's tracepoints (Linux: arch/x86/kvm/trace.h). kvm_inj_virq: this
 * thread brings an interrupt. kvm_entry, where the computer's own interrupts are off already: if it
 * does, send it the signal 0. The kernel puts that off to an interrupt that it sends to itself, which
 * ends the guest's turn at once; signal 0 then does nothing.
 */
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define EVENTS "/sys/kernel/debug/tracing/events/kvm/"
enum { THREADS = 1024, KEY = -8 /* on the BPF program's stack */ };

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int bpf(int command, union bpf_attr *attr, const char *what)
{
	int fd = (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
	if (fd < 0)
		die(what);
	return fd;
}

static int load(const struct bpf_insn *insn, size_t n)
{
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_TRACEPOINT, .insns = (uintptr_t)insn,
		.insn_cnt = (uint32_t)n, .license = (uintptr_t)"GPL" };
	return bpf(BPF_PROG_LOAD, &attr, "cannot load a BPF program");
}

static void attach(const char *id_file, int program)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr), .sample_period = 1 };
	FILE *f = fopen(id_file, "r");
	unsigned long long id;
	if (!f || fscanf(f, "%llu", &id) != 1)
		die(id_file);
	fclose(f);
	attr.config = id;
	int fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_SET_BPF, program) || ioctl(fd, PERF_EVENT_IOC_ENABLE, 0))
		die("cannot attach to a tracepoint");
}

#define INSN(code_, dst, src, off_, imm_) { .code = code_, .dst_reg = dst, .src_reg = src, .off = off_, .imm = imm_ }
#define CALL(function) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define KEY_IS_THREAD CALL(BPF_FUNC_get_current_pid_tgid), INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 0, KEY, 0)
#define MAP_AND_KEY(map) INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map), INSN(0, 0, 0, 0, 0), \
	INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0), INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, KEY)
#define RETURN_0 INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0), INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

int main(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_HASH, .key_size = 8, .value_size = 8, .max_entries = THREADS };
	int map = bpf(BPF_MAP_CREATE, &attr, "cannot create a BPF map");
	const struct bpf_insn interrupt[] = {
		KEY_IS_THREAD, MAP_AND_KEY(map),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 0, 0),          /* any value */
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, BPF_ANY),
		CALL(BPF_FUNC_map_update_elem), RETURN_0,
	}, entry[] = {
		KEY_IS_THREAD, MAP_AND_KEY(map),
		CALL(BPF_FUNC_map_delete_elem),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 0, 0, 2, 0),            /* not there */
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, 0),
		CALL(BPF_FUNC_send_signal), RETURN_0,
	};
	attach(EVENTS "kvm_inj_virq/id", load(interrupt, ARRAY_SIZE(interrupt)));
	attach(EVENTS "kvm_entry/id", load(entry, ARRAY_SIZE(entry)));
	if (daemon(0, 0))
		die("cannot stay");
	for (;;)
		pause();
}
