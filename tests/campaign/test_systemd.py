# SPDX-License-Identifier: GPL-2.0-or-later
"""The runtime where systemd rules and control groups are version 2 alone: limits that hold, made by the runtime
itself and as scopes of systemd, as root and as an ordinary user with what systemd delegates."""
import json
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import systemd_guest  # noqa: E402  pylint: disable=wrong-import-position

MiB = 1 << 20
OCI = {"plain": "abyme-oci", "systemd": "abyme-oci --systemd-cgroup"}


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    yield from systemd_guest.started(tmp_path_factory)


@pytest.fixture(autouse=True)
def nothing_left(guest):
    """No unit, no control group, no record, no process in a container's root."""
    yield
    left = guest("for i in $(abyme-oci list -q); do abyme-oci delete --force $i; done; "
                 "systemctl list-units --all --plain --no-legend 'abyme-*' 'test-*'; systemctl list-units --all --plain --no-legend "
                 "'docker-*.scope'; find /sys/fs/cgroup -name 'abyme*' -o -name 't-*'; ls /run/abyme-oci")[1]
    assert not left.strip(), left


def put_hold(guest, kind, resources, script="sleep 1000", name="held", **linux):
    """A container that runs on; the end of it is whoever called's."""
    bundle = guest.bundle(name, script, resources, **linux)
    guest.ok(f"{OCI[kind]} create --bundle {bundle} {name} >/tmp/{name}.out && abyme-oci start {name}")


def run(guest, kind, script, resources, seconds=60, **linux):
    bundle = guest.bundle("run", script, resources, **linux)
    return guest(f"{OCI[kind]} run --bundle {bundle} t-run", seconds)


def test_guest_is_what_it_should_be(guest):
    assert guest.ok("stat -fc %T /sys/fs/cgroup").strip() == "cgroup2fs"
    assert guest.ok("grep -c cgroup /proc/mounts").strip() == "1"
    assert guest.ok("cat /proc/1/comm").strip() == "systemd"


@pytest.mark.parametrize("kind", OCI)
def test_memory(guest, kind):
    status, out = run(guest, kind, "tail /dev/zero; echo $?; cat /sys/fs/cgroup/memory.events", {"memory": {"limit": 32 * MiB}})
    assert status == 0 and out.split("\n")[0] in ("137", "Killed"), out
    assert "oom_kill 1" in out, out


@pytest.mark.parametrize("kind", OCI)
def test_cpu_quota(guest, kind):
    script = ("a=$(cut -d' ' -f1 /proc/uptime); timeout 5 sh -c 'while :; do :; done' 2>/dev/null; b=$(cut -d' ' -f1 /proc/uptime); "
              "echo $a $b; cat /sys/fs/cgroup/cpu.stat")
    status, out = run(guest, kind, script, {"cpu": {"quota": 20000, "period": 100000}})
    assert status == 0, out
    lines = out.splitlines()
    before, after = map(float, lines[0].split())
    stat = dict(line.split() for line in lines[1:])
    used = int(stat["usage_usec"]) / 1e6
    assert int(stat["nr_throttled"]) > 10 and after - before > 4, out
    assert 0.3 < used < 0.3 * (after - before) + 0.3, (used, after - before)


@pytest.mark.parametrize("kind", OCI)
def test_pids(guest, kind):
    script = ("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 2 & done; cat /sys/fs/cgroup/pids.current")
    status, out = run(guest, kind, script, {"pids": {"limit": 6}})
    assert status != 0 and "fork" in out, (status, out)
    script = "cat /sys/fs/cgroup/pids.max; (for i in 1 2 3 4 5 6 7 8; do sleep 1 & done) 2>/dev/null; read x </sys/fs/cgroup/pids.events; echo $x"
    status, out = run(guest, kind, script, {"pids": {"limit": 6}})
    assert status == 0 and out.split()[:2] == ["6", "max"] and int(out.split()[2]) > 0, out


@pytest.mark.parametrize("kind", OCI)
def test_block_io(guest, kind):
    major, minor = map(int, guest.data.split(":"))
    device = {"path": "/dev/data", "type": "b", "major": major, "minor": minor}
    script = ("a=$(cut -d' ' -f1 /proc/uptime); dd if=/dev/data of=/dev/null iflag=direct bs=64k count=64 2>/dev/null || exit 9; "
              "b=$(cut -d' ' -f1 /proc/uptime); echo $a $b; cat /sys/fs/cgroup/io.max")
    resources = {"devices": [{"allow": True, "type": "b", "major": major, "minor": minor, "access": "r"}],
                 "blockIO": {"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": MiB}]}}
    status, out = run(guest, kind, script, resources, devices=[device])
    assert status == 0 and f"{major}:{minor} rbps={MiB}" in out, (status, out)
    before, after = map(float, out.split()[:2])
    assert 3 < after - before < 20, out


