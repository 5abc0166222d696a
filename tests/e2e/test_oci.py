# SPDX-License-Identifier: GPL-2.0-or-later
"""abyme-oci: what runtime-spec promises, seen from inside a container."""
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from oci import OCI, Bundle
from patience import deadline, patience, wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers with the host's users need root")


@pytest.fixture
def bundle(tmp_path):
    b = Bundle(tmp_path)
    yield b
    b.close()


def test_links_only_what_it_needs():
    out = subprocess.run(["ldd", OCI], capture_output=True, text=True, check=True).stdout
    names = {re.split(r"[.\s]", line.strip().split("/")[-1] if line.strip().startswith("/") else line.strip())[0]
             for line in out.splitlines()}
    if "libasan" in names:
        pytest.skip("a sanitized build needs more")
    assert names <= {"linux-vdso", "libseccomp", "libc", "ld-linux-x86-64"}, names


def test_life(bundle):
    assert bundle.create("echo started; sleep 1000") == (0, "")
    state = bundle.state()
    assert state["status"] == "created" and state["pid"] > 0 and state["bundle"] == bundle.path
    assert bundle("delete", bundle.id)[0] == 1, "a created container must not go without --force"
    assert bundle.output() == ""
    bundle.ok("start", bundle.id)
    wait_for(lambda: "started" in bundle.output())
    assert bundle.state()["status"] == "running"
    assert bundle("start", bundle.id)[0] == 1
    assert bundle.create()[0] == 1, "the ID is taken"
    assert json.loads(bundle.ok("list", "--format", "json"))[0]["id"] == bundle.id
    bundle.ok("kill", bundle.id, "KILL")
    wait_for(lambda: bundle.state()["status"] == "stopped")
    status, out = bundle("kill", bundle.id, "TERM")
    assert status == 1 and "not running" in out
    bundle.ok("delete", bundle.id)
    status, out = bundle("state", bundle.id)
    assert status == 1 and "does not exist" in out
    bundle.ok("delete", "--force", bundle.id)


def test_exit_status_and_output(bundle):
    assert bundle.run("echo out; echo err >&2; exit 42") == (42, "out\nerr\n")
    assert bundle.run("sh -c 'kill -9 $$'; exit $?")[0] == 128 + 9
    assert bundle.run("cat", text="through")[1] == "through"


def test_pid_file_and_log(bundle):
    assert bundle.create("sleep 1000", "--pid-file", f"{bundle.path}/pid")[0] == 0
    with open(f"{bundle.path}/pid", encoding="ascii") as f:
        assert int(f.read()) == bundle.state()["pid"]
    log = f"{bundle.path}/log.json"
    assert bundle("--log", log, "--log-format", "json", "start", "nothere")[0] == 1
    with open(log, encoding="utf-8") as f:
        entry = json.loads(f.read())
    assert entry["level"] == "error" and "nothere" in entry["msg"]


def test_inside(bundle):
    status, out = bundle.run("""
        hostname; echo pid $$; readlink /proc/self/fd/0 >/dev/null; ls /proc/self/fd | wc -l
        grep -E 'Cap(Eff|Bnd|Inh|Amb)|NoNewPrivs' /proc/self/status | tr '\\t' ' '
        ls -l /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty | cut -c1-10 | sort | uniq -c 2>/dev/null
        readlink /dev/ptmx; readlink /dev/stdin; cat /proc/self/cgroup | cut -d: -f3 | sort -u
        echo x 2>/dev/null >/proc/sys/kernel/msgmax || echo sysctl read-only
        head -c 1 /proc/timer_list | wc -c; ls /sys/firmware | wc -l; pwd; env""")
    assert status == 0, out
    for line in ("inside", "pid 1", "CapEff: 00000000080404eb", "CapBnd: 00000000080404eb", "CapInh: 0000000000000000",
                 "CapAmb: 0000000000000000", "NoNewPrivs: 1", "pts/ptmx", "/proc/self/fd/0", "sysctl read-only",
                 "HOME=/root", "PATH=/bin"):
        assert line in out.splitlines(), (line, out)
    assert re.search(r"^/$", out, re.M), "the cgroup namespace's root is the container's group"
    assert "\n0\n0\n/\n" in out, "masked file and folder are empty"


