# SPDX-License-Identifier: GPL-2.0-or-later
"""Scopes of systemd where control groups are of version 1: with a hierarchy of version 2 for systemd's own (hybrid), and
without. systemd makes the scope in its own hierarchy, the runtime what belongs to it in the others."""
import json
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import systemd_guest  # noqa: E402  pylint: disable=wrong-import-position

MiB = 1 << 20
OCI = "abyme-oci --systemd-cgroup"
LEGACY = "systemd.unified_cgroup_hierarchy=0"
LAYOUTS = {"hybrid": LEGACY, "legacy": f"{LEGACY} systemd.legacy_systemd_cgroup_controller=1"}
FULL = {"memory": {"limit": 64 * MiB}, "pids": {"limit": 77}, "cpu": {"quota": 30000, "period": 100000, "shares": 512, "cpus": "0-1"}}
SHOWN = ("MemoryLimit", "TasksMax", "CPUQuotaPerSecUSec", "CPUShares", "Slice", "ControlGroup", "Delegate", "CPUQuotaPeriodUSec")
FILES = "memory/{0}/memory.limit_in_bytes pids/{0}/pids.max cpu/{0}/cpu.cfs_quota_us cpu/{0}/cpu.shares cpuset/{0}/cpuset.cpus"


@pytest.fixture(scope="module", params=LAYOUTS)
def guest(request, tmp_path_factory):
    for g in systemd_guest.started(tmp_path_factory, LAYOUTS[request.param]):
        g.layout = request.param
        yield g


@pytest.fixture(autouse=True)
def nothing_left(guest):
    yield
    left = guest("for i in $(abyme-oci list -q); do abyme-oci delete --force $i; done; "
                 "systemctl list-units --all --plain --no-legend 'abyme-*' 'docker-*.scope'; "
                 "find /sys/fs/cgroup -name 'abyme*' -o -name 'docker-*'; ls /run/abyme-oci")[1]
    assert not left.strip(), left


def run(guest, script, resources, seconds=60):
    return guest(f"{OCI} run --bundle {guest.bundle('run', script, resources)} t-run", seconds)


def values(guest, group):
    return guest.ok("cd /sys/fs/cgroup; cat " + FILES.format(group)).split()


def test_guest_is_what_it_should_be(guest):
    kinds = guest.ok("awk '$2 ~ \"^/sys/fs/cgroup\" {print $3, $2}' /proc/mounts").splitlines()
    assert "cgroup /sys/fs/cgroup/systemd" in kinds and any("memory" in k for k in kinds), kinds
    assert ("cgroup2 /sys/fs/cgroup/unified" in kinds) == (guest.layout == "hybrid"), kinds


def test_limits_hold(guest):
    status, out = run(guest, "tail /dev/zero; echo $?; cat /sys/fs/cgroup/memory/memory.oom_control", {"memory": {"limit": 32 * MiB}})
    assert status == 0 and "oom_kill 1" in out, out
    status, out = run(guest, "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done", {"pids": {"limit": 5}})
    assert status != 0 and "fork" in out, out
    status, out = run(guest, "timeout 5 sh -c 'while :; do :; done' 2>/dev/null; cat /sys/fs/cgroup/cpu/cpu.stat; nproc",
                      {"cpu": {"quota": 20000, "period": 100000, "cpus": "1"}})
    stat = dict(line.split() for line in out.splitlines()[:-1])
    assert status == 0 and int(stat["nr_throttled"]) > 10 and out.split()[-1] == "1", out


def test_scope_and_its_files(guest):
    bundle = guest.bundle("held", "sleep 1000", FULL, cgroupsPath="test-a.slice:docker:web")
    guest.ok(f"{OCI} create --bundle {bundle} web >/tmp/web.out && abyme-oci start web")
    group = "test.slice/test-a.slice/docker-web.scope"
    assert values(guest, group) == [str(64 * MiB), "77", "30000", "512", "0-1"]
    guest.ok("systemctl daemon-reload")
    assert values(guest, group) == [str(64 * MiB), "77", "30000", "512", "0-1"], "systemd keeps what it was told"
    pid = json.loads(guest.ok("abyme-oci state web"))["pid"]
    inside = {line.split(":", 2)[2] for line in guest.ok(f"cat /proc/{pid}/cgroup").splitlines()}
    assert inside == {"/" + group}, "in every hierarchy"
    guest.ok("abyme-oci exec web true && abyme-oci pause web")
    assert json.loads(guest.ok("abyme-oci state web"))["status"] == "paused"
    guest.ok("abyme-oci resume web && abyme-oci update --memory 32M --pids-limit 55 --cpu-quota 50000 --cpu-share 1024 --cpuset-cpus 0 web")
    assert guest.show("docker-web.scope", "MemoryLimit", "TasksMax", "CPUQuotaPerSecUSec", "CPUShares") == {
        "MemoryLimit": str(32 * MiB), "TasksMax": "55", "CPUQuotaPerSecUSec": "500ms", "CPUShares": "1024"}
    guest.ok("systemctl daemon-reload")
    assert values(guest, group) == [str(32 * MiB), "55", "50000", "1024", "0"]
    guest.ok("abyme-oci kill web KILL")
    guest.wait("[ $(abyme-oci state web | grep -c stopped) = 1 ]")
    guest.ok("abyme-oci delete web")
    assert guest.show("docker-web.scope", "LoadState") == {"LoadState": "not-found"}
    guest.ok("systemctl stop test-a.slice test.slice")


def test_properties_are_those_of_runc(guest):
    seen = guest.by_each_runtime(FULL, lambda: (guest.show("docker-same.scope", *SHOWN), values(guest, "system.slice/docker-same.scope")))
    assert seen["abyme-oci"] == seen["runc"]


def test_create_that_is_killed(guest):
    bundle = guest.bundle("torn", "sleep 1000", {"memory": {"limit": 64 * MiB}})
    guest.ok("for ms in 005 010 020 045 080 130 200 300; do "
             f"timeout -s KILL 0.$ms {OCI} create --bundle {bundle} t-torn >/dev/null 2>&1; "
             "abyme-oci delete --force t-torn || exit 1; done", 180)
    guest.wait("[ -z \"$(systemctl list-units --all --plain --no-legend 'abyme-*')\" ]")


def test_podman(guest):
    podman = "podman --runtime /usr/local/bin/abyme-oci --cgroup-manager systemd"
    guest.ok(f"tar -C /srv/rootfs -c . | {podman} import - box", 300)
    limit = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
    assert "33554432" in guest.ok(f"{podman} run --rm --network none --memory 32m box cat {limit}", 300)
    guest.ok(f"{podman} run -d --name pod --network none --memory 64m --pids-limit 50 box sleep 1000", 300)
    cid = guest.ok(f"{podman} inspect -f '{{{{.Id}}}}' pod", 120).strip()
    assert guest.show(f"libpod-{cid}.scope", "TasksMax", "ActiveState") == {"TasksMax": "50", "ActiveState": "active"}
    assert guest.ok(f"{podman} exec pod cat {limit}", 120).strip() == str(64 * MiB)
    guest.ok(f"{podman} pause pod && {podman} unpause pod && {podman} stop -t 1 pod && {podman} rm pod", 120)
    assert guest.show(f"libpod-{cid}.scope", "LoadState") == {"LoadState": "not-found"}
