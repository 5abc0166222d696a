# SPDX-License-Identifier: GPL-2.0-or-later
"""Other vendors' disks, as qemu-img writes them, read by our own readers."""
import json
import random
import shutil
import subprocess

import pytest

from test_disks import ok

KINDS = [("vmdk", "subformat=monolithicSparse", None), ("vmdk", "subformat=streamOptimized", None),
         ("vdi", "static=off", None), ("vdi", "static=on", None),
         ("vpc", "subformat=dynamic,force_size=on", None), ("vpc", "subformat=fixed,force_size=on", "vhd"),
         ("parallels", "cluster_size=1M", None)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is needed (package qemu-utils)")
    path = tmp_path_factory.mktemp("formats") / "disk.img"
    rng = random.Random(8)
    with open(path, "wb") as f:
        for at in (0, 1, 7, 20, 21, 33):
            f.seek(at << 20)
            f.write(rng.randbytes(300000) + bytes(200000) + b"abyme" * 60000)
        f.truncate((40 << 20) + 512 * 3)
    return path


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: "-".join(str(w) for w in k))
def test_reads(abyme, raw, tmp_path, kind):
    name, options, from_format = kind
    disk, back = tmp_path / "disk", tmp_path / "back.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", name, "-o", options, str(raw), str(disk)], check=True)
    words = ["--from-format", from_format] if from_format else []
    ok(abyme, "disk", "convert", *words, str(disk), str(back))
    out = ok(abyme, "disk", "compare", str(raw), str(back))
    assert out == "equal\n"
    if not from_format:
        info = json.loads(ok(abyme, "disk", "info", "--format", "json", str(disk)))
        assert info[0]["format"] == {"vpc": "vhd"}.get(name, name)
    runs = json.loads(ok(abyme, "disk", "map", "--format", "json", str(disk)))
    assert sum(r["length"] for r in runs) >= 40 << 20


def test_cut_short(abyme, raw, tmp_path):
    """Every reader says what is wrong with a file that lost its end, and ends."""
    for number, (name, options, _) in enumerate(KINDS[:5]):
        disk = tmp_path / f"disk{number}"
        subprocess.run(["qemu-img", "convert", "-O", name, "-o", options, str(raw), str(disk)], check=True)
        with open(disk, "r+b") as f:
            f.truncate(disk.stat().st_size // 2)
        status, _, err = abyme("disk", "convert", str(disk), str(tmp_path / f"out{number}.img"))
        assert status == 1 and err.count("\n") == 1 and "disk" in err, (name, options, err)
        assert not (tmp_path / f"out{number}.img").exists()