@pytest.mark.parametrize("kind", OCI)
def test_cpuset_and_weight(guest, kind):
    status, out = run(guest, kind, "nproc; cat /sys/fs/cgroup/cpuset.cpus /sys/fs/cgroup/cpu.weight",
                      {"cpu": {"cpus": "1", "shares": 2048}})
    assert (status, out.split()) == (0, ["1", "1", "79"]), out


FULL = {"memory": {"limit": 64 * MiB, "reservation": 16 * MiB, "swap": 96 * MiB}, "pids": {"limit": 77},
        "cpu": {"quota": 30000, "period": 100000, "shares": 512, "cpus": "0-1"}}
SHOWN = ("MemoryMax", "MemoryLow", "MemorySwapMax", "TasksMax", "CPUQuotaPerSecUSec", "CPUWeight", "AllowedCPUs")


def test_scope_and_its_properties(guest):
    put_hold(guest, "systemd", FULL, name="web", cgroupsPath="test-a.slice:docker:web")
    unit = "docker-web.scope"
    shown = guest.show(unit, *SHOWN, "Slice", "ControlGroup", "Delegate", "ActiveState", "Description", "CollectMode", "DefaultDependencies")
    assert shown == {"MemoryMax": str(64 * MiB), "MemoryLow": str(16 * MiB), "MemorySwapMax": str(32 * MiB), "TasksMax": "77",
                     "CPUQuotaPerSecUSec": "300ms", "CPUWeight": "20", "AllowedCPUs": "0-1", "Slice": "test-a.slice",
                     "ControlGroup": f"/test.slice/test-a.slice/{unit}", "Delegate": "yes", "ActiveState": "active",
                     "Description": "container web", "CollectMode": "inactive-or-failed", "DefaultDependencies": "no"}
    group = f"/sys/fs/cgroup/test.slice/test-a.slice/{unit}"
    files = f"cd {group}; cat memory.max memory.low memory.swap.max pids.max cpu.max cpu.weight cpuset.cpus"
    expected = [str(64 * MiB), str(16 * MiB), str(32 * MiB), "77", "30000", "100000", "20", "0-1"]
    assert guest.ok(files).split() == expected
    guest.ok("systemctl daemon-reload")
    assert guest.ok(files).split() == expected, "systemd keeps what it was told"
    pid = json.loads(guest.ok("abyme-oci state web"))["pid"]
    assert guest.ok(f"cat /proc/{pid}/cgroup").strip() == f"0::/test.slice/test-a.slice/{unit}"

    assert guest.ok("abyme-oci exec web cat /proc/self/cgroup").strip() == "0::/"
    guest.ok("abyme-oci pause web")
    assert json.loads(guest.ok("abyme-oci state web"))["status"] == "paused"
    guest.ok("abyme-oci resume web")

    guest.ok("abyme-oci update --memory 32M --memory-swap 40M --pids-limit 55 --cpu-quota 50000 --cpu-share 1024 --cpuset-cpus 0 web")
    shown = guest.show(unit, *SHOWN)
    assert shown == {"MemoryMax": str(32 * MiB), "MemoryLow": str(16 * MiB), "MemorySwapMax": str(8 * MiB), "TasksMax": "55",
                     "CPUQuotaPerSecUSec": "500ms", "CPUWeight": "39", "AllowedCPUs": "0"}
    guest.ok("systemctl daemon-reload")
    assert guest.ok(files).split() == [str(32 * MiB), str(16 * MiB), str(8 * MiB), "55", "50000", "100000", "39", "0"]

    guest.ok("abyme-oci kill web KILL")
    guest.wait("[ $(abyme-oci state web | grep -c stopped) = 1 ]")
    guest.ok("abyme-oci delete web")
    assert guest.show(unit, "LoadState") == {"LoadState": "not-found"}
    guest.ok(f"[ ! -e {group} ]")
    guest.ok("systemctl stop test.slice test-a.slice")


def test_properties_are_those_of_runc(guest):
    """The same bundle by Debian's runc: systemd shows the same."""
    seen = guest.by_each_runtime(FULL, lambda: guest.show("docker-same.scope", *SHOWN, "Slice", "ControlGroup", "Delegate", "CPUQuotaPeriodUSec"))
    assert seen["abyme-oci"] == seen["runc"]


