# SPDX-License-Identifier: GPL-2.0-or-later
"""make campaign-kvm: machines under engine kvm inside QEMU's emulated AMD-V, at length:
devices, reboot, the small guest kernels, all ways between the engines, boots in a row."""
import os
import re
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from conftest import ABYME, TOP, abyme, kernel_tree, nested  # noqa: E402,F401  pylint: disable=unused-import,wrong-import-position
from test_kvm import JOB  # noqa: E402  pylint: disable=wrong-import-position
from nested import BEAT, TROUBLE  # noqa: E402  pylint: disable=wrong-import-position

BOOTS = int(os.environ.get("BOOTS", "20"))
LONG = 3600
SUM = "fcd6bcb56c1689fcef28b57c22475bad"

DEVICES = """
truncate() { dd if=/dev/zero of=$1 bs=1M count=0 seek=$2 2>/dev/null; }
mkdir /tmp/shared && echo from-the-host >/tmp/shared/file
for board in pc microvm; do
	truncate /tmp/disk-$board 16 && printf nested-disk | dd of=/tmp/disk-$board conv=notrunc 2>/dev/null
	abyme run --detach --name dev-$board --engine kvm --board $board --vcpus 2 --cpu abyme-v2.1 --memory 128M \
		--kernel /guest/vmlinux-amd64 --initrd /guest/initrd-devices.gz --append "$console" --disk /tmp/disk-$board \
		--net user --share /tmp/shared:tag --vsock 5
	wait_log dev-$board USERSPACE-REACHED 300
	{
		echo "head -c 11 /dev/vda; echo; echo written | dd of=/dev/vda bs=512 seek=8 conv=fsync 2>/dev/null"
		echo "ip link set eth0 up; udhcpc -i eth0 -n -q 2>&1 | grep lease"
		echo "mkdir /m; mount -t 9p -o trans=virtio tag /m && cat /m/file && echo from-the-guest >/m/answer"
		echo "head -c 64 /dev/hwrng | wc -c; ls /dev/vsock; echo cpus=\\$(grep -c ^processor /proc/cpuinfo); echo first-life"
		sleep 40
		echo "reboot -f"
		sleep 60
	} | abyme console dev-$board >/dev/null 2>&1 &
	wait_log dev-$board first-life.*$ 120
	n=0
	while [ $n -lt 200 ] && [ "$(grep -c USERSPACE-REACHED /tmp/state/instances/dev-$board/console.log)" -lt 2 ]; do
		n=$((n + 1)); sleep 1
	done
	sleep 3
	echo "poweroff -f" | timeout 10 abyme console dev-$board >/dev/null 2>&1
	n=0
	while [ $n -lt 60 ] && abyme ls | grep -q "dev-$board .*running"; do n=$((n + 1)); sleep 1; done
	abyme ls | sed "s/^/ls: /"
	abyme logs dev-$board | sed "s/^/$board: /"
	dd if=/tmp/disk-$board bs=512 skip=8 count=1 2>/dev/null | head -c 7; echo " on disk-$board"
done
cat /tmp/shared/answer
"""


def test_devices_reboot_poweroff(nested):
    text = nested.run("devices", DEVICES, seconds=LONG)
    for board in ("pc", "microvm"):
        for word in ("nested-disk", "lease of 10.0.2.15", "from-the-host", "^64", "/dev/vsock", "cpus=2"):
            assert re.search(rf"^{board}: .*{word.lstrip('^')}", text, re.M), (board, word, text[-6000:])
        assert len(re.findall(rf"^{board}: .*USERSPACE-REACHED", text, re.M)) == 2, text[-6000:]
        assert f"written on disk-{board}" in text
        assert re.search(rf"^ls: dev-{board} +stopped", text, re.M), text[-3000:]
    assert "from-the-guest" in text
    assert not TROUBLE.search(text), TROUBLE.search(text).group(0)


def test_boots_in_a_row(nested):
    job = f"""
for n in $(seq {BOOTS}); do
	{{ while ! grep -q USERSPACE-REACHED /tmp/boot; do sleep 1; done; sleep 1; echo "poweroff -f"; sleep 20; }} |
		timeout 400 abyme run --rm --engine kvm --board microvm $kernel --vcpus $((n % 2 + 1)) \\
			--append "$console" >/tmp/boot 2>&1
	echo "BOOT $n STATUS $?"
	sed "s/^/boot: /" /tmp/boot
	: >/tmp/boot
done
"""
    text = nested.run("boots", ": >/tmp/boot\n" + job, seconds=BOOTS * 400)
    assert len(re.findall(r"^BOOT \d+ STATUS 0", text, re.M)) == BOOTS, text[-3000:]
    assert len(re.findall(r"^boot: .*USERSPACE-REACHED", text, re.M)) == BOOTS
    assert not TROUBLE.search(text), TROUBLE.search(text).group(0)


