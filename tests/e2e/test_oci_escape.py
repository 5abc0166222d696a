# SPDX-License-Identifier: GPL-2.0-or-later
"""abyme-oci against known ways out of a container, bad bundles, and its own sudden death."""
import contextlib
import ctypes
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import tarfile
import threading
import time

import pytest

from oci import OCI, Bundle, find_cgroups
from patience import patience

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers with the host's users need root")


@pytest.fixture
def bundle(tmp_path):
    b = Bundle(tmp_path)
    yield b
    b.close()


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


OVERWRITE = """
for p in /proc/self/exe /proc/1/exe; do
    (exec 3>>$p) 2>/dev/null && echo opened $p
    cat $p >/dev/null 2>&1 && : >>$p 2>/dev/null && echo wrote $p
done
chmod 777 /proc/1/exe 2>/dev/null && echo chmod
true"""


def test_runtime_is_not_writable_from_inside(bundle):
    """The container's program is the runtime itself: CVE-2019-5736."""
    before = digest(OCI)
    bundle.config["process"]["args"] = ["/proc/self/exe", "--version"]
    bundle.write()
    status, out = bundle("run", "--bundle", bundle.path, bundle.id)
    assert "abyme-oci version" in out or status != 0
    os.symlink("/proc/self/exe", f"{bundle.rootfs}/bin/link")
    with open(f"{bundle.rootfs}/bin/script", "w", encoding="ascii") as f:
        f.write("#!/proc/self/exe\n")
    os.chmod(f"{bundle.rootfs}/bin/script", 0o755)
    for program in ("/bin/link", "/bin/script"):
        bundle.config["process"]["args"] = [program]
        bundle.write()
        bundle("run", "--bundle", bundle.path, bundle.id)
    bundle.config["process"]["capabilities"] = {
        s: ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_FOWNER"] for s in ("bounding", "effective", "permitted")}
    assert bundle.create("""for i in $(seq 300 2>/dev/null || echo 1 2 3 4 5 6 7 8 9); do for p in /proc/[0-9]*; do
        case $(readlink $p/exe) in *abyme*|*memfd*) exec 5<$p/exe; (: >>/proc/self/fd/5) 2>/dev/null && echo wrote;; esac
        done; done; sleep 1000""")[0] == 0
    bundle.ok("start", bundle.id)
    for _ in range(20):
        bundle("exec", bundle.id, "/proc/self/exe", "--version")
        bundle("exec", bundle.id, "true")
    assert "wrote" not in bundle.output()
    assert digest(OCI) == before


def test_waiting_process_is_closed_to_others(bundle):
    """Before `start` the runtime's code runs inside: nobody there may look into it."""
    assert bundle.create("true")[0] == 0
    pid = bundle.state()["pid"]
    exe = os.readlink(f"/proc/{pid}/exe")
    assert os.stat(f"/proc/{pid}/exe").st_ino == os.stat(OCI).st_ino or "memfd" in exe
    with pytest.raises(OSError):
        with open(f"/proc/{pid}/exe", "ab"):
            pass
    # not dumpable: its files in /proc belong to root of the host, whoever it is
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0


def test_no_descriptor_of_the_host(bundle):
    status, out = bundle.run("for f in /proc/self/fd/*; do readlink $f; done; "
                             "for f in /proc/1/fd/*; do readlink $f; done; true")
    assert status == 0 and bundle.root not in out and bundle.rootfs not in out and "socket:" not in out, out


@pytest.mark.parametrize("fd", range(3, 16))
def test_working_directory_through_descriptor(bundle, fd):
    """CVE-2024-21626: a cwd of /proc/self/fd/N that leads to the host's tree."""
    bundle.config["process"]["cwd"] = f"/proc/self/fd/{fd}"
    status, out = bundle.run("pwd; ls ../../../..; cat ../../../../etc/hostname")
    assert status == 1 and "working directory" in out or "cannot make" in out, (status, out)


def test_mount_target_link_stays_inside(bundle):
    host = f"{bundle.path}/host"
    os.makedirs(f"{host}/victim")
    os.makedirs(f"{bundle.path}/source")
    for n, target in enumerate((f"{host}/victim", f"../../../../../../../../..{host}/victim", "/proc/self/cwd", "nowhere/../../x")):
        os.symlink(target, f"{bundle.rootfs}/room/link{n}")
        bundle.config["mounts"].append({"destination": f"/room/link{n}", "type": "bind", "options": ["bind"],
                                        "source": f"{bundle.path}/source"})
    bundle.run("touch /room/link0/mark")
    assert os.listdir(f"{host}/victim") == []


@contextlib.contextmanager
def swapping(bundle, victim):
    """/room/dir is a directory and a link to a host's directory in turn, thousands of times a second."""
    a, b = f"{bundle.rootfs}/room/dir", f"{bundle.rootfs}/room/other"
    os.makedirs(a)
    os.symlink(victim, b)
    libc, stop = ctypes.CDLL(None, use_errno=True), threading.Event()

    def swap():
        while not stop.is_set():
            libc.renameat2(-100, a.encode(), -100, b.encode(), 2)
    t = threading.Thread(target=swap)
    t.start()
    try:
        yield
    finally:
        stop.set()
        t.join()


def test_mount_target_race(bundle):
    """Another container that shares the root swaps a directory for a link, again and again."""
    victim = f"{bundle.path}/victim"
    os.makedirs(victim)
    os.makedirs(f"{bundle.path}/source")
    with swapping(bundle, victim):
        bundle.config["mounts"].append({"destination": "/room/dir/sub", "type": "bind", "options": ["bind"],
                                        "source": f"{bundle.path}/source"})
        for _ in range(40):
            bundle.run("true")
            assert os.listdir(victim) == [], "something was made outside the root"


def test_copy_race(bundle):
    """Copies in and out while a directory on the way becomes a link to one of the host (CVE-2018-15664)."""
    victim = f"{bundle.path}/victim"
    os.makedirs(victim)
    with open(f"{victim}/file", "w", encoding="ascii") as f:
        f.write("secret")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as t:
        t.addfile(tarfile.TarInfo("_"))
    assert bundle.create("sleep 1000")[0] == 0
    with swapping(bundle, victim):
        for n in range(24):
            p = subprocess.run(bundle.argv("archive", "--follow", "--name", "_", bundle.id, "/room/dir/file" if n % 2 else "/room/dir"),
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=patience(20), check=False)
            assert b"secret" not in p.stdout
            subprocess.run(bundle.argv("extract", "--name", "new", bundle.id, "/room/dir/new" if n % 2 else "/room/dir"),
                           input=stream.getvalue(), stderr=subprocess.DEVNULL, timeout=patience(20), check=False)
            assert os.listdir(victim) == ["file"], "something was made outside the root"


def test_proc_over_link_is_refused(bundle):
    os.rmdir(f"{bundle.rootfs}/proc")
    os.symlink("room", f"{bundle.rootfs}/proc")
    status, out = bundle.run("true")
    assert status == 1 and "symbolic link" in out


def test_masked_path_swapped(bundle):
    """A link at the place of /dev/null must not make a mask show something (CVE-2025-31133)."""
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] == "/proc"]
    os.symlink("/proc/sys/kernel/core_pattern", f"{bundle.rootfs}/dev/null")
    status, out = bundle.run("head -c 1 /proc/timer_list | wc -c")
    assert status == 1 or out.strip().endswith("0"), out
    os.unlink(f"{bundle.rootfs}/dev/null")
    with open(f"{bundle.rootfs}/dev/null", "w", encoding="ascii") as f:
        f.write("not a device")
    status, out = bundle.run("true")
    assert status == 1 and "/dev/null" in out