def test_user(bundle):
    p = bundle.config["process"]
    p["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 0o77}
    p["cwd"] = "/made/for/me"
    status, out = bundle.run("id -u; id -g; id -G; umask; pwd; grep CapEff /proc/self/status | tr '\\t' ' '; env")
    assert status == 0
    assert out.split("\n")[:6] == ["1000", "1001", "1001 7 8", "0077", "/made/for/me", "CapEff: 0000000000000000"]
    assert "HOME=/home/user" in out


def test_rlimits_and_oom(bundle):
    p = bundle.config["process"]
    p["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    p["oomScoreAdj"] = 500
    status, out = bundle.run("ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj")
    assert (status, out.split()) == (0, ["100", "200", "0", "500"])


def test_mount_options(bundle):
    os.makedirs(f"{bundle.path}/host/sub")
    with open(f"{bundle.path}/file", "w", encoding="ascii") as f:
        f.write("from the host\n")
    bundle.config["mounts"] += [
        {"destination": "/a/b/ro", "type": "none", "source": f"{bundle.path}/host", "options": ["rbind", "ro", "nosuid"]},
        {"destination": "/etc/file", "type": "bind", "source": f"{bundle.path}/file", "options": ["bind"]},
        {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "mode=1770", "noexec", "nodev"]},
        {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}]
    status, out = bundle.run("""touch /a/b/ro/x 2>/dev/null || echo read-only; ls /a/b/ro
        stat -c %a /t; grep ' /t ' /proc/self/mountinfo; cat /etc/passwd | head -1; mount | grep a/b/ro""")
    assert status == 0, out
    assert out.startswith("read-only\nsub\n1770\n") and "noexec" in out and "size=64k" in out, out
    assert "root:x:0:0" in out and "nosuid" in out.splitlines()[-1], out


def test_readonly_root(bundle):
    bundle.config["root"]["readonly"] = True
    status, out = bundle.run("touch /x 2>/dev/null && echo written; touch /dev/shm/y && echo tmpfs")
    assert (status, out) == (0, "tmpfs\n")


def test_idmapped_mount(bundle):
    os.makedirs(f"{bundle.path}/host")
    with open(f"{bundle.path}/host/f", "w", encoding="ascii"):
        pass
    os.chown(f"{bundle.path}/host/f", 1000, 1000)
    maps = [{"containerID": 1000, "hostID": 5000, "size": 10}]
    bundle.config["mounts"].append({"destination": "/m", "type": "bind", "source": f"{bundle.path}/host",
                                    "options": ["bind"], "uidMappings": maps, "gidMappings": maps})
    status, out = bundle.run("stat -c %u:%g /m/f; touch /m/g 2>&1 | head -1")
    if "cannot map IDs" in out:
        pytest.skip("the file system of the temporary directory has no idmapped mounts")
    assert status == 0 and out.startswith("5000:5000\n"), out


def userns(bundle, base=200000):
    linux = bundle.config["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": base, "size": 65536}]
    os.chmod(bundle.path, 0o755)
    parent = bundle.path
    while parent != "/tmp" and parent != "/":
        os.chmod(parent, os.stat(parent).st_mode | 0o711)
        parent = os.path.dirname(parent)
    for top, dirs, files in os.walk(bundle.rootfs):
        for n in dirs + files + ["."]:
            os.lchown(os.path.join(top, n), base, base)


def test_user_namespace(bundle):
    userns(bundle)
    status, out = bundle.run("id -u; cat /proc/self/uid_map; ls -ln /dev/null | cut -c1; echo x >/dev/null; touch /tmp/f")
    assert status == 0, out
    assert out.split() == ["0", "0", "200000", "65536", "c"]
    assert os.stat(f"{bundle.rootfs}/tmp/f").st_uid == 200000


def test_time_namespace(bundle):
    bundle.config["linux"]["namespaces"].append({"type": "time"})
    bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000, "nanosecs": 0}}
    status, out = bundle.run("cat /proc/uptime")
    assert status == 0 and float(out.split()[0]) > 1000000, out


def test_joined_namespaces(bundle, tmp_path):
    assert bundle.create("sleep 1000")[0] == 0
    pid = bundle.state()["pid"]
    (tmp_path / "second").mkdir()
    other = Bundle(tmp_path / "second")
    try:
        other.config["linux"]["namespaces"] = [
            {"type": t, "path": f"/proc/{pid}/ns/{f}"} for t, f in
            (("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"))] + [{"type": "mount"}]
        del other.config["hostname"]
        status, out = other.run("readlink /proc/self/ns/net; readlink /proc/self/ns/pid; hostname")
        assert status == 0, out
        assert out.split() == [os.readlink(f"/proc/{pid}/ns/{f}") for f in ("net", "pid")] + ["inside"]
        other.config["linux"]["namespaces"][0]["path"] = f"/proc/{pid}/ns/ipc"
        status, out = other.run("true")
        assert status == 1 and "one of that kind" in out
    finally:
        other.close()