def test_default_name_escapes(guest):
    put_hold(guest, "systemd", {}, name="a+b")
    assert guest.show("abyme-a\\x2bb.scope", "ActiveState", "Slice") == {"ActiveState": "active", "Slice": "system.slice"}
    guest.ok("abyme-oci delete --force a+b")
    assert guest.show("abyme-a\\x2bb.scope", "LoadState") == {"LoadState": "not-found"}


def test_stopped_by_systemd(guest):
    """Who stops the unit stops the container."""
    put_hold(guest, "systemd", {}, script="exec sleep 1000")
    guest.ok("systemctl kill -s KILL abyme-held.scope")
    guest.wait("[ $(abyme-oci state held | grep -c stopped) = 1 ]")
    guest.ok("abyme-oci delete held")


def test_annotations(guest):
    note = "org.systemd.property."
    put_hold(guest, "systemd", {}, annotations={f"{note}TimeoutStopUSec": "uint64 7000000", f"{note}Description": "'my words'"})
    assert guest.show("abyme-held.scope", "TimeoutStopUSec", "Description") == {"TimeoutStopUSec": "7s", "Description": "my words"}
    guest.ok("abyme-oci delete --force held")
    bundle = guest.bundle("bad", "true", {}, annotations={f"{note}NoSuchThing": "true"})
    status, out = guest(f"{OCI['systemd']} run --bundle {bundle} t-bad")
    assert status == 1 and "abyme-t-bad.scope" in out and "NoSuchThing" in out and len(out.splitlines()) == 1, out


def test_bad_path(guest):
    for path, says in (("/a/b", "SLICE:PREFIX:NAME"), ("a:b:c", "slice")):
        bundle = guest.bundle("bad", "true", {}, cgroupsPath=path)
        status, out = guest(f"{OCI['systemd']} run --bundle {bundle} t-bad")
        assert status == 1 and says in out and len(out.splitlines()) == 1, out


def test_create_that_is_killed(guest):
    """At any moment: delete --force leaves nothing."""
    bundle = guest.bundle("torn", "sleep 1000", {"memory": {"limit": 64 * MiB}})
    guest.ok("for ms in 002 005 010 020 030 045 060 080 100 130 160 200 250 300 400; do "
             f"timeout -s KILL 0.$ms {OCI['systemd']} create --bundle {bundle} t-torn >/dev/null 2>&1; "
             "abyme-oci delete --force t-torn || exit 1; done", 180)
    guest.wait("[ -z \"$(systemctl list-units --all --plain --no-legend 'abyme-*')\" ]")


# ---- the ordinary user ----

@pytest.fixture(scope="module")
def lingering(guest):
    """With a systemd of his own."""
    guest.ok("loginctl enable-linger someone")
    guest.wait(guest.user("systemctl --user is-system-running --wait >/dev/null 2>&1; systemctl --user show -p Version >/dev/null 2>&1"))
    return guest


def as_user(guest, kind, script, resources, lingers=True):
    bundle = guest.bundle("user", script, resources, rootless=True)
    return guest(guest.user(f"{OCI[kind]} run --bundle {bundle} t-user", lingers))


def test_user_without_his_systemd(guest):
    """Before he lingers there is none to ask."""
    status, out = as_user(guest, "systemd", "true", {}, False)
    assert status == 1 and "login" in out and len(out.splitlines()) == 1, out


def test_user_without_delegation(guest):
    """Nothing that he may write: without a limit it runs, a limit is refused."""
    status, out = as_user(guest, "plain", "id -u", {}, False)
    assert (status, out) == (0, "0\n")
    for resources, file in (({"memory": {"limit": 64 * MiB}}, "memory.max"), ({"pids": {"limit": 9}}, "pids.max"),
                            ({"cpu": {"quota": 10000}}, "cpu.max"), ({"cpu": {"cpus": "0"}}, "cpuset.cpus")):
        status, out = as_user(guest, "plain", "true", resources, False)
        assert status == 1 and file in out and "this user may write" in out and len(out.splitlines()) == 1, out


