# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks over NBD: served to other programs, and served by them."""
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess

import pytest

from conftest import off, run, shell
from patience import patience, wait_for
from test_disk_errors import status
from test_disks import guest, ok, qemu_img  # noqa: F401, pylint: disable=unused-import


def tool(*args, status=0):
    if not shutil.which(args[0]):
        pytest.skip(f"{args[0]} is needed (packages libnbd-bin, qemu-utils)")
    p = subprocess.run([str(a) for a in args], capture_output=True, text=True, check=False, timeout=patience(120))
    assert p.returncode == status, (args, p.stdout, p.stderr)
    return p.stdout


@pytest.fixture
def serve(abyme, tmp_path):
    """serve(options...): the URI of a server that has begun."""
    servers = {}

    def again(uri):
        args = servers[uri][1]
        servers[uri] = abyme.start("disk", "serve", *args), args
        servers[uri][0].expect("^serving", 60)

    def start(*args, name=""):
        path = tmp_path / f"nbd{len(servers)}.sock"
        uri = f"nbd+unix:///{name}?socket={path}"
        servers[uri] = None, ["--socket", str(path), *map(str, args)]
        again(uri)
        return uri

    def kill(uri):
        servers[uri][0].process.kill()
        servers[uri][0].process.wait()
        wait_for(lambda: not answers(uri.split("socket=")[1]), 60)          # its child lets go of the socket
    start.again, start.kill, start.pid = again, kill, lambda uri: servers[uri][0].process.pid
    yield start
    for m, _ in servers.values():
        m.kill()
        assert m.process.returncode == 0


def image(abyme, tmp_path, kind="qcow2"):
    disk, raw = tmp_path / f"disk.{kind}", tmp_path / "model.img"
    data = random.Random(7).randbytes(300000)
    with open(raw, "wb") as f:
        f.write(data)
        f.truncate(32 << 20)
        f.seek(9 << 20)
        f.write(data)
    ok(abyme, "disk", "convert", "--format", kind, str(raw), str(disk))
    return disk, raw


def answers(path):
    """Does somebody listen on this socket? It is there a moment earlier."""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_read_and_write(abyme, tmp_path, serve, kind):
    """What nbdcopy and qemu-img read is the disk, and what they write is too."""
    disk, raw = image(abyme, tmp_path, kind)
    uri = serve(disk)
    out = tmp_path / "out.img"
    tool("nbdcopy", uri, out)
    assert out.read_bytes() == raw.read_bytes()
    qemu_img("compare", "-f", "raw", "-F", "raw", raw, uri)
    tool("qemu-io", "-f", "raw", "-c", "write -P 9 1000k 70k", "-c", "write -z 9M 64k", "-c", "discard 10M 1M",
         "-c", "write -f -P 3 123k 1k", "-c", "read -P 9 1000k 70k", "-c", "flush", uri)
    with open(raw, "r+b") as f:
        for at, byte, n in ((1000 << 10, 9, 70 << 10), (9 << 20, 0, 64 << 10), (10 << 20, 0, 1 << 20), (123 << 10, 3, 1024)):
            f.seek(at)
            f.write(bytes([byte]) * n)
    qemu_img("compare", "-f", "raw", "-F", "raw", raw, uri)
    model = tmp_path / "b.img"
    model.write_bytes(random.Random(8).randbytes(32 << 20))
    tool("nbdcopy", model, uri)
    qemu_img("compare", "-f", "raw", "-F", "raw", model, uri)


def test_contexts(abyme, tmp_path, serve):
    disk, _ = image(abyme, tmp_path)
    ok(abyme, "disk", "bitmap", "add", str(disk), "b0")
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 1 20M 64k", disk)
    uri = serve("--bitmap", "b0", "--name", "web", disk, name="web")
    info = json.loads(tool("nbdinfo", "--json", uri))["exports"][0]
    assert info["export-size"] == 32 << 20 and info["is_read_only"]
    assert sorted(info["contexts"]) == ["base:allocation", "qemu:dirty-bitmap:b0"]
    assert "web" in tool("nbdinfo", "--list", uri)
    runs = json.loads(tool("nbdinfo", "--map=qemu:dirty-bitmap:b0", "--json", uri))
    assert [(r["offset"], r["length"]) for r in runs if r["type"]] == [(20 << 20, 65536)]
    runs = json.loads(tool("nbdinfo", "--map", "--json", uri))
    data = [(r["offset"], r["length"]) for r in runs if not r["type"] & 2]
    assert data == [(0, 327680), (9 << 20, 327680), (20 << 20, 65536)], data
    tool("qemu-io", "-f", "raw", "-c", "write 0 512", uri, status=1)
    tool("nbdinfo", uri.replace("/web?", "/nothing?"), status=1)


