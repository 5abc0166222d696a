# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input ends with one clear sentence and status 1 or 2, leaving nothing behind."""
import os
import random
import socket
import subprocess
import time

import pytest

from conftest import ABYME
from patience import deadline, patience


def sentence(result, status, *words):
    got, out, err = result
    assert got in (status if isinstance(status, tuple) else (status,)), (got, out, err)
    lines = err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("abyme: "), err
    for w in words:
        assert w in lines[0], err


@pytest.mark.parametrize("args, word", [
    (["--frob"], "--frob"),
    (["--memory", "12Q"], "12Q"),
    (["--memory", "1"], "16M"),
    (["--memory", "100000G"], "100000G"),
    (["--memory"], "--memory"),
    (["--cpus", "zero"], "zero"),
    (["--vcpus", "1000"], "1000"),
    (["--cpu", "pentium"], "pentium"),
    (["--engine", "warp"], "warp"),
    (["--engine", "jit,fast"], "fast"),
    (["--engine", "jit,cache=3"], "cache"),
    (["--board", "amiga"], "amiga"),
    (["--net", "wifi"], "wifi"),
    (["--net", "user,mac=01:00:00:00:00:00"], "01:00:00:00:00:00"),
    (["--publish", "99999:1", "--net", "user"], "99999"),
    (["--publish", "8080:80"], "--net user"),
    (["--disk", "x,format=vhd"], "vhd"),
    (["--disk", "x,frob"], "frob"),
    (["--serial", "lpt1"], "lpt1"),
    (["--share", "nowhere"], "nowhere"),
    (["--on-reboot", "dance"], "dance"),
    (["--jail", "open"], "open"),
    (["--vsock", "2"], "2"),
    (["--boot", "disk,tape"], "tape"),
    (["--name", "../etc"], "../etc"),
    (["--append", "x"], "--kernel"),
    (["debian:12"], "debian:12"),
    (["-f", "/nonexistent.yaml"], "/nonexistent.yaml"),
])
def test_options(abyme, args, word):
    sentence(abyme("run", "--rm", *args), (1, 2), word)


def test_unknown_verb(abyme):
    sentence(abyme("frobnicate"), 2, "frobnicate")


def nothing_left(abyme):
    folder = os.path.join(abyme.state, "instances")
    return not os.path.exists(folder) or not os.listdir(folder)


@pytest.mark.parametrize("make, word", [
    (None, "cannot open"),
    (b"", "empty"),
    (b"#!/bin/sh\n" * 100, "kernel"),
    (b"\x7fELF" + b"\0" * 10, "kernel"),
])
def test_kernel_files(abyme, tmp_path, make, word):
    path = tmp_path / "image"
    if make is not None:
        path.write_bytes(make)
    sentence(abyme("run", "--rm", "--memory", "64M", "--kernel", str(path)), 1, word, str(path))
    assert nothing_left(abyme)


def test_truncated_kernel(abyme, tmp_path, kernel_tree):
    from conftest import vmlinuz
    with open(vmlinuz(kernel_tree("cloud-amd64")), "rb") as f:
        head = f.read(60000)
    path = tmp_path / "cut"
    for n in (100, 700, 60000):
        path.write_bytes(head[:n])
        sentence(abyme("run", "--rm", "--memory", "64M", "--kernel", str(path)), 1, str(path))


def test_missing_disk(abyme):
    sentence(abyme("run", "--rm", "--disk", "/nonexistent.img"), 1, "/nonexistent.img")
    assert nothing_left(abyme)


def test_unreadable_disk(abyme, tmp_path):
    path = tmp_path / "secret.img"
    path.write_bytes(b"\0" * 65536)
    path.chmod(0)
    # Root reads everything, but for a root without capabilities.
    drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    p = subprocess.run([*drop, ABYME, "run", "--rm", "--disk", str(path)], env=abyme.env, capture_output=True,
                       text=True, check=False, timeout=patience(30))
    sentence((p.returncode, p.stdout, p.stderr), 1, str(path))


def test_port_in_use(abyme):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(1)
        port = s.getsockname()[1]
        sentence(abyme("run", "--rm", "--memory", "64M", "--net", "user", "--publish", f"{port}:80"), 1, str(port))
    assert nothing_left(abyme)


@pytest.mark.parametrize("text, word", [
    ("version: 1\nfrob: 1\n", "frob"),
    ("version: 9\n", "9"),
    ("version: 1\ndisks: 3\n", "line"),
    ("", "version"),
    ("version: 1\nmemory: [1, 2]\n", "line"),
])
def test_definition_files(abyme, tmp_path, text, word):
    path = tmp_path / "machine.yaml"
    path.write_text(text)
    sentence(abyme("run", "--rm", "-f", str(path)), (1, 2), word)


def test_state_files(abyme, tmp_path):
    path = tmp_path / "state"
    for data in (b"", b"ABYMEST1", b"\0" * 70000, os.urandom(4096)):
        path.write_bytes(data)
        sentence(abyme("resume", str(path)), 1, "state file")
    sentence(abyme("resume", str(tmp_path / "nothing")), 1, "nothing")


@pytest.fixture
def state(abyme, tmp_path, kernel_tree, initrd):
    """A good state file of a small machine."""
    from conftest import vmlinuz
    path = tmp_path / "good"
    status, name, err = abyme("run", "--detach", "--rm", "--memory", "128M", "--kernel", vmlinuz(kernel_tree("cloud-amd64")),
                              "--initrd", initrd, "--append", "console=ttyS0")
    assert status == 0, err
    end = deadline(60)
    while "Linux version" not in abyme("logs", name.strip())[1]:
        assert time.monotonic() < end, "no sign of life"
        time.sleep(0.1)
    assert abyme("suspend", name.strip(), str(path), seconds=60)[0] == 0
    return path


def extents(path):
    """Where the file has data."""
    found, at = [], 0
    with open(path, "rb") as f:
        size = f.seek(0, os.SEEK_END)
        while at < size:
            try:
                start = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(f.fileno(), start, os.SEEK_HOLE)
            found.append((start, at))
    return found


def test_damaged_state(abyme, tmp_path, state):
    """Cut anywhere, one bit flipped anywhere: header, gap, memory, holes, sections."""
    rng = random.Random(12)
    size = state.stat().st_size
    memory_end = 65536 + (128 << 20)
    data = extents(state)
    places = [0, 8, 20, 63, 64, 65535, 65536, memory_end - 1, memory_end, memory_end + 70, size - 1]
    places += [rng.randrange(size) for _ in range(6)]                           # holes, mostly
    places += [rng.randrange(memory_end, size) for _ in range(6)]
    places += [rng.randrange(*rng.choice(data)) for _ in range(12)]
    for at in places:
        path = tmp_path / "flipped"
        subprocess.run(["cp", "--sparse=always", str(state), str(path)], check=True)
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 1 << rng.randrange(8)]))
        sentence(abyme("resume", "--rm", str(path)), 1, "state")
    for n in [0, 1, 63, 64, 65536, memory_end, size - 1] + [rng.randrange(size) for _ in range(4)]:
        path = tmp_path / "cut"
        subprocess.run(["cp", "--sparse=always", str(state), str(path)], check=True)
        os.truncate(path, n)
        sentence(abyme("resume", "--rm", str(path)), 1, "state")
    assert nothing_left(abyme)
    # The good one, copied without its holes, goes on.
    path = tmp_path / "full"
    subprocess.run(["cp", "--sparse=never", str(state), str(path)], check=True)
    status, name, err = abyme("resume", "--rm", "--detach", str(path))
    assert status == 0, err
    assert abyme("kill", name.strip())[0] == 0