# The others test what the emulated CPU itself does not do: segment limits, reserved bits,
# Intel's SYSENTER in long mode. Under interp and jit all of them run in every check.
PROGRAMS = ["m32/triple", "m64/smp"]


def test_guest_programs(nested):
    """Small kernels of tests/guest, with the same expected output under all engines."""
    files = {}
    for t in PROGRAMS:
        files[f"programs/{t}.expected"] = f"{TOP}/tests/guest/{t}.expected"
        files[f"programs/{t}.elf"] = f"{os.path.dirname(ABYME)}/guest/{t}.elf"
    job = "\n".join(f"""
for engine in kvm jit interp; do
	timeout 120 abyme run --rm --engine $engine --cpu abyme-v2.1 --vcpus 2 --memory 64M --net none --on-reboot exit \\
		--debug-exit --kernel /programs/{t}.elf </dev/null >/tmp/raw 2>/tmp/err
	status=$?
	{{ tr -d '\\r' </tmp/raw; echo "status $status"; }} >/tmp/out
	if cmp -s /tmp/out /programs/{t}.expected; then echo "GOOD $engine {t}"; else
		echo "BAD $engine {t}"; diff /programs/{t}.expected /tmp/out; cat /tmp/err; fi
done""" for t in PROGRAMS)
    text = nested.run("programs", job, files=files, seconds=LONG)
    for t in PROGRAMS:
        for engine in ("kvm", "jit", "interp"):
            assert f"GOOD {engine} {t}" in text, text[-4000:]


def beats(m, seconds, last=None, count=5):
    """The machine counts on, its sums are right, its clock goes on; the last count."""
    first = m.expect(BEAT, seconds)
    n, uptime = int(first.group(1)), int(first.group(2))
    assert last is None or n > last, f"the count went from {last} to {n}"
    for _ in range(count):
        b = m.expect(BEAT, seconds)
        assert int(b.group(1)) == n + 1 and uptime <= int(b.group(2)) <= uptime + 60
        n, uptime = int(b.group(1)), int(b.group(2))
    return n


def in_kvm(nested, name, last):
    """Resume the state file under kvm, let it count, suspend it again; the last count."""
    job = f"""
tar -C /tmp -xf /dev/vda state-file
abyme resume --detach --engine kvm /tmp/state-file
wait_log hopper "^beat .* {SUM}" 300
sleep 5
abyme suspend hopper /tmp/state-file2 && mv /tmp/state-file2 /tmp/state-file && keep /tmp/state-file
abyme logs hopper | sed "s/^/inner: /"
"""
    text = nested.run(name, job, seconds=LONG, bring=[nested.tmp / "state-file"])
    assert "STATE-SAVED" in text, text[-3000:]
    counts = [int(n) for n in re.findall(rf"^inner: beat (\d+) {SUM}", text, re.M)]
    assert counts and counts == list(range(counts[0], counts[0] + len(counts))) and counts[0] > last, text[-3000:]
    assert not TROUBLE.search(text), TROUBLE.search(text).group(0)
    return counts[-1]


@pytest.mark.parametrize("vcpus, engines", [(1, ["interp", "jit"]), (2, ["jit", "jit"])])
def test_all_ways_between_engines(nested, abyme, vcpus, engines):
    """There under kvm, here, there, here: a count, a sum, a writing dd survive each. It starts
    under kvm: a guest that began with a TSC of the model's rate cannot go where none is."""
    text = nested.run(f"start-{vcpus}", JOB.replace("--vcpus 2", f"--vcpus {vcpus}"), seconds=LONG)
    assert "STATE-SAVED" in text, text[-3000:]
    last = 2
    for hop, engine in enumerate(engines):
        status, _, err = abyme("resume", "--detach", "--engine", engine, str(nested.tmp / "state-file"))
        assert status == 0, err
        m = abyme.start("console", "hopper")
        last = beats(m, 300, last)
        m.kill()
        status, _, err = abyme("suspend", "hopper", str(nested.tmp / "state-file"), seconds=300)
        assert status == 0, err
        assert not TROUBLE.search(abyme("logs", "hopper")[1])
        last = in_kvm(nested, f"hop-{vcpus}-{hop}", last)
