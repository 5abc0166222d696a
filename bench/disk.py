# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks: requests a second, Abyme's block layer and QEMU's in turn, on the same files.

    bench/disk [--pairs 5] [--minutes 12] [--size 1024] [--only WORD] [--dir DIR]

Every case runs on an image of its own kind: raw, qcow2 filled, qcow2 fresh (each
first write makes a cluster), qcow2 fresh over a full backing file.  The pattern and
the number of requests are the same, and so is the memory: qemu-img bench gives one buffer
to all requests, which for 1 MiB stays in the processor's cache, hence --one-buffer.
A figure is the median of the pairs' ratios.
QEMU runs with the better of its two back ends that this host grants (io_uring, threads),
as the first pair shows.  All cases have their first pair before any has its second; no pair
is begun when the minutes are over.  At the end, what a guest would stand still for: a linked
clone of a thin disk of 100 GiB, and snapshots of a disk of which all is allocated.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ABYME = os.environ.get("ABYME", f"{TOP}/build/abyme")
KINDS = ("raw", "qcow2", "fresh", "backing")
MIB = 1 << 20


def sh(*args):
    return subprocess.run([str(a) for a in args], check=True, capture_output=True, text=True).stdout


class Images:
    def __init__(self, where, size):
        self.dir, self.size = where, size
        self.raw, self.full = f"{where}/raw.img", f"{where}/full.qcow2"
        block = os.urandom(MIB)
        with open(self.raw, "wb") as f:
            for _ in range(size // MIB):
                f.write(block)
        sh("qemu-img", "convert", "-O", "qcow2", self.raw, self.full)
        for path in 2 * (self.raw, self.full):   # the page cache knows at the second look what is in use
            subprocess.run(["cat", path], check=True, stdout=subprocess.DEVNULL)

    @staticmethod
    def settled(path):
        """Nobody shall begin with pages that the one before left dirty: they are cheaper to write to."""
        fd = os.open(path, os.O_RDWR)
        os.fsync(fd)
        os.close(fd)
        return path

    def get(self, kind):
        """A file in the state in which the case begins, and its format."""
        if kind == "raw":
            return self.settled(self.raw), "raw"
        if kind == "qcow2":
            return self.settled(self.full), "qcow2"
        path = f"{self.dir}/{kind}.qcow2"
        if os.path.exists(path):
            os.unlink(path)
        if kind == "fresh":
            sh("qemu-img", "create", "-q", "-f", "qcow2", path, self.size)
        else:
            sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", self.raw, "-F", "raw", path)
        return path, "qcow2"


def ours(images, case):
    path, form = images.get(case["kind"])
    words = ["--write"] if case["write"] else []
    return json.loads(sh(ABYME, "disk", "bench", "--one-buffer", *words, "--block", case["block"], "--depth", case["depth"],
                         "--count", case["count"], "--pattern", case["pattern"], "--disk-format", form,
                         "--format", "json", path))


def theirs(images, case, step, engine):
    path, form = images.get(case["kind"])
    words = ["-w"] if case["write"] else []
    out = sh("qemu-img", "bench", *words, "-i", engine, "-f", form, "-s", case["block"], "-d", case["depth"],
             "-c", case["count"], "-S", step, path)
    return case["count"] / float(re.search(r"completed in ([0-9.]+) seconds", out).group(1))


def cases():
    for kind in KINDS:
        for write in (False, True):
            for depth in (1, 32, 128):
                count = 60000 if depth == 1 else 120000
                if write and kind in ("fresh", "backing"):
                    count = 12000            # each makes a cluster: once through the disk
                yield {"kind": kind, "write": write, "block": 4096, "depth": depth, "count": count, "pattern": "random"}
            count = 800 if kind in ("fresh", "backing") else 2400
            yield {"kind": kind, "write": write, "block": MIB, "depth": 4, "count": count, "pattern": "sequential"}


def name(case):
    return f"{case['kind']:8}{'write' if case['write'] else 'read':6}" \
           f"{'4k random' if case['block'] == 4096 else '1M sequential':14} depth {case['depth']}"


class Case:
    """One row of the table: its pairs so far."""

    def __init__(self, case, engines):
        self.case, self.engines = case, engines
        self.ratios, self.mine, self.peers = [], [], []

    def pair(self, images):
        result = ours(images, self.case)
        peers = {e: theirs(images, self.case, result["step"], e) for e in self.engines}
        best = max(peers, key=peers.get)
        self.engines = [best]
        self.mine.append(result["iops"])
        self.peers.append(peers[best])
        self.ratios.append(result["iops"] / peers[best])

    def ratio(self):
        return statistics.median(self.ratios)

    def show(self):
        print(f"{name(self.case):38} {statistics.median(self.mine):10.0f} {statistics.median(self.peers):10.0f}  {self.ratio():5.2f}"
              f"   {len(self.ratios)} x {self.engines[0]}", flush=True)


def clones(where):
    """Milliseconds of each of nine linked clones of a thin disk of 100 GiB."""
    env = dict(os.environ, ABYME_STATE=f"{where}/state")
    disk, took = f"{where}/thin.qcow2", []

    def abyme(*args):
        subprocess.run([ABYME, *args], env=env, check=True, capture_output=True)
    abyme("disk", "create", disk, "--size", "100G")
    sh("qemu-io", "-f", "qcow2", *(w for k in range(20) for w in ("-c", f"write -P {k + 1} {k << 32} 65536")), disk)
    abyme("create", "--name", "origin", "--firmware", "bios", "--net", "none", "--disk", f"{disk},format=qcow2")
    for n in range(9):
        begin = time.monotonic()
        abyme("clone", "origin", f"copy{n}")
        took.append(1000 * (time.monotonic() - begin))
    return took


def snapshots(where, size):
    """bench/snapshot.c, on a disk of which all is allocated."""
    subprocess.run(["make", "-s", "build/bench/snapshot"], cwd=TOP, check=True)
    path = f"{where}/all-{size}.qcow2"
    sh(ABYME, "disk", "create", path, "--size", size, "--preallocation", "metadata")
    rounds = [json.loads(line) for line in sh(f"{TOP}/build/bench/snapshot", path, 5).splitlines()]
    return {key: (statistics.median(r[key] for r in rounds), max(r[key] for r in rounds)) for key in rounds[0]}


def stops(where):
    took = clones(where)
    print(f"linked clone of 100 GiB, thin: {statistics.median(took):.1f} ms, at most {max(took):.1f}")
    for size in ("10G", "100G"):
        s = snapshots(where, size)
        print(f"snapshot of {size}, all allocated: stopped {s['take_ms'][0]:.1f} ms (of which processor {s['take_cpu_ms'][0]:.1f}), "
              f"at most {s['take_ms'][1]:.1f}; while it is deleted a request takes at most {s['longest_deleting_ms'][1]:.1f} ms "
              f"(before that {s['longest_before_ms'][1]:.1f})", flush=True)


def engines_that_work(images):
    case = {"kind": "raw", "write": False, "block": 4096, "depth": 1, "count": 5000}
    works = []
    for engine in ("io_uring", "threads"):
        try:
            theirs(images, case, 4096, engine)
            works.append(engine)
        except subprocess.CalledProcessError:
            print(f"qemu-img bench -i {engine} does not work here")
    return works


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--minutes", type=float, default=12)
    p.add_argument("--size", type=int, default=1024, help="MiB")
    p.add_argument("--only", default="")
    p.add_argument("--dir", default=None)
    o = p.parse_args()
    if not shutil.which("qemu-img"):
        sys.exit("bench/disk: qemu-img is needed (package qemu-utils)")
    end = time.monotonic() + 60 * o.minutes
    with tempfile.TemporaryDirectory(dir=o.dir) as where:
        images = Images(where, o.size * MIB)
        engines = engines_that_work(images)
        rows = [Case(c, engines) for c in cases() if not o.only or o.only in name(c)]
        for n in range(o.pairs):
            for row in rows:
                if n and time.monotonic() >= end:
                    break
                row.pair(images)
        print(f"{'case':38} {'Abyme/s':>10} {'QEMU/s':>10}  ratio   pairs")
        for row in rows:
            row.show()
        if rows:
            worst = min(rows, key=Case.ratio)
            print(f"geometric mean {statistics.geometric_mean(r.ratio() for r in rows):.2f}, "
                  f"worst {worst.ratio():.2f} ({name(worst.case).strip()})")
        if not o.only:
            stops(where)


if __name__ == "__main__":
    main()
