# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys of a terminal: Ctrl-] and what follows it, on a real pty."""
import os
import pty
import re
import select
import subprocess
import termios
import time

import pytest

from conftest import ABYME, vmlinuz
from patience import deadline, wait_for


class Terminal:
    """A program on a pty of its own."""

    def __init__(self, argv, env, cwd=None):
        self.master, slave = pty.openpty()
        self.slave = slave                      # kept open, so that its settings can be seen
        self.text, self.seen = "", 0
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=cwd,
                                        start_new_session=True)

    def raw(self):
        """No echo and no signals from keys?"""
        flags = termios.tcgetattr(self.slave)[3]
        return not flags & (termios.ECHO | termios.ISIG | termios.ICANON)

    def expect(self, pattern, seconds):
        end = deadline(seconds)
        while True:
            m = re.compile(pattern, re.M).search(self.text, self.seen)
            if m:
                self.seen = m.end()
                return
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r}:\n{self.text[-2000:]}"
            if select.select([self.master], [], [], min(left, 1))[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")

    def send(self, data):
        os.write(self.master, data)

    def wait(self, seconds):
        """Its status; reads on meanwhile, as a terminal does."""
        end = deadline(seconds)
        while self.process.poll() is None and time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")
        while select.select([self.master], [], [], 0.1)[0]:      # its last words
            self.text += os.read(self.master, 65536).decode(errors="replace")
        return self.process.wait(1)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def terminal(abyme):
    opened = []

    def start(*args):
        opened.append(Terminal([ABYME, *args], abyme.env))
        return opened[-1]
    yield start
    for t in opened:
        t.close()


def test_keys(abyme, terminal, kernel_tree, initrd):
    t = terminal("run", "--rm", "--name", "keys", "--memory", "128M", "--kernel", vmlinuz(kernel_tree("cloud-amd64")),
                 "--initrd", initrd, "--append", "console=ttyS0 quiet")
    t.expect("USERSPACE-REACHED", 90)
    t.expect("# ", 30)
    assert t.raw()
    t.send(b"echo one-$((1+1))\r")
    t.expect("^one-2", 30)
    t.send(b"\x1d?")                                    # any other key: help
    t.expect("d detach, k kill the machine", 30)
    t.send(b"\x03")                                     # Ctrl-C is the guest's
    t.send(b"echo two-$((1+1))\r")
    t.expect("^two-2", 30)
    t.send(b"head -n 1 | cat -v\r\x1d\x1dx\r")           # Ctrl-] twice: one for the guest
    t.expect(r"^\^\]x", 30)
    t.send(b"\x1dd")
    assert t.wait(30) == 0
    assert "detached; abyme console keys comes back" in t.text
    assert not t.raw(), "the terminal was left raw"
    assert "keys" in abyme("ls")[1]

    t = terminal("console", "keys")
    t.send(b"\recho three-$((1+1))\r")
    t.expect("^three-2", 30)
    t.send(b"\x1dd")
    assert t.wait(30) == 0 and not t.raw()
    assert "keys" in abyme("ls")[1]

    t = terminal("console", "keys")
    t.send(b"\recho four-$((1+1))\r")
    t.expect("^four-2", 30)
    t.send(b"\x1dk")
    assert t.wait(30) in (0, 137) and not t.raw()
    wait_for(lambda: "keys" not in abyme("ls")[1])


def test_kill_from_run(abyme, terminal, kernel_tree, initrd):
    t = terminal("run", "--rm", "--name", "doomed", "--memory", "128M", "--kernel", vmlinuz(kernel_tree("cloud-amd64")),
                 "--initrd", initrd, "--append", "console=ttyS0")
    t.expect("Linux version", 60)
    t.send(b"\x1dk")
    assert t.wait(30) == 137 and not t.raw()
    assert "doomed" not in abyme("ls")[1]
    # A terminal that goes away takes the machine along.
    t = terminal("run", "--rm", "--name", "orphan", "--memory", "128M", "--kernel", vmlinuz(kernel_tree("cloud-amd64")),
                 "--initrd", initrd, "--append", "console=ttyS0")
    t.expect("Linux version", 60)
    t.process.kill()
    wait_for(lambda: "orphan" not in abyme("ls")[1])
