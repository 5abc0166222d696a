# SPDX-License-Identifier: GPL-2.0-or-later
"""What end-to-end tests share: the program, a state directory, test kernels."""
import itertools
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import zlib

import pytest

from patience import deadline, patience
from status import Status

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ABYME = os.path.abspath(os.environ.get("ABYME", f"{TOP}/build/abyme"))


# SeaBIOS's serial console sets the cursor again at ticks of its timer, also within a word.
CURSOR = re.compile(r"\x1b\[\d+;\d+H")
PART_OF_ONE = re.compile(r"\x1b(\[[\d;]*)?\Z")


class Machine:
    """A running `abyme run` (or console) with its output collected, without where it put the cursor."""

    def __init__(self, argv, env):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=env)
        self.text = ""
        self.held = ""           # an escape sequence that has not come whole
        self.seen = 0

    def _take(self, text):
        text = CURSOR.sub("", self.held + text)
        part = PART_OF_ONE.search(text)
        self.held = part.group(0) if part else ""
        self.text += text[:len(text) - len(self.held)]

    def _read(self, seconds):
        fd = self.process.stdout.fileno()
        if not select.select([fd], [], [], seconds)[0]:
            return True
        data = os.read(fd, 65536)
        self._take(data.decode(errors="replace"))
        return bool(data)

    def expect(self, pattern, seconds):
        """Wait for a pattern in what comes after the last match."""
        end = deadline(seconds)
        while True:
            m = re.compile(pattern, re.M).search(self.text, self.seen)
            if m:
                self.seen = m.end()
                return m
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r} within {seconds} s; the end was:\n{self.text[-3000:]}"
            if not self._read(min(left, 1)):
                self._read(0)
                m = re.compile(pattern, re.M).search(self.text, self.seen)
                assert m, f"ended without {pattern!r}:\n{self.text[-3000:]}"

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait(self, seconds):
        end = deadline(seconds)
        while self._read(0.2) and time.monotonic() < end:
            pass
        return Status(self.process.wait(max(1, end - time.monotonic())), self.text)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(patience(10))
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.stdout.close()
        self.process.stdin.close()


class Abyme:
    def __init__(self, state):
        self.state = state
        self.env = dict(os.environ, ABYME_STATE=str(state))
        self.machines = []

    def __call__(self, *args, seconds=30, text=None):
        """Run to the end: (status, stdout, stderr)."""
        p = subprocess.run([ABYME, *args], env=self.env, capture_output=True, timeout=patience(seconds), check=False,
                           input=text, text=True)
        return Status(p.returncode, p.stdout + p.stderr), p.stdout, p.stderr

    def start(self, *args):
        m = Machine([ABYME, *args], self.env)
        self.machines.append(m)
        return m

    def close(self):
        for m in self.machines:
            m.kill()
        for name in self("ls", "--quiet")[1].split():
            self("kill", name)


@pytest.fixture
def open_path():
    """A directory for other users, too. tmp_path is not: each pytest that starts shuts what is above it."""
    with tempfile.TemporaryDirectory(prefix="abyme-") as path:
        os.chmod(path, 0o755)
        yield pathlib.Path(path)


@pytest.fixture
def abyme(tmp_path):
    a = Abyme(tmp_path / "state")
    yield a
    a.close()


def told(text):
    """The lines that a verb said: without the warnings that a sanitized build puts before them."""
    return [line for line in text.splitlines() if not re.match(r"==\d+==", line)]


PORTS = itertools.count(10000 + 2000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]))


def free_port():
    """For a server to be started: a port that no other worker's test gets and no connection takes, which have
    those from 32768 on."""
    for port in PORTS:
        with socket.socket() as s:
            try:
                s.bind(("", port))
                return port
            except OSError:
                pass


def cache_dir():
    base = os.environ.get("ABYME_CACHE")
    if not base:
        base = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "abyme")
    return base


def fetch_kernel(flavour):
    """The unpacked kernel package, or a skip where it cannot be fetched."""
    p = subprocess.run(["sh", f"{TOP}/scripts/kernel.sh", flavour], capture_output=True, text=True,
                       timeout=patience(300), check=False)
    if p.returncode:
        pytest.skip(f"kernel {flavour} cannot be fetched: {p.stderr.strip()[-200:]}")
    return p.stdout.strip()


def debian_package(name):
    """The package's files in the cache, unpacked and not installed; or a skip."""
    out = os.path.join(cache_dir(), f"deb-{name}")
    if os.path.isdir(out):
        return out
    work = f"{out}.{os.getpid()}"
    os.makedirs(work, exist_ok=True)
    got = shutil.which("apt-get") and subprocess.run(
        ["apt-get", "download", "-q", name], cwd=work, capture_output=True, timeout=patience(300), check=False)
    debs = [f for f in os.listdir(work) if f.endswith(".deb")]
    if not got or got.returncode or not debs:
        shutil.rmtree(work)
        pytest.skip(f"the package {name} cannot be fetched")
    subprocess.run(["dpkg", "-x", debs[0], "x"], cwd=work, check=True)
    try:
        os.rename(f"{work}/x", out)
    except OSError:
        assert os.path.isdir(out)  # another test was first
    shutil.rmtree(work)
    return out


def pixels(path):
    """Width, height and the colours of a PNG as abyme writes it: no filter, 24 bits."""
    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    idat, at = b"", 8
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        idat += data[at + 8:at + 8 + n] if kind == b"IDAT" else b""
        at += n + 12
    raw = zlib.decompress(idat)
    return width, height, b"".join(raw[y * (width * 3 + 1) + 1:(y + 1) * (width * 3 + 1)] for y in range(height))


def vmlinuz(tree):
    boot = os.path.join(tree, "boot")
    return next(os.path.join(boot, f) for f in sorted(os.listdir(boot)) if f.startswith("vmlinuz-"))


def guest_args(tree, folder, modules, memory="256M"):
    """Arguments for a machine with this kernel, a shell and these modules of it."""
    if not shutil.which("busybox") or not shutil.which("cpio"):
        pytest.skip("busybox-static and cpio are needed for the test initrd")
    out = folder / "initrd.gz"
    subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", str(out), "", tree, *modules], check=True)
    return ["--memory", memory, "--kernel", vmlinuz(tree), "--initrd", str(out),
            "--append", "console=ttyS0 quiet loglevel=3 panic=-1"]


def shell(m):
    m.expect("USERSPACE-REACHED", 90)
    m.expect("# ", 30)


def run(m, command, pattern, seconds=60):
    m.send(command + "\n")
    return m.expect(pattern, seconds)


def off(m):
    m.send("poweroff -f\n")
    assert m.wait(60) == 0, m.text[-2000:]


@pytest.fixture(scope="session")
def kernel_tree():
    return fetch_kernel


@pytest.fixture(scope="session")
def initrd(tmp_path_factory):
    if not shutil.which("busybox") or not shutil.which("cpio"):
        pytest.skip("busybox-static and cpio are needed for the test initrd")
    out = tmp_path_factory.mktemp("initrd") / "initrd.gz"
    subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", str(out)], check=True)
    return str(out)


@pytest.fixture(scope="session")
def nested(kernel_tree, tmp_path_factory):
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("qemu-system-x86 is needed to emulate AMD-V")
    import nested as room                                    # it needs this file
    return room.Nested(kernel_tree, tmp_path_factory.mktemp("nested"))


@pytest.fixture
def lab(abyme):
    import netpeers as room                                  # it needs this file
    why = room.needs_namespaces()
    if why:
        pytest.skip(why)
    peers = room.Lab(abyme)
    yield peers
    peers.close()