def test_console_link(bundle):
    """/dev/console of the image is a link to a host's file (CVE-2025-52565)."""
    victim = f"{bundle.path}/victim"
    with open(victim, "w", encoding="ascii") as f:
        f.write("v")
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] in ("/proc", "/dev/pts")]
    os.symlink(victim, f"{bundle.rootfs}/dev/console")
    bundle.config["process"]["terminal"] = True
    bundle.run("echo written >/dev/console")
    with open(victim, encoding="ascii") as f:
        assert f.read() == "v"


def test_not_a_devpts(bundle):
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] in ("/proc", "/dev")]
    bundle.config["process"]["terminal"] = True
    status, out = bundle.run("true")
    assert status == 1 and "devpts" in out


def test_release_agent(bundle):
    """cgroup v1 without a user namespace: release_agent and notify_on_release stay out of reach."""
    bundle.config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]})
    status, out = bundle.run("""
        mkdir /tmp/c; mount -t cgroup -o memory x /tmp/c 2>/dev/null && echo mounted
        unshare -m -U true 2>/dev/null; for d in /sys/fs/cgroup/*; do
        echo /x 2>/dev/null >$d/release_agent && echo agent; echo 1 2>/dev/null >$d/notify_on_release && echo notify
        mkdir $d/x 2>/dev/null && echo made; done; true""")
    assert (status, out) == (0, ""), out


@pytest.mark.parametrize("path", ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/kernel/modprobe",
                                  "/proc/sys/fs/binfmt_misc/register", "/sys/kernel/uevent_helper", "/sys/power/state"])
def test_host_files_cannot_be_written(bundle, path):
    status, out = bundle.run(f"echo x 2>/dev/null >{path} && echo written; true")
    assert (status, out) == (0, "")


