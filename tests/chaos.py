# SPDX-License-Identifier: GPL-2.0-or-later
"""Disturb a command, to find what loses a race only now and then.

    chaos.py [--seed N] [--stop] [--burst] [--quota PERCENT] [--longest S] [--pause S] [--only PATTERN]
             [--log FILE] COMMAND...

--stop: processes below it are stopped one after the other for 5 ms to --longest seconds, at any place
in what they do, and go on. --burst: a busy loop of the real-time class takes one processor for a
moment. --quota: all of it has no more than so much of one processor. Without any of them, --stop.

A parent learns of a stopped child (SIGCHLD, waitid with WSTOPPED): what only fails by that is no
race; --burst and --quota show nothing to anybody. Nothing else than the command's own processes
is stopped, none stays so, whatever happens to this program, and the status is the command's.
"""
import argparse
import ctypes
import os
import random
import re
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
CPU_GROUPS = ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup")     # version 1, version 2
PERIOD_US = 100000


def parents():
    """{pid: (parent, state)}"""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                state, parent = f.read().rsplit(")", 1)[1].split()[:2]
            found[int(pid)] = int(parent), state
        except (OSError, IndexError):
            pass
    return found


def below(root, without):
    """Processes below `root`, with those whose parent has ended: its children become ours."""
    tree, found = parents(), []
    children = {}
    for pid, (parent, _) in tree.items():
        children.setdefault(parent, []).append(pid)
    todo = [root]
    while todo:
        more = [p for p in children.get(todo.pop(), []) if p not in without]
        found += more
        todo += more
    return sorted(p for p in found if tree[p][1] not in "ZXTt")     # not those that somebody else has stopped


def words_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().replace(b"\0", b" ").decode(errors="replace")[:120]
    except OSError:
        return "?"


def apart(what):
    """In a process of its own that no signal to this program's group reaches: its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        what()
    finally:
        os._exit(0)


class Chaos:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.own = set()                    # processes of this program
        self.log = open(options.log, "w", encoding="utf-8") if options.log else None
        self.count = 0

    def length(self):
        """As often from 5 to 50 ms as from 0.5 to 5 s"""
        return 0.005 * (self.options.longest / 0.005) ** self.random.random()

    def say(self, text):
        self.count += 1
        if self.log:
            print(f"{time.strftime('%H:%M:%S')}.{int(time.time() * 1000) % 1000:03} {text}", file=self.log, flush=True)

    def stop(self, command):
        pick = self.random.random()
        some = {p: words_of(p) for p in below(os.getpid(), self.own) if p != command}
        some = {p: w for p, w in some.items() if re.search(self.options.only, w)}
        # what is tested more often than what tests it
        tested = [p for p, w in some.items() if "python" not in w] if self.random.random() < 0.8 else []
        some = tested or list(some)
        if not some:
            return
        pid, seconds = some[int(pick * len(some))], self.length()
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return
        if pid in below(os.getpid(), self.own):     # still the one that was meant

            def hold():
                signal.pidfd_send_signal(fd, signal.SIGSTOP)
                time.sleep(seconds)
                signal.pidfd_send_signal(fd, signal.SIGCONT)
            self.say(f"stop {pid} for {seconds:.3f} s: {words_of(pid)}")
            self.own.add(apart(hold))
        os.close(fd)

    def burst(self, _):
        seconds, cpu = self.length() / 5, self.random.choice(sorted(os.sched_getaffinity(0)))

        def loop():
            os.sched_setaffinity(0, [cpu])
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass
        self.say(f"burst on {cpu} for {seconds:.3f} s")
        self.own.add(apart(loop))

    def reap(self, command):
        """The command's status when it has ended; with what its processes left to us."""
        status = None
        while True:
            try:
                pid, s = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return status
            if not pid:
                return status
            self.own.discard(pid)
            if pid == command:
                status = os.waitstatus_to_exitcode(s)

    def run(self, command):
        ways = [w for w, wanted in ((self.stop, self.options.stop), (self.burst, self.options.burst)) if wanted]
        while (status := self.reap(command)) is None:
            time.sleep(self.random.expovariate(1 / self.options.pause))
            if ways:
                self.random.choice(ways)(command)
        while self.own & set(parents()):    # nobody is left stopped
            self.reap(command)
            time.sleep(0.01)
        return status


def make_group(percent):
    """A control group with a quota: the file that takes its processes."""
    for top in CPU_GROUPS:
        path = f"{top}/chaos-{os.getpid()}"
        if os.path.exists(f"{top}/cgroup.procs") and os.access(top, os.W_OK):
            os.mkdir(path)
            quota = PERIOD_US * percent // 100
            name, text = ("cpu.max", f"{quota} {PERIOD_US}") if os.path.exists(f"{path}/cgroup.controllers") else \
                ("cpu.cfs_quota_us", str(quota))
            with open(f"{path}/{name}", "w", encoding="ascii") as f:
                f.write(text)
            return path
    sys.exit("chaos: there is no control group of processor time that could be made here")


def enter(group):
    with open(f"{group}/cgroup.procs", "w", encoding="ascii") as f:
        f.write("0")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--stop", action="store_true")
    p.add_argument("--burst", action="store_true")
    p.add_argument("--quota", type=int, metavar="PERCENT")
    p.add_argument("--longest", type=float, default=3)
    p.add_argument("--pause", type=float, default=0.3, help="seconds between two of them, on average")
    p.add_argument("--only", default="", metavar="PATTERN", help="stop processes whose command line matches")
    p.add_argument("--log")
    p.add_argument("command", nargs=argparse.REMAINDER)
    options = p.parse_args()
    options.command = options.command[options.command[:1] == ["--"]:]
    options.stop |= not options.burst and not options.quota
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    group = make_group(options.quota) if options.quota else None
    child = subprocess.Popen(options.command, preexec_fn=(lambda: enter(group)) if group else None)
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, lambda n, _: os.kill(child.pid, n))
    chaos = Chaos(options)
    status = chaos.run(child.pid)
    child.returncode = status
    if group:
        try:
            os.rmdir(group)
        except OSError as e:
            print(f"chaos: {group} stays, something in it still runs: {e}", file=sys.stderr)
    print(f"chaos: {chaos.count} times, seed {options.seed}")
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
