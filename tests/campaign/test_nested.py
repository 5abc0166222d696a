# SPDX-License-Identifier: GPL-2.0-or-later
"""make campaign-kvm: machines under engine kvm inside QEMU's emulated AMD-V, at length:
devices, reboot, the small guest kernels, all ways between the engines, boots in a row."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from conftest import ABYME, TOP, abyme, debian_package, kernel_tree, nested  # noqa: E402,F401  pylint: disable=unused-import,wrong-import-position
from patience import patience  # noqa: E402  pylint: disable=wrong-import-position
from nested import BEAT, OTHER_RATE, TROUBLE, beats_of, check_beats, libraries  # noqa: E402  pylint: disable=wrong-import-position

BOOTS = int(os.environ.get("BOOTS", "20"))
LONG = 3600
GUEST = "--kernel /guest/vmlinux-amd64 --initrd /guest/initrd-devices.gz --memory 96M --cpu abyme-v2.1"

DEVICES = """
truncate() { dd if=/dev/zero of=$1 bs=1M count=0 seek=$2 2>/dev/null; }
mmio() { abyme stats --engine $1 | awk '/exits-mmio/ { print $2 }'; }
mkdir /tmp/shared && echo from-the-host >/tmp/shared/file
for board in microvm pc; do
	truncate /tmp/disk-$board 16 && printf nested-disk | dd of=/tmp/disk-$board conv=notrunc 2>/dev/null
	abyme run --detach --name dev-$board --jail require --engine kvm --board $board --vcpus 2 --cpu abyme-v2.1 --memory 128M \
		--kernel /guest/vmlinux-amd64 --initrd /guest/initrd-devices.gz --append "$console" --disk /tmp/disk-$board \
		--net user --share /tmp/shared:tag --vsock 5
	wait_log dev-$board USERSPACE-REACHED 300
	{
		echo "head -c 11 /dev/vda; echo; echo written | dd of=/dev/vda bs=512 seek=8 conv=fsync 2>/dev/null"
		echo "ip link set eth0 up; udhcpc -i eth0 -n -q 2>&1 | grep lease"
		echo "mkdir /m; mount -t 9p -o trans=virtio tag /m && cat /m/file && echo from-the-guest >/m/answer"
		echo "head -c 64 /dev/hwrng | wc -c; ls /dev/vsock; echo cpus=\\$(grep -c ^processor /proc/cpuinfo); echo first-life"
		while [ ! -e /tmp/counted-$board ]; do sleep 1; done
		echo "dd if=/dev/hwrng of=/dev/null bs=64 count=400 2>/dev/null; echo doorbells-done"
		while [ ! -e /tmp/rung-$board ]; do sleep 1; done
		echo "reboot -f"
		sleep 60
	} | abyme console dev-$board >/dev/null 2>&1 &
	wait_log dev-$board ^first-life 120
	exits=$(mmio dev-$board)
	touch /tmp/counted-$board
	wait_log dev-$board ^doorbells-done 120
	echo "MMIO $board $(($(mmio dev-$board) - exits))"
	touch /tmp/rung-$board
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
    text = nested.run("devices", DEVICES, files=nested.devices, seconds=LONG)
    # By virtio-mmio (virtio 1.2 4.2.2) each interrupt's cause is read and acknowledged: two exits.
    for board, least in (("pc", 0), ("microvm", 2 * 400)):
        for word in ("nested-disk", "lease of 10.0.2.15", "from-the-host", "^64", "/dev/vsock", "cpus=2"):
            assert re.search(rf"^{board}: .*{word.lstrip('^')}", text, re.M), (board, word, text[-6000:])
        assert len(re.findall(rf"^{board}: .*USERSPACE-REACHED", text, re.M)) == 2, text[-6000:]
        assert f"written on disk-{board}" in text
        exits = re.search(rf"^MMIO {board} (\d+)", text, re.M)
        assert exits and int(exits.group(1)) < least + 100, (exits, text[-3000:])     # of 400 doorbells, few come out
        assert re.search(rf"^ls: dev-{board} +stopped", text, re.M), text[-3000:]
    assert "from-the-guest" in text
    assert not TROUBLE.search(text), TROUBLE.search(text).group(0)