def test_snapshot(abyme, tmp_path, serve):
    disk, raw = image(abyme, tmp_path)
    tool("qemu-img", "snapshot", "-c", "then", disk)
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 64k", disk)
    qemu_img("compare", "-f", "raw", "-F", "raw", raw, serve("--snapshot", "then", disk))


def test_qemu_and_abyme_refuse_each_other(abyme, tmp_path, serve):
    """Who has an image open for writing has it alone, whichever of the two he is."""
    disk, _ = image(abyme, tmp_path)
    tool("qemu-io", "-f", "qcow2", "-c", "write 0 64k", disk)
    q = subprocess.Popen(["qemu-io", "-f", "qcow2", str(disk)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        q.stdin.write("write -P 1 1M 64k\n")
        q.stdin.flush()
        while "wrote 65536" not in q.stdout.readline():
            assert q.poll() is None
        for args in (("check", "--repair", disk), ("resize", disk, "64M"), ("serve", "--socket", tmp_path / "no.sock", disk)):
            code, _, err = abyme("disk", *map(str, args), seconds=60)
            assert code == 1 and "in use" in err, (args, err)
    finally:
        q.communicate("quit\n")
    serve(disk)
    for args in (("-c", "write 0 64k"), ("-r", "-c", "read 0 64k")):
        p = subprocess.run(["qemu-io", "-f", "qcow2", *args, str(disk)], capture_output=True, text=True, check=False)
        assert p.returncode and "lock" in p.stderr, p.stderr


def test_hostile_clients(abyme, tmp_path, serve):
    """Whatever they send, the server goes on for the others."""
    disk, _ = image(abyme, tmp_path)
    uri = serve(disk)
    path = uri.split("socket=")[1]
    option = b"IHAVEOPT"
    hello = struct.pack(">I", 3)
    go = option + struct.pack(">IIIH", 7, 6, 0, 0)
    meta = option + struct.pack(">II", 8, 0) + option + struct.pack(">III", 10, 16, 0)
    cases = [b"", b"GET / HTTP/1.0\r\n\r\n", struct.pack(">I", 0xffff), hello + option + struct.pack(">II", 7, 0xffffffff),
             hello + option + struct.pack(">III", 7, 4, 0xfffffff0), hello + meta + struct.pack(">III", 9, 0xffffffff, 5),
             hello + go + b"\0" * 28, hello + go + struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 2 ** 64 - 1, 2 ** 32 - 1),
             hello + go + struct.pack(">IHHQQI", 0x25609513, 0, 1, 1, 0, 2 ** 32 - 1),
             hello + go + struct.pack(">IHHQQI", 0x25609513, 0, 7, 1, 0, 4096),
             hello + go + struct.pack(">IHHQQI", 0x25609513, 0, 99, 1, 0, 4096)]
    rng = random.Random(1)
    cases += [hello + go + rng.randbytes(rng.randrange(200)) for _ in range(20)]
    cases += [hello + option + rng.randbytes(rng.randrange(60)) for _ in range(20)]
    for case in cases:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(patience(60))
            s.connect(path)
            try:
                s.sendall(case)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except ConnectionError:      # it was thrown out with bytes unread
                pass
    assert tool("nbdinfo", "--size", uri).strip() == str(32 << 20)


def test_refuses(abyme, tmp_path):
    disk, _ = image(abyme, tmp_path)
    for args, word in (((disk,), "--socket"), (("--listen", "x", disk), "PORT"), (("--socket", "a", "--bitmap", "b", disk), "no bitmap"),
                       (("--socket", "a", "--snapshot", "s", disk), "no snapshot"), (("--socket", "a", "/nothing"), "cannot open"),
                       (("--socket", "x" * 200, disk), "too long")):
        code, _, err = abyme("disk", "serve", *map(str, args))
        assert code in (1, 2) and word in err and err.count("\n") == 1, err


def test_disk_of_a_machine(abyme, guest, tmp_path, serve):  # noqa: F811
    """--disk nbd://: from our server and from QEMU's; one that goes away, and one that comes back."""
    disk, raw = image(abyme, tmp_path)
    other = tmp_path / "other.sock"
    if not shutil.which("qemu-nbd"):
        pytest.skip("qemu-nbd is needed (package qemu-utils)")
    theirs = tmp_path / "theirs.img"
    shutil.copy(raw, theirs)
    code, _, err = abyme("run", "--rm", *guest, "--disk", f"nbd+unix:///?socket={other}")
    assert code and "cannot connect" in err, err
    q = subprocess.Popen(["qemu-nbd", "--persistent", "--shared=4", "-f", "raw", "-k", str(other), str(theirs)])
    try:
        wait_for(lambda: q.poll() is not None or answers(other), 60)
        code, _, err = abyme("run", "--rm", *guest, "--disk", f"nbd+unix:///none?socket={other}")
        assert code and "does not give out" in err, err
        uri = serve(disk)
        paused = tmp_path / "paused.img"
        shutil.copy(raw, paused)
        stops = serve("--format", "raw", paused)
        m = abyme.start("run", "--rm", "--name", "far", *guest, "--disk", uri + ",reconnect=3600,bps=8M",
                        "--disk", f"nbd+unix:///?socket={other},reconnect=0", "--disk", serve("--readonly", raw) + ",readonly",
                        "--disk", stops + ",reconnect=1,on-error=pause")
        shell(m)
        for dev in "ab":
            run(m, f"yes abyme | head -c 4194304 | dd of=/dev/vd{dev} bs=64k seek=16 conv=fsync 2>/dev/null; echo dd=$?", "^dd=0", 120)
            run(m, f"cmp -n 1000000 /dev/vd{dev} /dev/vdc && echo same=$?", "^same=0", 120)
        q.terminate()
        q.wait(patience(30))
        run(m, "dd if=/dev/vdb of=/dev/null bs=64k iflag=direct 2>/dev/null; echo dd=$?", "^dd=1", 120)
        run(m, "cmp -n 1000000 /dev/vda /dev/vdc && echo same=$?", "^same=0", 120)
        # killed under a guest that writes: requests wait, and are done by the next
        m.send("yes again | head -c 8388608 | dd of=/dev/vda bs=4k seek=2048 conv=fsync 2>/dev/null; echo dd=$?\n")
        serve.kill(uri)
        serve.again(uri)
        m.expect("^dd=0", 120)
        # the machine stands still when patience is over, and goes on
        serve.kill(stops)
        m.send("yes stops | head -c 65536 | dd of=/dev/vdd bs=4k conv=fsync 2>/dev/null; echo dd=$?\n")
        wait_for(lambda: status(abyme, "far")["state"] == "paused")
        serve.again(stops)
        m.expect("^dd=0", 120)
        off(m)
    finally:
        q.kill()
        q.wait()
    with open(raw, "r+b") as f:
        f.seek(1 << 20)
        f.write((b"abyme\n" * 699051)[:4 << 20])
    qemu_img("compare", "-f", "raw", "-F", "raw", raw, theirs)
    assert paused.read_bytes()[:65536] == (b"stops\n" * 10923)[:65536]
    with open(raw, "r+b") as f:
        f.seek(8 << 20)
        f.write((b"again\n" * 1398102)[:8 << 20])
    qemu_img("compare", "-f", "raw", "-F", "raw", raw, uri)


def test_served_in_a_jail(abyme, tmp_path, serve):
    """Who reads what clients send has no network, no files, and filtered calls."""
    disk, raw = image(abyme, tmp_path)
    uri = serve("--jail", "require", disk)
    server = serve.pid(uri)
    children = subprocess.run(["pgrep", "-P", str(server)], capture_output=True, text=True, check=True).stdout.split()
    assert len(children) == 1
    with open(f"/proc/{children[0]}/status", encoding="ascii") as f:
        facts = dict(line.split(":\t", 1) for line in f.read().splitlines())
    assert facts["Seccomp"] == "2" and facts["NoNewPrivs"] == "1" and int(facts["CapEff"], 16) == 0
    assert os.listdir(f"/proc/{children[0]}/root") == []
    os.kill(int(children[0]), signal.SIGSTOP)     # a server that stands still has not ended
    os.kill(int(children[0]), signal.SIGCONT)
    qemu_img("compare", "-f", "raw", "-F", "raw", raw, uri)
    serve.kill(uri)
    code, _, err = abyme("disk", "serve", "--jail", "some", "--socket", str(tmp_path / "x"), str(disk))
    assert code == 1 and "jail 'some'" in err
    serve.again(uri)