def test_host_mount_namespace(bundle):
    linux = bundle.config["linux"]
    linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] != "mount"]
    status, out = bundle.run("readlink /proc/self/ns/mnt; ls -d /root 2>/dev/null")
    assert out.split() == [os.readlink("/proc/self/ns/mnt")], out


def test_unknown_capability(bundle):
    bundle.config["process"]["capabilities"]["bounding"] = ["CAP_NONE", "CAP_KILL"]
    status, out = bundle.run("grep CapBnd /proc/self/status")
    assert status == 0 and "CAP_NONE" in out and "0000000000000020" in out


def test_sysctl(bundle):
    bundle.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}
    assert bundle.run("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced") == (0, "1\n1\n")
    for name in ("kernel.core_pattern", "vm.swappiness", "net/../kernel/core_pattern", "kernel.hostname", "net.."):
        bundle.config["linux"]["sysctl"] = {name: "1"}
        status, out = bundle.run("true")
        assert status == 1 and "sysctl" in out, (name, out)


def test_seccomp(bundle):
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 16},
                     {"names": ["personality"], "action": "SCMP_ACT_ERRNO",
                      "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}]}
    for nnp in (True, False):
        bundle.config["process"]["noNewPrivileges"] = nnp
        status, out = bundle.run("mkdir /x; grep Seccomp: /proc/self/status | tr '\\t' ' '")
        assert status == 0 and "resource busy" in out and "Seccomp: 2" in out, out


def test_seccomp_listener(bundle):
    path = f"{bundle.path}/listener"
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "some words",
        "syscalls": [{"names": ["mkdir", "sendmsg"], "action": "SCMP_ACT_NOTIFY"}]}
    assert bundle.create("echo up; mkdir /x; sleep 1000")[0] == 0
    bundle.ok("start", bundle.id)
    conn = server.accept()[0]
    conn.settimeout(patience(30))
    data, fds, _, _ = socket.recv_fds(conn, 65536, 4)
    state = json.loads(data)
    assert state["metadata"] == "some words" and state["fds"] == ["seccompFd"] and len(fds) == 1
    assert state["pid"] == bundle.state()["pid"] and state["state"]["id"] == bundle.id
    assert "seccomp notify" in os.readlink(f"/proc/self/fd/{fds[0]}")
    wait_for(lambda: "up" in bundle.output())
    for f in fds:
        os.close(f)      # the waiting call fails with ENOSYS
    conn.close()
    server.close()


def hook(path, name, text):
    script = f"{path}/{name}.sh"
    with open(script, "w", encoding="ascii") as f:
        f.write(f"#!/bin/sh\n{text}\n")
    os.chmod(script, 0o755)
    return {"path": script, "args": [name, "one"], "env": ["WHERE=" + str(path)]}


def test_hooks(bundle):
    order = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    for h in order:
        bundle.config.setdefault("hooks", {})[h] = [hook(bundle.path, h, f'cat >"$WHERE/{h}.json"; echo {h} $1 >>"$WHERE/log"')]
    bundle.config["hooks"]["startContainer"] = [
        {"path": "/bin/sh", "args": ["sh", "-c", "cat >/tmp/startContainer.json"]}]
    bundle.config["annotations"] = {"com.example": "x y"}
    assert bundle.create("sleep 1000")[0] == 0
    bundle.ok("start", bundle.id)
    pid = bundle.state()["pid"]
    bundle.ok("delete", "--force", bundle.id)
    with open(f"{bundle.path}/log", encoding="ascii") as f:
        assert f.read().split("\n")[:-1] == [f"{h} one" for h in order if h != "startContainer"]
    for h, status in zip(order, ("creating", "creating", "creating", "created", "running", "stopped")):
        where = f"{bundle.rootfs}/tmp" if h == "startContainer" else bundle.path
        with open(f"{where}/{h}.json", encoding="utf-8") as f:
            state = json.load(f)
        assert (state["id"], state["status"], state["bundle"]) == (bundle.id, status, bundle.path)
        assert status == "stopped" or state["pid"] == pid


