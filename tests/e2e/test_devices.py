# SPDX-License-Identifier: GPL-2.0-or-later
"""Network, shares and disks from inside a guest; the jail from outside."""
import http.server
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from conftest import TOP, free_port, guest_args, off, run, shell
from patience import deadline, patience

MODULES = ["virtio_pci", "virtio_net", "e1000", "virtio_blk", "9p", "9pnet_virtio"]


@pytest.fixture(scope="module")
def guest(kernel_tree, tmp_path_factory):
    """Arguments for a guest with the modules of virtio devices."""
    return guest_args(kernel_tree("amd64"), tmp_path_factory.mktemp("devices"), MODULES, memory="384M")


class Hello(http.server.BaseHTTPRequestHandler):
    body = os.urandom(1 << 20)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


def ask(port, seconds):
    """What a published port says, as soon as it says something."""
    end = deadline(seconds)
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), patience(5)) as s:
                data = s.recv(100)
                if data:
                    return data
        except OSError:
            pass
        time.sleep(0.3)
    return b""


@pytest.mark.parametrize("card", ["virtio", "e1000"])
def test_network(abyme, guest, card):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    m = abyme.start("run", "--rm", *guest, "--net", f"user,model={card}", "--publish",
                    f"{port}:7000")
    shell(m)
    run(m, "ip link set lo up; ip link set eth0 up; udhcpc -i eth0 -n -q | grep obtained", "lease of 10.0.2.15 obtained")
    run(m, "ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2; echo up-$((1+1))", "^up-2")
    url = f"http://10.0.2.2:{server.server_address[1]}/"
    got = run(m, f"wget -qO- {url} | md5sum", r"^([0-9a-f]{32})  -").group(1)
    import hashlib
    assert got == hashlib.md5(Hello.body).hexdigest()
    m.send("echo from-guest | nc -l -p 7000\n")
    assert ask(port, 30).strip() == b"from-guest"
    m.expect("# ", 20)
    off(m)
    server.shutdown()


def test_share(abyme, guest, tmp_path):
    for name in ("rw", "ro"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(f"text of {name}\n")
    m = abyme.start("run", "--rm", *guest, "--share", f"{tmp_path}/rw:rw", "--share", f"{tmp_path}/ro:ro,readonly")
    shell(m)
    mount = "mkdir /{0}; mount -t 9p -o trans=virtio,version=9p2000.L {0} /{0}; cat /{0}/file"
    run(m, mount.format("rw"), "^text of rw")
    run(m, mount.format("ro"), "^text of ro")
    run(m, "echo hello >/rw/new; sync; echo wrote=$?", "^wrote=0")
    run(m, "echo hello >/ro/new; echo wrote=$?", "^wrote=1")
    off(m)
    assert (tmp_path / "rw" / "new").read_text() == "hello\n"
    assert not (tmp_path / "ro" / "new").exists()


def test_disk(abyme, guest, tmp_path):
    disk, fixed = tmp_path / "disk,1.img", tmp_path / "fixed.img"
    disk.write_bytes(b"\0" * (16 << 20))
    fixed.write_bytes(b"fixed" + b"\0" * ((1 << 20) - 5))
    m = abyme.start("run", "--rm", *guest, "--disk", str(disk).replace(",", ",,"), "--disk", f"{fixed},readonly")
    shell(m)
    run(m, "yes abyme | head -c 8388608 | dd of=/dev/vda bs=64k seek=16 conv=fsync 2>/dev/null; echo dd=$?", "^dd=0")
    run(m, "head -c 5 /dev/vdb; echo", "^fixed")
    run(m, "echo x | dd of=/dev/vdb 2>/dev/null; cat /sys/block/vdb/ro", "^1")
    off(m)
    data = disk.read_bytes()
    assert data[1 << 20:9 << 20] == (b"abyme\n" * 1398102)[:8 << 20]
    assert fixed.read_bytes()[:5] == b"fixed"


def facts(abyme, name):
    return json.loads(abyme("inspect", "--format", "json", name)[1])["run"]


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def gone(pid, seconds=10):
    end = deadline(seconds)
    while time.monotonic() < end:
        try:
            if status_of(pid)["State"].startswith("Z"):
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_jail(abyme, guest):
    status, _, err = abyme("run", "--detach", "--rm", "--name", "caged", "--jail", "require", *guest, "--net", "user")
    if status and "refuses" in err:
        pytest.skip(err)
    assert status == 0, err
    run_facts = facts(abyme, "caged")
    for word in ("namespaces", "empty root", "no capabilities", "seccomp"):
        assert word in run_facts["jail"]
    keeper = run_facts["keeper"]
    stats = json.loads(abyme("stats", "--format", "json", "caged")[1])
    pids = [p["pid"] for p in stats["processes"] if p["pid"] != keeper]
    assert len(pids) == 2
    for pid in pids:
        s = status_of(pid)
        assert s["Seccomp"] == "2" and s["NoNewPrivs"] == "1" and int(s["CapEff"], 16) == 0, s
        assert int(s["CapPrm"], 16) == 0 and s["Uid"].split()[1] != "0"
        if os.geteuid() == 0:
            assert sorted(os.listdir(f"/proc/{pid}/root")) in ([], ["etc"])
    # A helper that dies takes its device along, nothing else.
    helper = next(p for p in pids if p != run_facts["machine"])
    os.kill(helper, signal.SIGKILL)
    time.sleep(1)
    assert facts(abyme, "caged")["machine"] == run_facts["machine"]
    assert json.loads(abyme("stats", "--format", "json", "caged")[1])["state"] == "running"
    # A keeper that dies takes all along.
    os.kill(keeper, signal.SIGKILL)
    assert gone(run_facts["machine"])


def test_programs_link_little():
    """Every library costs start time and memory: what the two programs load is a decision."""
    allowed = {"abyme": {"libuv", "libjansson", "libcyaml", "libyaml-0", "liburing", "libz", "libzstd", "liblzma",
                         "libseccomp", "libcap-ng"},
               "abyme-9p": {"libseccomp", "libcap-ng"}, "abyme-gdb": {"libseccomp", "libcap-ng"}}
    build = os.path.dirname(os.environ.get("ABYME", f"{TOP}/build/abyme"))
    for program, most in allowed.items():
        out = subprocess.run(["ldd", f"{build}/{program}"], capture_output=True, text=True, check=True).stdout
        names = {line.split()[0].split(".so")[0] for line in out.splitlines() if "=>" in line}
        assert names - {"libc", "libm", "libgcc_s"} <= most | {"libasan", "libubsan", "libstdc++"}, (program, names)
