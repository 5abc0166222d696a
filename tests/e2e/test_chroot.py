# SPDX-License-Identifier: GPL-2.0-or-later
"""abyme chroot, as root and as an ordinary user."""
import os
import subprocess

import pytest

from conftest import ABYME
from oci import make_rootfs, mounts
from patience import patience


@pytest.fixture
def tree(tmp_path):
    path = str(tmp_path / "tree")
    os.mkdir(path)
    make_rootfs(path)
    yield path
    assert mounts(path) == []


def chroot(*args, **more):
    return subprocess.run([ABYME, "chroot", *args], capture_output=True, text=True, timeout=patience(60), check=False,
                          stdin=subprocess.DEVNULL, **more)


def users():
    return [None, 65534] if os.geteuid() == 0 else [None]


@pytest.mark.parametrize("user", users(), ids=str)
def test_chroot(tree, tmp_path, user):
    more = {}
    if user:
        for p in [tmp_path, *tmp_path.parents]:
            if p.stat().st_mode & 0o1005 == 0:
                os.chmod(p, 0o755)
        for top, dirs, files in os.walk(tree):
            for n in dirs + files + ["."]:
                os.lchown(os.path.join(top, n), user, user)
        more = {"user": user, "group": user, "extra_groups": []}
        if subprocess.run([ABYME, "help"], capture_output=True, check=False, **more).returncode:
            pytest.skip("an ordinary user cannot reach the program")
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "shared" / "f").write_text("of the host\n")
    p = chroot("--env", "A=b", "--workdir", "/work", "--volume", f"{tmp_path}/shared:/s:ro", tree, "sh", "-c",
               "id -u; echo $$ $A; pwd; cat /s/f; touch /s/x 2>/dev/null || echo ro; ls /proc | grep -c '^[0-9]*$'; "
               "echo x >/dev/null; touch /tmp/made; readlink /proc/self/ns/net; exit 9", **more)
    assert p.returncode == 9, p.stderr
    lines = p.stdout.splitlines()
    assert lines[:5] == ["0", "1 b", "/work", "of the host", "ro"] and int(lines[5]) <= 5
    assert lines[6] == os.readlink("/proc/self/ns/net")
    assert os.stat(f"{tree}/tmp/made").st_uid == (user if user else os.geteuid())
    p = chroot("--read-only", "--no-network", tree, "sh", "-c", "touch /x; readlink /proc/self/ns/net", **more)
    assert "Read-only" in p.stderr and p.stdout.strip() not in ("", os.readlink("/proc/self/ns/net"))


def test_mistakes(tree):
    assert chroot("/nowhere").returncode == 1
    assert chroot(f"{tree}/etc/passwd").returncode == 1
    assert chroot("--volume", "x", tree).returncode == 2
    assert chroot("--user", "me", tree).returncode == 1
    p = chroot(tree, "/nothing")
    assert p.returncode == 1 and "no such file" in p.stderr
    assert chroot().returncode == 2
    assert chroot(tree, "sh", "-c", "kill -9 $$; exit 1").returncode in (1, 137)