@pytest.mark.parametrize("which", ["prestart", "createRuntime", "createContainer"])
def test_hook_that_fails(bundle, which):
    bundle.config["hooks"] = {which: [hook(bundle.path, which, "exit 3")]}
    status, out = bundle.create("true")
    assert status == 1 and "status 3" in out
    bundle.config["hooks"] = {which: [dict(hook(bundle.path, which, "exec sleep 1000"), timeout=1)]}
    status, out = bundle.create("true")
    assert status == 1 and "did not end within 1 s" in out


def test_only_create_makes_the_directory_of_records(bundle):
    """A late call of another verb brings nothing back that is just being removed."""
    bundle.root = f"{bundle.path}/gone/oci"
    for verb in "state", "start", "kill", "exec", "delete":
        assert bundle(verb, bundle.id)[0] == 1
    bundle.ok("list")
    bundle.ok("delete", "--force", bundle.id)
    assert not os.path.exists(f"{bundle.path}/gone")
    assert bundle.run("true") == (0, "")
    assert os.listdir(bundle.root) == []


def test_delete_beside_create(bundle):
    """It waits for the record's lock, and what the record says then is what counts."""
    bundle.config["hooks"] = {"createRuntime": [hook(bundle.path, "createRuntime", 'touch "$WHERE/at-work"; sleep 1')]}
    bundle.sh("sleep 1000").write()
    with subprocess.Popen(bundle.argv("create", "--bundle", bundle.path, "--pid-file", f"{bundle.path}/pid", bundle.id),
                          stdin=subprocess.DEVNULL) as p:
        wait_for(lambda: os.path.exists(f"{bundle.path}/at-work"))
        bundle.ok("delete", "--force", bundle.id, seconds=60)
        assert p.wait(patience(60)) == 0
    with open(f"{bundle.path}/pid", encoding="ascii") as f:
        pid = int(f.read())
    assert not os.path.exists(f"/proc/{pid}/exe"), "nothing of it runs on"


def test_exec(bundle):
    assert bundle.create("sleep 1000")[0] == 0
    bundle.ok("start", bundle.id)
    out = bundle.ok("exec", "--env", "MORE=1", "--cwd", "/room", "--user", "1000:1000", bundle.id, "/bin/sh", "-c",
                    "id -u; pwd; echo $MORE; cat /proc/self/cgroup | cut -d: -f3 | sort -u; hostname")
    assert out.split()[:3] == ["1000", "/room", "1"] and "/" in out.split() and "inside" in out
    assert bundle("exec", bundle.id, "sh", "-c", "exit 7")[0] == 7
    status, out = bundle("exec", bundle.id, "nothing-like-this")
    assert status == 1 and "executable file not found in $PATH" in out
    with open(f"{bundle.path}/process.json", "w", encoding="utf-8") as f:
        json.dump({"args": ["/bin/sh", "-c", "echo from file"], "cwd": "/", "user": {"uid": 0, "gid": 0}}, f)
    assert bundle.ok("exec", "--process", f"{bundle.path}/process.json", bundle.id) == "from file\n"
    bundle.ok("exec", "--detach", "--pid-file", f"{bundle.path}/pid", bundle.id, "sh", "-c",
              "exec sleep 999 >/dev/null 2>&1")
    with open(f"{bundle.path}/pid", encoding="ascii") as f:
        pid = int(f.read())
    assert pid in json.loads(bundle.ok("ps", "--format", "json", bundle.id))
    assert "sleep 999" in bundle.ok("ps", bundle.id)


def receive_terminal(server):
    conn = server.accept()[0]
    conn.settimeout(patience(30))
    fds = socket.recv_fds(conn, 4096, 1)[1]
    conn.close()
    return fds[0]


def read_until(fd, text, seconds=30):
    seen, end = b"", deadline(seconds)
    while text.encode() not in seen and time.monotonic() < end:
        try:
            seen += os.read(fd, 4096)
        except OSError:
            break
    assert text.encode() in seen, seen
    return seen.decode()


def test_terminal(bundle):
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{bundle.path}/tty")
    server.listen()
    bundle.config["process"].update(terminal=True, consoleSize={"width": 91, "height": 17})
    assert bundle.create("tty; stty size; ls -l /dev/console | cut -c1; read x; echo got $x",
                         "--console-socket", f"{bundle.path}/tty")[0] == 0
    fd = receive_terminal(server)
    bundle.ok("start", bundle.id)
    out = read_until(fd, "c\r\n")
    assert "/dev/pts/0" in out or "/dev/console" in out
    assert "17 91" in out
    os.write(fd, b"hello\n")
    read_until(fd, "got hello")
    os.close(fd)
    server.close()


