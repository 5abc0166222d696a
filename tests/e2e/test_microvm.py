# SPDX-License-Identifier: GPL-2.0-or-later
"""--board microvm: virtio over MMIO, no PCI, no firmware; all the same it is a whole machine."""
import re
import subprocess

import pytest

from conftest import TOP, vmlinuz
from test_boot import TROUBLE

LIMIT = 120


@pytest.fixture(scope="module")
def lean(kernel_tree, tmp_path_factory):
    tmp = tmp_path_factory.mktemp("microvm")
    tree = kernel_tree("cloud-amd64")
    initrd, disk = tmp / "initrd.gz", tmp / "disk.img"
    subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", initrd, "", tree, "virtio_mmio", "virtio_blk", "virtio_net",
                    "virtio_rng"], check=True)
    with open(disk, "wb") as f:
        f.write(b"lean" * 1024)
        f.truncate(16 << 20)
    return ["--board", "microvm", "--memory", "256M", "--kernel", vmlinuz(tree), "--initrd", str(initrd),
            "--disk", str(disk), "--net", "user", "--append", "console=ttyS0 panic=-1"], disk


def test_devices_and_life(abyme, lean, tmp_path):
    args, disk = lean
    m = abyme.start("run", "--name", "lean", "--engine", "jit", "--vcpus", "2", *args)
    m.expect("USERSPACE-REACHED", LIMIT)
    m.expect("# ", 30)
    m.send("ls -d /sys/bus/pci; head -c 12 /dev/vda; echo; dd if=/dev/zero of=/dev/vda bs=4k count=8 seek=1 2>/dev/null\n")
    m.expect("^leanleanlean", 30)
    m.send("ip link set eth0 up; udhcpc -i eth0 -n -q 2>&1; head -c 64 /dev/hwrng | wc -c\n")
    m.expect("lease of 10.0.2.15", 60)
    m.expect("^64", 30)
    m.send("sync; reboot -f\n")
    m.expect("USERSPACE-REACHED", LIMIT)
    m.send("n=0; while true; do n=$((n+1)); echo beat $n $(head -c 4 /dev/vda); sleep 0.2; done\n")
    m.expect("^beat 3 lean", 60)
    file = tmp_path / "lean.state"
    status, _, err = abyme("suspend", "lean", str(file), seconds=120)
    assert status == 0, err
    assert m.wait(60) == 0                                # all that it said is read
    last = int(re.findall(r"^beat (\d+) lean\s", m.text, re.M)[-1])
    r = abyme.start("resume", "--engine", "interp", str(file))
    r.expect(rf"^beat {last + 3} lean", LIMIT)
    assert abyme("kill", "lean")[0] == 0
    assert not TROUBLE.search(m.text + r.text), TROUBLE.search(m.text + r.text).group(0)


def test_what_it_has_not(abyme, lean, tmp_path):
    args, disk = lean
    for wrong, word in (([*args, "--display", "headless"], "no screen"),
                        ([*args, "--disk", f"{disk},bus=ahci"], "virtio disks only"),
                        (["--board", "microvm", "--disk", str(disk)], "--kernel"),
                        (["--board", "mini", *args[2:]], "board")):
        status, _, err = abyme("run", "--rm", *wrong)
        assert status and word in err and len(err.strip().splitlines()) == 1, err
