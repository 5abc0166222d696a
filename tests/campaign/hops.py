#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""hops.py [--count N] [--seed S]: suspend and resume at random times, in the middle of boot too,
from one engine to the other, N hops. After each the guest must count on, and in the end
its log must show no trouble. `make campaign-hops`."""
import argparse
import os
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import conftest                                              # noqa: E402
from test_boot import TROUBLE                                # noqa: E402

# Counts, checks a sum, sleeps on a timer: a lost interrupt shows as a count that stands still.
LOOP = ("n=0; while true; do n=$((n+1)); s=$(dd if=/dev/zero bs=4k count=16 2>/dev/null | md5sum); "
        "echo beat $n ${s%% *}; sleep 0.05; done\n")
SUM = "fcd6bcb56c1689fcef28b57c22475bad"


def attach(abyme):
    return abyme.start("console", "hopper")


def beat(m, seconds):
    return int(m.expect(r"^beat (\d+) " + SUM, seconds).group(1))


def hop(abyme, engine, file):
    status, _, err = abyme("suspend", "hopper", file, seconds=120)
    assert status == 0, f"suspend: {err}"
    status, _, err = abyme("resume", "--engine", engine, "--detach", file, seconds=120)
    assert status == 0, f"resume: {err}"


def life(abyme, a, rng, initrd, file, hops):
    """One boot with `hops` hops; the first few before userspace."""
    engines = a.engines.split(",")
    status, _, err = abyme("run", "--detach", "--name", "hopper", "--engine", engines[0], "--memory", "256M",
                           "--vcpus", str(a.vcpus), "--cpu", a.cpu,
                           "--kernel", conftest.vmlinuz(conftest.fetch_kernel(a.flavour)), "--initrd", initrd,
                           "--append", "console=ttyS0 panic=-1", seconds=60)
    assert status == 0, err
    done = 0
    while done < min(4, hops):
        time.sleep(rng.uniform(0.05, 1.0))
        hop(abyme, engines[(done + 1) % len(engines)], file)
        done += 1
    end = time.monotonic() + 300
    while "USERSPACE-REACHED" not in abyme("logs", "hopper")[1]:
        assert time.monotonic() < end, "no userspace:\n" + abyme("logs", "hopper")[1][-1500:]
        time.sleep(0.5)
    m = attach(abyme)
    m.send("\n" + LOOP)
    last = beat(m, 60)
    while done < hops:
        time.sleep(rng.uniform(0.05, a.between))
        hop(abyme, engines[(done + 1) % len(engines)], file)
        done += 1
        m.kill()
        abyme.machines.remove(m)
        m = attach(abyme)
        now = beat(m, 60)
        assert now > last, f"the count went from {last} to {now}"
        last = now
        print(f"\rhop {done} of {hops}, beat {now}    ", end="", flush=True)
    m.kill()
    abyme.machines.remove(m)
    log = abyme("logs", "hopper")[1]
    trouble = TROUBLE.search(log)
    assert not trouble, log[max(0, trouble.start() - 200):trouble.end() + 800]
    return last


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--count", type=int, default=200)
    p.add_argument("--per-boot", type=int, default=50)
    p.add_argument("--between", type=float, default=1.0, help="at most so many seconds between hops")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--engines", default="jit,interp")
    p.add_argument("--vcpus", type=int, default=1)
    p.add_argument("--cpu", default="abyme-v3.1")
    p.add_argument("--flavour", default="cloud-amd64")
    a = p.parse_args()
    rng = random.Random(a.seed)
    done = 0
    with tempfile.TemporaryDirectory() as tmp:
        initrd = os.path.join(tmp, "initrd.gz")
        subprocess.run(["sh", f"{conftest.TOP}/scripts/initrd.sh", initrd], check=True)
        abyme = conftest.Abyme(os.path.join(tmp, "state"))
        try:
            while done < a.count:
                n = min(a.per_boot, a.count - done)
                life(abyme, a, rng, initrd, os.path.join(tmp, "state-file"), n)
                done += n
                abyme("kill", "hopper")
                abyme("rm", "hopper")
        except AssertionError as e:
            print(f"\nseed {a.seed}, after {done} whole hops: {e}\n0 passed, 1 failed")
            print(abyme("logs", "hopper")[1][-1500:])
            sys.exit(1)
        finally:
            abyme.close()
    print(f"\n{done} hops between {a.engines} with {a.vcpus} vCPU, seed {a.seed}: no beat lost")


main()
