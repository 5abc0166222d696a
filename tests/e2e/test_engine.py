# SPDX-License-Identifier: GPL-2.0-or-later
"""abyme engine: a running machine goes on under another engine, and nobody it talks to notices."""
import json
import socket
import subprocess

import pytest

from conftest import TOP, off, run, shell, vmlinuz
from patience import patience

LIMIT = 120


@pytest.fixture(scope="module")
def args(kernel_tree, tmp_path_factory):
    tree = kernel_tree("amd64")          # the cloud kernel has no 9p
    out = tmp_path_factory.mktemp("engine") / "initrd.gz"
    subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", out, "", tree, "virtio_mmio", "virtio_net", "9pnet_virtio", "9p"],
                   check=True)
    return ["--board", "microvm", "--memory", "256M", "--cpu", "abyme-v2.1", "--kernel", vmlinuz(tree),
            "--initrd", str(out), "--append", "console=ttyS0 quiet loglevel=3 panic=-1"]


def test_connection_goes_on(abyme, args, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "file").write_text("from-the-host\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(patience(LIMIT))
        m = abyme.start("run", "--name", "mover", "--engine", "jit", "--vcpus", "2", "--net", "user",
                        "--share", f"{tmp_path}/shared:tag", *args)
        m.expect("USERSPACE-REACHED", LIMIT)
        m.expect("# ", 30)
        m.send("ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; mkdir /m; mount -t 9p -o trans=virtio tag /m; echo set-$((6*7))\n")
        m.expect("^set-42", 60)
        port = server.getsockname()[1]
        m.send(f"(n=0; while true; do n=$((n+1)); echo tick $n; sleep 0.1; done | nc 10.0.2.2 {port}) &\n")
        line, _ = server.accept()
        line.settimeout(patience(LIMIT))
        with line, line.makefile() as ticks:
            last = 0

            def five():
                nonlocal last
                for _ in range(5):
                    last += 1
                    assert ticks.readline() == f"tick {last}\n"
            five()
            for engine in ("interp", "jit"):
                status, _, err = abyme("engine", "mover", engine, seconds=LIMIT)
                assert status == 0, err
                assert abyme("engine", "mover")[1].strip() == engine
                five()
                m.send("cat /m/file\n")
                m.expect("^from-the-host", 60)
        status, _, err = abyme("engine", "mover", "fast")
        assert status == 1 and "not known" in err
        assert abyme("engine", "mover")[1].strip() == "jit"
        m.send("poweroff -f\n")
        assert m.wait(60) == 0


def test_options_change(abyme, args):
    """Options are the engine's part: other ones are a change, the same are none, and what failed is told."""
    m = abyme.start("run", "--name", "options", "--engine", "jit,cache=64M", "--net", "none", *args)
    shell(m)

    def machine():
        return json.loads(abyme("inspect", "--format", "json", "options")[1])["run"]["machine"]
    count = 0
    for asked, then, moves in (("jit,cache=64M", "jit,cache=64M", False), ("jit", "jit,cache=64M", False),       # the definition's
                               ("jit,cache=32M", "jit,cache=32M", True), ("jit,", "jit", True), ("jit", "jit,cache=64M", True)):
        before = machine()
        status, _, err = abyme("engine", "options", asked, seconds=LIMIT)
        assert status == 0, (asked, err)
        assert abyme("engine", "options")[1] == then + "\n" and (machine() != before) == moves, (asked, moves)
        count += 1
        run(m, f"echo goes-on-$((40+{count}))", f"^goes-on-{40 + count}")
    keeper = json.loads(abyme("inspect", "--format", "json", "options")[1])["run"]["keeper"]
    subprocess.run(["prlimit", "--pid", str(keeper), f"--as={1 << 30}"], check=True)                              # of memory
    status, _, err = abyme("engine", "options", "jit,cache=1G", seconds=LIMIT)
    assert status == 1 and "goes on under its old engine" in err, (status, err)
    assert "going on under jit,cache=64M" in abyme("logs", "--monitor", "options")[1]
    assert abyme("engine", "options")[1] == "jit,cache=64M\n"
    run(m, "echo goes-on-$((60+1))", "^goes-on-61")
    status, _, err = abyme("engine", "options", "jit," + "verify," * 9 + "verify")
    assert status == 1 and "too long" in err, (status, err)
    off(m)