FIRMWARE = """
abyme run --detach --name grub --engine kvm --cpu abyme-v2.1 --memory 64M --disk /guest/grub.img,bus=ahci
wait_log grub "GNU GRUB" 900 && echo GRUB-THERE
abyme kill grub
abyme run --detach --name shell --engine kvm --cpu abyme-v2.1 --memory 128M --firmware uefi
wait_log shell "Shell>" 1800 && echo SHELL-THERE
abyme kill shell
"""


def test_firmware(nested):
    """SeaBIOS to GRUB, OVMF to its shell."""
    grub = f"{debian_package('grub-rescue-pc')}/usr/lib/grub-rescue/grub-rescue-usb.img"
    files = {"guest/grub.img": grub}
    for path in ("/usr/share/seabios/bios-256k.bin", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"):
        if not os.path.exists(path):
            pytest.skip(f"there is no {path}: install the packages seabios and ovmf")
        files[path.lstrip("/")] = path
    text = nested.run("firmware", FIRMWARE, files=files, seconds=LONG)
    assert re.search("^GRUB-THERE", text, re.M) and re.search("^SHELL-THERE", text, re.M), text[-6000:]


def test_boots_in_a_row(nested):
    """The cloud kernel by bzImage with two vCPUs, the other one by PVH with one, in turns;
    each third with local APICs in user space."""
    job = f"""
for n in $(seq {BOOTS}); do
	[ $((n % 2)) = 1 ] && guest=$kernel || guest="{GUEST}"
	[ $((n % 3)) = 0 ] && engine=kvm,apic=user || engine=kvm
	{{ while ! grep -q USERSPACE-REACHED /tmp/boot; do sleep 1; done; sleep 1; echo "poweroff -f"; sleep 20; }} |
		timeout 400 abyme run --rm --engine $engine --board microvm $guest --vcpus $((n % 2 + 1)) \\
			--append "$console" >/tmp/boot 2>&1
	status=$?
	echo "BOOT $n STATUS $status"
	[ $status = 0 ] || recorded
	sed "s/^/boot: /" /tmp/boot
	: >/tmp/boot
done
"""
    text = nested.run("boots", "recorder; : >/tmp/boot\n" + job, files=nested.devices, seconds=BOOTS * 400)
    assert len(re.findall(r"^BOOT \d+ STATUS 0", text, re.M)) == BOOTS, text[-3000:]
    assert len(re.findall(r"^boot: .*USERSPACE-REACHED", text, re.M)) == BOOTS
    assert not TROUBLE.search(text), TROUBLE.search(text).group(0)


def plain(program, tmp):
    """Is the output as expected where QEMU's emulated CPU runs the program by itself, without
    any KVM? It checks no segment limits, no bounds of canonical addresses and few reserved
    bits, and knows no SYSENTER in long mode: what it does wrong alone, it does wrong as AMD-V."""
    elf = tmp / "plain.elf"
    subprocess.run(["objcopy", "-O", "elf32-i386", f"{os.path.dirname(ABYME)}/guest/{program}.elf", elf], check=True)
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "64", "-nodefaults", "-no-user-config",
            "-display", "none", "-serial", "stdio", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", elf]
    try:
        p = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience(6), check=False)
    except subprocess.TimeoutExpired:
        return False
    text = p.stdout.decode(errors="replace").replace("\r", "") + f"status {p.returncode}\n"
    return text == open(f"{TOP}/tests/guest/{program}.expected").read()


ENGINES = ("kvm", "kvm,apic=user", "jit", "interp")


def programs(tmp):
    """Those that the emulated CPU can do at all, and m64/smp, which only under KVM it does."""
    found = sorted(str(p.relative_to(f"{TOP}/tests/guest"))[:-9] for p in pathlib.Path(f"{TOP}/tests/guest").rglob("*.expected"))
    return [t for t in found if t == "m64/smp" or plain(t, tmp)]


