# SPDX-License-Identifier: GPL-2.0-or-later
"""abyme machine install: with an installer of our own that does, in a second, what Debian's does in its minutes."""
import os
import subprocess

import pytest

from conftest import TOP, fetch_kernel, told, vmlinuz
from test_firmware import boot_sector, seabios

MIRROR = "http://mirror.invalid:8080/debian"
INIT = """#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
while read -r m; do insmod "/modules/$m.ko"; done </modules/order
printf 'Detecting the disk  ... 0%%... 50%%... 100%%\\r\\n'
{body}
poweroff -f
"""
INSTALL = """grep -q 'mirror/http/hostname string mirror.invalid:8080' /preseed.cfg || exec sleep 9999
grep -q 'passwd/root-password password opensesame' /preseed.cfg || exec sleep 9999
dd if=/bin/sector of=/dev/vda conv=fsync 2>/dev/null
printf 'Installing the base system  ... 10%%... 100%%\\r\\nABYME-INSTALLED\\r\\n'"""
ASK = """printf 'Partition disks\\r\\n---------------\\r\\nWhich of them?\\r\\nPrompt: '; sleep 9999"""


@pytest.fixture
def installer(tmp_path):
    def make(body):
        folder, tree = tmp_path / "installer", fetch_kernel("amd64")
        folder.mkdir()
        (tmp_path / "init").write_text(INIT.format(body=body))
        (tmp_path / "sector").write_bytes(boot_sector())
        subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", str(folder / "initrd.gz"), str(tmp_path / "init"), tree, "virtio_pci",
                        "virtio_blk"], env=dict(os.environ, EXTRA=str(tmp_path / "sector")), check=True)
        os.symlink(vmlinuz(tree), folder / "linux")
        (tmp_path / "password").write_text("opensesame\n")
        return ["machine", "install", "--name", "box", "--memory", "256M", "--installer", str(folder), "--mirror", MIRROR,
                "--password-file", str(tmp_path / "password"), "--disk", f"{tmp_path}/box.qcow2,size=2G,bus=virtio", "debian"]
    return make


@seabios
def test_installs(abyme, installer, tmp_path):
    """The answers reach the installer, its steps are shown, and what it wrote starts by firmware."""
    args = installer(INSTALL)
    status, out, text = abyme(*args, seconds=120)
    assert status == 0 and out == "box\n", text
    assert told(text) == ["Detecting the disk", "Installing the base system"]
    with open(tmp_path / "box.qcow2", "rb") as f:
        assert f.read(4) == b"QFI\xfb"
    status, out, _ = abyme("inspect", "box")
    assert status == 0 and "opensesame" not in out and "kernel" not in out and "firmware: bios" in out
    m = abyme.start("start", "--attach", "box")
    m.expect("BOOT SECTOR RUNS", 120)
    assert m.wait(60) == 0
    status, _, text = abyme(*args, seconds=120)               # twice: said, and nothing lost
    assert status == 1 and "box" in text and abyme("inspect", "box")[0] == 0


def test_question(abyme, installer, tmp_path):
    """A question without an answer ends it, with the question; nothing is left behind."""
    status, _, text = abyme(*installer(ASK), seconds=120)
    assert status == 1 and "Partition disks Which of them?" in text, text
    assert not (tmp_path / "box.qcow2").exists() and abyme("ls", "--quiet")[1] == ""


def test_refused(abyme, tmp_path):
    """What cannot be: a system, an installer, a disk, a mirror, a password."""
    (tmp_path / "old.img").write_bytes(b"\0" * 4096)
    (tmp_path / "empty").write_text("\n")
    for name in ("linux", "initrd.gz"):
        (tmp_path / name).write_bytes(b"\0" * 512)
    here = ["--installer", str(tmp_path), "--mirror", MIRROR]
    for args, word in (["plan9"], "plan9"), (["--installer", "/nonexistent", "debian"], "/nonexistent/linux"), \
            ([*here, "--disk", f"{tmp_path}/old.img", "debian"], "old.img"), \
            ([*here, "--disk", f"{tmp_path}/d.img,size=3", "debian"], "size '3'"), \
            (["--installer", str(tmp_path), "--mirror", "nowhere", "debian"], "nowhere"), \
            ([*here, "--password-file", f"{tmp_path}/empty", "debian"], "empty"):
        status, _, text = abyme("machine", "install", *args)
        assert status in (1, 2) and word in text and text.count("\n") == 1, text
    assert (tmp_path / "old.img").stat().st_size == 4096 and not (tmp_path / "d.img").exists()
