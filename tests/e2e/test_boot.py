# SPDX-License-Identifier: GPL-2.0-or-later
"""Unmodified Debian kernels boot to a shell, and power off with status 0."""
import os
import re
import shutil
import subprocess

import pytest

from conftest import TOP, vmlinuz
from patience import patience

LIMIT = {"interp": 150, "jit": 60}
# "==1==WARNING:" is what a sanitizer says of itself in an empty root.
TROUBLE = re.compile(r"BUG:|(?<!==)WARNING:|Oops|soft lockup|rcu_sched|Marking clocksource|clocksource: .*unstable")


@pytest.mark.parametrize("flavour, engine, vcpus", [
    ("amd64", "interp", 1),
    ("cloud-amd64", "interp", 1),
    ("amd64", "jit", 1),
    ("amd64", "jit", 2),
    ("cloud-amd64", "jit", 1),
    ("cloud-amd64", "jit", 2),
])
def test_boot(abyme, kernel_tree, initrd, flavour, engine, vcpus):
    m = abyme.start("run", "--rm", "--engine", engine, "--vcpus", str(vcpus), "--memory", "512M",
                    "--kernel", vmlinuz(kernel_tree(flavour)), "--initrd", initrd,
                    "--append", "console=ttyS0 panic=-1", "--on-reboot", "exit")
    m.expect("USERSPACE-REACHED", LIMIT[engine])
    m.expect("# ", 30)
    m.send("echo cpus=$(grep -c ^processor /proc/cpuinfo)\n")
    m.expect(f"^cpus={vcpus}", 30)
    m.send("poweroff -f\n")
    assert m.wait(60) == 0, m.text[-2000:]
    assert not TROUBLE.search(m.text), TROUBLE.search(m.text).group(0)


@pytest.mark.parametrize("engine", ["interp", "jit"])
def test_boot_i386(abyme, kernel_tree, tmp_path, engine):
    """A 32-bit kernel with PAE, and 32-bit programs on it."""
    tree = kernel_tree("686-pae")
    initrd = str(tmp_path / "initrd-i386.gz")
    subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", initrd], check=True,
                   env=dict(os.environ, BUSYBOX=f"{tree}/bin/busybox"))
    m = abyme.start("run", "--rm", "--engine", engine, "--memory", "512M", "--kernel", vmlinuz(tree),
                    "--initrd", initrd, "--append", "console=ttyS0 panic=-1", "--on-reboot", "exit")
    m.expect("USERSPACE-REACHED", LIMIT[engine])
    m.expect("# ", 30)
    m.send("uname -m; dd if=/dev/zero bs=64k count=64 2>/dev/null | md5sum\n")
    m.expect("^i686", 30)
    m.expect("^b5cfa9d6c8febd618f91ac2843d50a1c", 60)
    m.send("poweroff -f\n")
    assert m.wait(60) == 0, m.text[-2000:]
    assert not TROUBLE.search(m.text), TROUBLE.search(m.text).group(0)


@pytest.mark.parametrize("memory, append, address", [
    ("3G", "nokaslr", "at=ffffffff81000000 "),     # unpacked by the monitor, as by default; RAM above 4 GiB
    ("512M", "hugepages=0", "at=ffffffff[0-9a-f]{8} "),     # the kernel's own unpacker looks for this
])
def test_unpacking(abyme, kernel_tree, initrd, memory, append, address):
    """A kernel runs where it says, whoever has unpacked it."""
    m = abyme.start("run", "--rm", "--engine", "jit", "--memory", memory, "--kernel", vmlinuz(kernel_tree("amd64")),
                    "--initrd", initrd, "--append", f"console=ttyS0 panic=-1 {append}", "--on-reboot", "exit")
    m.expect("USERSPACE-REACHED", LIMIT["jit"])
    m.expect("# ", 30)
    m.send("echo at=$(grep ' _text$' /proc/kallsyms)\n")
    m.expect(address, 30)
    m.send("poweroff -f\n")
    assert m.wait(60) == 0, m.text[-2000:]
    assert not TROUBLE.search(m.text), TROUBLE.search(m.text).group(0)


APT = """#!/bin/sh
case "$(basename "$0") $*" in
apt-cache*) echo "  Depends: linux-image-9-mine" ;;
*download*) echo once >>"$LOG"; sleep 1; cp "$LOG.deb" linux-image-9-mine_1_amd64.deb ;;
esac
"""


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="a package is made by dpkg-deb")
def test_a_kernel_is_fetched_once(tmp_path):
    """Tests that run at the same time want the same one, and may find none."""
    log, programs, tree = tmp_path / "log", tmp_path / "bin", tmp_path / "tree"
    programs.mkdir()
    for name in ("apt-get", "apt-cache"):
        (programs / name).write_text(APT)
        (programs / name).chmod(0o755)
    for folder in ("DEBIAN", "boot"):
        (tree / folder).mkdir(parents=True)
    (tree / "DEBIAN/control").write_text("Package: linux-image-9-mine\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDescription: x\n")
    (tree / "boot/vmlinuz-9").write_text("mine")
    subprocess.run(["dpkg-deb", "-b", str(tree), f"{log}.deb"], check=True, capture_output=True)
    env = dict(os.environ, ABYME_CACHE=str(tmp_path / "cache"), LOG=str(log), PATH=f"{programs}:{os.environ['PATH']}")
    several = [subprocess.Popen(["sh", f"{TOP}/scripts/kernel.sh", "amd64"], env=env, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for p in several:
        out = p.communicate(timeout=patience(60))[0]
        assert p.returncode == 0 and open(vmlinuz(out.strip()), encoding="ascii").read() == "mine", (p.returncode, out)
    assert log.read_text() == "once\n"