def test_guest_programs(nested, tmp_path):
    """Small kernels of tests/guest, with the same expected output under all engines."""
    names = programs(tmp_path)
    assert len(names) >= 3
    files = {}
    for t in names:
        files[f"programs/{t}.expected"] = f"{TOP}/tests/guest/{t}.expected"
        files[f"programs/{t}.elf"] = f"{os.path.dirname(ABYME)}/guest/{t}.elf"
    job = "\n".join(f"""
for engine in {" ".join(ENGINES)}; do
	timeout 120 abyme run --rm --engine $engine --cpu abyme-v2.1 --vcpus 2 --memory 64M --net none --on-reboot exit \\
		--debug-exit --kernel /programs/{t}.elf </dev/null >/tmp/raw 2>/tmp/err
	status=$?
	{{ tr -d '\\r' </tmp/raw; echo "status $status"; }} >/tmp/out
	if cmp -s /tmp/out /programs/{t}.expected; then echo "GOOD $engine {t}"; else
		echo "BAD $engine {t}"; diff /programs/{t}.expected /tmp/out; cat /tmp/err; fi
done""" for t in names)
    text = nested.run("programs", job, files=files, seconds=LONG)
    for t in names:
        for engine in ENGINES:
            assert f"GOOD {engine} {t}" in text, text[-4000:]


WAYS = """
# At the end of what it is given, nc closes its half, and the one in the guest ends.
sleep 100000 | nc -l -p 5000 >/tmp/heard &
abyme run --detach --name hopper --engine @FIRST@ --board microvm @GUEST@ @MODEL@ --vcpus @VCPUS@ --net user --append "$console beat tcp"
wait_log hopper "^beat 3 " 900
grep "cpu MHz" /proc/cpuinfo
for engine in @REST@; do
	abyme engine hopper $engine && more_beats hopper 3 900 && echo "WENT-ON under $(abyme engine hopper)"
done
abyme logs hopper | sed "s/^/inner: /"
echo "HEARD $(tr '\\n' ' ' </tmp/heard)"
"""
# Each of the six directions; the translator and the interpreter run inside, too.
SIX = "kvm jit kvm interp kvm jit interp jit"


@pytest.mark.parametrize("vcpus, engines, words, model", [
    (1, SIX, "", ""),                                               # the TSC has the model's rate
    (1, SIX, OTHER_RATE, ""),                                       # it has not, and cannot be scaled
    (1, "jit kvm interp kvm", OTHER_RATE, "--cpu abyme-v2.1-kvmclock"),   # begun where it could be had
    (2, "kvm jit kvm jit", "", ""),
    (1, "kvm,apic=user jit kvm,apic=user kvm,apic=kernel kvm,apic=user interp kvm,apic=user", "", ""),
    (1, "kvm,apic=user interp kvm,apic=user kvm,apic=kernel", OTHER_RATE, ""),
    (2, "kvm,apic=user kvm,apic=kernel kvm,apic=user jit kvm,apic=user jit", "", ""),
], ids=["six", "six-any-tsc", "from-jit-any-tsc", "two-vcpus", "user-apic", "user-apic-any-tsc", "user-apic-two-vcpus"])
def test_all_ways_between_engines(nested, vcpus, engines, words, model):
    """A count, a sum, a writing dd and a TCP connection survive every change of engine, the clock goes on."""
    first, *rest = engines.split()
    job = WAYS
    for key, value in {"GUEST": GUEST, "FIRST": first, "REST": " ".join(rest), "MODEL": model, "VCPUS": str(vcpus)}.items():
        job = job.replace(f"@{key}@", value)
    name = re.sub(r"\W", "-", f"ways-{vcpus}-{first}-{len(words)}")
    text = nested.run(name, job, files=nested.devices, seconds=LONG, words=words)
    rates = [round(float(r)) for r in re.findall(r"^cpu MHz\s+: (\S+)", text, re.M)]
    assert rates == [1250 if words else 1000], text[-3000:]
    assert re.findall(r"^WENT-ON under (\S+)", text, re.M) == rest, text[-3000:]
    beats = [(int(n), int(t)) for n, t in re.findall(BEAT.replace("^", "^inner: "), text, re.M)]
    assert [n for n, _ in beats] == list(range(1, len(beats) + 1)), text[-3000:]
    heard = re.search(r"^HEARD (.*)", text, re.M).group(1).split()
    assert [int(n) for n in heard] == list(range(1, len(heard) + 1)), heard
    assert len(heard) >= len(beats) - 2, (len(heard), len(beats))     # one connection, to the end
    assert all(0 <= b[1] - a[1] <= 120 for a, b in zip(beats, beats[1:])), beats
    assert not TROUBLE.search(text), TROUBLE.search(text).group(0)


