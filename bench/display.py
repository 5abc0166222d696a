# SPDX-License-Identifier: GPL-2.0-or-later
"""What a viewer costs the guest: text scrolls over 1280x800, seen by nobody, with a VNC server, with a client of it.

The guest's work is fixed; its price is the CPU time of the vCPU's thread, rounds alternating, medians. Beside it
stands what is spent meanwhile by the machine's other threads, which draw the picture, and by the VNC server. The
client takes what changes as fast as it is sent.
"""
import os
import select
import statistics
import subprocess
import sys
import tempfile
import threading

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [f"{TOP}/tests/e2e", f"{TOP}/bench"]
from boot import family  # noqa: E402  pylint: disable=wrong-import-position
from conftest import vmlinuz  # noqa: E402  pylint: disable=wrong-import-position
from test_vnc import Client, free_port  # noqa: E402  pylint: disable=wrong-import-position

ABYME = f"{TOP}/build/abyme"
LIMIT = 300
INIT = """#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
while read -r m; do insmod "/modules/$m.ko"; done </modules/order
dmesg >/log
echo size $(cat /sys/class/graphics/fb0/virtual_size)
while read -r turns; do
	n=0; while [ $n -lt $turns ]; do cat /log >/dev/tty0; n=$((n+1)); done
	echo END
done
poweroff -f
"""
MODES = ("nobody", "server", "client")


def cpu_seconds(pids):
    """CPU time so far of the vCPU, and of all else."""
    total = [0.0, 0.0]
    for p in pids:
        for task in os.listdir(f"/proc/{p}/task"):
            with open(f"/proc/{p}/task/{task}/stat", encoding="utf-8", errors="replace") as f:
                name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
            total[not name.startswith("vcpu")] += sum(map(int, rest.split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return total


def until(p, mark):
    text = b""
    while mark not in text:
        assert select.select([p.stdout], [], [], LIMIT)[0], f"no {mark} within {LIMIT} s: {text[-500:]}"
        data = os.read(p.stdout.fileno(), 4096)
        assert data, text[-2000:].decode(errors="replace")
        text += data
    return text.decode(errors="replace")


def watch(port, stop):
    """A client that always wants what has changed."""
    c = Client(port)
    c.enter()
    c.ask(0)
    try:
        while not stop.is_set():
            if select.select([c.s], [], [], 0.2)[0]:
                c.update()
                c.ask(1)
    except (OSError, AssertionError):
        pass                                         # the machine has ended
    c.s.close()


class Guest:
    """A machine that scrolls when it is told to."""

    def __init__(self, args, env, display):
        self.p = subprocess.Popen([ABYME, "run", "--rm", "--engine", "jit", "--display", display, *args], env=env,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        until(self.p, b"size 1280,800")

    def work(self, turns):
        """CPU seconds of the vCPU, and of all else."""
        pids = family(self.p.pid)
        before = cpu_seconds(pids)
        self.p.stdin.write(b"%d\n" % turns)
        self.p.stdin.flush()
        until(self.p, b"END")
        return [a - b for a, b in zip(cpu_seconds(pids), before)]

    def close(self):
        self.p.terminate()
        self.p.wait()


def one(mode, guests, port, turns):
    if mode != "client":
        return guests[mode].work(turns)
    stop = threading.Event()
    client = threading.Thread(target=watch, args=(port, stop))
    client.start()
    try:
        return guests["server"].work(turns)
    finally:
        stop.set()
        client.join()


def main(argv):
    rounds, turns = int(argv[0]) if argv else 5, int(argv[1]) if len(argv) > 1 else 10
    tree = subprocess.run(["sh", f"{TOP}/scripts/kernel.sh", "amd64"], check=True, capture_output=True, text=True).stdout.strip()
    got, guests, port = {m: [] for m in MODES}, {}, free_port()
    with tempfile.TemporaryDirectory() as work:
        with open(f"{work}/init", "w", encoding="utf-8") as f:
            f.write(INIT)
        subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", f"{work}/initrd.gz", f"{work}/init", tree, "bochs"], check=True)
        args = ["--memory", "256M", "--kernel", vmlinuz(tree), "--initrd", f"{work}/initrd.gz", "--append",
                "console=ttyS0 quiet video=1280x800 panic=-1"]
        env = dict(os.environ, ABYME_STATE=f"{work}/state")
        try:
            for mode, display in ("nobody", "headless"), ("server", f"vnc:{port}"):
                guests[mode] = Guest(args, env, display)
                guests[mode].work(turns)             # translated and warm
            print(f"CPU seconds of vCPU + all else, {turns} times the kernel's log")
            print(f"{'':8}" + "".join(f"{m:>18}" for m in MODES))
            for n in range(rounds):
                for mode in MODES if n % 2 == 0 else reversed(MODES):
                    got[mode].append(one(mode, guests, port, turns))
                print(f"{n + 1:<8}" + "".join(f"{got[m][-1][0]:11.2f} +{got[m][-1][1]:5.2f}" for m in MODES), flush=True)
        finally:
            for guest in guests.values():
                guest.close()
    for mode in MODES[1:]:
        ratio = statistics.median(a[0] / b[0] for a, b in zip(got[mode], got["nobody"]))
        print(f"{mode}: the guest's work costs {100 * (ratio - 1):+.1f} %")


if __name__ == "__main__":
    main(sys.argv[1:])
