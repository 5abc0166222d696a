# SPDX-License-Identifier: GPL-2.0-or-later
"""An installed Debian on a whole PC: from firmware to its login, Xorg and Xen.

    make campaign-pc
"""
import os
import re
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from conftest import abyme  # noqa: E402,F401  pylint: disable=unused-import,wrong-import-position
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
