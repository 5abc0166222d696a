# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot to userspace: Abyme's jit and QEMU's TCG alternately, medians of pairs.

Memory of a machine is the sum of Pss over all its processes, less what guest
RAM and the translators' code caches (shared or anonymous mappings of those)
hold; both are read from smaps at the moment userspace is reached.
"""
import os
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ABYME = f"{TOP}/build/abyme"
MARK = b"USERSPACE-REACHED"
MEMORY_MIB = 512
LIMIT = 180
CPU = {"abyme": "abyme-v2.1", "qemu": "Nehalem,+aes,+pclmulqdq,+xsave"}


def command(which, kernel, initrd):
    append = "console=ttyS0 panic=-1 quiet"
    if which == "abyme":
        return [ABYME, "run", "--rm", "--engine", "jit", "--cpu", CPU[which], "--memory", f"{MEMORY_MIB}M",
                "--kernel", kernel, "--initrd", initrd, "--append", append]
    return ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", CPU[which], "-m", str(MEMORY_MIB),
            "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
            "-kernel", kernel, "-initrd", initrd, "-append", append]


def family(pid):
    """The process and its descendants."""
    children = {}
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{p}/stat", encoding="utf-8", errors="replace") as f:
                parent = int(f.read().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(p))
        except (OSError, IndexError, ValueError):
            continue
    found, todo = [], [pid]
    while todo:
        p = todo.pop()
        found.append(p)
        todo += children.get(p, [])
    return found


def overhead_kib(pid, guest_names):
    """Pss without mappings that are guest RAM or translated code."""
    total = 0
    for p in family(pid):
        try:
            with open(f"/proc/{p}/smaps", encoding="utf-8", errors="replace") as f:
                text = f.read()
        except OSError:
            continue
        for block in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.M):
            size = re.search(r"^Size: +(\d+)", block, re.M)
            pss = re.search(r"^Pss: +(\d+)", block, re.M)
            if not size or not pss:
                continue
            head = block.splitlines()[0]
            big = int(size.group(1)) >= MEMORY_MIB * 1024 // 2 and "heap" not in head
            if big or any(n in head for n in guest_names):
                continue
            total += int(pss.group(1))
    return total


def boot(which, kernel, initrd, env):
    start = time.monotonic()
    p = subprocess.Popen(command(which, kernel, initrd), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, env=env)
    text = b""
    while MARK not in text:
        if time.monotonic() - start > LIMIT or not select.select([p.stdout], [], [], LIMIT)[0]:
            break
        data = os.read(p.stdout.fileno(), 65536)
        if not data:
            break
        text += data
    seconds = time.monotonic() - start
    kib = overhead_kib(p.pid, ("memfd:",))
    p.terminate()
    p.wait()
    if MARK not in text:
        sys.exit(f"{which} did not reach userspace:\n{text[-2000:].decode(errors='replace')}")
    return seconds, kib


def main(argv):
    pairs = int(argv[0]) if argv else 5
    flavour = argv[1] if len(argv) > 1 else "amd64"
    tree = subprocess.run(["sh", f"{TOP}/scripts/kernel.sh", flavour], check=True, capture_output=True,
                          text=True).stdout.strip()
    kernel = next(f"{tree}/boot/{f}" for f in os.listdir(f"{tree}/boot") if f.startswith("vmlinuz"))
    results = {"abyme": [], "qemu": []}
    with tempfile.TemporaryDirectory() as work:
        initrd = f"{work}/initrd.gz"
        subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", initrd], check=True)
        env = dict(os.environ, ABYME_STATE=f"{work}/state")
        print(f"{os.path.basename(kernel)}, {MEMORY_MIB} MiB, {pairs} pairs")
        print(f"{'':8}{'abyme s':>10}{'qemu s':>10}{'ratio':>8}{'abyme MiB':>12}{'qemu MiB':>10}")
        for n in range(pairs):
            for which in ("abyme", "qemu") if n % 2 == 0 else ("qemu", "abyme"):
                results[which].append(boot(which, kernel, initrd, env))
            a, q = results["abyme"][-1], results["qemu"][-1]
            print(f"{n + 1:<8}{a[0]:10.2f}{q[0]:10.2f}{q[0] / a[0]:8.2f}{a[1] / 1024:12.1f}{q[1] / 1024:10.1f}",
                  flush=True)
    mid = {w: [statistics.median(r[i] for r in results[w]) for i in (0, 1)] for w in results}
    ratio = statistics.median(q[0] / a[0] for a, q in zip(results["abyme"], results["qemu"]))
    print(f"{'median':8}{mid['abyme'][0]:10.2f}{mid['qemu'][0]:10.2f}{ratio:8.2f}{mid['abyme'][1] / 1024:12.1f}"
          f"{mid['qemu'][1] / 1024:10.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
