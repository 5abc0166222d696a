# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of an instance through its verbs, with a real guest."""
import json
import os

import pytest

from conftest import vmlinuz
from patience import wait_for


@pytest.fixture
def boot_args(kernel_tree, initrd):
    return ["--memory", "256M", "--kernel", vmlinuz(kernel_tree("cloud-amd64")), "--initrd", initrd,
            "--append", "console=ttyS0 quiet panic=-1"]


def state_of(abyme, name):
    rows = json.loads(abyme("ls", "--format", "json")[1])
    return next(r for r in rows if r["name"] == name)["state"]


def test_life(abyme, boot_args, tmp_path):
    status, out, err = abyme("create", "--name", "web", *boot_args)
    assert (status, out.strip()) == (0, "web"), err
    assert abyme("create", "--name", "web")[0] == 1
    assert state_of(abyme, "web") == "stopped"
    assert "memory: 256M" in abyme("inspect", "web")[1]
    assert abyme("set", "web", "--vcpus", "2")[0] == 0
    assert json.loads(abyme("inspect", "--format", "json", "web")[1])["definition"]["vcpus"] == 2
    assert abyme("set", "web", "--memory", "7X")[0] in (1, 2)
    assert abyme("set", "web", "--vcpus", "1")[0] == 0

    assert abyme("start", "web")[0] == 0
    assert abyme("start", "web")[0] == 1
    assert abyme("rm", "web")[0] == 1
    assert state_of(abyme, "web") == "running"
    wait_for(lambda: "USERSPACE-REACHED" in abyme("logs", "web")[1])
    assert abyme("pause", "web")[0] == 0
    assert state_of(abyme, "web") == "paused"
    assert abyme("unpause", "web")[0] == 0
    assert state_of(abyme, "web") == "running"
    stats = json.loads(abyme("stats", "--format", "json", "web")[1])
    assert stats["vcpus"] == 1 and stats["processes"]

    console = abyme.start("console", "web")
    console.send("echo hello-$((6*7))\n")
    console.expect("^hello-42", 60)
    console.kill()

    file = tmp_path / "web.state"
    status, _, err = abyme("suspend", "web", str(file), seconds=120)
    assert status == 0, err
    assert file.exists() and not list(tmp_path.glob("*.tmp"))
    assert state_of(abyme, "web") == "stopped"
    status, _, err = abyme("resume", "--detach", str(file))
    assert status == 0, err
    console = abyme.start("console", "web")
    console.send("echo again-$((6*7))\n")
    console.expect("^again-42", 60)
    console.kill()
    assert abyme("kill", "web")[0] == 0
    assert state_of(abyme, "web") == "stopped"
    assert abyme("rm", "web")[0] == 0
    assert json.loads(abyme("ls", "--format", "json")[1]) == []


def test_damaged_state(abyme, boot_args, tmp_path):
    """A state file cut or flipped is refused or at least does no harm."""
    assert abyme("run", "--detach", "--rm", "--name", "sick", *boot_args)[0] == 0
    wait_for(lambda: "USERSPACE-REACHED" in abyme("logs", "sick")[1])
    file = tmp_path / "sick.state"
    assert abyme("suspend", "sick", str(file), seconds=120)[0] == 0
    whole = file.stat().st_size
    for cut in (10, 63, 4096, whole - 1):
        bad = tmp_path / "cut.state"
        with open(file, "rb") as f, open(bad, "wb") as g:
            head = f.read(min(cut, 1 << 16))
            g.write(head)
            g.truncate(cut)
        status, _, err = abyme("resume", "--rm", str(bad))
        assert status == 1 and len(err.strip().splitlines()) == 1, err
    for at in (0, 9, 20, 33, 45, whole - 100, whole - 5000):
        bad = tmp_path / "flip.state"
        os.system(f"cp --sparse=always {file} {bad}")
        with open(bad, "r+b") as f:
            f.seek(at)
            b = f.read(1)
            f.seek(at)
            f.write(bytes([b[0] ^ 0x41]))
        status, _, err = abyme("resume", "--rm", str(bad))
        assert status == 1 and len(err.strip().splitlines()) == 1, (at, err)
    assert abyme("ls", "--quiet")[1] == ""


def test_detach_by_leash(abyme, boot_args):
    """Letting go of a foreground run ends the machine and removes it."""
    m = abyme.start("run", "--rm", "--name", "leash", *boot_args)
    m.expect(r"\S", 60)
    m.process.kill()
    m.process.wait()
    wait_for(lambda: abyme("ls", "--quiet")[1] == "")


def test_doctor(abyme):
    status, out, err = abyme("doctor", "--format", "json")
    checks = {c["name"]: c for c in json.loads(out)}
    assert status == 0, out + err
    for c in checks.values():
        assert c["ok"] or c["detail"], c


def test_dry_run(abyme):
    status, out, _ = abyme("run", "--dry-run", "--format", "json", "--memory", "2G", "--name", "x")
    d = json.loads(out)
    assert status == 0 and d["memory"] == "2G" and d["engine"] != "auto"
    assert abyme("ls", "--quiet")[1] == ""
    text = abyme("run", "--dry-run", "--net", "user", "--publish", "8080:80")[1]
    assert "publish:" in text and "mac: " in text


def test_definition_round_trip(abyme, tmp_path):
    text = abyme("run", "--dry-run", "--memory", "2G", "--disk", "/a,,b,readonly")[1]
    file = tmp_path / "d.yaml"
    file.write_text(text)
    again = abyme("run", "--dry-run", "-f", str(file))[1]
    strip = [line for line in text.splitlines() if not line.startswith("#")]
    assert strip == [line for line in again.splitlines() if not line.startswith("#")]