def test_user_namespace_ids(bundle):
    linux = bundle.config["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 10}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 10}]
    bundle.config["process"]["user"] = {"uid": 11, "gid": 0}
    status, out = bundle.run("true")
    assert status == 1, out
    linux["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 0, "hostID": 5, "size": 1}]
    status, out = bundle.run("true")
    assert status == 1 and "ID mappings" in out


def test_process_sees_no_other(bundle):
    status, out = bundle.run("ls /proc | grep -c '^[0-9]'; kill -9 -1 2>/dev/null; ls -d /proc/1/root/room")
    assert status == 0 and int(out.split()[0]) <= 5


BAD = [
    ("", "ends too early"), ("{", "missing"), ("[" * 100000, "nested too deeply"), ('{"ociVersion":1}', "must be a string"),
    ('{"ociVersion":"1.0.0","root":{"path":"rootfs"}}', "'linux' is missing"),
    ('{"ociVersion":"1.0.0","root":{"path":"/nowhere"},"linux":{"namespaces":[{"type":"mount"}]}}', "root file system"),
    ('{"ociVersion":"1.0.0","root":{"path":"/"},"linux":{"namespaces":[{"type":"mount"}]}}', "not the host's root"),
    ('{"ociVersion":"1.0.0","root":{"path":"rootfs/etc/passwd"},"linux":{"namespaces":[{"type":"mount"}]}}', "directory"),
]


@pytest.mark.parametrize("text,word", BAD, ids=range(len(BAD)))
def test_bad_config(bundle, text, word):
    with open(f"{bundle.path}/config.json", "w", encoding="utf-8") as f:
        f.write(text)
    status, out = bundle("create", "--bundle", bundle.path, bundle.id)
    assert status == 1 and word in out and len(out) < 600, out


CHANGES = [
    (lambda c: c["mounts"].append({"destination": "/x", "type": "nofs", "source": "x"}), "nofs"),
    (lambda c: c["mounts"].append({"destination": "/x", "type": "bind", "source": "/nowhere", "options": ["bind"]}), "/nowhere"),
    (lambda c: c["mounts"].append({"destination": "/x", "type": "tmpfs", "source": "t", "options": ["nosuchoption"]}), "nosuchoption"),
    (lambda c: c["mounts"].append({"destination": "/etc/passwd/x", "type": "tmpfs", "source": "t"}), "Not a directory"),
    (lambda c: c["mounts"].append({"destination": "/" + "x" * 300, "type": "tmpfs", "source": "t"}), "too long"),
    (lambda c: c["linux"].update(namespaces=[{"type": "mount", "path": "/proc/self/ns/mnt"}, {"type": "uts"}]), "host's own"),
    (lambda c: c["linux"].update(cgroupsPath="/../../x"), "cgroupsPath"),
    (lambda c: c["linux"].update(resources={"memory": {"limit": 1}}), "memory"),
    (lambda c: c["linux"].update(resources={"hugepageLimits": [{"pageSize": "3MB/../x", "limit": 1}]}), "page size"),
    (lambda c: c["linux"].update(seccomp={"defaultAction": "SCMP_ACT_NONE"}), "SCMP_ACT_NONE"),
    (lambda c: c["linux"].update(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}), "/nowhere"),
    (lambda c: c["linux"]["devices"].append({"path": "/dev/x", "type": "z"}), "type"),
    (lambda c: c["linux"]["devices"].append({"path": "/dev/..", "type": "c", "major": 1, "minor": 3}), "does not name"),
    (lambda c: c["process"].update(args=["/nowhere"]), "exec: \"/nowhere\""),
    (lambda c: c["process"].update(args=["/etc/passwd"]), "ermission denied"),
    (lambda c: c["process"].update(cwd="/etc/passwd"), "working directory"),
    (lambda c: c["process"].update(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 4}]), "above the hard"),
    (lambda c: c["process"].update(terminal=True), "console-socket"),
    (lambda c: c.update(hooks={"prestart": [{"path": "/nowhere"}]}), "/nowhere"),
    (lambda c: c["process"].update(apparmorProfile="none-such"), "AppArmor"),
]


@pytest.mark.parametrize("change,word", CHANGES, ids=range(len(CHANGES)))
def test_bad_settings(bundle, change, word):
    bundle.config["linux"].setdefault("devices", [])
    change(bundle.config)
    status, out = bundle.create()
    if status == 0:      # found out at the last moment
        status, out = bundle("start", bundle.id)
    assert status == 1 and word in out, out
    bundle("delete", "--force", bundle.id)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "x" * 300, "-x", "a\n"])
def test_bad_ids(bundle, name):
    bundle.write()
    assert bundle("create", "--bundle", bundle.path, "--", name)[0] == 1


def test_killed_at_any_moment(bundle):
    """create, start and delete die at a random moment; delete --force cleans up."""
    rng = random.Random(5)
    bundle.sh("sleep 1000").write()
    for n in range(40):
        verb = (["create", "--bundle", bundle.path, bundle.id], ["start", bundle.id], ["delete", "--force", bundle.id])[n % 3 if n % 5 else 0]
        p = subprocess.Popen(bundle.argv(*verb), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, 0.03))
        p.send_signal(signal.SIGKILL)
        p.wait()
        if n % 3 == 2 or not n % 5:
            bundle.ok("delete", "--force", bundle.id)
            assert os.listdir(bundle.root) == [] and find_cgroups(bundle.id) == []


def test_many_at_once(bundle):
    bundle.sh("true").write()
    procs = []
    for n in range(30):
        procs.append(subprocess.Popen(bundle.argv("run", "--bundle", bundle.path, f"{bundle.id}-{n}"),
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    for p in procs:
        out = p.communicate(timeout=patience(120))[0]
        assert p.returncode == 0, out
    assert json.loads(bundle.ok("list", "--format", "json")) == []