LEAVE = f"""
abyme run --detach --name hopper --engine kvm --board microvm {GUEST} --append "$console beat"
wait_log hopper "^beat 3 " 900
abyme suspend hopper /tmp/state-file && keep /tmp/state-file
abyme logs hopper | sed "s/^/inner: /"
"""
COME_BACK = """
tar -xf /dev/vda -C /tmp
for from in jit interp; do
	abyme resume --detach --name from-$from --engine kvm /tmp/from-$from
	more_beats from-$from 4 900
	abyme logs from-$from | sed "s/^/from-$from: /"
	abyme kill from-$from
done
"""


def go_on(abyme, engine, state, after, to):
    m = abyme.start("resume", "--rm", "--engine", engine, str(state))
    for _ in range(4):
        m.expect(BEAT, 300)
    assert abyme("suspend", "hopper", str(to), seconds=120)[0] == 0
    m.wait(60)
    assert not TROUBLE.search(m.text), TROUBLE.search(m.text).group(0)
    return check_beats(beats_of(m.text), after)


def test_state_files_between_all_engines(nested, abyme):
    """The same by files, from kvm to this computer and back: each of the six directions."""
    text = nested.run("leave", LEAVE, files=nested.devices, seconds=LONG)
    assert "STATE-SAVED" in text, text[-3000:]
    left = beats_of(text, "inner: ")[-1]
    go_on(abyme, "jit", nested.tmp / "state-file", left, nested.tmp / "other")
    last = {"interp": go_on(abyme, "interp", nested.tmp / "state-file", left, nested.tmp / "from-interp")}
    last["jit"] = go_on(abyme, "jit", nested.tmp / "from-interp", last["interp"], nested.tmp / "from-jit")
    go_on(abyme, "interp", nested.tmp / "from-jit", last["jit"], nested.tmp / "other")
    text = nested.run("come-back", COME_BACK, files=nested.devices, seconds=LONG,
                      bring=[nested.tmp / "from-interp", nested.tmp / "from-jit"])
    for engine, after in last.items():
        beats = beats_of(text, f"from-{engine}: ")
        assert len(beats) >= 4, text[-3000:]
        check_beats(beats, after)
    assert not TROUBLE.search(text), TROUBLE.search(text).group(0)


SCREEN = f"""
kvm_ring && echo LOG-HOLDS
abyme run --detach --name seen --jail require --engine kvm --board pc --vcpus 2 --display vnc:5900 {GUEST} --append "$console"
# RFC 6143 7.1, 7.5.3: no security, shared, then the whole of 640x400 and what changes
{{
	printf 'RFB 003.008\\n'; sleep 2; printf '\\001'; sleep 2; printf '\\001'; sleep 2
	for n in 0 1 1; do printf "\\003\\00$n\\000\\000\\000\\000\\002\\200\\001\\220"; sleep 1; done
}} | timeout 20 nc 127.0.0.1 5900 | wc -c | sed "s/^ */SEEN /"
abyme ls | sed "s/^/ls: /"
abyme logs --monitor seen
"""


def test_dirty_ring(nested):
    """The log by KVM's rings and bitmaps names what was stored to; a machine with a viewer has the rings."""
    program = f"{os.path.dirname(ABYME)}/guest/kvm_ring"
    files = {"bin/kvm_ring": program, **{lib.lstrip("/"): lib for lib in libraries(program)}}
    text = nested.run("screen", SCREEN, files={**nested.devices, **files}, seconds=LONG)
    assert re.search("^LOG-HOLDS", text, re.M), text[-3000:]
    assert "info: dirty log of the screen: rings" in text, text[-3000:]
    seen = re.search(r"^SEEN (\d+)", text, re.M)
    assert seen and int(seen.group(1)) > 4 * 640 * 400, text[-3000:]
    assert re.search(r"^ls: seen +running", text, re.M), text[-3000:]
    assert not TROUBLE.search(text), TROUBLE.search(text).group(0)
