# SPDX-License-Identifier: GPL-2.0-or-later
"""abyme-oci under Debian's engines: Podman, containerd, Docker, each in directories of its own.

Root is needed; the engines' networks are not (no bridge, no packet filter)."""
import os
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from oci import OCI, make_rootfs  # noqa: E402
from patience import wait_for  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="these engines are started as root")


def need(*programs):
    for p in programs:
        if not shutil.which(p):
            pytest.skip(f"{p} is not installed")


@pytest.fixture
def rootfs(tmp_path):
    path = tmp_path / "rootfs"
    path.mkdir()
    make_rootfs(str(path))
    return str(path)


class Engine:
    def __init__(self, *argv):
        self.argv = argv

    def __call__(self, *args, seconds=60, text=None):
        p = subprocess.run([*self.argv, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, input=text,
                           timeout=seconds, check=False)
        return p.returncode, p.stdout

    def ok(self, *args, **more):
        status, out = self(*args, **more)
        assert status == 0, (args, out)
        return out


def life(engine, options, image, volume):
    """What Podman and Docker have in common."""
    status, out = engine("run", "--rm", *options, *image, "/bin/sh", "-c", "id -u; echo inside; exit 3")
    assert status == 3 and "0\ninside\n" in out, out
    with open(f"{volume}/file", "w", encoding="ascii") as f:
        f.write("of the host")
    engine.ok("run", "-d", "--name", "one", *options, "--memory", "64m", "--pids-limit", "30", "--cpus", "0.5",
              "-e", "WORD=given", "-v", f"{volume}:/mnt:ro", *image, "/bin/sh", "-c",
              "echo logged $WORD; cat /mnt/file; touch /mnt/x 2>/dev/null || echo read-only; sleep 1000")
    wait_for(lambda: "read-only" in engine.ok("logs", "one"))
    assert "logged given" in engine.ok("logs", "one") and "of the host" in engine.ok("logs", "one")
    assert engine.ok("exec", "-e", "A=b", "-w", "/work", "one", "sh", "-c", "echo $A; pwd").split()[-2:] == ["b", "/work"]
    assert engine("exec", "one", "sh", "-c", "exit 9")[0] == 9
    assert "input" in engine.ok("exec", "-i", "one", "cat", text="input")
    out = engine("exec", "one", "sh", "-c", "for i in $(yes | head -40); do sleep 5 >/dev/null 2>&1 & done; wait")[1]
    assert "fork" in out
    engine.ok("pause", "one")
    assert "aused" in engine.ok("ps", "--format", "{{.Status}}") or "paused" in engine.ok("inspect", "one")
    engine.ok("unpause", "one")
    assert "MiB" in engine.ok("stats", "--no-stream", "one") or "MB" in engine.ok("stats", "--no-stream", "one")
    engine.ok("stop", "-t", "1", "one")
    engine.ok("start", "one")
    engine.ok("rm", "-f", "one")
    status, out = engine("run", "--rm", *options, *image, "/nowhere")
    assert status == 127, (status, out)


def test_podman(tmp_path, rootfs):
    need("podman", "conmon")
    base = ["podman", "--runtime", OCI, "--cgroup-manager", "cgroupfs", "--root", f"{tmp_path}/p", "--runroot",
            f"{tmp_path}/r", "--storage-driver", "vfs", "--events-backend", "file", "--log-level", "error"]
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
    engine = Engine(*base)
    (tmp_path / "volume").mkdir()
    try:
        life(engine, ["--network", "none", *limits], ["--rootfs", rootfs], tmp_path / "volume")
        p = subprocess.run(["script", "-qec", " ".join([*base, "run", "--rm", "-it", "--network", "none", *limits,
                                                        "--rootfs", rootfs, "/bin/tty"]), "/dev/null"],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        assert re.search(r"/dev/(pts/0|console)", p.stdout), p.stdout
    finally:
        engine("rm", "-fa")


def test_containerd(tmp_path, rootfs):
    need("containerd", "ctr")
    with open(f"{tmp_path}/config.toml", "w", encoding="ascii") as f:
        f.write(f'version = 2\nroot = "{tmp_path}/root"\nstate = "{tmp_path}/state"\n'
                f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n address = "{tmp_path}/sock"\n')
    with open(f"{tmp_path}/log", "wb") as log:
        daemon = subprocess.Popen(["containerd", "-c", f"{tmp_path}/config.toml"], stdout=log, stderr=log)
    engine = Engine("ctr", "-a", f"{tmp_path}/sock")
    try:
        wait_for(lambda: engine("version")[0] == 0)
        status, out = engine("run", "--rm", "--rootfs", "--runc-binary", OCI, rootfs, "one", "/bin/sh", "-c", "echo in; exit 4")
        assert status == 4 and "in\n" in out, out
        engine.ok("run", "-d", "--rootfs", "--runc-binary", OCI, rootfs, "two", "/bin/sleep", "1000")
        assert "works" in engine.ok("t", "exec", "--exec-id", "e", "two", "/bin/echo", "works")
        engine.ok("t", "pause", "two")
        assert "PAUSED" in engine.ok("t", "ls")
        engine.ok("t", "resume", "two")
        assert "memory.usage_in_bytes" in engine.ok("t", "metrics", "two") or "memory" in engine.ok("t", "metrics", "two")
        engine.ok("t", "kill", "-s", "KILL", "two")
        wait_for(lambda: "STOPPED" in engine.ok("t", "ls"))
        engine("t", "rm", "two")
        engine.ok("c", "rm", "two")
    finally:
        daemon.terminate()
        daemon.wait(30)


def test_docker(tmp_path, rootfs):
    need("dockerd", "docker")
    with open(f"{tmp_path}/log", "wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--iptables=false", "--bridge=none", "--data-root", f"{tmp_path}/data", "--exec-root",
             f"{tmp_path}/exec", "-p", f"{tmp_path}/pid", "-H", f"unix://{tmp_path}/sock", "--add-runtime", f"abyme={OCI}",
             "--default-runtime", "abyme"], stdout=log, stderr=log)
    engine = Engine("docker", "-H", f"unix://{tmp_path}/sock")
    (tmp_path / "volume").mkdir()
    try:
        wait_for(lambda: engine("version")[0] == 0)
        subprocess.run(f"tar -C {rootfs} -c . | docker -H unix://{tmp_path}/sock import - box", shell=True, check=True,
                       stdout=subprocess.DEVNULL)
        life(engine, ["--network", "none"], ["box"], tmp_path / "volume")
        assert "Seccomp:\t2" in engine.ok("run", "--rm", "--network", "none", "box", "/bin/grep", "Seccomp:", "/proc/self/status")
    finally:
        daemon.terminate()
        daemon.wait(60)
