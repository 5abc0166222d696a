# SPDX-License-Identifier: GPL-2.0-or-later
"""An installed Debian on a whole PC: from firmware to its login, Xorg and Xen.

    make campaign-pc
"""
import hashlib
import os
import re
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from conftest import abyme, pixels  # noqa: E402,F401  pylint: disable=unused-import,wrong-import-position
import installed  # noqa: E402  pylint: disable=wrong-import-position

BUSES = ["ahci", "nvme", "ide", "virtio", "scsi"]
PROMPT = r"root@abyme:\S*# "


@pytest.fixture(scope="session")
def debian(tmp_path_factory):
    folder = installed.guest()
    if not folder:
        pytest.skip("the Debian guest cannot be made here")
    image = str(tmp_path_factory.mktemp("installed") / "disk.img")
    installed.make_disk(folder, image)
    yield image
    os.unlink(image)


@pytest.fixture
def disk(debian, request):
    """A disk of the test's own over the installed one, in the same folder."""
    image = os.path.join(os.path.dirname(debian), re.sub(r"\W", "-", request.node.name) + ".qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", debian, image], check=True)
    yield image
    os.unlink(image)


def login(m):
    m.expect("abyme login: ", 900)
    m.send("root\n")
    m.expect("Password: ", 120)
    m.send("abyme\n")
    m.expect(PROMPT, 120)


def run(m, command, pattern, seconds=120):
    m.send(command + "\n")
    got = m.expect(pattern, seconds)
    m.expect(PROMPT, 60)
    return got


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_boots(abyme, disk, firmware, bus):  # noqa: F811
    """Firmware, GRUB, kernel, login; a file is written; it is there after a reboot."""
    m = abyme.start("run", "--rm", "--engine", "jit", "--memory", "512M", "--firmware", firmware, "--boot", "disk",
                    "--disk", f"{disk},format=qcow2,bus={bus}")
    login(m)
    run(m, "findmnt -no SOURCE,FSTYPE / | tr '\\n' ' '; [ -d /sys/firmware/efi ] && echo is-uefi || echo is-bios",
        f"ext4 is-{firmware}")
    run(m, "echo kept > /root/mark; sync; echo written-$?", "written-0")
    m.send("reboot\n")
    login(m)
    run(m, "cat /root/mark", r"kept\s")
    m.send("poweroff\n")
    assert m.wait(600) == 0


def test_secure_boot(abyme, disk):  # noqa: F811
    """Shim, GRUB and kernel are signed: they start, and the kernel knows that it was verified."""
    m = abyme.start("run", "--rm", "--engine", "jit", "--memory", "512M", "--firmware", "uefi-secure", "--boot", "disk",
                    "--disk", f"{disk},format=qcow2,bus=ahci")
    login(m)
    run(m, "dmesg | grep -i 'secure boot'", "[Ss]ecure boot enabled")


DRAW = """export DISPLAY=:0; Xorg :0 -noreset -nocursor -ac -s 0 >/tmp/x.log 2>&1 &
until xset q >/dev/null 2>&1; do sleep 1; done; xset -dpms; xsetroot -mod 16 16 -fg white -bg blue
xlogo -geometry 300x300+40+40 & xterm -geometry 60x16+360+60 -e sh -c 'seq 40; while :; do sleep 99; done' &"""
# width and height out of xwd's header (X11/XWDFile.h), then the pixels at the end without their fourth byte
DIGEST = r"xwd -root -silent > /tmp/w; set -- $(od --endian=big -An -td4 -j16 -N8 /tmp/w); echo size $1 $2; " \
         r"tail -c $(($1 * $2 * 4)) /tmp/w | perl -0777 -pe 's/(...)./$1\0/gs' | md5sum"


@pytest.mark.parametrize("gpu", ["std", "virtio"])
def test_xorg(abyme, disk, tmp_path, gpu):  # noqa: F811
    """X draws; what the screen shows is, pixel for pixel, what X says that it has drawn."""
    m = abyme.start("run", "--name", "x", "--engine", "jit", "--memory", "768M", "--display", "headless", "--gpu", gpu,
                    "--input", "virtio", "--disk", f"{disk},format=qcow2")
    login(m)
    m.send(DRAW + "\n")
    run(m, "echo dra''wn", "drawn", 900)
    end = time.monotonic() + 900
    while not same(abyme, m, tmp_path):      # the windows come by and by
        assert time.monotonic() < end, "the screen never showed what X has drawn"


def same(vm, m, tmp_path):
    """Whether the screen shows X's own picture, and that has more than a background."""
    got = run(m, DIGEST, r"size (\d+) (\d+)\s+([0-9a-f]{32})  -", 300)
    assert vm("screenshot", "x", str(tmp_path / "x.png"))[0] == 0
    width, height, rgb = pixels(tmp_path / "x.png")
    assert (width, height) == (int(got.group(1)), int(got.group(2)))
    picture = bytearray(width * height * 4)
    picture[0::4], picture[1::4], picture[2::4] = rgb[2::3], rgb[1::3], rgb[0::3]
    colours = set(zip(rgb[0::3], rgb[1::3], rgb[2::3]))
    return hashlib.md5(picture).hexdigest() == got.group(3) and len(colours) > 2


def test_xen(abyme, disk):  # noqa: F811
    """GRUB starts Xen, and Xen a paravirtual Debian as its dom0, whose systemd tells on its console that it is up."""
    m = abyme.start("run", "--rm", "--engine", "jit", "--memory", "1536M", "--disk", f"{disk},format=qcow2,bus=ahci")
    m.expect("GRUB loading", 300)
    m.send("x")
    m.expect("Xen version 4", 300)
    m.expect("Booting paravirtualized kernel on Xen|Hypervisor detected: Xen PV", 900)
    m.expect("Started .*getty@tty1", 1800)
