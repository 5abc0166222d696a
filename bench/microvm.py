# SPDX-License-Identifier: GPL-2.0-or-later
"""Microvms under KVM, side by side: see bench/microvm. Both get the same kernel (entered by
PVH), initrd, modules, disk, user network, memory and words; what is counted of both is asked
of the same kernel: KVM's own counters (debugfs) at the moment when userspace is reached, and
the memory map of each process, guest memory left out. Time there is counted in instructions
(nested.COUNTED), so it knows no noise, and says nothing of what an exit costs in hardware.
With --why one boot of each is traced, and the exits are told by reason, port, address, MSR."""
import argparse
import os
import pathlib
import re
import statistics
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, f"{TOP}/tests/e2e")
import conftest  # noqa: E402  pylint: disable=wrong-import-position
import nested  # noqa: E402  pylint: disable=wrong-import-position

MEMORY = 128
FIRMWARE = ["bios-microvm.bin", "qboot.rom", "pvh.bin", "linuxboot_dma.bin", "kvmvapic.bin"]
COUNTERS = ("exits", "io_exits", "mmio_exits", "halt_exits", "irq_exits", "irq_window_exits", "signal_exits", "pf_taken",
            "insn_emulation", "host_state_reload", "irq_injections")
FIGURES = ("seconds", *COUNTERS, "kib")
# What a traced boot counts by: events of KVM (Linux: include/trace/events/kvm.h) and their keys.
EVENTS = {"kvm_exit": "exit_reason", "kvm_pio": "port,rw", "kvm_mmio": "type,gpa.hex", "kvm_msr": "write,ecx.hex"}
JOB = f"""
dd if=/dev/zero of=/tmp/disk bs=1M count=16 2>/dev/null
now() {{ cut -d' ' -f1 /proc/uptime; }}
memory() {{
	for p in /proc/[0-9]*; do
		case $(readlink $p/exe) in */abyme*|*/qemu*) ;; *) continue;; esac
		echo "$(cat $p/comm) $(awk '/^Size:/ {{ size = $2 }} /^Pss:/ && size < {MEMORY * 1024} {{ sum += $2 }}
			END {{ print sum + 0 }}' $p/smaps)"
	done
}}
trace=/sys/kernel/debug/tracing
keys="{" ".join(f"{event}:{keys}" for event, keys in EVENTS.items())}"
trace_on() {{
	for k in $keys; do echo "hist:keys=${{k#*:}}:sort=hitcount.descending" >$trace/events/kvm/${{k%%:*}}/trigger; done
}}
trace_off() {{
	for k in $keys; do
		[ -e $trace/events/kvm/${{k%%:*}}/hist ] || continue
		grep -m 40 hitcount $trace/events/kvm/${{k%%:*}}/hist | sed "s/^/WHY $1 ${{k%%:*}} /"
		echo "!hist:keys=${{k#*:}}" >$trace/events/kvm/${{k%%:*}}/trigger
	done
}}
measure() {{
	n=3000
	while ! grep -q USERSPACE-REACHED $2 2>/dev/null; do
		n=$((n - 1))
		[ $n -gt 0 ] || {{ echo "$1: no userspace"; cat $2; return; }}
		sleep 0.1
	done
	end=$(now)
	echo "RESULT $1 seconds $(echo "$start $end" | awk '{{ print $2 - $1 }}')"
	for c in {" ".join(COUNTERS)}; do
		echo "RESULT $1 $c $(cat /sys/kernel/debug/kvm/$c)"
	done
	memory | sed "s/^/PROCESS $1 /"
	echo "RESULT $1 kib $(memory | awk '{{ sum += $2 }} END {{ print sum }}')"
}}
words="console=ttyS0 panic=-1 quiet loglevel=4"
guest="/guest/vmlinux-amd64 /guest/initrd-devices.gz"
for n in $(seq @PAIRS@); do
	@ON@
	start=$(now)
	abyme run --detach --name small --engine kvm --cpu abyme-v2.1 --board microvm --memory {MEMORY}M \\
		--kernel ${{guest% *}} --initrd ${{guest#* }} --append "$words" --disk /tmp/disk --net user
	measure abyme $ABYME_STATE/instances/small/console.log
	@OFF@ abyme
	abyme kill small; abyme rm small
	@ON@
	start=$(now)
	qemu-system-x86_64 -L /usr/share/qemu -M microvm,accel=kvm,pit=off,pic=off,rtc=on,pcie=on -cpu host,-xsave -m {MEMORY} -nodefaults \\
		-no-user-config -display none -serial file:/tmp/qemu.log -kernel ${{guest% *}} -initrd ${{guest#* }} \\
		-append "$words" -drive if=none,id=d,file=/tmp/disk,format=raw -device virtio-blk-device,drive=d \\
		-netdev user,id=n -device virtio-net-device,netdev=n &
	measure qemu /tmp/qemu.log
	@OFF@ qemu
	kill $!; wait $!; rm /tmp/qemu.log
done
"""


def report(rows, pairs):
    print(f"{'':18}{'abyme':>10}{'qemu':>10}   medians of {pairs} pairs")
    for figure in FIGURES:
        two = [statistics.median(float(r[2]) for r in rows if r[:2] == (who, figure)) for who in ("abyme", "qemu")]
        print(f"{figure:18}{two[0]:10.1f}{two[1]:10.1f}")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("pairs", nargs="?", type=int, default=3)
    args.add_argument("--why", action="store_true", help="trace the exits of one boot of each")
    args = args.parse_args()
    pairs = 1 if args.why else args.pairs
    job = JOB.replace("@PAIRS@", str(pairs))
    for word, traced in (("@ON@", "trace_on"), ("@OFF@", "trace_off")):
        job = job.replace(word, traced if args.why else ":")
    with tempfile.TemporaryDirectory() as tmp:
        room = nested.Nested(conftest.fetch_kernel, pathlib.Path(tmp))
        qemu = conftest.shutil.which("qemu-system-x86_64")
        files = {**room.devices, "bin/qemu-system-x86_64": qemu}
        files.update({lib.lstrip("/"): lib for lib in nested.libraries(qemu)})
        for name in FIRMWARE:
            found = [d for d in ("/usr/share/qemu", "/usr/share/seabios") if os.path.exists(f"{d}/{name}")]
            files.update({f"usr/share/qemu/{name}": f"{found[0]}/{name}"} if found else {})
        files.update({f"bin/{tool}": nested.BOX for tool in ("awk", "readlink", "cut")})
        text = room.run("microvm", job, files=files, seconds=600 + 300 * pairs)
    rows = re.findall(r"^RESULT (\w+) (\w+) (\S+)", text, re.M)
    for who in ("abyme", "qemu"):
        if sum(r[0] == who for r in rows) != pairs * len(FIGURES):
            sys.exit(f"not all boots of {who} reached userspace:\n{text[-3000:]}")
    report(rows, pairs)
    if args.why:
        print("\n".join(re.findall(r"^(?:WHY|PROCESS) (.*)", text, re.M)))


main()