def test_user_limits_hold(lingering):
    guest = lingering
    status, out = as_user(guest, "systemd", "tail /dev/zero; echo $?; cat /sys/fs/cgroup/memory.events",
                          {"memory": {"limit": 32 * MiB}})
    assert status == 0 and "oom_kill 1" in out, out
    status, out = as_user(guest, "systemd", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done", {"pids": {"limit": 5}})
    assert status != 0 and "fork" in out, out
    delegated = guest.ok(f"cat /sys/fs/cgroup/user.slice/user-{systemd_guest.USER}.slice/user@{systemd_guest.USER}.service/cgroup.controllers")
    assert {"memory", "pids"} <= set(delegated.split())
    status, out = as_user(guest, "systemd", "cat /sys/fs/cgroup/cpuset.cpus", {"cpu": {"cpus": "0"}})
    assert "cpuset" not in delegated.split(), "the next lines are for Debian's default"
    assert status == 1 and "'cpuset' controller is not delegated" in out and len(out.splitlines()) == 1, out


def test_user_scope(lingering):
    guest = lingering
    bundle = guest.bundle("user", "sleep 1000", {"memory": {"limit": 64 * MiB}, "pids": {"limit": 40}}, rootless=True)
    guest.ok(guest.user(f"{OCI['systemd']} create --bundle {bundle} mine >/tmp/mine.out && abyme-oci start mine"))
    unit, top = "abyme-mine.scope", f"/user.slice/user-{systemd_guest.USER}.slice/user@{systemd_guest.USER}.service"
    shown = guest.show(unit, "MemoryMax", "TasksMax", "Slice", "ControlGroup", user=True)
    assert shown == {"MemoryMax": str(64 * MiB), "TasksMax": "40", "Slice": "user.slice", "ControlGroup": f"{top}/user.slice/{unit}"}
    assert guest.ok(guest.user("abyme-oci exec mine cat /sys/fs/cgroup/memory.max")).strip() == str(64 * MiB)
    inside = guest.ok(guest.user("abyme-oci exec mine cat /proc/self/cgroup")).strip()
    assert inside == "0::/", "what comes later is in the scope, too"
    guest.ok(guest.user("abyme-oci update --memory 48M --pids-limit 30 mine"))
    assert guest.show(unit, "MemoryMax", "TasksMax", user=True) == {"MemoryMax": str(48 * MiB), "TasksMax": "30"}
    assert guest.ok(f"cat /sys/fs/cgroup{top}/user.slice/{unit}/memory.max").strip() == str(48 * MiB)
    guest.ok(guest.user("abyme-oci pause mine && abyme-oci resume mine"))
    guest.ok(guest.user("abyme-oci kill mine KILL"))
    guest.wait(guest.user("abyme-oci state mine | grep -q stopped"))
    guest.ok(guest.user("abyme-oci delete mine"))
    assert guest.show(unit, "LoadState", user=True) == {"LoadState": "not-found"}
    guest.ok(f"[ ! -e /sys/fs/cgroup{top}/user.slice/{unit} ] && [ -z \"$(ls /run/user/{systemd_guest.USER}/abyme-oci)\" ]")


def test_user_with_all_delegated(lingering):
    guest = lingering
    guest.ok("mkdir -p /etc/systemd/system/user@.service.d; printf '[Service]\\nDelegate=yes\\n' "
             f">/etc/systemd/system/user@.service.d/all.conf; systemctl daemon-reload; systemctl restart user@{systemd_guest.USER}.service")
    guest.wait(guest.user("systemctl --user show -p Version >/dev/null 2>&1"))
    status, out = as_user(guest, "systemd", "nproc; cat /sys/fs/cgroup/cpuset.cpus /sys/fs/cgroup/cpu.max",
                          {"cpu": {"cpus": "1", "quota": 40000, "period": 100000}})
    assert (status, out.split()) == (0, ["1", "1", "40000", "100000"]), out


# ---- images ----

def test_images(guest):
    """The limits of abyme run, by their words."""
    guest.ok("abyme load /t/box.tar", 120)
    show = "cd /sys/fs/cgroup; cat memory.max memory.swap.max pids.max cpu.max cpuset.cpus"
    out = guest.ok(f"abyme run --rm --isolation container --memory 32M --pids 21 --cpus 0.5 --cpuset 1 box sh -c '{show}'")
    assert out.split() == [str(32 * MiB), "0", "21", "50000", "100000", "1"]
    status, out = guest("abyme run --rm --isolation container --memory 32M box tail /dev/zero")
    assert status == 137, out
    guest.ok("abyme run -d --isolation container --name web --memory 64M box sh -c 'while :; do echo x >/x; sleep 1; done'")
    assert json.loads(guest.ok("abyme stats --format json web"))["memory"]["usage"]["limit"] == 64 * MiB
    guest.ok("abyme update web --memory 48M --pids 30 --cpus 0.2")
    assert guest.ok("abyme exec web sh -c 'cd /sys/fs/cgroup; cat memory.max pids.max cpu.max'").split() == [str(48 * MiB), "30", "20000", "100000"]
    guest.ok("abyme pause web && abyme unpause web && abyme top web && abyme cp web:/x /tmp/x && abyme kill web")
    guest.wait("! abyme exec web true 2>/dev/null")
    guest.ok("abyme rm --force web")


def test_images_of_a_user(lingering):
    """His systemd makes the groups; without it a limit is refused."""
    guest = lingering
    run = "abyme load /t/box.tar >/dev/null && abyme run --rm --isolation container"
    out = guest.ok(guest.user(f"{run} --memory 32M --pids 21 box sh -c 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max'"), 120)
    assert out.split() == [str(32 * MiB), "21"]
    status, out = guest(guest.user(f"{run} --memory 32M box tail /dev/zero"), 120)
    assert status == 137, out
    guest.ok(guest.user("abyme run -d --isolation container --name own --memory 64M box sh -c 'echo x >/x; sleep 1000'"), 120)
    shown = guest.show("abyme-own.scope", "MemoryMax", "Slice", user=True)
    assert shown == {"MemoryMax": str(64 * MiB), "Slice": "user.slice"}
    assert guest.ok(guest.user("abyme exec own cat /sys/fs/cgroup/memory.max /proc/self/cgroup")).split() == [str(64 * MiB), "0::/"]
    guest.ok(guest.user("abyme update own --memory 48M --pids 30"))
    assert guest.show("abyme-own.scope", "MemoryMax", "TasksMax", user=True) == {"MemoryMax": str(48 * MiB), "TasksMax": "30"}
    assert json.loads(guest.ok(guest.user("abyme stats --format json own")))["memory"]["usage"]["limit"] == 48 * MiB
    guest.ok(guest.user("abyme pause own && abyme unpause own && abyme kill own"))
    guest.wait(guest.user("! abyme exec own true 2>/dev/null"))
    guest.ok(guest.user("abyme cp own:/x /tmp/own-x && grep -q x /tmp/own-x && abyme rm --force own"))
    assert guest.show("abyme-own.scope", "LoadState", user=True) == {"LoadState": "not-found"}
    assert guest.ok(guest.user(f"{run} box id -u", False), 120).strip() == "0"
    status, out = guest(guest.user(f"{run} --memory 32M box true", False), 120)
    assert status != 0 and "memory" in out and "this user may write" in out and len(out.splitlines()) == 1, out


# ---- an engine ----

@pytest.mark.parametrize("who", ["root", "someone"])
def test_podman(lingering, who):
    guest = lingering
    sh = guest.user if who == "someone" else lambda c: c
    podman = "podman --runtime /usr/local/bin/abyme-oci --cgroup-manager systemd"
    guest.ok(sh(f"tar -C /srv/rootfs -c . | {podman} import - box"), 300)
    assert "33554432" in guest.ok(sh(f"{podman} run --rm --network none --memory 32m box cat /sys/fs/cgroup/memory.max"), 300)
    guest.ok(sh(f"{podman} run -d --name pod --network none --memory 64m --pids-limit 50 box sleep 1000"), 300)
    cid = guest.ok(sh(f"{podman} inspect -f '{{{{.Id}}}}' pod"), 120).strip()
    user = who == "someone"
    shown = guest.show(f"libpod-{cid}.scope", "MemoryMax", "TasksMax", "Slice", "ActiveState", user=user)
    assert shown == {"MemoryMax": str(64 * MiB), "TasksMax": "50", "Slice": "user.slice" if user else "machine.slice",
                     "ActiveState": "active"}
    assert guest.ok(sh(f"{podman} exec pod cat /sys/fs/cgroup/pids.max"), 120).strip() == "50"
    assert "pod" in guest.ok(sh(f"{podman} stats --no-stream --format '{{{{.Name}}}} {{{{.MemUsage}}}}' pod"), 120)
    guest.ok(sh(f"{podman} pause pod && {podman} unpause pod"), 120)
    guest.ok(sh(f"{podman} stop -t 1 pod && {podman} rm pod"), 120)
    assert guest.show(f"libpod-{cid}.scope", "LoadState", user=user) == {"LoadState": "not-found"}


def test_without_a_message_bus(guest):
    """systemd itself listens, too: a small guest has no D-Bus daemon."""
    guest.ok("systemctl stop dbus.socket dbus.service")
    try:
        status, out = run(guest, "systemd", "cat /sys/fs/cgroup/pids.max", {"pids": {"limit": 21}})
        assert (status, out.strip()) == (0, "21"), out
    finally:
        guest.ok("systemctl start dbus.socket")
