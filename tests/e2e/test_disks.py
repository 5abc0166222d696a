# SPDX-License-Identifier: GPL-2.0-or-later
"""abyme disk, qcow2 disks in a guest, and what a killed machine leaves behind."""
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import ABYME, guest_args, run, shell
from patience import patience

MODULES = ["virtio_pci", "virtio_blk", "9p", "9pnet_virtio"]


def ok(abyme, *args):
    status, out, err = abyme(*args, seconds=60)
    assert status == 0, (args, out, err)
    return out


def caught(pid):
    """The signals that a process has handlers for."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        mask = next(int(line.split()[1], 16) for line in f if line.startswith("SigCgt"))
    return {n for n in range(1, 65) if mask >> (n - 1) & 1}


def qemu_img(*args):
    if shutil.which("qemu-img"):
        p = subprocess.run(["qemu-img", *map(str, args)], capture_output=True, text=True, check=False)
        assert p.returncode == 0, (args, p.stdout, p.stderr)


def test_tools(abyme, tmp_path):
    raw, qcow, back = tmp_path / "a.img", tmp_path / "a.qcow2", tmp_path / "b.img"
    data = random.Random(1).randbytes(3 << 20)
    with open(raw, "wb") as f:
        f.write(data)
        f.truncate(20 << 20)
        f.seek(10 << 20)
        f.write(data[:100000])
    ok(abyme, "disk", "convert", str(raw), str(qcow))
    assert ok(abyme, "disk", "compare", str(raw), str(qcow)) == "equal\n"
    assert "no errors" in ok(abyme, "disk", "check", str(qcow))
    qemu_img("check", qcow)
    qemu_img("compare", raw, qcow)
    assert os.stat(qcow).st_size < 5 << 20
    for how in ("zstd", "zlib"):
        packed = tmp_path / f"{how}.qcow2"
        ok(abyme, "disk", "convert", "--compression", how, str(raw), str(packed))
        assert ok(abyme, "disk", "compare", str(raw), str(packed)) == "equal\n"
        assert "no errors" in ok(abyme, "disk", "check", str(packed))
        qemu_img("check", packed)
        qemu_img("compare", raw, packed)
    ok(abyme, "disk", "resize", str(qcow), "+12M")
    top = tmp_path / "top.qcow2"
    ok(abyme, "disk", "create", str(top), "--backing", "a.qcow2")
    chain = json.loads(ok(abyme, "disk", "info", "--format", "json", str(top)))
    assert [i["size"] for i in chain] == [32 << 20, 32 << 20] and chain[0]["backing"] == "a.qcow2"
    qemu_img("compare", raw, top)
    runs = json.loads(ok(abyme, "disk", "map", "--format", "json", str(top)))
    assert sum(r["length"] for r in runs) == 32 << 20 and runs[0]["what"] == "data" and runs[0]["depth"] == 1
    ok(abyme, "disk", "convert", str(top), str(back))
    assert ok(abyme, "disk", "compare", str(raw), str(back)) == "equal\n"
    with open(back, "r+b") as f:
        f.seek(12345)
        f.write(b"?")
    status, out, _ = abyme("disk", "compare", str(raw), str(back))
    assert status == 1 and out in ("they differ at byte 12345\n", "equal\n")


def on_a_terminal(*args):
    """What the program writes to its standard error, a terminal, as percents."""
    ours, its = pty.openpty()
    p = subprocess.Popen([ABYME, *args], stdout=subprocess.DEVNULL, stderr=its)
    os.close(its)
    text = b""
    try:
        while piece := os.read(ours, 65536):
            text += piece
    except OSError:                         # its end is closed
        pass
    os.close(ours)
    assert p.wait() == 0, text
    return [int(x) for x in re.findall(rb"\r[a-z]+: (\d+) %", text)]


def test_progress(abyme, tmp_path):
    """On a terminal, what takes long says how far it is; elsewhere not."""
    raw, qcow = str(tmp_path / "a.img"), str(tmp_path / "a.qcow2")
    with open(raw, "wb") as f:
        f.write(random.Random(2).randbytes(1 << 20) * 24)
    for args in (("convert", raw, qcow), ("compare", raw, qcow), ("scrub", qcow)):
        seen = on_a_terminal("disk", *args)
        assert len(seen) > 3 and seen == sorted(seen) and seen[-1] == 100, (args, seen)
    status, _, err = abyme("disk", "compare", raw, qcow)
    assert status == 0 and err == ""


def test_preallocation(abyme, tmp_path):
    for n, (kind, how) in enumerate([("raw", "falloc"), ("raw", "full"), ("qcow2", "metadata"), ("qcow2", "falloc"), ("qcow2", "full")]):
        disk = tmp_path / f"{n}.img"
        ok(abyme, "disk", "create", "--format", kind, "--size", "9M", "--preallocation", how, "--cluster-size", "4k", str(disk)) \
            if kind == "qcow2" else ok(abyme, "disk", "create", "--size", "9M", "--preallocation", how, str(disk))
        taken = os.stat(disk).st_blocks * 512
        assert taken >= 9 << 20 if how != "metadata" else taken < 2 << 20, (kind, how, taken)
        assert "no errors" in ok(abyme, "disk", "check", str(disk))
        empty = tmp_path / "empty.img"
        with open(empty, "wb") as f:
            f.truncate(9 << 20)
        assert ok(abyme, "disk", "compare", str(disk), str(empty)) == "equal\n"
        if kind == "qcow2":
            qemu_img("check", disk)
            runs = json.loads(ok(abyme, "disk", "map", "--format", "json", str(disk)))
            assert all(r["what"] == "data" for r in runs)
    ok(abyme, "disk", "create", "--size", "9M", "--lazy-refcounts", str(tmp_path / "lazy.qcow2"))
    if shutil.which("qemu-img"):
        assert "lazy refcounts: true" in os.popen(f"qemu-img info {tmp_path}/lazy.qcow2").read()
    for args, word in ((("--preallocation", "some"), "not known"), (("--preallocation", "metadata"), "no metadata"),
                       (("--preallocation", "full", "--backing", str(tmp_path / "4.img")), "backing")):
        code, _, err = abyme("disk", "create", "--size", "9M", *args, str(tmp_path / "no.img"))
        assert code and word in err and not (tmp_path / "no.img").exists(), err


def test_scrub(abyme, tmp_path):
    raw, disk = tmp_path / "a.img", tmp_path / "a.qcow2"
    raw.write_bytes(random.Random(4).randbytes(1 << 20) * 6 + b"abc " * (1 << 20))
    ok(abyme, "disk", "convert", "--compress", str(raw), str(disk))
    assert f"{10 << 20} bytes read, 0 of" in ok(abyme, "disk", "scrub", str(disk))
    assert f"{1 << 20} bytes read" in ok(abyme, "disk", "scrub", "--from", "9M", "--rate", "100M", str(disk))
    data = bytearray(disk.read_bytes())
    at = [i for i in range(len(data) - 4) if data[i:i + 4] == bytes.fromhex("28b52ffd")]
    data[at[-1] + 9] ^= 4                                   # within a frame of zstd
    disk.write_bytes(data)
    code, out, _ = abyme("disk", "scrub", str(disk))
    assert code == 1 and "65536 bytes at 10420224 cannot be read" in out and "65536 of them in vain" in out, out
    p = subprocess.Popen([ABYME, "disk", "scrub", "--rate", "1k", str(raw)], stdout=subprocess.PIPE, text=True)
    while signal.SIGINT not in caught(p.pid):
        assert p.poll() is None
        time.sleep(0.02)
    p.send_signal(signal.SIGINT)
    out = p.communicate(timeout=patience(60))[0]
    assert p.returncode == 1 and "--from" in out, out
    code, _, err = abyme("disk", "scrub", "--rate", "slow", str(raw))
    assert code == 2 and "slow" in err


def test_bench(abyme, tmp_path):
    """It ends, whether requests are complete at once, on other threads, or both."""
    raw, qcow = str(tmp_path / "a.img"), str(tmp_path / "a.qcow2")
    ok(abyme, "disk", "create", raw, "--size", "8M")
    ok(abyme, "disk", "create", qcow, "--size", "8M")
    for words in (["--depth", "1"], ["--depth", "64"], ["--depth", "7", "--write"], ["--depth", "64", "--threads"],
                  ["--depth", "3", "--block", "1M", "--pattern", "sequential"], ["--depth", "9", "--write", "--one-buffer"]):
        for disk in (raw, qcow):
            result = json.loads(ok(abyme, "disk", "bench", "--count", "3000", "--format", "json", *words, disk))
            assert result["requests"] == 3000 and result["iops"] > 0
    assert "no errors" in ok(abyme, "disk", "check", qcow)


def test_tools_refuse(abyme, tmp_path):
    there = tmp_path / "there.qcow2"
    ok(abyme, "disk", "create", str(there), "--size", "1M")
    cut = tmp_path / "cut.qcow2"
    cut.write_bytes(there.read_bytes()[:60])
    cases = [(("create", str(there), "--size", "1M"), "File exists"), (("create", "x"), "needs a size"),
             (("create", "x", "--size", "1x"), "not a size"), (("info", "/nonexistent"), "cannot open"),
             (("info", str(cut)), "cut.qcow2"), (("resize", str(there), "512"), "smaller"),
             (("convert", str(there), str(there)), "already"), (("nonsense",), "not known"),
             (("create", "x", "--size", "1M", "--format", "floppy"), "floppy"),
             (("convert", "--compress", str(there), "x.img"), "only qcow2"),
             (("convert", "--compression", "rar", str(there), "x.qcow2"), "rar"),
             (("create", str(tmp_path / "y.qcow2"), "--backing", "nothing"), "nothing")]
    for args, words in cases:
        status, out, err = abyme("disk", *args)
        assert status in (1, 2) and words in err and err.count("\n") == 1, (args, status, out, err)
    assert not (tmp_path / "y.qcow2").exists()
    status, _, err = abyme("run", "--dry-run", "--disk", str(there))
    assert status and "format=qcow2" in err


@pytest.fixture(scope="module")
def guest(kernel_tree, tmp_path_factory):
    return guest_args(kernel_tree("amd64"), tmp_path_factory.mktemp("disks"), MODULES)


def test_qcow2_in_a_guest(abyme, guest, tmp_path):
    ok(abyme, "disk", "create", str(tmp_path / "base.qcow2"), "--size", "64M")
    ok(abyme, "disk", "create", str(tmp_path / "top.qcow2"), "--backing", "base.qcow2")
    m = abyme.start("run", "--rm", *guest, "--disk", f"{tmp_path}/top.qcow2,format=qcow2")
    shell(m)
    run(m, "yes abyme | head -c 8388608 | dd of=/dev/vda bs=64k seek=16 conv=fsync 2>/dev/null; echo dd=$?", "^dd=0")
    m.send("poweroff -f\n")
    assert m.wait(60) == 0, m.text[-2000:]
    assert "no errors" in ok(abyme, "disk", "check", str(tmp_path / "top.qcow2"))
    qemu_img("check", tmp_path / "top.qcow2")
    ok(abyme, "disk", "convert", str(tmp_path / "top.qcow2"), str(tmp_path / "flat.img"))
    data = (tmp_path / "flat.img").read_bytes()
    assert data[1 << 20:9 << 20] == (b"abyme\n" * 1398102)[:8 << 20] and not any(data[:1 << 20])


def test_killed_machine(abyme, guest, tmp_path):
    """kill -9 while the guest writes: what it had synced is there, nothing is corrupt."""
    disk = str(tmp_path / "disk.qcow2")
    ok(abyme, "disk", "create", disk, "--size", "64M", "--cluster-size", "4k")
    for turn in range(2):
        m = abyme.start("run", "--rm", "--name", f"doomed{turn}", *guest, "--disk", f"{disk},format=qcow2")
        shell(m)
        run(m, f"echo turn-{turn} | dd of=/dev/vda bs=512 seek={turn} conv=fsync 2>/dev/null; echo synced=$?", "^synced=0")
        m.send("while dd if=/dev/zero of=/dev/vda bs=4k seek=$((1+RANDOM%8000)) count=300 2>/dev/null; do :; done\n")
        time.sleep(1.5 + turn)
        pid = json.loads(abyme("inspect", "--format", "json", f"doomed{turn}")[1])["run"]["machine"]
        os.kill(pid, signal.SIGKILL)
        assert m.wait(60) != 0
        ok(abyme, "disk", "check", "--repair", disk)
        qemu_img("check", disk)
        flat = tmp_path / f"flat{turn}.img"
        ok(abyme, "disk", "convert", disk, str(flat))
        with open(flat, "rb") as f:
            for t in range(turn + 1):
                f.seek(512 * t)
                assert f.read(7) == f"turn-{t}\n".encode()


def test_share_over_a_suspend(abyme, guest, tmp_path):
    """A file that the guest has open on a share stays open in the resumed machine."""
    (tmp_path / "share").mkdir(mode=0o777)
    os.chmod(tmp_path / "share", 0o777)
    status, _, err = abyme("run", "--detach", "--name", "mover", *guest, "--share", f"{tmp_path}/share:data", seconds=60)
    assert status == 0, err
    m = abyme.start("console", "mover")
    m.send("\n")
    m.expect("# ", 90)
    run(m, "mkdir -p /mnt; mount -t 9p -o trans=virtio,version=9p2000.L data /mnt; echo mounted=$?", "^mounted=0")
    run(m, "exec 9>/mnt/log; echo before >&9; echo wrote=$?", "^wrote=0")
    ok(abyme, "suspend", "mover", str(tmp_path / "saved.state"))
    m.kill()
    status, _, err = abyme("resume", "--detach", str(tmp_path / "saved.state"), seconds=60)
    assert status == 0, err
    m = abyme.start("console", "mover")
    m.send("\n")
    run(m, "echo after >&9; echo wrote=$?; cat /mnt/log", "^wrote=0")
    abyme("kill", "mover")
    assert (tmp_path / "share" / "log").read_text() == "before\nafter\n"


def test_external_data_in_a_guest(abyme, guest, tmp_path):
    """The jailed machine gets both files; what would have to share clusters is refused."""
    disk, data = tmp_path / "disk.qcow2", tmp_path / "disk.raw"
    ok(abyme, "disk", "create", str(disk), "--size", "32M", "--data-file", "disk.raw", "--data-file-raw")
    status, _, err = abyme("run", "--rm", *guest, "--disk", f"{disk},format=qcow2")
    assert status and "add ,data-file=disk.raw" in err, err
    m = abyme.start("run", "--name", "two", *guest, "--disk", f"{disk},format=qcow2,data-file=disk.raw")
    shell(m)
    run(m, "yes abyme | head -c 4194304 | dd of=/dev/vda bs=4k seek=256 conv=fsync 2>/dev/null; echo dd=$?", "^dd=0")
    assert data.read_bytes()[1 << 20:5 << 20] == (b"abyme\n" * 699051)[:4 << 20]
    for args in (("snapshot", "create", "two", "s"), ("backup", "create", "two", str(tmp_path / "b"))):
        status, _, err = abyme(*args)
        assert status == 1 and "data in another file" in err, err
    status, _, err = abyme("disk", "check", "--repair", str(disk))
    assert status == 1 and "in use by instance 'two'" in err, err
    status, _, err = abyme("run", "--rm", *guest, "--disk", f"{disk},format=qcow2,data-file=disk.raw")
    assert status == 1 and "in use by instance 'two'" in err, err
    run(m, "dd if=/dev/vda bs=4k skip=256 count=1024 2>/dev/null | head -c 6; echo", "^abyme")
    m.send("poweroff -f\n")
    assert m.wait(60) == 0, m.text[-2000:]
    status, _, err = abyme("clone", "two", "other")
    assert status == 1 and "--full" in err, err
    ok(abyme, "clone", "--full", "two", "other")
    assert "equal" in ok(abyme, "disk", "compare", str(disk), str(data))
    assert "equal" in ok(abyme, "disk", "compare", str(disk), str(tmp_path / "other-0.qcow2"))
    assert "no errors" in ok(abyme, "disk", "check", str(disk))
    abyme("rm", "two")
    abyme("rm", "other")
    (tmp_path / "below").mkdir()
    ok(abyme, "disk", "create", str(tmp_path / "below" / "far.qcow2"), "--size", "32M", "--data-file", "../far.raw")
    status, _, err = abyme("run", "--rm", *guest, "--disk", f"{tmp_path}/below/far.qcow2,format=qcow2,data-file=../far.raw")
    assert status and "data file" in err and "outside the directory" in err, err


def test_map_of_raw(abyme, tmp_path):
    """Holes of a raw file are zeros, at once; tools skip them."""
    disk = tmp_path / "sparse.img"
    with open(disk, "wb") as f:
        f.truncate(1 << 40)
        for at in (0, 5 << 20, (1 << 40) - (1 << 20)):
            f.seek(at)
            f.write(b"x" * (1 << 20))
    runs = json.loads(ok(abyme, "disk", "map", "--format", "json", str(disk)))
    assert [(r["start"], r["length"], r["what"]) for r in runs] == [
        (0, 1 << 20, "data"), (1 << 20, 4 << 20, "zero"), (5 << 20, 1 << 20, "data"),
        (6 << 20, (1 << 40) - (7 << 20), "zero"), ((1 << 40) - (1 << 20), 1 << 20, "data")]
    ok(abyme, "disk", "convert", str(disk), str(tmp_path / "sparse.qcow2"))
    assert "equal" in ok(abyme, "disk", "compare", str(disk), str(tmp_path / "sparse.qcow2"))
    assert "3145728 bytes read" in ok(abyme, "disk", "scrub", str(disk))