def test_own_terminal(bundle):
    bundle.config["process"]["terminal"] = True
    status, out = bundle.run("test -t 0 && test -t 1 && echo is a terminal; exit 5")
    assert status == 5 and "is a terminal" in out, (status, out)


def test_nothing_is_opened_before_its_rule_is_there(bundle):
    """The container is in its groups while its root is still being mounted; then rules for devices
    come one by one, all is forbidden at first, and those for terminals are the last."""
    for n in range(1000):
        with open(f"{bundle.rootfs}/tmp/{n}", "w", encoding="ascii"):
            pass
    bundle.config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]})
    rules = 400 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 4000      # version 2 takes fewer, and all at once
    bundle.config["linux"].update(devices=[{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5}], resources={"devices": [
        {"allow": True, "type": "c", "major": 240, "minor": n, "access": "r"} for n in range(rules)]})
    bundle.config["process"]["terminal"] = True
    assert bundle.run("head -c 3 /dev/mine | wc -c") == (0, "3\n")


def test_pause_and_events(bundle):
    assert bundle.create("while :; do date +%s%N >/tmp/now; done")[0] == 0
    bundle.ok("start", bundle.id)
    now = f"{bundle.rootfs}/tmp/now"
    wait_for(lambda: os.path.exists(now))
    bundle.ok("pause", bundle.id)
    assert bundle.state()["status"] == "paused"
    before = os.stat(now).st_mtime_ns
    time.sleep(0.3)
    assert os.stat(now).st_mtime_ns == before
    assert bundle("exec", bundle.id, "true")[0] == 1
    bundle.ok("resume", bundle.id)
    wait_for(lambda: os.stat(now).st_mtime_ns != before)
    data = json.loads(bundle.ok("events", "--stats", bundle.id))["data"]
    assert data["cpu"]["usage"]["total"] > 0 and data["pids"]["current"] >= 1 and data["memory"]["usage"]["usage"] > 0
    bundle.ok("pause", bundle.id)
    bundle.ok("delete", "--force", bundle.id)


def test_limits(bundle):
    bundle.config["linux"]["resources"] = {
        "memory": {"limit": 32 << 20}, "pids": {"limit": 10}, "cpu": {"shares": 512, "quota": 2000, "period": 100000}}
    started = time.monotonic()
    assert bundle.create("while :; do :; done")[0] == 0
    bundle.ok("start", bundle.id)

    def cpu():
        return json.loads(bundle.ok("events", "--stats", bundle.id))["data"]["cpu"]
    wait_for(lambda: cpu()["throttling"]["throttledPeriods"] > 10)
    used, seconds = cpu()["usage"]["total"] / 1e9, time.monotonic() - started
    assert used < 0.05 * seconds + 0.1, (used, seconds)
    bundle.ok("update", "--cpu-quota", "80000", bundle.id)
    status, out = bundle("exec", bundle.id, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 >/dev/null 2>&1 & done")
    assert "can't fork" in out, out
    status, out = bundle("exec", bundle.id, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1")
    assert status in (137, 1), (status, out)
    bundle.ok("update", "--memory", "64M", "--pids-limit", "20", bundle.id)
    data = json.loads(bundle.ok("events", "--stats", bundle.id))["data"]
    assert data["memory"]["usage"]["limit"] == 64 << 20 and data["pids"]["limit"] == 20
    bundle.ok("update", "--resources", "-", bundle.id, text=json.dumps({"pids": {"limit": 30}}))
    assert json.loads(bundle.ok("events", "--stats", bundle.id))["data"]["pids"]["limit"] == 30


def test_devices(bundle):
    bundle.config["linux"]["devices"] = [
        {"path": "/dev/mine/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o620, "uid": 3, "gid": 4},
        {"path": "/dev/pipe", "type": "p"}]
    status, out = bundle.run("stat -c %a:%u:%g /dev/mine/zero; head -c 3 /dev/mine/zero | wc -c; test -p /dev/pipe && echo pipe;"
                             "mknod /tmp/vda b 254 0 && head -c 1 /tmp/vda 2>&1 | head -1")
    assert status == 0, out
    assert out.startswith("620:3:4\n3\npipe\n") and "not permitted" in out, out


def test_config_is_kept(bundle):
    assert bundle.create("echo first; sleep 1000")[0] == 0
    bundle.sh("echo second").write()
    bundle.ok("start", bundle.id)
    wait_for(lambda: bundle.output())
    assert bundle.output() == "first\n"


def test_kill_all_without_pid_namespace(bundle):
    linux = bundle.config["linux"]
    linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] != "pid"]
    assert bundle.create("sleep 1000 & sleep 1000 & wait")[0] == 0
    bundle.ok("start", bundle.id)
    pids = wait_for(lambda: (p := json.loads(bundle.ok("ps", "--format", "json", bundle.id))) and len(p) == 3 and p)
    bundle.ok("kill", "--all", bundle.id, "KILL")
    wait_for(lambda: not any(os.path.exists(f"/proc/{p}/root/bin") for p in pids))


def test_preserved_descriptors(bundle):
    bundle.sh("echo kept >&3; test -e /proc/self/fd/4 || echo closed").write()
    command = 'exec 3>"$0/kept" 4>"$0/closed"; exec "$@"'
    p = subprocess.run(["sh", "-c", command, bundle.path,
                        *bundle.argv("run", "--preserve-fds", "1", "--bundle", bundle.path, bundle.id)],
                       capture_output=True, text=True, timeout=patience(60), check=False)
    assert (p.returncode, p.stdout) == (0, "closed\n"), p.stderr
    with open(f"{bundle.path}/kept", encoding="ascii") as f:
        assert f.read() == "kept\n"


def test_systemd_cgroup_where_it_cannot_be(bundle):
    """Here are control groups of version 1, or no systemd; where both is right, tests/campaign has it."""
    bundle.sh("true").write()
    p = subprocess.run(bundle.argv("--systemd-cgroup", "run", "--bundle", bundle.path, bundle.id), stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=patience(60), check=False,
                       env=dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS="unix:path=/nonexistent"))
    if os.path.exists("/run/systemd/private"):
        pytest.skip("systemd runs here")
    assert p.returncode == 1 and "cgroupfs" in p.stdout and len(p.stdout.splitlines()) == 1, p.stdout


