#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""boots.py [--count N] [--engine E] [--vcpus N] [--flavour F]: boot, work, power off, N times
in a row; the guest's log must show no trouble. `make campaign-boots`."""
import argparse
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import conftest                                              # noqa: E402
from test_boot import TROUBLE                                # noqa: E402


def boot(abyme, a, initrd):
    extra = [a.options] if a.options else []
    m = abyme.start("run", "--rm", "--engine", ",".join([a.engine] + extra), "--vcpus", str(a.vcpus),
                    "--memory", "512M", "--kernel", conftest.vmlinuz(conftest.fetch_kernel(a.flavour)),
                    "--initrd", initrd, "--append", "console=ttyS0 panic=-1", "--on-reboot", "exit")
    start = time.monotonic()
    try:
        m.expect("USERSPACE-REACHED", a.limit)
        seconds = time.monotonic() - start
        m.expect("# ", 30)
        m.send("sleep 0.1; dd if=/dev/zero bs=64k count=64 2>/dev/null | md5sum\n")
        m.expect("^b5cfa9d6c8febd618f91ac2843d50a1c", 60)
        m.send("poweroff -f\n")
        status = m.wait(60)
        trouble = TROUBLE.search(m.text)
        assert status == 0 and not trouble, trouble.group(0) if trouble else f"status {status}"
        return seconds
    finally:
        m.kill()
        abyme.machines.remove(m)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--count", type=int, default=100)
    p.add_argument("--engine", default="jit")
    p.add_argument("--options", default="", help="engine options, for example verify")
    p.add_argument("--vcpus", type=int, default=1)
    p.add_argument("--flavour", default="cloud-amd64")
    p.add_argument("--limit", type=float, default=120, help="seconds to userspace")
    a = p.parse_args()
    failed, times = 0, []
    with tempfile.TemporaryDirectory() as tmp:
        initrd = os.path.join(tmp, "initrd.gz")
        busybox = os.path.join(conftest.fetch_kernel(a.flavour), "bin/busybox")
        if os.path.exists(busybox):
            os.environ["BUSYBOX"] = busybox
        subprocess.run(["sh", f"{conftest.TOP}/scripts/initrd.sh", initrd], check=True)
        abyme = conftest.Abyme(os.path.join(tmp, "state"))
        for i in range(a.count):
            try:
                times.append(boot(abyme, a, initrd))
            except AssertionError as e:
                failed += 1
                print(f"boot {i + 1}: {e}", flush=True)
            print(f"\r{i + 1} of {a.count}, {failed} failed", end="", flush=True)
        abyme.close()
    times.sort()
    print(f"\n{a.flavour} {a.engine} {a.vcpus} vCPU: {a.count - failed} passed, {failed} failed; "
          f"seconds to userspace: median {times[len(times) // 2] if times else 0:.2f}")
    sys.exit(failed != 0)


main()
