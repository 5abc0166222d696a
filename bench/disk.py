# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks: requests a second, Abyme's block layer and QEMU's in turn, on the same files.

    bench/disk [--pairs 5] [--size 1G] [--only WORD] [--dir DIR]

Every case runs on an image of its own kind: raw, qcow2 filled, qcow2 fresh (each
first write makes a cluster), qcow2 fresh over a full backing file.  The pattern and
the number of requests are the same; a figure is the median of the pairs' ratios.
QEMU runs with the better of its two back ends that this host grants (io_uring, threads).
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

    def get(self, kind):
        """A file in the state in which the case begins, and its format."""
        if kind == "raw":
            return self.raw, "raw"
        if kind == "qcow2":
            return self.full, "qcow2"
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
    return json.loads(sh(ABYME, "disk", "bench", *words, "--block", case["block"], "--depth", case["depth"],
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
            yield {"kind": kind, "write": write, "block": MIB, "depth": 4, "count": 800, "pattern": "sequential"}


def name(case):
    return f"{case['kind']:8}{'write' if case['write'] else 'read':6}" \
           f"{'4k random' if case['block'] == 4096 else '1M sequential':14} depth {case['depth']}"


def measure(images, case, pairs, engines):
    ratios, mine, peers = [], [], []
    for _ in range(pairs):
        result = ours(images, case)
        peer = max(theirs(images, case, result["step"], e) for e in engines)
        mine.append(result["iops"])
        peers.append(peer)
        ratios.append(result["iops"] / peer)
    return statistics.median(ratios), statistics.median(mine), statistics.median(peers)


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
    p.add_argument("--size", type=int, default=1024, help="MiB")
    p.add_argument("--only", default="")
    p.add_argument("--dir", default=None)
    o = p.parse_args()
    if not shutil.which("qemu-img"):
        sys.exit("bench/disk: qemu-img is needed (package qemu-utils)")
    ratios = []
    with tempfile.TemporaryDirectory(dir=o.dir) as where:
        images = Images(where, o.size * MIB)
        engines = engines_that_work(images)
        print(f"{'case':38} {'Abyme/s':>10} {'QEMU/s':>10}  ratio   ({', '.join(engines)})")
        for case in cases():
            if o.only and o.only not in name(case):
                continue
            ratio, mine, peer = measure(images, case, o.pairs, engines)
            ratios.append(ratio)
            print(f"{name(case):38} {mine:10.0f} {peer:10.0f}  {ratio:5.2f}", flush=True)
    if ratios:
        print(f"geometric mean {statistics.geometric_mean(ratios):.2f}, worst {min(ratios):.2f}")


if __name__ == "__main__":
    main()
