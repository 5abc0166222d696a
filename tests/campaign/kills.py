#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kills.py [--count N] [--seed S]: kill -9 of a machine whose guest writes to ext4 on qcow2, N times,
each from the same memory snapshot. Afterwards the image has no corruption, the file system is
clean once its journal is replayed, and what the guest had synced is there. `make campaign-kill`."""
import argparse
import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import conftest                                              # noqa: E402

MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"]
FILES = 12
# Turn n writes file n % FILES full of n's, in a size that n tells; "synced n" is said after the sync.
LOOP = (f"n=0; while true; do n=$((n+1)); k=$((n%{FILES})); rm -f /mnt/x$((n%5)); "
        "busybox yes $n | head -c $((n*7919%90000+1)) >/mnt/f$k; echo $n >/mnt/count; echo $n >/mnt/x$((n%5)); "
        "sync; echo synced $n; done\n")


def tool(*args, good=(0,)):
    p = subprocess.run([str(a) for a in args], capture_output=True, text=True, check=False, timeout=300)
    assert p.returncode in good, (args, p.returncode, p.stdout[-2000:], p.stderr[-500:])
    return p.stdout


def content(n):
    size = n * 7919 % 90000 + 1
    line = f"{n}\n".encode()
    return (line * (size // len(line) + 1))[:size]


def read_all(flat, folder):
    """Every file of the file system, by debugfs."""
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    tool("debugfs", "-R", f"rdump / {folder}", flat)
    return {f: open(os.path.join(folder, f), "rb").read() for f in os.listdir(folder)
            if os.path.isfile(os.path.join(folder, f))}


def verify(abyme, work, disk, synced):
    flat = f"{work}/flat.img"
    if os.path.exists(flat):
        os.unlink(flat)
    status, out, err = abyme("disk", "check", "--repair", disk, seconds=120)
    assert status == 0, out + err
    tool("qemu-img", "check", disk)
    status, _, err = abyme("disk", "convert", "--format", "raw", disk, flat, seconds=120)
    assert status == 0, err
    tool("e2fsck", "-p", flat, good=(0, 1))
    tool("e2fsck", "-fn", flat)
    files = read_all(flat, f"{work}/files")
    count = int(files.get("count", b"0").strip() or 0)
    assert count >= synced, f"{synced} was synced, the disk knows of {count}"
    # the turns after the last synced one may have begun to replace their files
    unsure = {n % FILES for n in range(synced + 1, count + 3)}
    for n in range(max(1, synced - FILES + 1), synced + 1):
        if n % FILES not in unsure:
            assert files[f"f{n % FILES}"] == content(n), f"file of turn {n}, synced {synced}, count {count}"


def prepare(abyme, work):
    """ext4 on base.qcow2, and the machine's memory just before it begins to write."""
    fs, base, disk, state = (f"{work}/{n}" for n in ("fs.img", "base.qcow2", "disk.qcow2", "memory"))
    with open(fs, "wb") as f:
        f.truncate(48 << 20)
    tool("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", fs)
    assert abyme("disk", "convert", fs, base)[0] == 0
    new_disk(abyme, work, 16)
    import pathlib
    guest = conftest.guest_args(conftest.fetch_kernel("amd64"), pathlib.Path(work), MODULES)
    m = abyme.start("run", "--name", "origin", "--net", "none", *guest, "--disk", f"{disk},format=qcow2")
    conftest.shell(m)
    conftest.run(m, "mkdir /mnt; mount -t ext4 -o ro /dev/vda /mnt; echo mounted=$?", "^mounted=0")
    status, _, err = abyme("suspend", "origin", state, seconds=120)
    assert status == 0, err
    m.wait(60)
    abyme("rm", "origin")
    return disk, state


def new_disk(abyme, work, bits):
    disk = f"{work}/disk.qcow2"
    if os.path.exists(disk):
        os.unlink(disk)
    status, _, err = abyme("disk", "create", disk, "--backing", "base.qcow2", "--cluster-size", str(1 << bits))
    assert status == 0, err


def turn(abyme, work, disk, state, rng, index):
    new_disk(abyme, work, rng.choice([9, 12, 16, 16, 18]))
    name = f"k{index}"
    status, _, err = abyme("resume", "--unchecked", "--detach", "--name", name, state, seconds=120)
    assert status == 0, err
    m = abyme.start("console", name)
    m.send("mount -o remount,rw /mnt; echo writable=$?\n")
    m.expect("^writable=0", 120)
    m.send(LOOP)
    for _ in range(rng.randrange(1, 6)):
        m.expect(r"^synced \d+\r?$", 120)
    time.sleep(rng.uniform(0, 0.25))
    pid = json.loads(abyme("inspect", "--format", "json", name)[1])["run"]["machine"]
    os.kill(pid, signal.SIGKILL)
    while select.select([m.process.stdout], [], [], 60)[0] and m._read(0):     # to the last word
        if m.process.poll() is not None:
            break
    m._read(0.2)
    synced = max(int(n) for n in re.findall(r"^synced (\d+)\r?$", m.text, re.M))
    m.kill()
    abyme.machines.remove(m)
    end = time.monotonic() + 60
    while abyme("rm", name)[0]:
        assert time.monotonic() < end, f"'{name}' does not go away"
        time.sleep(0.05)
    verify(abyme, work, disk, synced)
    return synced


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--count", type=int, default=1000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--seconds", type=int, default=0, help="end after so many, with the tally so far")
    a = p.parse_args()
    rng = random.Random(a.seed)
    work = tempfile.mkdtemp(prefix="abyme-kills-")
    abyme = conftest.Abyme(f"{work}/state")
    begin, done, turns = time.monotonic(), 0, 0
    try:
        disk, state = prepare(abyme, work)
        while done < a.count and not (a.seconds and time.monotonic() - begin > a.seconds):
            turns += turn(abyme, work, disk, state, rng, done)
            done += 1
            print(f"\rkill {done} of {a.count}, {turns} synced turns    ", end="", flush=True)
    finally:
        print(f"\n{done} kills, {turns} synced turns, seed {a.seed}, {time.monotonic() - begin:.0f} s; kept: "
              f"{'nothing' if sys.exc_info()[0] is None else work}")
        abyme.close()
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