def test_features_and_spec(bundle, tmp_path):
    f = json.loads(bundle.ok("features"))
    assert "ridmap" not in f["hooks"] and "rro" in f["mountOptions"] and f["linux"]["seccomp"]["enabled"]
    (tmp_path / "new").mkdir()
    bundle.ok("spec", "--bundle", str(tmp_path / "new"))
    with open(tmp_path / "new" / "config.json", encoding="utf-8") as c:
        config = json.load(c)
    assert config["ociVersion"].startswith("1.")
    config["process"].update(terminal=False, args=["/bin/true"])
    config["root"]["path"] = "rootfs"
    bundle.config = config
    assert bundle.run() == (0, "")
    assert bundle("spec", "--bundle", str(tmp_path / "new"))[0] == 1, "spec does not overwrite"


def test_signal_is_passed_on(bundle):
    bundle.sh("trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.1; done").write()
    p = subprocess.Popen(bundle.argv("run", "--bundle", bundle.path, bundle.id), stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == "ready\n"
    p.send_signal(signal.SIGTERM)
    assert p.stdout.readline() == "caught\n"
    assert p.wait(patience(30)) == 3
    p.stdout.close()


@pytest.fixture
def open_bundle(open_path):
    b = Bundle(open_path)
    yield b
    b.close()


def test_rootless(open_bundle):
    bundle = open_bundle
    user, group = 65534, 65534
    for top, dirs, files in os.walk(bundle.path):
        for n in dirs + files + ["."]:
            os.lchown(os.path.join(top, n), user, group)
    linux = bundle.config["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = [{"containerID": 0, "hostID": user, "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": group, "size": 1}]
    bundle.sh("id -u; id -g; cat /proc/self/uid_map; echo x >/dev/null && touch /tmp/f").write()
    os.chmod(f"{bundle.path}/config.json", 0o644)

    def as_user(*args):
        return subprocess.run(bundle.argv(*args), capture_output=True, text=True, timeout=patience(60), check=False, user=user,
                              group=group, extra_groups=[])
    if subprocess.run([OCI, "--version"], user=user, group=group, check=False, capture_output=True).returncode:
        pytest.skip("an ordinary user cannot reach the program")
    p = as_user("run", "--bundle", bundle.path, bundle.id)
    assert p.returncode == 0, p.stderr
    assert p.stdout.split() == ["0", "0", "0", "65534", "1"], p.stdout
    linux["resources"] = {"memory": {"limit": 1 << 25}}
    bundle.write()
    os.chmod(f"{bundle.path}/config.json", 0o644)
    p = as_user("run", "--bundle", bundle.path, bundle.id)
    assert p.returncode == 1 and "memory" in p.stderr and "may write" in p.stderr, p.stderr
