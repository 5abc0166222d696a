# SPDX-License-Identifier: GPL-2.0-or-later
"""A computer with AMD-V for tests: QEMU's TCG emulates it, a Debian kernel in it loads
kvm-amd, and a job (a shell script) runs in there, with abyme, kernels and an initrd."""
import json
import lzma
import os
import re
import shutil
import socket
import struct
import subprocess
import tarfile

from conftest import ABYME, TOP, vmlinuz
from patience import patience

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = ["irqbypass", "ccp", "kvm", "kvm-amd", "virtio", "virtio_ring", "virtio_pci", "virtio_blk", "tun"]
DEVICES = ["virtio_mmio", "virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "9pnet_virtio", "9p",
           "vmw_vsock_virtio_transport"]
BOX = "busybox"              # in files: a name of the one that is there
BUSYBOX = ["tar", "sed", "cmp", "seq", "tr", "nproc", "awk", "diff", "mktemp", "timeout", "dirname", "sort", "expr", "pidof",
           "stat", "find", "id", "mkfifo", "env", "printf", "chroot", "tail"]
# Two busy processes: one counts and checks a sum, one writes. With "tcp", the count goes to the
# host, too, over one connection; whoever counts ends with it.
INNER_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
[ -e /modules/order ] && while read -r m; do insmod "/modules/$m.ko"; done </modules/order
echo USERSPACE-REACHED
if grep -q beat /proc/cmdline; then
	while true; do dd if=/dev/zero of=/tmp/written bs=4k count=64 2>/dev/null; sleep 0.1; done &
	count() {
		n=0
		while true; do
			n=$((n+1)); s=$(dd if=/dev/zero bs=4k count=16 2>/dev/null | md5sum)
			echo "beat $n ${s%% *} $(cut -d. -f1 /proc/uptime)" >/dev/console
			echo "$n" || break
			sleep 0.1
		done
	}
	if grep -q tcp /proc/cmdline; then
		ip addr add 10.0.2.15/24 dev eth0
		ip link set eth0 up
		count | nc 10.0.2.2 5000
	else
		count >/dev/null
	fi
