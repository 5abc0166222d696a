# SPDX-License-Identifier: GPL-2.0-or-later
"""What a micro-VM around an image does when things are not as they should be: a kernel that never comes up,
compressed modules, damaged snapshots."""
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from conftest import abyme, kernel_tree, vmlinuz  # noqa: E402,F401
from images import Image, busybox_layer  # noqa: E402
from patience import patience  # noqa: E402
from test_run_image import copy_kernel  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts overlays and makes control groups as root")
LIMIT = patience(120)
RUN = ("run", "--isolation", "microvm")


@pytest.fixture
def box(abyme, tmp_path):
    status, _, err = abyme("load", Image(busybox_layer(), tag="box").tar(tmp_path / "box.tar"), seconds=LIMIT)
    assert status == 0, err
    yield abyme
    for name in abyme("ls", "--quiet")[1].split():
        abyme("rm", "--force", name, seconds=LIMIT)


def packed_kernel(tree, to, pack=None):
    """A kernel with the few modules that count; `pack` compresses them."""
    copy_kernel(tree, to)
    if pack:
        files = [str(p) for p in (to / "lib").rglob("*.ko")]
        subprocess.run([*pack, *files], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert files and not list((to / "lib").rglob("*.ko"))
    return vmlinuz(str(to))


@pytest.mark.parametrize("pack", [("xz", "-0"), ("zstd", "-q", "--rm", "-1"), ("gzip", "-1")], ids=lambda p: p[0])
def test_compressed_modules(box, kernel_tree, tmp_path, pack):
    kernel = packed_kernel(kernel_tree("amd64"), tmp_path / "k", pack)
    status, out, err = box(*RUN, "--rm", "--kernel", kernel, "box", "sh", "-c", "echo x >/file; cat /file", seconds=LIMIT)
    assert (status, out) == (0, "x\n"), err


def test_module_that_is_damaged(box, kernel_tree, tmp_path):
    kernel = packed_kernel(kernel_tree("amd64"), tmp_path / "k", ("xz", "-0"))
    for path in (tmp_path / "k").rglob("overlay.ko.xz"):
        path.write_bytes(path.read_bytes()[:1000])
    status, _, err = box(*RUN, "--rm", "--kernel", kernel, "box", "true", seconds=LIMIT)
    assert status and "overlay.ko.xz" in err and len(err.strip().splitlines()) == 1, err


def test_boot_that_never_ends(box, kernel_tree, tmp_path):
    """Without its vsock the init cannot call."""
    kernel = packed_kernel(kernel_tree("amd64"), tmp_path / "k")
    for path in [*(tmp_path / "k").rglob("*vsock*.ko")]:
        path.unlink()
    box.env["ABYME_BOOT_SECONDS"] = "20"
    status, _, err = box(*RUN, "--name", "mute", "--kernel", kernel, "box", "true", seconds=LIMIT)
    assert status and "has not called within 20 s" in err and len(err.strip().splitlines()) == 1, (status, err)
    assert os.path.exists(f"{box.state}/instances/mute/kernel.log"), "the sentence sends the user there"
    assert "stopped" in box("ls")[1]


def snapshots(box):
    top = f"{box.state}/microvm"
    return sorted(os.path.join(top, d, "state") for d in os.listdir(top))


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


def overwrite(at):
    def damage(path):
        with open(path, "r+b") as f:
            f.seek(at if at >= 0 else os.path.getsize(path) + at)
            f.write(b"\xa5" * 4096)
    damage.__name__ = f"overwrite {at}"
    return damage


def empty(path):
    os.truncate(path, 0)


def lose_memory(path):
    """As a power cut may: the size and time are right, and the host was started again since."""
    seen = os.path.join(os.path.dirname(path), "seen")
    with open(seen, encoding="ascii") as f:
        text = f.read()
    with open(seen, "w", encoding="ascii") as f:
        f.write(text.replace(text[5:41], "0" * 36, 1))
    before = os.stat(path)
    overwrite(1 << 21)(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_disk(path):
    disk = os.path.join(os.path.dirname(path), "disk")
    if os.path.exists(disk):
        overwrite(4096)(disk)


@pytest.mark.parametrize("damage", [cut, empty, overwrite(0), overwrite(-20000), overwrite(1 << 21), lose_memory, other_disk],
                         ids=lambda d: d.__name__)
def test_damaged_snapshot(box, kernel_tree, damage):
    """It boots instead, says so in its log, and the next one has a snapshot again."""
    run = (*RUN, "--kernel", vmlinuz(kernel_tree("amd64")))
    status, out, err = box(*run, "--name", "first", "box", "echo", "first", seconds=LIMIT)
    assert (status, out) == (0, "first\n"), err
    made = snapshots(box)
    assert made
    before = {p: os.stat(p).st_ino for p in made}
    for path in made:
        damage(path)
    status, out, err = box(*run, "--name", "after", "box", "echo", "again", seconds=LIMIT)
    log = box("logs", "--monitor", "after")[1]
    assert (status, out) == (0, "again\n"), (status, out, err, log)
    assert "; booting" in log, log
    assert {p: os.stat(p).st_ino for p in snapshots(box) if p in before} != before
    assert box(*run, "--name", "more", "box", "echo", "more", seconds=LIMIT)[:2] == (0, "more\n")
    assert not box("logs", "--monitor", "more")[1]


def test_snapshot_of_before_the_host_started(box, kernel_tree):
    """It is read through once, and used."""
    run = (*RUN, "--kernel", vmlinuz(kernel_tree("amd64")))
    assert box(*run, "--name", "first", "box", "true", seconds=LIMIT)[0] == 0
    before = {p: os.stat(p).st_ino for p in snapshots(box)}
    for path in before:
        seen = os.path.join(os.path.dirname(path), "seen")
        with open(seen, encoding="ascii") as f:
            text = f.read()
        with open(seen, "w", encoding="ascii") as f:
            f.write(text.replace(text[5:41], "0" * 36, 1))
    status, out, err = box(*run, "--name", "after", "box", "echo", "again", seconds=LIMIT)
    assert (status, out) == (0, "again\n"), err
    assert "booting" not in box("logs", "--monitor", "after")[1]
    assert {p: os.stat(p).st_ino for p in snapshots(box)} == before
