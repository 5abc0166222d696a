# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of a whole PC under Linux's own drivers: disk controllers, media."""
import os
import random

import pytest

from conftest import guest_args, off, run, shell

MODULES = ["virtio_pci", "virtio_scsi", "ahci", "nvme", "ata_piix", "sd_mod", "sr_mod", "isofs"]
BUSES = {"ahci": "sda", "nvme": "nvme0n1", "ide": "sda", "scsi": "sda"}


@pytest.fixture(scope="module")
def guest(kernel_tree, tmp_path_factory):
    """Arguments for a guest with the drivers of a PC's controllers."""
    return guest_args(kernel_tree("amd64"), tmp_path_factory.mktemp("pc"), MODULES)


@pytest.mark.parametrize("bus", list(BUSES))
def test_disk(abyme, guest, tmp_path, bus):
    """Reads what the host wrote, writes what the host finds, goes on after a suspend."""
    disk, dev, state = tmp_path / "disk.img", f"/dev/{BUSES[bus]}", tmp_path / "saved"
    data = random.Random(bus).randbytes(8 << 20)
    with open(disk, "wb") as f:
        f.write(data)
        f.truncate(32 << 20)
    m = abyme.start("run", "--name", "d", *guest, "--disk", f"{disk},bus={bus}")
    shell(m)
    run(m, f"ls {dev}; head -c {len(data)} {dev} | md5sum", f"^{md5(data)}  -")
    run(m, "cat /proc/mtrr; echo", "base=0x080000000.*size= 2048MB, count=1: uncachable")
    m.send(f"n=0; while head -c 1048576 {dev} | dd of={dev} bs=256k seek=64 conv=fsync 2>/tmp/e; do "
           "n=$((n+1)); [ $n = 2 ] && echo two; [ -e /tmp/stop ] && break; done & sleep 1; echo\n")
    m.expect("^two", 60)
    status, _, text = abyme("suspend", "d", str(state), seconds=60)
    assert status == 0, text
    assert m.wait(60) == 0
    m = abyme.start("resume", str(state))
    m.send("\n")
    m.expect("# ", 60)
    run(m, "touch /tmp/stop; wait; cat /tmp/e; echo over-$((1+1))", "^over-2")
    run(m, f"dd if={dev} bs=256k skip=64 count=4 2>/dev/null | md5sum", f"^{md5(data[:1 << 20])}  -")
    off(m)
    with open(disk, "rb") as f:
        f.seek(16 << 20)
        assert f.read(1 << 20) == data[:1 << 20]


@pytest.mark.parametrize("bus", ["ahci", "ide"])
def test_change_medium(abyme, guest, tmp_path, bus):
    """A CD is taken out and another put in, under the guest's eyes, also when it has locked the drive."""
    first, second = tmp_path / "first.iso", tmp_path / "second.iso"
    first.write_bytes(b"one\n".ljust(4096, b"\0"))
    second.write_bytes(b"two\n".ljust(8192, b"\0"))
    m = abyme.start("run", "--name", "c", *guest, "--cdrom", f"{first},bus={bus}")
    shell(m)
    run(m, "head -c 4 /dev/sr0; echo clo''sed", r"^one\s+closed")
    assert abyme("change", "c", "cdrom2", str(second))[0] == 1
    status, _, text = abyme("eject", "c", "cdrom")
    assert status == 0, text
    run(m, "head -c 4 /dev/sr0 || echo em''pty", "^empty")
    status, _, text = abyme("change", "c", "cdrom", str(second))
    assert status == 0, text
    run(m, "until head -c 4 /dev/sr0; do sleep 1; done 2>/dev/null; cat /sys/block/sr0/size", r"^two\s+16\s")
    m.expect("# ", 60)
    m.send("exec 3</dev/sr0; echo locked-$?\n")          # an open drive is a locked one
    m.expect("^locked-0", 60)
    status, _, text = abyme("change", "c", "cdrom", str(first))
    assert status == 1 and "--force" in text, text
    status, _, text = abyme("engine", "c", "interp", seconds=120)
    assert status == 0, text
    status, _, text = abyme("eject", "--force", "c", "cdrom")
    assert status == 0, text
    run(m, "exec 3<&-; head -c 4 /dev/sr0 || echo go''ne", "^gone", 120)
    assert "none" in abyme("inspect", "c")[1]
    off(m)


def md5(data):
    import hashlib
    return hashlib.md5(data).hexdigest()


def test_refused(abyme, tmp_path):
    """A bus that does not exist is named, and what does."""
    disk = tmp_path / "d.img"
    disk.write_bytes(b"\0" * 4096)
    status, _, text = abyme("run", "--rm", "--disk", f"{disk},bus=mfm")
    assert status and "mfm" in text and "nvme" in text and text.count("\n") == 1
    assert os.path.exists(disk)
