# SPDX-License-Identifier: GPL-2.0-or-later
"""Long jobs on disks are killed, and go on: convert, full clones, backup, the deletion of a snapshot.

ABYME_SEED says when (the campaign: many). A rate far below what this takes keeps the jobs alive
until they are killed, however slow the machine.
"""
import json
import os
import random
import signal
import subprocess
import time

import pytest

from conftest import ABYME
from patience import deadline
from test_backups import instance, poke
from test_disks import ok, qemu_img

MIB = 1 << 20
KILLS = 2
RNG = random.Random(int(os.environ.get("ABYME_SEED", "1")))


def noted(log):
    """How far the copy has come, by its log."""
    lines = log.read_text().split("\n")[1:-1] if log.exists() else []
    return int(lines[-1]) if lines else 0


def start(abyme, *args):
    return subprocess.Popen([ABYME, *args], env=abyme.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def kill_after_progress(abyme, log, *args, how=signal.SIGKILL):
    """The copy has noted more than before, and a little later it is gone."""
    before, limit = noted(log), deadline(60)
    p = start(abyme, *args)
    while noted(log) <= before and p.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    assert noted(log) > before, p.communicate()[1]
    time.sleep(RNG.random() * 0.3)
    p.send_signal(how)
    return p.communicate()[1].decode()


def fill(path, seed):
    """24 MiB of data among holes, some of it zeros."""
    rng = random.Random(seed)
    with open(path, "wb") as f:
        f.truncate(64 * MIB)
        for k in range(24):
            f.seek(rng.randrange(62 * 16) << 16)
            f.write(rng.randbytes(MIB) if k % 4 else bytes(MIB))


@pytest.mark.parametrize("options", [["--format", "raw"], ["--format", "qcow2"], ["--format", "qcow2", "--compress"]],
                         ids=lambda o: o[-1].strip("-"))
def test_convert(abyme, tmp_path, options):
    source, target, log = tmp_path / "source.img", tmp_path / "target", tmp_path / "target.part.copied"
    fill(source, 3)
    job = ["disk", "convert", *options, str(source), str(target)]
    for k in range(KILLS):
        err = kill_after_progress(abyme, log, *job[:2], "--rate", "2M", *job[2:])
        assert ("going on at" in err) == (k > 0), err
        assert not target.exists()
    done = noted(log)
    status, _, err = abyme(*job)
    assert status == 0 and f"going on at {done >> 20} of 64 MiB" in err, err
    assert "equal" in ok(abyme, "disk", "compare", str(source), str(target))
    assert sorted(os.listdir(tmp_path)) == ["source.img", "target"]
    if options[1] == "qcow2":
        qemu_img("check", target)
        assert "no errors" in ok(abyme, "disk", "check", str(target))


def test_convert_of_another_state_begins_anew(abyme, tmp_path):
    source, target, log = tmp_path / "source.img", tmp_path / "target.qcow2", tmp_path / "target.qcow2.part.copied"
    fill(source, 4)
    job = ["disk", "convert", "--rate", "2M", str(source), str(target)]
    err = kill_after_progress(abyme, log, *job, how=signal.SIGTERM)
    assert "goes on where it was" in err, err
    p = start(abyme, *job)                        # two at once: the second is refused, the first goes on
    limit = deadline(30)
    while (before := noted(log)) == 0 and time.monotonic() < limit:
        time.sleep(0.01)
    while noted(log) == before and p.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    status, _, err = abyme(*job)
    assert status == 1 and "in use" in err, err
    p.send_signal(signal.SIGINT)
    assert b"stopped" in p.communicate()[1]
    with open(source, "r+b") as f:
        f.write(b"changed")
    status, _, err = abyme("disk", "convert", str(source), str(target))
    assert status == 0 and "going on" not in err
    assert "equal" in ok(abyme, "disk", "compare", str(source), str(target))


@pytest.mark.parametrize("kind", ["vmdk", "vdi", "vhd", "vhdx"])
def test_convert_to_others_formats(abyme, tmp_path, kind):
    """Which qemu-img writes, in pieces of 128 MiB; it ends with the one that started it."""
    source, target = tmp_path / "a, source.img", tmp_path / f"a, target.{kind}"
    log = tmp_path / f"a, target.{kind}.part.copied"
    rng = random.Random(9)
    with open(source, "wb") as f:
        f.truncate(600 * MIB)
        for k in range(1, 5):                     # the first piece is noted at once, the others take half a minute each
            f.seek((k * 128 + 77) * MIB + 4096)
            f.write(rng.randbytes(6 * MIB))
    job = ["disk", "convert", str(source), str(target)]
    slowly = [*job[:2], "--rate", "256k", *job[2:]]
    kill_after_progress(abyme, log, *slowly)
    assert not target.exists()
    if kind == "vhdx":
        p = start(abyme, *slowly)
        assert b"going on at" in p.stderr.readline()
        p.send_signal(signal.SIGTERM)
        assert b"goes on where it was" in p.communicate()[1]
    done = noted(log)
    assert 128 * MIB <= done < 600 * MIB
    status, _, err = abyme(*job)
    assert status == 0 and f"going on at {done >> 20} of 600 MiB" in err, err
    qemu_img("compare", "-f", "raw", "-F", {"vhd": "vpc"}.get(kind, kind), source, target)
    assert sorted(os.listdir(tmp_path)) == [source.name, target.name]
    if kind == "vhdx":                            # and from what only qemu-img reads
        back, log = tmp_path / "back.qcow2", tmp_path / "back.qcow2.part.copied"
        job = ["disk", "convert", str(target), str(back)]
        kill_after_progress(abyme, log, *job[:2], "--rate", "256k", *job[2:])
        status, _, err = abyme(*job)
        assert status == 0 and "going on at" in err, err
        qemu_img("compare", "-f", "raw", "-F", "qcow2", source, back)


def test_one_go_begins_anew(abyme, tmp_path):
    """A stream-optimized VMDK; a qemu-img that never ends is sure to be stopped."""
    source, work = tmp_path / "source.img", tmp_path / "work"
    fill(source, 5)
    work.mkdir()
    fake, began = tmp_path / "qemu-img", tmp_path / "began"
    os.mkfifo(began)
    fake.write_text(f"#!/bin/sh\necho began >{began}\nexec sleep 600\n")
    fake.chmod(0o755)
    p = subprocess.Popen([ABYME, "disk", "convert", "--format", "vmdk-stream", str(source), str(work / "target.vmdk")],
                         env={**abyme.env, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, stderr=subprocess.PIPE)
    assert began.read_text() == "began\n"
    p.send_signal(signal.SIGTERM)
    assert b"begins anew" in p.communicate(timeout=deadline(60) - time.monotonic())[1]
    assert not os.listdir(work)


def test_full_clone(abyme, tmp_path):
    """Of two disks, killed in each; the clone is there when both are."""
    disks = [tmp_path / "one.qcow2", tmp_path / "two.img"]
    plain = tmp_path / "plain.img"
    fill(plain, 6)
    ok(abyme, "disk", "convert", str(plain), str(disks[0]))
    disks[1].write_bytes(random.Random(7).randbytes(128 * MIB))
    ok(abyme, "create", "--name", "origin", "--firmware", "bios", "--net", "none", "--disk", f"{disks[0]},format=qcow2",
       "--disk", str(disks[1]))
    job = ["clone", "--full", "origin", "copy"]
    slowly = ["clone", "--full", "--rate", "1M", "origin", "copy"]
    first, second = tmp_path / "copy-0.qcow2.part.copied", tmp_path / "copy-1.img.part.copied"
    for k in range(KILLS):
        err = kill_after_progress(abyme, first, *slowly)
        assert ("going on at" in err) == (k > 0), err
    err = kill_after_progress(abyme, first, *slowly, how=signal.SIGTERM)
    assert "goes on where it was" in err, err
    p = start(abyme, *slowly)                     # two at once: the second is refused, and removes nothing
    before, limit = noted(first), deadline(60)
    while noted(first) <= before and p.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    status, _, err = abyme(*job)
    assert status == 1 and "in use" in err, err
    p.kill()
    p.communicate()
    p = start(abyme, *job[:2], "--rate", "8M", *job[2:])    # through the first, into the second: long
    limit = deadline(120)
    while not noted(second) and p.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    assert noted(second), p.communicate()[1]
    p.kill()
    p.communicate()
    assert noted(first) == 64 * MIB and not (tmp_path / "copy-0.qcow2").exists()
    assert "no instance" in abyme("inspect", "copy")[2]
    status, _, err = abyme(*job)
    assert status == 0 and err.count("going on at") == 2, err
    assert "equal" in ok(abyme, "disk", "compare", str(disks[0]), str(tmp_path / "copy-0.qcow2"))
    assert "equal" in ok(abyme, "disk", "compare", str(disks[1]), str(tmp_path / "copy-1.img"))
    qemu_img("check", tmp_path / "copy-0.qcow2")
    assert sorted(f.name for f in tmp_path.iterdir() if f.is_file()) == ["copy-0.qcow2", "copy-1.img", "one.qcow2", "plain.img", "two.img"]
    for name in ("origin", "copy"):
        abyme("rm", name)


def test_full_clone_named_but_not_stored(abyme, tmp_path):
    """Killed between its disks' names and the instance: they are recognized, if they are still the same."""
    disk, copied = tmp_path / "disk.img", tmp_path / "copy-0.img"
    fill(disk, 8)
    ok(abyme, "create", "--name", "origin", "--firmware", "bios", "--net", "none", "--disk", str(disk))
    kill_after_progress(abyme, tmp_path / "copy-0.img.part.copied", "clone", "--full", "--rate", "2M", "origin", "copy")
    log = (tmp_path / "copy-0.img.part.copied").read_text()
    (tmp_path / "copy-0.img.part").unlink()
    copied.write_bytes(disk.read_bytes())
    assert "there already" in abyme("clone", "--full", "origin", "copy")[2]
    (tmp_path / "copy-0.img.part.copied").write_text(log + f"{64 * MIB}\n")
    ok(abyme, "clone", "--full", "origin", "copy")
    assert sorted(f.name for f in tmp_path.iterdir() if f.is_file()) == ["copy-0.img", "disk.img"]
    for name in ("origin", "copy"):
        abyme("rm", name)


def test_backup(abyme, tmp_path):
    disk, dest = tmp_path / "disk.qcow2", tmp_path / "backups"
    ok(abyme, "disk", "create", str(disk), "--size", "1G")
    instance(abyme, "long", disk)
    for number, kind in ((1, []), (2, ["--incremental"])):
        poke(disk, *((k << 24, k + number) for k in range(60)))
        state = tmp_path / f"state{number}.img"
        ok(abyme, "disk", "convert", str(disk), str(state))
        job = ["backup", "create", *kind]
        log = dest / f"{number:04}" / "disk-0.qcow2.copied"
        for _ in range(KILLS):
            kill_after_progress(abyme, log, *job, "--resume", "--rate", "256k", "long", str(dest))
            poke(disk, *((RNG.randrange(16000) << 16, RNG.randrange(256)) for _ in range(4)))
        assert len(json.loads(ok(abyme, "backup", "list", "--format", "json", str(dest)))["backups"]) == number - 1
        status, out, err = abyme(*job, "--resume", "long", str(dest))
        assert status == 0 and out == f"backup {number}\n" and "interrupted before" in err, err
        assert "equal" in ok(abyme, "disk", "compare", str(state), str(dest / f"{number:04}" / "disk-0.qcow2"))
        assert sorted(os.listdir(dest / f"{number:04}")) == ["disk-0.qcow2"]
        qemu_img("check", dest / f"{number:04}" / "disk-0.qcow2")
    # nothing to go on with: a new one, of the state now
    ok(abyme, "backup", "create", "--resume", "--incremental", "long", str(dest))
    assert "equal" in ok(abyme, "disk", "compare", str(disk), str(dest / "0003" / "disk-0.qcow2"))
    assert [b["parent"] for b in json.loads(ok(abyme, "backup", "list", "--format", "json", str(dest)))["backups"]] == [0, 1, 2]
    ok(abyme, "backup", "verify", str(dest))
    qemu_img("check", disk)
    abyme("rm", "long")


def test_snapshot_deletion(abyme, tmp_path):
    """Killed anywhere, it is there or it is not; deleting it again ends what was begun, space included."""
    disk, plain = tmp_path / "disk.qcow2", tmp_path / "plain.img"
    fill(plain, 5)
    ok(abyme, "disk", "create", str(disk), "--size", "64M", "--cluster-size", "512")
    instance(abyme, "old", disk)
    qemu_img("convert", "-n", "-O", "qcow2", plain, disk)
    begin = time.monotonic()
    ok(abyme, "snapshot", "create", "old", "keep")
    poke(disk, *((k << 20, k + 1) for k in range(64)))
    ok(abyme, "disk", "convert", str(disk), str(tmp_path / "now.img"))
    ok(abyme, "snapshot", "create", "old", "other")
    ok(abyme, "snapshot", "delete", "old", "other")
    span = time.monotonic() - begin
    for _ in range(2 * KILLS):
        ok(abyme, "snapshot", "create", "old", "gone")
        p = start(abyme, "snapshot", "delete", "old", "gone")
        time.sleep(RNG.random() * span / 2)
        p.kill()
        p.communicate()
        status, _, err = abyme("snapshot", "delete", "old", "gone")
        assert status == 0 or "no snapshot" in err, err
        assert "no errors" in ok(abyme, "disk", "check", str(disk))
        qemu_img("check", disk)
        assert "equal" in ok(abyme, "disk", "compare", str(disk), str(tmp_path / "now.img"))
    ok(abyme, "snapshot", "restore", "old", "keep")
    assert "equal" in ok(abyme, "disk", "compare", str(disk), str(plain))
    abyme("rm", "old")