fi
exec sh </dev/console >/dev/console 2>&1
"""
BEAT = r"^beat (\d+) fcd6bcb56c1689fcef28b57c22475bad (\d+)\s"     # with its end: half a number is another
TROUBLE = re.compile(r"(BUG|WARNING|Oops):|soft lockup|rcu_sched.*stall")

# The computer with AMD-V counts time: two nanoseconds an instruction, and none asleep, so that a
# slow machine makes a test long and nothing else. By the host's clock, a machine slow enough does
# nothing in there but take timer interrupts, which go through two kernels. Its TSC has 1 GHz, that
# of the CPU models. OTHER_RATE: its kernel takes that for 1.25 GHz, and its seconds are longer by
# as much; KVM in it then has a TSC of another rate than the models', and cannot scale it.
COUNTED = ["-icount", "shift=1,sleep=off"]
OTHER_RATE = " tsc=reliable tsc_early_khz=1250000"


def add_tree(image, files, work):
    """Append files {path in the initrd: host file} to a compressed initrd: a second archive, not
    compressed, because an emulated processor would unpack it."""
    for path, source in files.items():
        target = work / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source == BOX:
            target.symlink_to("/bin/busybox")
        else:
            shutil.copy(source, target)
    names = "\n".join(sorted(str(p.relative_to(work)) for p in work.rglob("*")))
    cpio = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=work, input=names.encode(),
                          capture_output=True, check=True).stdout
    with open(image, "ab") as f:
        f.write(b"\0" * (-f.tell() % 4) + cpio)


def uncompressed(bzimage, out):
    """The ELF kernel inside an xz bzImage (Linux: Documentation/x86/boot.rst): entered by PVH,
    it spares the slow decompression."""
    data = open(bzimage, "rb").read()
    start, length = struct.unpack_from("<II", data, 0x248)
    start += (data[0x1f1] + 1) * 512
    out.write_bytes(lzma.LZMADecompressor().decompress(data[start:start + length]))
    return out


def libraries(program):
    out = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+)", out)


def where_it_stands(path):
    """What the emulated processor does just now: its registers, thrice, and its stack, from QEMU's
    monitor at that socket. For a test that has run out of time."""
    said = []
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(patience(5))
        s.connect(str(path))
        stream = s.makefile("rw")
        stream.readline()                                # the greeting

        def ask(command, **arguments):
            print(json.dumps({"execute": command, "arguments": arguments}), file=stream, flush=True)
            while "return" not in (answer := json.loads(stream.readline())) and "error" not in answer:
                pass                                     # events
            return str(answer.get("return", answer))

        ask("qmp_capabilities")
        for _ in range(3):
            said.append(ask("human-monitor-command", **{"command-line": "info registers"}).split("FCW=")[0])
        stack = re.search(r"RSP=(\w+)", said[-1])
        if stack:
            said.append(ask("human-monitor-command", **{"command-line": f"x /64gx 0x{stack.group(1)}"}))
    return "\n".join(said).replace("\r", "")


class Nested:
    """Runs jobs; `inner` is an initrd whose init knows the word "beat"."""

    def __init__(self, kernel_tree, tmp):
        self.tmp = tmp
        self.tree = kernel_tree("amd64")
        cloud = kernel_tree("cloud-amd64")
        init = tmp / "inner-init"
        init.write_text(INNER_INIT)
        for name, modules in (("initrd.gz", []), ("initrd-devices.gz", DEVICES)):
            subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", tmp / name, init, self.tree, *modules], check=True)
        self.kernel = uncompressed(vmlinuz(self.tree), tmp / "vmlinux-amd64")
        self.files = {"guest/initrd.gz": tmp / "initrd.gz",
                      "guest/vmlinux": vmlinuz(cloud)}
        self.devices = {"guest/initrd-devices.gz": tmp / "initrd-devices.gz", "guest/vmlinux-amd64": self.kernel}
        build = os.path.dirname(ABYME)
        for name in sorted(f for f in os.listdir(build) if re.fullmatch(r"abyme(-[a-z0-9-]+)?", f)):
            program = f"{build}/{name}"
            self.files[f"bin/{name}"] = program
            self.files.update({lib.lstrip("/"): lib for lib in libraries(program)})
        self.files["bin/kvm_reenter"] = f"{build}/guest/kvm_reenter"
        for tool in BUSYBOX:
            self.files["bin/" + tool] = BOX

    def run(self, name, job, files=None, seconds=600, cpu="max", bring=(), words=""):
        """The job's output, which grows in NAME.log in tmp while it runs; what it puts on the disk
        (a tar archive at /dev/vda) lands in tmp; `bring`: files that the job finds there."""
        outer, disk, script, monitor = (self.tmp / f"{name}.{e}" for e in ("gz", "img", "sh", "qmp"))
        subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", outer, f"{HERE}/kvm_init.sh", self.tree, *MODULES],
                       check=True)
        script.write_text(job)
        add_tree(outer, {**self.files, **(files or {}), "job": script}, self.tmp / f"{name}.tree")
        with tarfile.open(disk, "w") as tar:
            for path in bring:
                tar.add(path, os.path.basename(path))
        with open(disk, "ab") as f:
            f.truncate(max(400 << 20, f.tell() + (1 << 20)))
        argv = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg,thread=single", "-cpu", cpu, "-smp", "1", "-m", "1536",
                *COUNTED, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-chardev", f"stdio,id=out,logfile={self.tmp}/{name}.log", "-serial", "chardev:out",
                "-kernel", self.kernel, "-initrd", outer, "-drive", f"file={disk},format=raw,if=virtio",
                "-qmp", f"unix:{monitor},server=on,wait=off",
                "-append", "console=ttyS0 panic=-1 quiet loglevel=4 mitigations=off no_timer_check" + words]
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            out, end = p.communicate(timeout=patience(seconds))[0], ""
        except subprocess.TimeoutExpired:
            end = "\nTIME IS UP\n" + where_it_stands(monitor)
            p.kill()
            out = p.communicate()[0]
        finally:
            p.kill()
        text = out.decode(errors="replace").replace("\r", "") + end
        if "STATE-SAVED" in text:
            with tarfile.open(disk, "r:") as tar:
                tar.extract("state-file", self.tmp)
        return text


def beats_of(text, prefix=""):
    return [(int(n), int(t)) for n, t in re.findall(BEAT.replace("^", "^" + prefix), text, re.M)]


def check_beats(beats, after):
    """They go on after that one; the line that a move cuts in two is in neither log. The last one."""
    first = beats[0][0]
    assert after[0] < first <= after[0] + 2 and [n for n, _ in beats] == list(range(first, first + len(beats))), (beats, after)
    assert all(0 <= b[1] - a[1] <= 120 for a, b in zip([after, *beats], beats)), (beats, after)
    return beats[-1]
