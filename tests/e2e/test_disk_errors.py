# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks whose host has no space, and disks with limits, in a machine that runs."""
import json
import subprocess

import pytest

from conftest import off, run, shell
from patience import wait_for
from test_disks import guest, ok, qemu_img  # noqa: F401, pylint: disable=unused-import


@pytest.fixture
def small(tmp_path):
    """Three file systems of 4 MiB that can grow."""
    places = [tmp_path / f"small{n}" for n in range(3)]
    for n, at in enumerate(places):
        at.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M", "none", at], capture_output=True, check=False).returncode:
            for done in places[:n]:
                subprocess.run(["umount", "-l", done], check=True)
            pytest.skip("a small file system cannot be mounted here")
    yield places
    for at in places:
        subprocess.run(["umount", "-l", at], check=True)


def status(abyme, name):
    return json.loads(ok(abyme, "stats", "--format", "json", name))


def wait_paused(abyme):
    wait_for(lambda: status(abyme, "full")["state"] == "paused")
    assert "No space left" in status(abyme, "full")["reason"]


def test_errors_and_limits(abyme, guest, small, tmp_path):  # noqa: F811
    """vda, vdb: the guest stands still while there is no space, and loses nothing.  vdc: it is
    told.  vdd: a limit that would take 13 minutes holds a copy up, until it is taken away."""
    disks = []
    for at, kind, more in zip([*small, tmp_path], ["raw", "qcow2", "raw", "raw"], ["", "", ",on-error=report", ",bps=64k"]):
        ok(abyme, "disk", "create", str(at / "disk"), "--size", "64M", "--format", kind)
        disks += ["--disk", f"{at}/disk,format={kind}{more}"]
    m = abyme.start("run", "--name", "full", *guest, *disks)
    shell(m)
    for at, dev in zip(small[:2], "ab"):
        m.send(f"yes abyme | head -c 9437184 | dd of=/dev/vd{dev} bs=64k conv=fsync 2>/dev/null; echo dd=$?\n")
        wait_paused(abyme)
        code, _, err = abyme("suspend", "full", str(tmp_path / "state"), seconds=120)
        assert code == 1 and "waits for the host" in err
        ok(abyme, "unpause", "full")                  # there is still no space
        wait_paused(abyme)
        subprocess.run(["mount", "-o", "remount,size=40M", at], check=True)
        m.expect("^dd=0", 300)
        assert "reason" not in status(abyme, "full")
    run(m, "dd if=/dev/urandom of=/dev/vdc bs=64k count=120 conv=fsync 2>/dev/null; echo dd=$?", "^dd=1", 300)
    m.send("dd if=/dev/vdd of=/dev/null bs=64k count=800 iflag=direct 2>/dev/null; echo dd=$?\n")
    code, _, err = abyme("set", "full", "--disk-limit", "3,bps=much")
    assert code == 2 and "not a size" in err
    ok(abyme, "set", "full", "--disk-limit", "3,bps=0,iops=100000")
    m.expect("^dd=0", 300)
    off(m)
    d = json.loads(ok(abyme, "inspect", "--format", "json", "full"))["definition"]["disks"][3]
    assert d["bps"] == "0" and d["iops"] == 100000
    flat = tmp_path / "flat.img"
    ok(abyme, "disk", "convert", str(small[1] / "disk"), str(flat))
    for disk in (small[0] / "disk", flat):
        assert disk.read_bytes()[:9 << 20] == (b"abyme\n" * 1572865)[:9 << 20]
    assert "no errors" in ok(abyme, "disk", "check", str(small[1] / "disk"))
    qemu_img("check", small[1] / "disk")
    abyme("rm", "full")
