# SPDX-License-Identifier: GPL-2.0-or-later
"""The jail where the host refuses parts of it, and what still has to work inside: vsock."""
import ctypes
import json
import os
import shutil
import socket
import struct
import subprocess
import threading

import pytest

from conftest import ABYME, TOP, Abyme, vmlinuz
from patience import patience

NOBODY = 65534
NAMESPACES = 0x7E020000         # all of CLONE_NEW*, with CLONE_NEWCGROUP and CLONE_NEWNET
CLONE, UNSHARE, SETNS, CLONE3 = 56, 272, 308, 435


def refuse_namespaces():
    """This process and its children get EPERM for every new namespace, as in many containers."""
    allow, eperm, enosys = 0x7FFF0000, 0x00050001, 0x00050026

    def insn(code, jt, jf, k):
        return struct.pack("HBBI", code, jt, jf, k)
    program = b"".join([
        insn(0x20, 0, 0, 0),                    # the call's number
        insn(0x15, 6, 0, UNSHARE),
        insn(0x15, 5, 0, SETNS),
        insn(0x15, 5, 0, CLONE3),
        insn(0x15, 0, 2, CLONE),
        insn(0x20, 0, 0, 16),                   # its flags
        insn(0x45, 1, 0, NAMESPACES),
        insn(0x06, 0, 0, allow),
        insn(0x06, 0, 0, eperm),
        insn(0x06, 0, 0, enosys),
    ])
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program)
    fprog = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(fprog), 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter")


class Confined(Abyme):
    """All its commands run where namespaces are refused."""

    def __call__(self, *args, seconds=30, text=None):
        p = subprocess.run([ABYME, *args], env=self.env, capture_output=True, timeout=patience(seconds), check=False,
                           text=True, stdin=subprocess.DEVNULL, preexec_fn=refuse_namespaces)
        return p.returncode, p.stdout, p.stderr


@pytest.fixture
def confined(tmp_path):
    a = Confined(tmp_path / "state")
    yield a
    a.close()


@pytest.fixture
def image():
    return f"{os.path.dirname(ABYME)}/guest/m64/system.elf"


def test_filter_refuses():
    p = subprocess.run(["unshare", "--user", "true"], preexec_fn=refuse_namespaces, capture_output=True, check=False)
    assert p.returncode != 0


def test_auto_takes_the_rest(confined, kernel_tree, initrd):
    """Without namespaces there are seccomp, no capabilities and another user; what is missing is said."""
    status, name, err = confined("run", "--detach", "--rm", "--jail", "auto", "--net", "user", "--memory", "128M",
                                 "--kernel", vmlinuz(kernel_tree("cloud-amd64")), "--initrd", initrd)
    assert status == 0, err
    assert "namespaces" in err and len(err.strip().splitlines()) == 1, err
    facts = json.loads(confined("inspect", "--format", "json", name.strip())[1])["run"]
    assert "namespaces" in facts["jail-missing"], facts
    assert "seccomp" in facts["jail"] and "no capabilities" in facts["jail"] and "empty root" not in facts["jail"]
    stats = json.loads(confined("stats", "--format", "json", name.strip())[1])
    pids = [p["pid"] for p in stats["processes"] if p["pid"] != facts["keeper"]]
    assert len(pids) == 2
    for pid in pids:
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            s = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        assert s["Seccomp"] == "2" and s["NoNewPrivs"] == "1" and int(s["CapEff"], 16) == 0, s
        assert s["Uid"].split()[1] != "0"
    assert confined("kill", name.strip())[0] == 0


def test_require_says_no(confined, image):
    status, out, err = confined("run", "--rm", "--jail", "require", "--memory", "64M", "--kernel", image)
    assert status == 1 and "namespaces" in err and len(err.strip().splitlines()) == 1, (status, out, err)


def test_none_is_silent(confined, image):
    status, _, err = confined("run", "--rm", "--jail", "none", "--memory", "64M", "--cpu", "max", "--debug-exit",
                              "--kernel", image)
    assert status == 1 and err == "", (status, err)


# --- vsock ---

@pytest.fixture(scope="module")
def talker(kernel_tree, tmp_path_factory):
    """Arguments for a guest that has the vsock tool."""
    if not shutil.which("busybox") or not shutil.which("cpio"):
        pytest.skip("busybox-static and cpio are needed for the test initrd")
    folder = tmp_path_factory.mktemp("talker")
    folder.chmod(0o755)
    subprocess.run(["gcc", "-O1", "-static", "-o", f"{folder}/vs", f"{TOP}/tests/guest/tools/vs.c"], check=True)
    tree = kernel_tree("amd64")
    subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", f"{folder}/initrd.gz", "", tree, "virtio_pci",
                    "vmw_vsock_virtio_transport"], check=True, env=dict(os.environ, EXTRA=f"{folder}/vs"))
    return ["--memory", "384M", "--kernel", vmlinuz(tree), "--initrd", f"{folder}/initrd.gz",
            "--append", "console=ttyS0 quiet loglevel=3 panic=-1"]


def answer_once(path, seen):
    """A server on the host for the guest's call."""
    s = socket.socket(socket.AF_UNIX)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    s.bind(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    os.close(folder)
    s.listen(1)

    def serve():
        c = s.accept()[0]
        seen.append(c.recv(100))
        c.sendall(b"from the host\n")
        c.close()
        s.close()
    threading.Thread(target=serve, daemon=True).start()


def call_guest(path, port, text):
    with socket.socket(socket.AF_UNIX) as s:
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        s.settimeout(patience(30))
        s.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
        os.close(folder)
        s.sendall(b"CONNECT %d\n" % port)
        got = s.makefile("rb")
        assert got.readline().startswith(b"OK ")
        s.sendall(text)
        return got.readline()


def test_vsock(abyme, talker):
    """Both ways through the whole jail: as root, too, whose directories nobody may enter."""
    m = abyme.start("run", "--rm", "--name", "talker", "--jail", "require", "--vsock", "5", *talker)
    m.expect("USERSPACE-REACHED|refuses", 90)
    if "refuses" in m.text:
        pytest.skip(m.text.strip())
    m.expect("# ", 30)
    folder, seen = f"{abyme.state}/instances/talker/vsock", []
    m.send("vs call 77 || echo nobody-$((1+1))\n")
    m.expect("^nobody-2", 30)
    answer_once(f"{folder}/sock_77", seen)
    m.send("vs call 77\n")
    m.expect("^answer: from the host", 30)
    assert seen == [b"from the guest\n"]
    m.send("vs serve 5000\n")
    m.expect("^serving", 30)
    assert call_guest(f"{folder}/sock", 5000, b"from the host\n") == b"FROM THE HOST\n"
    m.send("poweroff -f\n")
    assert m.wait(60) == 0, m.text[-2000:]
    assert os.listdir(f"{abyme.state}/instances") == []         # a server's socket does not keep it
