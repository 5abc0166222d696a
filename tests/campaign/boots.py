#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""boots.py [--count N] [--engine E] [--vcpus N] [--flavour F]: boot, work, power off, N times
in a row; the guest's log must show no trouble. `make campaign-boots`."""
import argparse
import lzma
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import conftest                                              # noqa: E402
from test_boot import TROUBLE                                # noqa: E402


def unpacked(path, folder):
    """The kernel that is packed in a bzImage (Linux boot protocol 2.08: payload_offset, payload_length):
    verify mode would spend most of its time in the decompressor, billions of turns of one loop."""
    with open(path, "rb") as f:
        image = f.read()
    start = (image[0x1f1] or 4) * 512 + 512 + int.from_bytes(image[0x248:0x24c], "little")
    payload = image[start:start + int.from_bytes(image[0x24c:0x250], "little")]
    assert payload[:6] == b"\xfd7zXZ\0", "the kernel is not packed with xz"
    out = os.path.join(folder, "vmlinux")
    with open(out, "wb") as f:
        f.write(lzma.LZMADecompressor().decompress(payload))
    return out


def kernel_of(a, folder):
    path = conftest.vmlinuz(conftest.fetch_kernel(a.flavour))
    return unpacked(path, folder) if a.unpack else path


def boot(abyme, a, initrd, kernel):
    extra = [a.options] if a.options else []
    m = abyme.start("run", "--rm", "--engine", ",".join([a.engine] + extra), "--vcpus", str(a.vcpus),
                    "--memory", "512M", "--kernel", kernel, "--initrd", initrd,
                    "--append", "console=ttyS0 panic=-1", "--on-reboot", "exit")
    start = time.monotonic()
    try:
        m.expect("USERSPACE-REACHED", a.limit)
        seconds = time.monotonic() - start
        m.expect("# ", a.limit)
        m.send("sleep 0.1; dd if=/dev/zero bs=64k count=64 2>/dev/null | md5sum\n")
        m.expect("^b5cfa9d6c8febd618f91ac2843d50a1c", a.limit)
        m.send("poweroff -f\n")
        status = m.wait(a.limit)
        trouble = TROUBLE.search(m.text)
        assert not trouble, m.text[max(0, trouble.start() - 300):trouble.end() + 600]
        assert status == 0, f"status {status}"
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
    p.add_argument("--unpack", action="store_true", help="give the kernel unpacked (ELF, entered by PVH)")
    p.add_argument("--limit", type=float, default=120, help="seconds to userspace")
    a = p.parse_args()
    failed, times = 0, []
    with tempfile.TemporaryDirectory() as tmp:
        initrd = os.path.join(tmp, "initrd.gz")
        busybox = os.path.join(conftest.fetch_kernel(a.flavour), "bin/busybox")
        if os.path.exists(busybox):
            os.environ["BUSYBOX"] = busybox
        subprocess.run(["sh", f"{conftest.TOP}/scripts/initrd.sh", initrd], check=True)
        kernel = kernel_of(a, tmp)
        abyme = conftest.Abyme(os.path.join(tmp, "state"))
        for i in range(a.count):
            try:
                times.append(boot(abyme, a, initrd, kernel))
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
