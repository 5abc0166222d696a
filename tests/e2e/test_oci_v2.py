# SPDX-License-Identifier: GPL-2.0-or-later
"""abyme-oci where control groups of version 2 stand alone: the host's version 2
hierarchy, put at /sys/fs/cgroup in a mount namespace of the test's own."""
import json
import os
import time

import pytest

from oci import Bundle, find_cgroups
from patience import wait_for

UNIFIED = "/sys/fs/cgroup/unified"
ALONE = not os.path.isdir(UNIFIED) and os.path.exists("/sys/fs/cgroup/cgroup.controllers")

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not (ALONE or os.path.ismount(UNIFIED)),
                                reason="needs root and a version 2 hierarchy")


class V2(Bundle):
    def argv(self, *args):
        argv = super().argv(*args)
        if ALONE:
            return argv
        return ["unshare", "-m", "sh", "-c", f'mount --bind {UNIFIED} /sys/fs/cgroup && exec "$@"', "sh", *argv]


@pytest.fixture
def bundle(tmp_path):
    b = V2(tmp_path)
    yield b
    b.close()


def test_life(bundle):
    bundle.config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]})
    assert bundle.create("while :; do date +%s%N >/tmp/now; done")[0] == 0
    bundle.ok("start", bundle.id)
    groups = find_cgroups(bundle.id)
    assert len(groups) == 1
    assert sorted(os.listdir(groups[0])) == sorted(
        bundle.ok("exec", bundle.id, "ls", "/sys/fs/cgroup").split()), "it sees its own group, nothing above"
    now = f"{bundle.rootfs}/tmp/now"
    wait_for(lambda: os.path.exists(now))
    bundle.ok("pause", bundle.id)
    assert bundle.state()["status"] == "paused"
    before = os.stat(now).st_mtime_ns
    time.sleep(0.3)
    assert os.stat(now).st_mtime_ns == before
    bundle.ok("resume", bundle.id)
    assert bundle.state()["status"] == "running"
    assert len(json.loads(bundle.ok("ps", "--format", "json", bundle.id))) >= 1
    bundle.ok("kill", "--all", bundle.id, "KILL")


def test_devices(bundle):
    """The rules are a program here: default devices yes, others no, the last rule decides."""
    linux = bundle.config["linux"]
    linux["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
                        {"path": "/dev/mem", "type": "c", "major": 1, "minor": 1}]
    script = ("head -c 1 /dev/zero | wc -c; echo x >/dev/null && echo null; "
              "(: </dev/fuse) 2>/dev/null && echo read; (: >/dev/fuse) 2>/dev/null && echo write; "
              "mknod /tmp/node b 7 9 && echo made; (: </tmp/node) 2>/dev/null && echo opened; true")
    assert bundle.run(script) == (0, "1\nnull\nmade\n")
    os.unlink(f"{bundle.rootfs}/tmp/node")
    rule = {"allow": True, "type": "c", "major": 10, "minor": 229}
    linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}, dict(rule, access="r")]}
    assert bundle.run(script) == (0, "1\nnull\nread\nmade\n")
    os.unlink(f"{bundle.rootfs}/tmp/node")
    linux["resources"]["devices"] = [dict(rule, access="rw"), {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "w"}]
    assert bundle.run(script) == (0, "1\nnull\nread\nmade\n")
    os.unlink(f"{bundle.rootfs}/tmp/node")


def test_limit_that_is_not_there(bundle):
    with open("/sys/fs/cgroup/cgroup.controllers" if ALONE else f"{UNIFIED}/cgroup.controllers", encoding="ascii") as f:
        if "memory" in f.read():
            bundle.config["linux"]["resources"] = {"memory": {"limit": 1 << 26}}
            assert bundle.run("cat /sys/fs/cgroup/memory.max")[0] in (0, 1)
            return
    bundle.config["linux"]["resources"] = {"memory": {"limit": 1 << 26}}
    status, out = bundle.run("true")
    assert status == 1 and "memory.max" in out
    bundle.config["linux"]["resources"] = {"unified": {"../x.y": "1"}}
    status, out = bundle.run("true")
    assert status == 1 and "no file of a control group" in out
