# SPDX-License-Identifier: GPL-2.0-or-later
"""What a viewer costs the guest: text scrolls over 1280x800, seen by nobody, with a VNC server, with a client of it.

The guest's work is fixed. It costs what the vCPU's thread runs and sleeps (for the board's lock, above all), and not
what it waits for a processor; beside it stands what is spent meanwhile by the machine's other threads, which draw the
picture, and by the VNC server. The client takes what changes as fast as it is sent. Rounds alternate. The last lines say
what a viewer adds, in parts of the guest's work. The guest executes the same translations either way: the first part is
what memory and a processor's other half do to it, on a busy machine its neighbours' doing. The second is waiting for
locks. The third, of the time that passed (there are so many pictures a second), slows down a guest that has no
processor to spare.
"""
import os
import select
import statistics
import subprocess
import sys
import tempfile
import threading
import time

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
dmesg | head -n 100 >/log
echo size $(cat /sys/class/graphics/fb0/virtual_size)
while read -r turns; do
	n=0; while [ $n -lt $turns ]; do cat /log >/dev/tty0; n=$((n+1)); done
	echo END
done
poweroff -f
"""
MODES = ("nobody", "server", "client")


def seconds(pids):
    """What has passed so far: the vCPU running, the vCPU waiting for a processor, all else running."""
    run = wait = other = 0
    for p in pids:
        for task in os.listdir(f"/proc/{p}/task"):
            with open(f"/proc/{p}/task/{task}/comm", encoding="utf-8") as f:
                vcpu = f.read().startswith("vcpu")
            with open(f"/proc/{p}/task/{task}/schedstat", encoding="utf-8") as f:
                ran, waited, _ = map(int, f.read().split())
            run, wait, other = run + vcpu * ran, wait + vcpu * waited, other + (not vcpu) * ran
    return run / 1e9, wait / 1e9, other / 1e9


def until(p, mark):
    text = b""
    while mark not in text:
        assert select.select([p.stdout], [], [], LIMIT)[0], f"no {mark} within {LIMIT} s: {text[-500:]}"
        data = os.read(p.stdout.fileno(), 4096)
        assert data, text[-2000:].decode(errors="replace")
        text += data
    return text.decode(errors="replace")


def watch(port, ready, stop):
    """A client that always wants what has changed."""
    c = Client(port)
    c.enter()
    c.ask(0)
    c.update()
    c.ask(1)
    ready.set()
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
        """Seconds of the vCPU running, of it asleep; of all else running, in parts of the time that passed."""
        pids = family(self.p.pid)
        before, start = seconds(pids), time.monotonic()
        self.p.stdin.write(b"%d\n" % turns)
        self.p.stdin.flush()
        until(self.p, b"END")
        all_of_it = time.monotonic() - start
        run, wait, other = (a - b for a, b in zip(seconds(pids), before))
        return run, max(0, all_of_it - run - wait), other / all_of_it

    def close(self):
        self.p.terminate()
        self.p.wait()


def one(mode, guests, port, turns):
    if mode != "client":
        return guests[mode].work(turns)
    ready, stop = threading.Event(), threading.Event()
    client = threading.Thread(target=watch, args=(port, ready, stop))
    client.start()
    ready.wait()
    try:
        return guests["server"].work(turns)
    finally:
        stop.set()
        client.join()


def main(argv):
    rounds, turns = int(argv[0]) if argv else 40, int(argv[1]) if len(argv) > 1 else 2
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
                guests[mode].work(10 * turns)        # translated and warm
            print(f"Seconds of the vCPU running + asleep, all else running in a second; {turns} times 100 lines")
            print(f"{'':8}" + "".join(f"{m:>24}" for m in MODES))
            for n in range(rounds):
                for mode in MODES if n % 2 == 0 else reversed(MODES):
                    got[mode].append(one(mode, guests, port, turns))
                print(f"{n + 1:<8}" + "".join("{:11.3f} +{:5.3f},{:6.3f}".format(*got[m][-1]) for m in MODES), flush=True)
        finally:
            for guest in guests.values():
                guest.close()
    for mode, base in zip(MODES[1:], MODES):         # each beside what differs least: a client is one of the same machine
        def added(i, mode=mode, base=base):
            return statistics.median(100 * (a[i] - b[i]) / (sum(b[:2]) if i < 2 else 1) for a, b in zip(got[mode], got[base]))
        print(f"{mode} beside {base}: running {added(0):+.1f} %, asleep {added(1):+.1f} %, all else {added(2):+.1f} %")


if __name__ == "__main__":
    main(sys.argv[1:])
